/* JPEG through the TurboJPEG interface of libjpeg-turbo, which does its own longjmp. */
#include "data/image_codec.h"

#include <turbojpeg.h>

#include <limits.h>

/* An end marker stands somewhere: the file was not cut in its coded data. */
static bool has_end(const clvi_encoded *encoded)
{
    for (size_t i = encoded->length; i >= 2; i--)
        if (encoded->bytes[i - 2] == 0xff && encoded->bytes[i - 1] == 0xd9)
            return true;
    return false;
}

/* Records why the last call failed. */
static clv_status fail(tjhandle handle, const clvi_encoded *encoded, clv_error *error)
{
    const char *text = tjGetErrorStr2(handle);
    if (strstr(text, "memory"))
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to decode the JPEG (%s)", encoded->name, text);
    if (strstr(text, "Premature end") || !has_end(encoded))
        CLV_FAIL(error, CLV_E_DATA, "%s: truncated JPEG", encoded->name);
    CLV_FAIL(error, CLV_E_DATA, "%s: damaged JPEG (%s)", encoded->name, text);
}

/* A call that does not return 0 met an error or only a warning. Warnings count as errors, for they
 * mean missing or wrong data, but for one: bytes between two segments, common in photos, harm
 * nothing. The library keeps the first warning or the last error, and calls an error after a
 * warning a warning, so the text decides; a cut hidden behind the warning shows by its missing
 * end marker. */
static clv_status judge(tjhandle handle, const clvi_encoded *encoded, clv_error *error)
{
    if (strstr(tjGetErrorStr2(handle), "extraneous bytes before marker") && has_end(encoded))
        return CLV_OK;
    return fail(handle, encoded, error);
}

typedef struct jpeg_header {
    int width, height;
    int channels; /* 1, 3, or 4: CMYK */
    clvi_jpeg_notes notes;
} jpeg_header;

static clv_status read_header(tjhandle handle, const clvi_encoded *encoded, jpeg_header *out,
                              clv_error *error)
{
    if (encoded->length > ULONG_MAX)
        CLV_FAIL(error, CLV_E_DATA, "%s: too large for a JPEG", encoded->name);
    jpeg_header header = {.notes = clvi_jpeg_read_notes(encoded->bytes, encoded->length)};
    int subsampling = -1, space = -1;
    if (tjDecompressHeader3(handle, encoded->bytes, (unsigned long)encoded->length, &header.width,
                            &header.height, &subsampling, &space) != 0) {
        if (strstr(tjGetErrorStr2(handle), "subsampling type")) {
            /* A rare one, which this call has no name for; the decoder knows them all. */
            header.width = header.notes.width;
            header.height = header.notes.height;
            space = header.notes.components == 4 ? TJCS_CMYK : TJCS_YCbCr;
        } else {
            CLV_TRY(judge(handle, encoded, error));
        }
    }
    if (header.width < 1 || header.height < 1)
        return fail(handle, encoded, error);
    header.channels = space == TJCS_GRAY ? 1 : space == TJCS_CMYK || space == TJCS_YCCK ? 4 : 3;
    *out = header;
    return CLV_OK;
}

/* By how much each side is divided while decoding: 1, 2, 4 or 8, for which the library has fast
 * transforms (others cost more time than they save). Only of large pictures: what is below a
 * megapixel is decoded in a few milliseconds anyway and then resized exactly.
 *
 * A reduced transform drops the upper frequencies of each block instead of filtering them, which
 * the resize that follows evens out the better, the more there is left to reduce. With sides twice
 * the wanted ones, the least that looks well, a tenth of all values is more than one level away
 * from the exact result; with four times, one in a hundred (mean distance 0.6 and 0.25, on photos
 * that are sharp to the pixel). Four times costs hardly more: most time goes into reading the code.
 */
static int choose_division(const jpeg_header *header, const clvi_image_form *form)
{
    enum { LARGE = 1000000, SPARE = 4 };
    if (!form || form->height < 1 || form->width < 1 ||
        (int64_t)header->width * header->height < LARGE)
        return 1;
    const bool across = header->notes.orientation >= 5;
    const int height = across ? header->width : header->height;
    const int width = across ? header->height : header->width;
    int64_t fit_height = 0, fit_width = 0;
    clvi_image_fit_size(form, height, width, &fit_height, &fit_width);
    int division = 8;
    while (division > 1 &&
           (fit_height * SPARE * division > height || fit_width * SPARE * division > width))
        division /= 2;
    return division;
}

