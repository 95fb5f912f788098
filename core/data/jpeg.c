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
    int width, height, subsampling, colourspace;
} jpeg_header;

static clv_status read_header(tjhandle handle, const clvi_encoded *encoded, jpeg_header *out,
                              clv_error *error)
{
    if (encoded->length > ULONG_MAX)
        CLV_FAIL(error, CLV_E_DATA, "%s: too large for a JPEG", encoded->name);
    jpeg_header header = {.colourspace = -1};
    if (tjDecompressHeader3(handle, encoded->bytes, (unsigned long)encoded->length, &header.width,
                            &header.height, &header.subsampling, &header.colourspace) != 0)
        CLV_TRY(judge(handle, encoded, error));
    if (header.width < 1 || header.height < 1)
        return fail(handle, encoded, error);
    if (header.colourspace == TJCS_CMYK || header.colourspace == TJCS_YCCK)
        CLV_FAIL(error, CLV_E_DATA, "%s: a CMYK JPEG; convert it to RGB or grey", encoded->name);
    *out = header;
    return CLV_OK;
}

static clv_status decode(tjhandle handle, const clvi_encoded *encoded, int channels,
                         clvi_image *out, clv_error *error)
{
    jpeg_header header;
    CLV_TRY(read_header(handle, encoded, &header, error));
    if (channels == 0)
        channels = header.colourspace == TJCS_GRAY ? 1 : 3;
    clvi_image image = {0};
    CLV_TRY(clvi_image_alloc(encoded->name, header.width, header.height, channels, &image, error));
    clv_status status = CLV_OK;
    if (tjDecompress2(handle, encoded->bytes, (unsigned long)encoded->length, image.pixels,
                      image.width, image.width * channels, image.height,
                      channels == 1 ? TJPF_GRAY : TJPF_RGB,
                      TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) != 0)
        status = judge(handle, encoded, error);
    if (status != CLV_OK) {
        clvi_image_fini(&image);
        return status;
    }
    *out = image;
    return CLV_OK;
}

clv_status clvi_jpeg_decode(const clvi_encoded *encoded, int channels, clvi_image *out,
                            clv_error *error)
{
    tjhandle handle = tjInitDecompress();
    if (!handle)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for a JPEG decoder", encoded->name);
    const clv_status status = decode(handle, encoded, channels, out, error);
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
        *channels = header.colourspace == TJCS_GRAY ? 1 : 3;
    return status;
}
