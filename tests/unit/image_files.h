/* Pictures, folders and archives that the tests of core/data make for themselves. Every call fails
 * the running cmocka test where it cannot do its work. */
#ifndef IMAGE_FILES_H
#define IMAGE_FILES_H

#include <stddef.h>
#include <stdint.h>

/* Encoded bytes; free with blob_free. */
typedef struct blob {
    uint8_t *bytes;
    size_t length;
} blob;
void blob_free(blob *b);

/* How a PNG is to be stored. `pixels` is as PNG wants its rows: big-endian samples, packed bits. */
typedef struct png_form {
    int width, height, bits, colour_type; /* PNG_COLOR_TYPE_… */
    int interlaced;
    const uint8_t *palette; /* [palette_count, 3], for PNG_COLOR_TYPE_PALETTE */
    int palette_count;
    const uint8_t *opacity; /* tRNS of the palette, [opacity_count] */
    int opacity_count;
} png_form;
blob png_make(const png_form *form, const uint8_t *pixels);
/* An 8-bit grey or RGB picture whose content follows from `seed`: distinct seeds, distinct bytes.
 */
blob png_numbered(int side, int channels, unsigned seed);
/* A JPEG of quality 90 from RGB; subsampling and flags as tjCompress2 takes them. */
blob jpeg_make(const uint8_t *rgb, int width, int height, int subsampling, int flags);

/* A new empty folder below $TMPDIR or /tmp. The caller frees the name with folder_remove. */
char *folder_make(void);
void folder_remove(char *folder); /* with everything in it */
/* Writes folder/path, making the folders between. */
void file_put(const char *folder, const char *path, const void *bytes, size_t length);
/* file_put of a png_numbered. */
void png_put(const char *folder, const char *path, int side, unsigned seed);
/* folder/CLASS_PATH/0.png … with `count` distinct pictures of 8 × 8, seeds from `seed` on. */
void put_class(const char *folder, const char *class_path, unsigned count, unsigned seed);

/* What goes into an archive. */
typedef struct packed {
    const char *path;
    char kind; /* 'f' file, 'd' folder, 'p' pipe, 'l' symbolic link, 'h' hard link, both to `target`
                */
    unsigned seed; /* of a grey 8 × 8 png_numbered, where `data` is NULL */
    const char *data, *target;
    size_t zeros; /* bytes of zero in place of all that */
} packed;
/* Writes folder/name; the format follows from the name: .zip, .tar, .pax.tar, a tar also with .gz,
 * .bz2, .xz or .zst behind it. Returns its path, which the caller frees with free. */
char *archive_put(const char *folder, const char *name, const packed *entries, size_t count);

#endif