/* CMYK → RGB or grey, each value (1 - ink)(1 - black), rounded as Pillow does. Adobe's programs,
 * and with their mark all others, store light instead of ink. */
static void convert_inks(const clvi_image *from, bool inverted, clvi_image *to)
{
    const size_t count = (size_t)to->width * (size_t)to->height;
    const uint8_t *p = from->pixels, flip = inverted ? 0 : 255;
    uint8_t *out = to->pixels;
    for (size_t i = 0; i < count; i++, p += 4) {
        unsigned light[3];
        const unsigned white = p[3] ^ flip;
        for (int c = 0; c < 3; c++)
            light[c] = white - ((255u - (p[c] ^ flip)) * white + 127u) / 255u;
        if (to->channels == 1) {
            *out++ = clvi_image_luma(light[0], light[1], light[2]);
            continue;
        }
        for (int c = 0; c < 3; c++)
            *out++ = (uint8_t)light[c];
    }
}

/* Decodes into `image`, whose size decides about the reduction. */
static clv_status decode_pixels(tjhandle handle, const clvi_encoded *encoded, clvi_image *image,
                                clv_error *error)
{
    const int format = image->channels == 1   ? TJPF_GRAY
                       : image->channels == 3 ? TJPF_RGB
                                              : TJPF_CMYK;
    if (tjDecompress2(handle, encoded->bytes, (unsigned long)encoded->length, image->pixels,
                      image->width, image->width * image->channels, image->height, format,
                      TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) != 0)
        return judge(handle, encoded, error);
    return CLV_OK;
}

/* Decodes into a picture of its own first, where inks must be converted. */
static clv_status decode_inks(tjhandle handle, const clvi_encoded *encoded, bool inverted,
                              clvi_image *image, clv_error *error)
{
    clvi_image inks = {0};
    CLV_TRY(clvi_image_alloc(encoded->name, image->width, image->height, 4, &inks, error));
    const clv_status status = decode_pixels(handle, encoded, &inks, error);
    if (status == CLV_OK)
        convert_inks(&inks, inverted, image);
    clvi_image_fini(&inks);
    return status;
}

static clv_status decode(tjhandle handle, const clvi_encoded *encoded, int channels,
                         const clvi_image_form *form, clvi_image *out, clv_error *error)
{
    jpeg_header header;
    CLV_TRY(read_header(handle, encoded, &header, error));
    if (channels == 0)
        channels = header.channels == 1 ? 1 : 3;
    const int division = choose_division(&header, form);
    clvi_image image = {0};
    CLV_TRY(clvi_image_check_size(encoded->name, header.width, header.height, error));
    CLV_TRY(clvi_image_alloc(encoded->name, (header.width + division - 1) / division,
                             (header.height + division - 1) / division, channels, &image, error));
    /* The last pixels may reach beyond the picture; forgetting that would shift all of it. */
    if (division > 1)
        image.box = (clvi_image_box){.height = (double)header.height / division,
                                     .width = (double)header.width / division};
    clv_status status = header.channels == 4
                            ? decode_inks(handle, encoded, header.notes.adobe, &image, error)
                            : decode_pixels(handle, encoded, &image, error);
    if (status == CLV_OK)
        status = clvi_image_orient(encoded->name, header.notes.orientation, &image, error);
    if (status != CLV_OK) {
        clvi_image_fini(&image);
        return status;
    }
    *out = image;
    return CLV_OK;
}

clv_status clvi_jpeg_decode(const clvi_encoded *encoded, int channels, const clvi_image_form *form,
                            clvi_image *out, clv_error *error)
{
    tjhandle handle = tjInitDecompress();
    if (!handle)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for a JPEG decoder", encoded->name);
    const clv_status status = decode(handle, encoded, channels, form, out, error);
    (void)tjDestroy(handle);
    return status;
}

clv_status clvi_jpeg_probe(const clvi_encoded *encoded, int *channels, clv_error *error)
{
    tjhandle handle = tjInitDecompress();
    if (!handle)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for a JPEG decoder", encoded->name);
    jpeg_header header;
    const clv_status status = read_header(handle, encoded, &header, error);
    (void)tjDestroy(handle);
    if (status == CLV_OK)
        *channels = header.channels == 1 ? 1 : 3;
    return status;
}
