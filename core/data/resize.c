/* Antialiased resize: each output pixel is a weighted mean under a filter that widens by the
 * reduction factor (by 1 where the picture grows). Two passes, rows then columns, each rounded to
 * 8 bits; weights in fixed point, so that every machine gives the same bytes. What is cut off
 * afterwards is not computed. */
#include "data/image_codec.h"

#include "base/memory.h"

#include <math.h>

/* 255 · 2^22 · 1.25, the largest sum of a cubic's positive weights, still fits in an int32_t. */
enum { FRACTION_BITS = 22 };

/* One axis of a resize: the stretch [begin, begin + extent) of `from` pixels is brought to `whole`
 * pixels, of which first .. first + count - 1 are wanted. */
typedef struct span {
    int from;
    double begin, extent;
    int64_t whole, first;
    int count;
} span;

typedef struct filter {
    double (*weight)(double x);
    double reach; /* the weight is 0 from here on, on both sides */
} filter;

/* For each output position: input positions first[i] .. first[i]+count[i]-1 and their weights at
 * weights[i · taps], which add up to 2^FRACTION_BITS (± rounding). */
typedef struct axis {
    int taps;
    int *first, *count;
    int32_t *weights;
    void *storage;
} axis;

static double triangle(double x)
{
    return x < 0.0 ? fmax(0.0, 1.0 + x) : fmax(0.0, 1.0 - x);
}

/* R. Keys, "Cubic convolution interpolation for digital image processing" (1981), a = -0.5. */
static double cubic(double x)
{
    const double a = -0.5, d = fabs(x);
    if (d < 1.0)
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    return d < 2.0 ? (((d - 5.0) * d + 8.0) * d - 4.0) * a : 0.0;
}

static const filter filters[] = {[CLVI_BILINEAR] = {triangle, 1.0}, [CLVI_BICUBIC] = {cubic, 2.0}};

static void fill_axis(axis *a, const span *s, const filter *f, double *raw)
{
    const double scale = s->extent / (double)s->whole;
    const double widening = fmax(scale, 1.0), support = f->reach * widening;
    for (int i = 0; i < s->count; i++) {
        const double centre = s->begin + ((double)(s->first + i) + 0.5) * scale;
        const int low = (int)fmax(0.0, floor(centre - support + 0.5));
        const int high = (int)fmin(s->from, floor(centre + support + 0.5));
        double sum = 0.0;
        for (int j = low; j < high; j++) {
            /* The part of the pixel that the picture fills. */
            const double left = fmax(j, s->begin), right = fmin(j + 1, s->begin + s->extent);
            const double away = ((left + right) / 2.0 - centre) / widening;
            sum += raw[j - low] = f->weight(away) * (right - left);
        }
        a->first[i] = low;
        a->count[i] = high - low;
        for (int j = 0; j < high - low; j++)
            a->weights[(size_t)i * (size_t)a->taps + (size_t)j] =
                (int32_t)lround(raw[j] / sum * (double)(1 << FRACTION_BITS));
    }
}

static clv_status build_axis(axis *a, const span *s, const filter *f, clv_error *error)
{
    const double support = f->reach * fmax(s->extent / (double)s->whole, 1.0);
    const size_t taps = (size_t)ceil(support) * 2 + 1, count = (size_t)s->count;
    uint8_t *block =
        clvi_malloc(taps * sizeof(double) + count * (2 * sizeof(int) + taps * sizeof(int32_t)));
    if (!block)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to resize a picture from %d to %d pixels", s->from,
                 s->count);
    double *raw = (double *)(void *)block;
    a->storage = block;
    a->taps = (int)taps;
    a->first = (int *)(void *)(raw + taps);
    a->count = a->first + count;
    a->weights = (int32_t *)(void *)(a->count + count);
    fill_axis(a, s, f, raw);
    return CLV_OK;
}

/* A cubic overshoots at edges, to both sides. */
static uint8_t to_byte(int32_t sum)
{
    const int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value > 255 ? 255 : value < 0 ? 0 : value);
}

