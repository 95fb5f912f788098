/* An archive as a source, through libarchive: read once, the bytes of its images kept. Nothing is
 * ever written to disk, yet names that would leave the folder are refused: such an archive is
 * either an attack or a mistake. Memory and time are bounded whatever the archive claims: by
 * source->limit for what is kept, by CLVI_IMAGE_FILE_LIMIT for one image, and by the archive's own
 * size for what it inflates to. */
#define _POSIX_C_SOURCE 200809L
#include "data/source.h"

#include "base/process.h"
#include "data/image.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <sys/stat.h>

/* Images do not compress; only the padding of a tar around tiny ones does. */
enum { INFLATION = 200, SMALL_ARCHIVE = 1 << 28, NAME_LIMIT = 4096 };

typedef struct reading {
    clvi_source *source;
    struct archive *archive;
    clvi_scratch scratch;
    uint64_t most;     /* bytes that the archive may inflate to */
    uint64_t inflated; /* bytes of the entries that were read; a zip inflates nothing else */
} reading;

enum { REASON_BYTES = 200 };

/* What libarchive says, in `out`: some of its sentences end in a new line, some repeat bytes of the
 * archive. */
static const char *reason(struct archive *archive, char out[REASON_BYTES])
{
    char cut[REASON_BYTES] = "no reason given";
    const char *text = archive_error_string(archive);
    if (text)
        (void)snprintf(cut, sizeof cut, "%s", text);
    size_t length = strlen(cut);
    while (length > 0 && (cut[length - 1] == '\n' || cut[length - 1] == ' '))
        cut[--length] = '\0';
    return clvi_printable(cut, out, REASON_BYTES);
}

/* Steps over "./" and doubled '/' at the front. */
static const char *below(const char *path)
{
    while (path[0] == '.' && path[1] == '/') {
        path += 2;
        while (*path == '/')
            path++;
    }
    return path;
}

static bool leaves_folder(const char *path)
{
    if (*path == '/' || *path == '\\')
        return true;
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
            return true;
    }
    return false;
}

/* `more`: bytes that are to be stepped over next. */
static clv_status check_inflation(const reading *r, uint64_t more, clv_error *error)
{
    const la_int64_t told = archive_filter_bytes(r->archive, 0); /* in a zip: packed bytes */
    const uint64_t stream = told > 0 ? (uint64_t)told : 0;
    const uint64_t so_far = r->inflated > stream ? r->inflated : stream;
    if (so_far > r->most || more > r->most - so_far)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: the archive is not safe: it inflates to more than %d times its size",
                 r->source->path, INFLATION);
    return CLV_OK;
}

/* Reads the whole of the current entry into the scratch buffer. */
static clv_status read_entry(reading *r, const char *path, size_t *length, clv_error *error)
{
    char name[400], why[REASON_BYTES];
    size_t done = 0;
    for (;;) {
        if (done > CLVI_IMAGE_FILE_LIMIT)
            CLV_FAIL(error, CLV_E_DATA, "%s: larger than %d MiB",
                     clvi_source_name(r->source, path, name, sizeof name),
                     (int)(CLVI_IMAGE_FILE_LIMIT >> 20));
        CLV_TRY(check_inflation(r, 0, error));
        CLV_TRY(clvi_scratch_need(&r->scratch, done + 65536, error));
        const la_ssize_t count =
            archive_read_data(r->archive, r->scratch.data + done, r->scratch.capacity - done);
        if (count < 0)
            CLV_FAIL(error, CLV_E_DATA, "%s: the archive cannot be read here (%s)",
                     clvi_source_name(r->source, path, name, sizeof name), reason(r->archive, why));
        if (count == 0)
            break;
        done += (size_t)count;
        r->inflated += (uint64_t)count;
    }
    *length = done;
    return CLV_OK;
}

static clv_status keep_image(reading *r, const char *path, clv_error *error)
{
    size_t length = 0;
    CLV_TRY(read_entry(r, path, &length, error));
    if (length > r->source->limit - r->source->held) /* before it is copied */
        return clvi_source_hold(r->source, length, error);
    uint8_t *data = clvi_arena_alloc(r->source->arena, length + (length == 0));
    if (!data)
        CLV_FAIL(error, CLV_E_MEMORY,
                 "%s: no memory to hold its images; unpack it and give the folder",
                 r->source->path);
    if (length > 0)
        memcpy(data, r->scratch.data, length);
    const clvi_entry entry = {.path = path, .bytes = length, .data = data};
    return clvi_source_add(r->source, &entry, error);
}

/* The entry's name below the archive's top, checked; NULL in *out: to be passed over. */
static clv_status take_name(const reading *r, struct archive_entry *entry, const char **out,
                            clv_error *error)
{
    const clvi_source *source = r->source;
    char name[400];
    const char *path = archive_entry_pathname_utf8(entry);
    if (!path) /* not UTF-8: the bytes as they are */
        path = archive_entry_pathname(entry);
    if (!path)
        CLV_FAIL(error, CLV_E_DATA, "%s: an entry whose name cannot be read", source->path);
    if (strlen(path) > NAME_LIMIT)
        CLV_FAIL(error, CLV_E_DATA, "%s: an entry whose name is longer than %d bytes", source->path,
                 NAME_LIMIT);
    path = below(path);
    if (leaves_folder(path))
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: the archive is not safe: this name leads out of its folder",
                 clvi_source_name(source, path, name, sizeof name));
    *out = clvi_source_ignores(path) ? NULL : path;
    return CLV_OK;
}

