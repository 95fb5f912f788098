/* What the two kinds of source share: the lists, their order, reading one entry. */
#define _POSIX_C_SOURCE 200809L
#include "data/source.h"

#include "base/files.h"
#include "data/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t clvi_physical_bytes(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages < 1 || page < 1)
        return (uint64_t)4 << 30;
    return (uint64_t)pages * (uint64_t)page;
}

clv_status clvi_scratch_need(clvi_scratch *scratch, size_t bytes, clv_error *error)
{
    void *data = scratch->data;
    CLV_TRY(clvi_grow(&data, &scratch->capacity, bytes, 1, error));
    scratch->data = data;
    return CLV_OK;
}

bool clvi_source_ignores(const char *path)
{
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (*part == '.')
            return true;
        const size_t length = strcspn(part, "/");
        if (length == strlen("__MACOSX") && strncmp(part, "__MACOSX", length) == 0)
            return true;
    }
    return false;
}

clv_status clvi_source_hold(clvi_source *source, uint64_t bytes, clv_error *error)
{
    if (bytes > source->limit - source->held)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: its %s need more than the %llu MiB of memory that they may take%s",
                 source->path, source->archive ? "images and their names" : "names",
                 (unsigned long long)(source->limit >> 20),
                 source->archive ? "; unpack it and give the folder" : "");
    source->held += bytes;
    return CLV_OK;
}

clv_status clvi_source_add(clvi_source *source, const clvi_entry *entry, clv_error *error)
{
    if (source->count >= INT32_MAX)
        CLV_FAIL(error, CLV_E_DATA, "%s: more than %d images", source->path, INT32_MAX);
    /* Lists double when they grow, hence twice the size of an entry. */
    CLV_TRY(clvi_source_hold(
        source, 2 * sizeof *entry + strlen(entry->path) + 1 + (entry->data ? entry->bytes : 0),
        error));
    void *entries = source->entries;
    CLV_TRY(
        clvi_grow(&entries, &source->capacity, source->count + 1, sizeof *source->entries, error));
    source->entries = entries;
    clvi_entry added = *entry;
    added.path = clvi_arena_strdup(source->arena, entry->path);
    if (!added.path)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the list of images", source->path);
    source->entries[source->count++] = added;
    return CLV_OK;
}

/* True when path[0..length) is the last folder that was added, or an ancestor of it: those were
 * added before it. */
static bool just_added(const clvi_source *source, const char *path, size_t length)
{
    if (source->folder_count == 0)
        return false;
    const char *last = source->folders[source->folder_count - 1];
    return strncmp(last, path, length) == 0 && (last[length] == '\0' || last[length] == '/');
}

clv_status clvi_source_add_folder(clvi_source *source, const char *path, size_t length,
                                  clv_error *error)
{
    for (size_t end = 1; end <= length; end++) {
        if ((end < length && path[end] != '/') || just_added(source, path, end))
            continue;
        CLV_TRY(clvi_source_hold(source, 2 * sizeof *source->folders + end + 1, error));
        void *folders = source->folders;
        CLV_TRY(clvi_grow(&folders, &source->folder_capacity, source->folder_count + 1,
                          sizeof *source->folders, error));
        source->folders = folders;
        char *copy = clvi_arena_alloc(source->arena, end + 1);
        if (!copy)
            CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the list of folders", source->path);
        memcpy(copy, path, end);
        source->folders[source->folder_count++] = copy;
    }
    return CLV_OK;
}

static int compare_entries(const void *a, const void *b)
{
    return clvi_natural_compare(((const clvi_entry *)a)->path, ((const clvi_entry *)b)->path);
}

static void sort_lists(clvi_source *source)
{
    if (source->count > 1)
        qsort(source->entries, source->count, sizeof *source->entries, compare_entries);
    if (source->folder_count < 2)
        return;
    qsort(source->folders, source->folder_count, sizeof *source->folders, clvi_natural_compare_p);
    size_t kept = 1;
    for (size_t i = 1; i < source->folder_count; i++)
        if (strcmp(source->folders[i], source->folders[kept - 1]) != 0)
            source->folders[kept++] = source->folders[i];
    source->folder_count = kept;
}

/* An archive can hold one name twice: a later file replaces the earlier one where it is unpacked,
 * here it is a fault, for the two would share a name and random numbers. */
static clv_status refuse_twins(const clvi_source *source, clv_error *error)
{
    char name[400];
    for (size_t i = 1; i < source->count; i++)
        if (strcmp(source->entries[i].path, source->entries[i - 1].path) == 0)
            CLV_FAIL(error, CLV_E_DATA, "%s: stands in the archive twice",
                     clvi_source_name(source, source->entries[i].path, name, sizeof name));
    return CLV_OK;
}