static void row_grey(const uint8_t *from, const axis *a, int width, uint8_t *to)
{
    for (int x = 0; x < width; x++) {
        const uint8_t *p = from + a->first[x];
        const int32_t *w = a->weights + (size_t)x * (size_t)a->taps;
        int32_t sum = 1 << (FRACTION_BITS - 1);
        for (int j = 0; j < a->count[x]; j++)
            sum += w[j] * p[j];
        to[x] = to_byte(sum);
    }
}

static void row_rgb(const uint8_t *from, const axis *a, int width, uint8_t *to)
{
    for (int x = 0; x < width; x++) {
        const uint8_t *p = from + 3 * (size_t)a->first[x];
        const int32_t *w = a->weights + (size_t)x * (size_t)a->taps;
        int32_t red = 1 << (FRACTION_BITS - 1), green = red, blue = red;
        for (int j = 0; j < a->count[x]; j++, p += 3) {
            red += w[j] * p[0];
            green += w[j] * p[1];
            blue += w[j] * p[2];
        }
        to[3 * x] = to_byte(red);
        to[3 * x + 1] = to_byte(green);
        to[3 * x + 2] = to_byte(blue);
    }
}

/* Rows low .. high-1 of from [height, from_width, channels] → to [high - low, width, channels] */
static void resize_rows(const clvi_image *from, const axis *a, int low, int high, clvi_image *to)
{
    const size_t channels = (size_t)from->channels, width = (size_t)to->width;
    for (int y = low; y < high; y++) {
        const uint8_t *row = from->pixels + (size_t)y * (size_t)from->width * channels;
        uint8_t *out = to->pixels + (size_t)(y - low) * width * channels;
        if (channels == 1)
            row_grey(row, a, to->width, out);
        else
            row_rgb(row, a, to->width, out);
    }
}

/* from, whose first row is row `low` of the axis, as wide as `to`; sums: one for each byte of a row
 */
static void resize_columns(const uint8_t *from, const axis *a, int low, int32_t *sums,
                           clvi_image *to)
{
    const size_t row_bytes = (size_t)to->width * (size_t)to->channels;
    for (size_t y = 0; y < (size_t)to->height; y++) {
        for (size_t x = 0; x < row_bytes; x++)
            sums[x] = 1 << (FRACTION_BITS - 1);
        for (int j = 0; j < a->count[y]; j++) {
            const uint8_t *row = from + (size_t)(a->first[y] + j - low) * row_bytes;
            const int32_t weight = a->weights[y * (size_t)a->taps + (size_t)j];
            for (size_t x = 0; x < row_bytes; x++)
                sums[x] += weight * row[x];
        }
        for (size_t x = 0; x < row_bytes; x++)
            to->pixels[y * row_bytes + x] = to_byte(sums[x]);
    }
}

/* The pixels stay as they are on this axis, though some may be cut off. */
static bool keeps(const span *s)
{
    return s->whole == s->from && s->begin == 0.0 && s->extent == s->from;
}

static bool keeps_all(const span *s)
{
    return keeps(s) && s->count == s->from;
}

static void copy_part(const clvi_image *image, const span *rows, const span *columns, uint8_t *out)
{
    const size_t channels = (size_t)image->channels;
    const size_t from_bytes = (size_t)image->width * channels;
    const size_t bytes = (size_t)columns->count * channels;
    const uint8_t *from =
        image->pixels + (size_t)rows->first * from_bytes + (size_t)columns->first * channels;
    if (bytes == from_bytes) {
        memcpy(out, from, (size_t)rows->count * bytes);
        return;
    }
    for (int y = 0; y < rows->count; y++)
        memcpy(out + (size_t)y * bytes, from + (size_t)y * from_bytes, bytes);
}

static clv_status only_columns(const clvi_image *image, const axis *down, clvi_image *to,
                               clv_error *error)
{
    int32_t *sums = clvi_malloc((size_t)image->width * (size_t)image->channels * sizeof *sums);
    if (!sums)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to resize a picture to height %d", to->height);
    resize_columns(image->pixels, down, 0, sums, to);
    clvi_free(sums);
    return CLV_OK;
}

