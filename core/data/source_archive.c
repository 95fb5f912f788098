/* An archive as a source, through libarchive: read once, the bytes of its images kept. Nothing is
 * ever written to disk, yet names that would leave the folder are refused: such an archive is
 * either an attack or a mistake. */
#define _POSIX_C_SOURCE 200809L
#include "data/source.h"

#include "base/process.h"
#include "data/image.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

typedef struct reading {
    clvi_source *source;
    struct archive *archive;
    clvi_scratch scratch;
    uint64_t total, limit; /* bytes kept, and how many may be */
} reading;

static const char *reason(struct archive *archive)
{
    const char *text = archive_error_string(archive);
    return text ? text : "no reason given";
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

/* Reads the whole of the current entry into the scratch buffer. */
static clv_status read_entry(reading *r, const char *path, size_t *length, clv_error *error)
{
    char name[400];
    size_t done = 0;
    for (;;) {
        if (done > CLVI_SOURCE_FILE_LIMIT)
            CLV_FAIL(error, CLV_E_DATA, "%s: larger than %d MiB",
                     clvi_source_name(r->source, path, name, sizeof name),
                     (int)(CLVI_SOURCE_FILE_LIMIT >> 20));
        CLV_TRY(clvi_scratch_need(&r->scratch, done + 65536, error));
        const la_ssize_t count =
            archive_read_data(r->archive, r->scratch.data + done, r->scratch.capacity - done);
        if (count < 0)
            CLV_FAIL(error, CLV_E_DATA, "%s: the archive cannot be read here (%s)",
                     clvi_source_name(r->source, path, name, sizeof name), reason(r->archive));
        if (count == 0)
            break;
        done += (size_t)count;
    }
    *length = done;
    return CLV_OK;
}

static clv_status keep_image(reading *r, const char *path, clv_error *error)
{
    size_t length = 0;
    CLV_TRY(read_entry(r, path, &length, error));
    r->total += length + strlen(path) + sizeof(clvi_entry);
    if (r->total > r->limit)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: its images need more than half of this machine's memory (%llu MiB); unpack "
                 "it and give the folder",
                 r->source->path, (unsigned long long)(r->limit >> 20));
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

static clv_status take_entry(reading *r, struct archive_entry *entry, clv_error *error)
{
    clvi_source *source = r->source;
    char name[400];
    const char *path = archive_entry_pathname_utf8(entry);
    if (!path) /* not UTF-8: the bytes as they are */
        path = archive_entry_pathname(entry);
    if (!path)
        CLV_FAIL(error, CLV_E_DATA, "%s: an entry whose name cannot be read", source->path);
    path = below(path);
    if (leaves_folder(path))
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: the archive is not safe: this name leads out of its folder",
                 clvi_source_name(source, path, name, sizeof name));
    if (clvi_source_ignores(path))
        return CLV_OK;
    size_t length = strlen(path);
    if (archive_entry_filetype(entry) == AE_IFDIR) {
        while (length > 0 && path[length - 1] == '/')
            length--;
        return clvi_source_add_folder(source, path, length, error);
    }
    const char *slash = strrchr(path, '/');
    if (slash)
        CLV_TRY(clvi_source_add_folder(source, path, (size_t)(slash - path), error));
    if (!clvi_image_name(path))
        return CLV_OK;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: a link; pack the archive with the files themselves (tar -h "
                 "--hard-dereference)",
                 clvi_source_name(source, path, name, sizeof name));
    return keep_image(r, path, error);
}

static clv_status read_entries(reading *r, clv_error *error)
{
    for (;;) {
        struct archive_entry *entry = NULL;
        const int result = archive_read_next_header(r->archive, &entry);
        if (result == ARCHIVE_EOF)
            return CLV_OK;
        if (result == ARCHIVE_WARN)
            clvi_log(CLVI_LOG_DEBUG, "%s: %s", r->source->path, reason(r->archive));
        else if (result != ARCHIVE_OK)
            CLV_FAIL(error, CLV_E_DATA, "%s: damaged or unknown archive (%s)", r->source->path,
                     reason(r->archive));
        CLV_TRY(take_entry(r, entry, error));
    }
}

/* Only what libarchive reads by itself: no filter that would start another program. */
static clv_status set_formats(const reading *r, clv_error *error)
{
    struct archive *archive = r->archive;
    if (archive_read_support_filter_gzip(archive) != ARCHIVE_OK ||
        archive_read_support_format_tar(archive) != ARCHIVE_OK ||
        archive_read_support_format_zip(archive) != ARCHIVE_OK)
        CLV_FAIL(error, CLV_E_INTERNAL, "libarchive lacks tar, zip or gzip: %s", reason(archive));
    return CLV_OK;
}

static clv_status read_archive(reading *r, clv_error *error)
{
    CLV_TRY(set_formats(r, error));
    if (archive_read_open_filename(r->archive, r->source->path, 1 << 18) != ARCHIVE_OK)
        CLV_FAIL(error, CLV_E_DATA, "%s: cannot be read as .tar, .tar.gz or .zip (%s)",
                 r->source->path, reason(r->archive));
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
    reading r = {.source = source, .limit = clvi_physical_bytes() / 2};
    r.archive = archive_read_new();
    if (!r.archive)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to read it", source->path);
    const clv_status status = read_in_utf8(&r, error);
    (void)archive_read_free(r.archive);
    clvi_free(r.scratch.data);
    return status;
}
