/* See forms.h. */
#include "mixture/forms.h"

#include "base/text.h"
#include "runtime/profile.h"

typedef struct form {
    clvi_input_form desc;
    clvi_buf *buf;
} form;

struct clvi_forms {
    clvi_forms_desc desc;
    form *list;
    size_t count, capacity;
    clvi_buf *pixels, *picture, *ids;
    int64_t blank; /* of the ids so many are known to be 0 */
};

clv_status clvi_forms_create(const clvi_forms_desc *desc, clvi_forms **out, clv_error *error)
{
    clvi_forms *f = clvi_calloc(1, sizeof *f);
    if (!f)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the networks' inputs");
    f->desc = *desc;
    *out = f;
    return CLV_OK;
}

void clvi_forms_destroy(clvi_forms *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        clvi_buf_destroy(f->list[i].buf);
    clvi_buf_destroy(f->pixels);
    clvi_buf_destroy(f->picture);
    clvi_buf_destroy(f->ids);
    clvi_free(f->list);
    clvi_free(f);
}

clv_status clvi_forms_find(clvi_forms *f, const clvi_input_form *wanted, size_t *out,
                           clv_error *error)
{
    for (size_t i = 0; i < f->count; i++)
        if (clvi_input_form_same(&f->list[i].desc, wanted)) {
            *out = i;
            return CLV_OK;
        }
    CLV_TRY(clvi_grow((void **)&f->list, &f->capacity, f->count + 1, sizeof *f->list, error));
    f->list[f->count] = (form){.desc = *wanted};
    *out = f->count++;
    return CLV_OK;
}

clv_status clvi_forms_describe(const clvi_forms *f, const clvi_input_form *wanted, char **out,
                               clv_error *error)
{
    clvi_text text = {0};
    clvi_input_form_describe(wanted, &f->desc.seen, &text);
    if (text.failed) {
        clvi_text_fini(&text);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to describe an input");
    }
    *out = text.data;
    return CLV_OK;
}

size_t clvi_forms_count(const clvi_forms *f)
{
    return f->count;
}

const clvi_input_form *clvi_forms_at(const clvi_forms *f, size_t index)
{
    return &f->list[index].desc;
}

int64_t clvi_forms_elements(const clvi_forms *f, size_t index)
{
    const clvi_input_form *d = &f->list[index].desc;
    return (int64_t)d->height * d->width * d->channels;
}

/* Of the pixels that are given, margins included. */
static size_t pixel_elements(const clvi_forms *f)
{
    return (size_t)f->desc.height * (size_t)f->desc.width * (size_t)f->desc.channels;
}

static size_t picture_elements(const clvi_forms *f)
{
    const clvi_picture *p = &f->desc.seen;
    return (size_t)p->height * (size_t)p->width * (size_t)p->channels;
}

enum { OTHERS = 3 }; /* pictures, pixels, ids */

size_t clvi_forms_beside_most(const clvi_forms *f)
{
    return f->count + OTHERS;
}

void clvi_forms_beside(const clvi_forms *f, clvi_beside *list, size_t *count)
{
    for (size_t i = 0; i < f->count; i++)
        list[(*count)++] = (clvi_beside){"network input", (uint64_t)clvi_forms_elements(f, i) * 4};
    list[(*count)++] = (clvi_beside){"augmented pictures", picture_elements(f) * 4};
    list[(*count)++] = (clvi_beside){"pixels", pixel_elements(f)};
    list[(*count)++] = (clvi_beside){"numbers of samples", 4};
}

clv_status clvi_forms_commit(clvi_forms *f, clv_error *error)
{
    const size_t batch = (size_t)f->desc.max_batch, pixels = pixel_elements(f);
    clvi_device *device = f->desc.device;
    for (size_t i = 0; i < f->count; i++)
        CLV_TRY(clvi_buf_create(device, batch * (size_t)clvi_forms_elements(f, i) * 4,
                                "network input", &f->list[i].buf, error));
    CLV_TRY(clvi_buf_create(device, (batch * pixels + 3) / 4 * 4, "pixels", &f->pixels, error));
    CLV_TRY(
        clvi_buf_create(device, batch * picture_elements(f) * 4, "picture", &f->picture, error));
    return clvi_buf_create(device, batch * 4, "sample ids", &f->ids, error);
}

clv_status clvi_forms_begin(clvi_forms *f, int64_t n, const uint32_t *ids, clv_error *error)
{
    clvi_device *device = f->desc.device;
    if (n < 1 || n > f->desc.max_batch)
        CLV_FAIL(error, CLV_E_INTERNAL, "a batch of %lld where 1 to %lld were planned",
                 (long long)n, (long long)f->desc.max_batch);
    const int64_t blank = f->blank;
    f->blank = 0;
    if (ids)
        return clvi_upload(device, f->ids, 0, ids, (size_t)n * 4, error);
    if (blank < n) {
        uint32_t *zeros = clvi_calloc((size_t)n, sizeof *zeros);
        if (!zeros)
            CLV_FAIL(error, CLV_E_MEMORY, "no memory for a batch");
        /* A fill would be left out in a rehearsal. */
        const clv_status status = clvi_upload(device, f->ids, 0, zeros, (size_t)n * 4, error);
        clvi_free(zeros);
        CLV_TRY(status);
    }
    f->blank = blank < n ? n : blank;
    return CLV_OK;
}

clv_status clvi_forms_feed(clvi_forms *f, int64_t n, const uint8_t *pixels, uint32_t epoch,
                           const clvi_augment *augment, clv_error *error)
{
    clvi_device *device = f->desc.device;
    const clvi_picture_desc picture = {.n = n,
                                       .seen = f->desc.seen,
                                       .key = {f->desc.augment_key[0], f->desc.augment_key[1]},
                                       .epoch = epoch,
                                       .ids = {f->ids, 0}};
    const clvi_view bytes = {f->pixels, 0}, image = {f->picture, 0};
    bool augmented = false;
    CLV_TRY(clvi_upload(device, f->pixels, 0, pixels, (size_t)n * pixel_elements(f), error));
    for (size_t i = 0; i < f->count; i++) {
        const clvi_input_form *to = &f->list[i].desc;
        const bool plain = clvi_image_is_plain(&picture.seen, augment, to);
        if (!plain && !augmented) {
            clvi_profile_enter_part(device, "input", "augment");
            CLV_TRY(clvi_image_augment(device, &picture, augment, bytes, image, error));
            augmented = true;
        }
        clvi_profile_enter_part(device, "input", "normalise");
        if (plain)
            CLV_TRY(clvi_image_plain(device, &picture, to, bytes, clvi_forms_view(f, i), error));
        else
            CLV_TRY(
                clvi_image_normalise(device, &picture, to, image, clvi_forms_view(f, i), error));
    }
    return CLV_OK;
}

clvi_view clvi_forms_view(const clvi_forms *f, size_t index)
{
    return (clvi_view){f->list[index].buf, 0};
}

clvi_view clvi_forms_ids(const clvi_forms *f)
{
    return (clvi_view){f->ids, 0};
}

uint64_t clvi_forms_bytes(const clvi_forms *f)
{
    uint64_t sum = clvi_buf_bytes(f->pixels) + clvi_buf_bytes(f->picture) + clvi_buf_bytes(f->ids);
    for (size_t i = 0; i < f->count; i++)
        sum += clvi_buf_bytes(f->list[i].buf);
    return sum;
}
