/* See image_files.h. */
#define _XOPEN_SOURCE 700
#include "image_files.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <ftw.h>
#include <locale.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <turbojpeg.h>
#include <unistd.h>

#include <cmocka.h>

void blob_free(blob *b)
{
    free(b->bytes);
    *b = (blob){0};
}

static void append(png_structp png, png_bytep bytes, size_t length)
{
    blob *b = png_get_io_ptr(png);
    uint8_t *grown = realloc(b->bytes, b->length + length);
    assert_non_null(grown);
    memcpy(grown + b->length, bytes, length);
    b->bytes = grown;
    b->length += length;
}

static void write_png(png_structp png, png_infop info, const png_form *form, const uint8_t *pixels)
{
    png_set_IHDR(png, info, (png_uint_32)form->width, (png_uint_32)form->height, form->bits,
                 form->colour_type, form->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_color colours[256];
    for (int i = 0; i < form->palette_count; i++) {
        colours[i].red = form->palette[3 * i];
        colours[i].green = form->palette[3 * i + 1];
        colours[i].blue = form->palette[3 * i + 2];
    }
    if (form->palette_count > 0)
        png_set_PLTE(png, info, colours, form->palette_count);
    if (form->opacity_count > 0)
        png_set_tRNS(png, info, form->opacity, form->opacity_count, NULL);
    png_write_info(png, info);
    const size_t row_bytes = png_get_rowbytes(png, info);
    png_bytep *rows = calloc((size_t)form->height, sizeof(*rows));
    assert_non_null(rows);
    for (size_t y = 0; y < (size_t)form->height; y++)
        rows[y] = (png_bytep)(uintptr_t)(pixels + y * row_bytes); /* libpng only reads them */
    png_write_image(png, rows);
    png_write_end(png, info);
    free(rows);
}

blob png_make(const png_form *form, const uint8_t *pixels)
{
    blob b = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    assert_non_null(png);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    if (setjmp(png_jmpbuf(png)))
        fail_msg("libpng could not write the test's picture");
    png_set_write_fn(png, &b, append, NULL);
    write_png(png, info, form, pixels);
    png_destroy_write_struct(&png, &info);
    return b;
}

blob png_numbered(int side, int channels, unsigned seed)
{
    const size_t count = (size_t)side * (size_t)side * (size_t)channels;
    uint8_t *pixels = malloc(count);
    assert_non_null(pixels);
    for (size_t i = 0; i < count; i++)
        pixels[i] = (uint8_t)(seed * 131u + (unsigned)i * 7u);
    for (size_t i = 0; i < 4 && i < count; i++) /* the seed itself, so that bytes are distinct */
        pixels[i] = (uint8_t)(seed >> (8 * i));
    const png_form form = {.width = side,
                           .height = side,
                           .bits = 8,
                           .colour_type = channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB};
    const blob b = png_make(&form, pixels);
    free(pixels);
    return b;
}

blob jpeg_make(const uint8_t *rgb, int width, int height, int subsampling, int flags)
{
    tjhandle handle = tjInitCompress();
    assert_non_null(handle);
    unsigned char *bytes = NULL;
    unsigned long length = 0;
    assert_int_equal(tjCompress2(handle, rgb, width, 0, height, TJPF_RGB, &bytes, &length,
                                 subsampling, 90, flags),
                     0);
    blob b = {malloc(length), length};
    assert_non_null(b.bytes);
    memcpy(b.bytes, bytes, length);
    tjFree(bytes);
    (void)tjDestroy(handle);
    return b;
}

char *folder_make(void)
{
    const char *base = getenv("TMPDIR");
    char name[4096];
    (void)snprintf(name, sizeof name, "%s/conclave-data-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(name));
    char *copy = strdup(name);
    assert_non_null(copy);
    return copy;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

void folder_remove(char *folder)
{
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

void file_put(const char *folder, const char *path, const void *bytes, size_t length)
{
    char whole[4096];
    (void)snprintf(whole, sizeof whole, "%s/%s", folder, path);
    for (char *slash = whole + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(whole, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    if (whole[strlen(whole) - 1] == '/')
        return; /* only the folder was wanted */
    FILE *file = fopen(whole, "wb");
    assert_non_null(file);
    assert_int_equal(length > 0 ? fwrite(bytes, 1, length, file) : 0, length);
    assert_int_equal(fclose(file), 0);
}

void png_put(const char *folder, const char *path, int side, unsigned seed)
{
    blob b = png_numbered(side, 1, seed);
    file_put(folder, path, b.bytes, b.length);
    blob_free(&b);
}

void put_class(const char *folder, const char *class_path, unsigned count, unsigned seed)
{
    char path[256];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "%s/%u.png", class_path, i);
        png_put(folder, path, 8, seed + i);
    }
}

static void pack(struct archive *archive, const packed *p)
{
    struct archive_entry *entry = archive_entry_new();
    blob b = {0};
    archive_entry_set_pathname(entry, p->path);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_filetype(entry, p->kind == 'd'   ? AE_IFDIR
                                      : p->kind == 'l' ? AE_IFLNK
                                      : p->kind == 'p' ? AE_IFIFO
                                                       : AE_IFREG);
    if (p->kind == 'l')
        archive_entry_set_symlink(entry, p->target);
    else if (p->kind == 'h')
        archive_entry_set_hardlink(entry, p->target);
    else if (p->zeros > 0)
        b = (blob){calloc(p->zeros, 1), p->zeros};
    else if (p->kind == 'f' && p->data)
        b = (blob){(uint8_t *)strdup(p->data), strlen(p->data)};
    else if (p->kind == 'f')
        b = png_numbered(8, 1, p->seed);
    archive_entry_set_size(entry, (la_int64_t)b.length);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    if (b.length > 0)
        assert_int_equal(archive_write_data(archive, b.bytes, b.length), b.length);
    archive_entry_free(entry);
    blob_free(&b);
}

char *archive_put(const char *folder, const char *name, const packed *entries, size_t count)
{
    char *path = malloc(strlen(folder) + strlen(name) + 2);
    assert_non_null(path);
    (void)sprintf(path, "%s/%s", folder, name);
    /* Names are UTF-8, and marked as such where the format has a mark; the tests run in "C". */
    const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    assert_true(utf8 != (locale_t)0);
    const locale_t before = uselocale(utf8);
    struct archive *archive = archive_write_new();
    assert_non_null(archive);
    if (strstr(name, ".zip"))
        assert_int_equal(archive_write_set_format_zip(archive), ARCHIVE_OK);
    else if (strstr(name, ".pax"))
        assert_int_equal(archive_write_set_format_pax(archive), ARCHIVE_OK);
    else
        assert_int_equal(archive_write_set_format_ustar(archive), ARCHIVE_OK);
    if (strstr(name, ".gz"))
        assert_int_equal(archive_write_add_filter_gzip(archive), ARCHIVE_OK);
    else if (strstr(name, ".bz2"))
        assert_int_equal(archive_write_add_filter_bzip2(archive), ARCHIVE_OK);
    else if (strstr(name, ".xz"))
        assert_int_equal(archive_write_add_filter_xz(archive), ARCHIVE_OK);
    else if (strstr(name, ".zst"))
        assert_int_equal(archive_write_add_filter_zstd(archive), ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++)
        pack(archive, &entries[i]);
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    assert_int_equal(archive_write_free(archive), ARCHIVE_OK);
    (void)uselocale(before);
    freelocale(utf8);
    return path;
}