/* Both passes; rows that no output row uses are left out of the first one. */
static clv_status both(const clvi_image *image, const axis *down, const axis *along, clvi_image *to,
                       clv_error *error)
{
    const int last = to->height - 1;
    const int low = down->first[0], high = down->first[last] + down->count[last];
    clvi_image narrow = {.height = high - low, .width = to->width, .channels = to->channels};
    const size_t row_bytes = (size_t)to->width * (size_t)to->channels;
    const size_t narrow_bytes = ((size_t)narrow.height * row_bytes + 3) / 4 * 4;
    narrow.pixels = clvi_malloc(narrow_bytes + row_bytes * sizeof(int32_t));
    if (!narrow.pixels)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to resize a picture to %d x %d pixels", to->width,
                 to->height);
    int32_t *sums = (int32_t *)(void *)(narrow.pixels + narrow_bytes);
    resize_rows(image, along, low, high, &narrow);
    resize_columns(narrow.pixels, down, low, sums, to);
    clvi_image_fini(&narrow);
    return CLV_OK;
}

static clv_status resize(const clvi_image *image, const span *rows, const span *columns,
                         const filter *f, uint8_t *out, clv_error *error)
{
    if (keeps(rows) && keeps(columns)) {
        copy_part(image, rows, columns, out);
        return CLV_OK;
    }
    axis down = {0}, along = {0};
    clv_status status = CLV_OK;
    if (!keeps(rows))
        status = build_axis(&down, rows, f, error);
    if (status == CLV_OK && !keeps_all(columns))
        status = build_axis(&along, columns, f, error);
    if (status == CLV_OK) {
        clvi_image to = {.pixels = out,
                         .height = rows->count,
                         .width = columns->count,
                         .channels = image->channels};
        const int first = (int)rows->first;
        if (!down.storage)
            resize_rows(image, &along, first, first + rows->count, &to);
        else if (!along.storage)
            status = only_columns(image, &down, &to, error);
        else
            status = both(image, &down, &along, &to, error);
    }
    clvi_free(down.storage);
    clvi_free(along.storage);
    return status;
}

void clvi_image_fit_size(const clvi_image_form *form, double height, double width,
                         int64_t *fit_height, int64_t *fit_width)
{
    *fit_height = form->height;
    *fit_width = form->width;
    if (form->fit == CLVI_STRETCH)
        return;
    /* torchvision rounds the longer side down. */
    if (form->height * width > form->width * height)
        *fit_width = (int64_t)(form->height * width / height);
    else
        *fit_height = (int64_t)(form->width * height / width);
    if (*fit_height < form->height)
        *fit_height = form->height;
    if (*fit_width < form->width)
        *fit_width = form->width;
}

/* Half of what is too much; of two halves the even one, as torchvision's CenterCrop rounds. */
static int64_t cut_before(int64_t whole, int64_t wanted)
{
    const int64_t rest = whole - wanted, half = rest / 2;
    return rest % 2 == 0 ? half : half + half % 2;
}

clv_status clvi_image_fit(const clvi_image *image, const clvi_image_form *form, uint8_t *out,
                          clv_error *error)
{
    if (form->height < 1 || form->width < 1)
        CLV_FAIL(error, CLV_E_USAGE, "a picture cannot be resized to %d x %d pixels", form->width,
                 form->height);
    clvi_image_box box = image->box;
    if (box.height == 0)
        box = (clvi_image_box){.height = image->height, .width = image->width};
    span rows = {
        .from = image->height, .begin = box.y, .extent = box.height, .count = form->height};
    span columns = {
        .from = image->width, .begin = box.x, .extent = box.width, .count = form->width};
    clvi_image_fit_size(form, box.height, box.width, &rows.whole, &columns.whole);
    rows.first = cut_before(rows.whole, form->height);
    columns.first = cut_before(columns.whole, form->width);
    return resize(image, &rows, &columns, &filters[form->resample], out, error);
}

clv_status clvi_image_resize(const clvi_image *image, int height, int width, uint8_t *out,
                             clv_error *error)
{
    const clvi_image_form form = {.height = height, .width = width};
    return clvi_image_fit(image, &form, out, error);
}