static clv_status fill(clvi_source *source, const char *path, uint64_t limit, clv_error *error)
{
    source->limit = limit;
    CLV_TRY(clvi_arena_create(&source->arena, error));
    source->path = clvi_strdup(path);
    if (!source->path)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to open it", path);
    struct stat info;
    if (stat(path, &info) != 0)
        return clvi_fail_open(error, errno, CLV_HERE, path, "cannot be opened");
    if (S_ISDIR(info.st_mode)) {
        CLV_TRY(clvi_source_list_folder(source, error));
    } else if (S_ISREG(info.st_mode)) {
        source->archive = true;
        CLV_TRY(clvi_source_read_archive(source, error));
    } else {
        CLV_FAIL(error, CLV_E_DATA, "%s: neither a folder nor an archive", path);
    }
    sort_lists(source);
    return refuse_twins(source, error);
}

clv_status clvi_source_open(const char *path, uint64_t limit, bool skip_bad, clvi_source **out,
                            clv_error *error)
{
    clvi_source *source = clvi_calloc(1, sizeof *source);
    if (!source)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to open it", path);
    source->skip_bad = skip_bad;
    const clv_status status = fill(source, path, limit, error);
    if (status != CLV_OK) {
        clvi_source_close(source);
        return status;
    }
    *out = source;
    return CLV_OK;
}

void clvi_source_close(clvi_source *source)
{
    if (!source)
        return;
    clvi_arena_destroy(source->arena);
    clvi_free(source->entries);
    clvi_free(source->folders);
    clvi_free(source->path);
    clvi_free(source);
}

const char *clvi_source_name(const clvi_source *source, const char *path, char *out, size_t bytes)
{
    const size_t length = strlen(source->path);
    const char *joint = source->archive ? ": " : "/";
    if (!source->archive && length > 0 && source->path[length - 1] == '/')
        joint = "";
    clvi_text whole = {0};
    clvi_text_printf(&whole, "%s%s%s", source->path, joint, path);
    (void)clvi_printable(whole.failed ? path : clvi_text_get(&whole), out, bytes);
    clvi_text_fini(&whole);
    return out;
}

bool clvi_source_fault_of_file(const char *path, int code)
{
    struct stat info;
    return code == EACCES || code == ELOOP || (code == ENOENT && lstat(path, &info) == 0);
}

/* Reads an open file to its end. `length` is what was read. */
static clv_status read_all(int file, const char *name, clvi_scratch *scratch, size_t *length,
                           clv_error *error)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot be read", name);
    size_t want = info.st_size > 0 ? (size_t)info.st_size : 0, done = 0;
    for (;;) {
        if (want > CLVI_IMAGE_FILE_LIMIT)
            CLV_FAIL(error, CLV_E_DATA, "%s: larger than %d MiB", name,
                     (int)(CLVI_IMAGE_FILE_LIMIT >> 20));
        CLV_TRY(clvi_scratch_need(scratch, want + 1, error));
        const ssize_t count = read(file, scratch->data + done, want + 1 - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot be read", name);
        if (count == 0)
            break;
        done += (size_t)count;
        if (done > want) /* it grew since fstat */
            want = done + 65536;
    }
    *length = done;
    return CLV_OK;
}

static clv_status cannot_open(const char *path, int code, clv_error *error)
{
    char reason[128] = "";
    if (!clvi_source_fault_of_file(path, code))
        return clvi_fail_errno(error, code, CLV_HERE, "%s: cannot be opened", path);
    (void)strerror_r(code, reason, sizeof reason);
    CLV_FAIL(error, CLV_E_DATA, "%s: cannot be opened: %s", path, reason);
}

clv_status clvi_source_read(const clvi_source *source, size_t index, clvi_scratch *scratch,
                            const uint8_t **data, size_t *length, clv_error *error)
{
    const clvi_entry *entry = &source->entries[index];
    if (source->archive) {
        *data = entry->data;
        *length = (size_t)entry->bytes;
        return CLV_OK;
    }
    char *path = clvi_path_join(source->path, entry->path);
    if (!path)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to read it", entry->path);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    clv_status status;
    if (file < 0) {
        status = cannot_open(path, errno, error);
    } else {
        status = read_all(file, path, scratch, &done, error);
        (void)close(file);
    }
    clvi_free(path);
    if (status != CLV_OK)
        return status;
    *data = scratch->data;
    *length = done;
    return CLV_OK;
}