/* A name that ends like an image's but is none. */
static clv_status check_kind(const reading *r, struct archive_entry *entry, const char *path,
                             clv_error *error)
{
    char name[400];
    const bool link = archive_entry_filetype(entry) == AE_IFLNK || archive_entry_hardlink(entry);
    if (!link && archive_entry_filetype(entry) == AE_IFREG)
        return CLV_OK;
    CLV_FAIL(error, CLV_E_DATA, "%s: %s", clvi_source_name(r->source, path, name, sizeof name),
             link ? "a link; pack the archive with the files themselves (tar -h "
                    "--hard-dereference)"
                  : "not a file");
}

static bool is_zip(const reading *r)
{
    return (archive_format(r->archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_ZIP;
}

/* Zip knows a dozen methods. Some ask for gigabytes before their first byte, because a header says
 * so, and libarchive goes along; the two that are in use need next to nothing. */
static clv_status check_method(const reading *r, const char *path, clv_error *error)
{
    char name[400], method[REASON_BYTES];
    const char *text = is_zip(r) ? archive_format_name(r->archive) : NULL; /* "ZIP 2.0 (lzma)" */
    if (!text || strstr(text, "(deflation)") || strstr(text, "(uncompressed)"))
        return CLV_OK;
    CLV_FAIL(error, CLV_E_DATA, "%s: its kind of compression is not read here, %s; use deflate",
             clvi_source_name(r->source, path, name, sizeof name),
             clvi_printable(text, method, sizeof method));
}

/* Reads an image, or leaves the entry to be stepped over by the next header. */
static clv_status take_entry(reading *r, struct archive_entry *entry, clv_error *error)
{
    clvi_source *source = r->source;
    const char *path = NULL;
    CLV_TRY(take_name(r, entry, &path, error));
    if (path && archive_entry_filetype(entry) == AE_IFDIR) {
        size_t length = strlen(path);
        while (length > 0 && path[length - 1] == '/')
            length--;
        CLV_TRY(clvi_source_add_folder(source, path, length, error));
    } else if (path) {
        const char *slash = strrchr(path, '/');
        if (slash)
            CLV_TRY(clvi_source_add_folder(source, path, (size_t)(slash - path), error));
        if (clvi_image_name(path)) {
            CLV_TRY(check_kind(r, entry, path, error));
            CLV_TRY(check_method(r, path, error));
            return keep_image(r, path, error);
        }
    }
    const la_int64_t bytes = archive_entry_size(entry);
    /* Stepping over the entries of a zip inflates nothing. */
    if (is_zip(r))
        return CLV_OK;
    return check_inflation(r, bytes > 0 ? (uint64_t)bytes : 0, error);
}

static clv_status read_entries(reading *r, clv_error *error)
{
    char why[REASON_BYTES];
    for (;;) {
        struct archive_entry *entry = NULL;
        const int result = archive_read_next_header(r->archive, &entry);
        if (result == ARCHIVE_EOF)
            return CLV_OK;
        if (result == ARCHIVE_WARN)
            clvi_log(CLVI_LOG_DEBUG, "%s: %s", r->source->path, reason(r->archive, why));
        else if (result != ARCHIVE_OK)
            CLV_FAIL(error, CLV_E_DATA, "%s: damaged or unknown archive (%s)", r->source->path,
                     reason(r->archive, why));
        CLV_TRY(take_entry(r, entry, error));
    }
}

/* Only what libarchive reads by itself: no filter that would start another program. */
static clv_status set_formats(const reading *r, clv_error *error)
{
    char why[REASON_BYTES];
    struct archive *archive = r->archive;
    bool ok = archive_read_support_filter_gzip(archive) == ARCHIVE_OK &&
              archive_read_support_format_tar(archive) == ARCHIVE_OK &&
              archive_read_support_format_zip(archive) == ARCHIVE_OK;
    if (archive_bzlib_version())
        ok = ok && archive_read_support_filter_bzip2(archive) == ARCHIVE_OK;
    if (archive_liblzma_version())
        ok = ok && archive_read_support_filter_xz(archive) == ARCHIVE_OK;
    if (archive_libzstd_version())
        ok = ok && archive_read_support_filter_zstd(archive) == ARCHIVE_OK;
    if (!ok)
        CLV_FAIL(error, CLV_E_INTERNAL, "libarchive lacks tar, zip or gzip: %s",
                 reason(archive, why));
    return CLV_OK;
}

static clv_status read_archive(reading *r, clv_error *error)
{
    char why[REASON_BYTES];
    CLV_TRY(set_formats(r, error));
    if (archive_read_open_filename(r->archive, r->source->path, 1 << 18) != ARCHIVE_OK)
        CLV_FAIL(error, CLV_E_DATA, "%s: cannot be read as a .tar, packed or not, or a .zip (%s)",
                 r->source->path, reason(r->archive, why));
    return read_entries(r, error);
}

/* libarchive converts names to the character set of the thread's locale and loses them where that
 * cannot hold them: classes have names in any script, so it is UTF-8 while an archive is read,
 * whatever the program has set. Where there is no such locale, the program's stays. */
static clv_status read_in_utf8(reading *r, clv_error *error)
{
    const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    const locale_t before = utf8 != (locale_t)0 ? uselocale(utf8) : (locale_t)0;
    const clv_status status = read_archive(r, error);
    if (utf8 != (locale_t)0) {
        (void)uselocale(before);
        freelocale(utf8);
    }
    return status;
}

clv_status clvi_source_read_archive(clvi_source *source, clv_error *error)
{
    reading r = {.source = source, .most = SMALL_ARCHIVE};
    struct stat info;
    if (stat(source->path, &info) == 0 && info.st_size > 0)
        r.most += (uint64_t)info.st_size * INFLATION;
    r.archive = archive_read_new();
    if (!r.archive)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to read it", source->path);
    const clv_status status = read_in_utf8(&r, error);
    (void)archive_read_free(r.archive);
    clvi_free(r.scratch.data);
    return status;
}
