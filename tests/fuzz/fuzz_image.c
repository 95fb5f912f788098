/* Any bytes as a picture: probed, decoded whole, and brought to a size. */
#include "fuzz.h"

#include "base/process.h"
#include "data/image_codec.h"

#include <stdlib.h>

enum { MOST_BYTES = 1 << 25, MOST_PIXELS = 1 << 24, MOST_OUT = 64 * 64 * 3 };

/* A claim of many pixels is a case of its own, and too slow to be met at each step. */
static void *small_allocate(size_t bytes)
{
    return bytes <= MOST_BYTES ? malloc(bytes) : NULL;
}

static void *small_reallocate(void *block, size_t bytes)
{
    return bytes <= MOST_BYTES ? realloc(block, bytes) : NULL;
}

static void check(bool promise)
{
    if (!promise)
        abort();
}

/* One sentence that begins with the name, if and only if the call failed. */
static void check_error(clv_status status, const clv_error *error)
{
    check(status == (clv_status)error->status);
    if (status == CLV_OK)
        return;
    check(status == CLV_E_DATA || status == CLV_E_MEMORY);
    check(error->message[0] != '\0' && !strchr(error->message, '\n'));
    check(status == CLV_E_MEMORY || strncmp(error->message, "name: ", 6) == 0);
}

static void decode(const uint8_t *bytes, size_t length, int channels)
{
    clvi_image image = {0};
    clv_error error = CLV_ERROR_INIT;
    const clv_status status = clvi_image_decode(bytes, length, "name", channels, &image, &error);
    check_error(status, &error);
    check((status == CLV_OK) == (image.pixels != NULL));
    if (status == CLV_OK)
        check(image.height > 0 && image.width > 0 && (channels == 0 || image.channels == channels));
    clvi_image_fini(&image);
}

static void load(const uint8_t *bytes, size_t length, const clvi_image_form *form)
{
    static const uint8_t fill[] = {0, 255};
    uint8_t out[2][MOST_OUT];
    clv_status status[2];
    const size_t count = (size_t)form->height * (size_t)form->width * (size_t)form->channels;
    for (int i = 0; i < 2; i++) {
        clv_error error = CLV_ERROR_INIT;
        memset(out[i], fill[i], sizeof out[i]);
        status[i] = clvi_image_load(bytes, length, "name", form, out[i], &error);
        check_error(status[i], &error);
    }
    check(status[0] == status[1]);
    check(status[0] != CLV_OK || memcmp(out[0], out[1], count) == 0);
    for (size_t k = status[0] == CLV_OK ? count : 0; k < MOST_OUT; k++)
        check(out[0][k] == fill[0] && out[1][k] == fill[1]);
}

void fuzz_image(const uint8_t *bytes, size_t length)
{
    static const clvi_allocator table = {small_allocate, small_reallocate, free};
    static const clvi_image_form forms[] = {
        {8, 8, 3, CLVI_BILINEAR, CLVI_STRETCH}, {8, 8, 1, CLVI_BICUBIC, CLVI_CROP},
        {1, 64, 3, CLVI_BICUBIC, CLVI_STRETCH}, {64, 1, 1, CLVI_BILINEAR, CLVI_CROP},
        {17, 5, 3, CLVI_BICUBIC, CLVI_CROP},    {33, 64, 1, CLVI_BILINEAR, CLVI_STRETCH},
        {2, 1, 3, CLVI_BILINEAR, CLVI_CROP},    {64, 64, 3, CLVI_BICUBIC, CLVI_CROP}};
    const clvi_jpeg_notes notes = clvi_jpeg_read_notes(bytes, length);
    if ((int64_t)notes.width * notes.height > MOST_PIXELS)
        return;
    clvi_set_allocator(&table);
    unsigned choice = 0;
    for (size_t i = 0; i < length; i++)
        choice = choice * 31 + bytes[i];
    int channels = 0;
    clv_error error = CLV_ERROR_INIT;
    const clv_status status = clvi_image_probe(bytes, length, "name", &channels, &error);
    check_error(status, &error);
    check(status != CLV_OK || channels == 1 || channels == 3);
    decode(bytes, length, choice & 8 ? 0 : choice & 16 ? 1 : 3);
    load(bytes, length, &forms[choice % 8]);
    clvi_set_allocator(NULL);
}

#ifdef FUZZING

#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t length, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t most, unsigned seed);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    fuzz_image(bytes, length);
    return 0;
}

/* Gives the chunks of a PNG the checksums that their bytes ask for, so that libpng looks inside. */
static void mend_png(uint8_t *bytes, size_t length)
{
    size_t at = 8;
    while (length - at >= 12 && at < length) {
        const size_t told = (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 |
                            (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (told > length - at - 12)
            return;
        const uLong sum = crc32(0, bytes + at + 4, (uInt)told + 4);
        for (int i = 0; i < 4; i++)
            bytes[at + 8 + told + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + told;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t most, unsigned seed)
{
    length = LLVMFuzzerMutate(bytes, length, most);
    if (seed % 16 != 0 && length > 8 && bytes[0] == 0x89)
        mend_png(bytes, length);
    return length;
}

#endif
