/* See zip.h. The format: PKWARE's APPNOTE 6.3.9, sections 4.3.7 (local header), 4.3.12 (directory),
 * 4.3.14 to 4.3.16 (its end, and that of zip64). */
#include "weights/zip.h"

#include "base/text.h"

#include <stdlib.h>

enum {
    LOCAL_BYTES = 30,
    RECORD_BYTES = 46,
    END_BYTES = 22,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    COMMENT_BYTES = 65535,
    DIRECTORY_BYTES = 16 << 20
};

struct clvi_zip {
    clvi_arena *arena;
    clvi_zip_entry *entries; /* by name */
    size_t count;
};

/* What the parts of the reader share. */
typedef struct reader {
    int descriptor;
    const char *path;
    uint64_t file_bytes;
    uint64_t at, bytes, count; /* of the directory */
} reader;

static uint32_t get16(const unsigned char *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8;
}

static uint32_t get32(const unsigned char *from)
{
    return get16(from) | get16(from + 2) << 16;
}

static uint64_t get64(const unsigned char *from)
{
    return (uint64_t)get32(from) | (uint64_t)get32(from + 4) << 32;
}

static clv_status read_at(const reader *r, uint64_t at, void *out, uint64_t bytes, clv_error *error)
{
    return clvi_file_read_at(r->descriptor, r->path, at, out, bytes, error);
}

static clv_status bad_entry(const reader *r, const char *name, const char *what, clv_error *error)
{
    char shown[96];
    CLV_FAIL(error, CLV_E_FORMAT, "%s: entry '%s' of the zip file %s", r->path,
             clvi_printable(name, shown, sizeof shown), what);
}

/* ---- Where the directory lies ---- */

/* The end record of zip64, where the plain one at `end` has no room for the numbers. */
static clv_status find_directory64(reader *r, uint64_t end, clv_error *error)
{
    unsigned char locator[LOCATOR_BYTES], record[END64_BYTES];
    if (end < LOCATOR_BYTES)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: the zip file's end is damaged", r->path);
    CLV_TRY(read_at(r, end - LOCATOR_BYTES, locator, sizeof locator, error));
    const uint64_t at = get64(locator + 8);
    if (get32(locator) != 0x07064b50 || at > end || end - at < END64_BYTES + LOCATOR_BYTES)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: the zip64 end of the zip file is damaged", r->path);
    CLV_TRY(read_at(r, at, record, sizeof record, error));
    if (get32(record) != 0x06064b50)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: the zip64 end of the zip file is damaged", r->path);
    r->count = get64(record + 32);
    r->bytes = get64(record + 40);
    r->at = get64(record + 48);
    return CLV_OK;
}

static clv_status find_directory(reader *r, clv_error *error)
{
    const uint64_t most = END_BYTES + COMMENT_BYTES;
    const uint64_t tail = r->file_bytes < most ? r->file_bytes : most;
    unsigned char *text = clvi_malloc((size_t)tail);
    if (!text)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", r->path);
    clv_status status = read_at(r, r->file_bytes - tail, text, tail, error);
    uint64_t found = tail;
    for (uint64_t i = tail >= END_BYTES ? tail - END_BYTES + 1 : 0; i-- > 0 && found == tail;)
        if (get32(text + i) == 0x06054b50 && get16(text + i + 20) == tail - i - END_BYTES)
            found = i;
    const uint64_t end = r->file_bytes - tail + found;
    bool wide = false;
    if (status == CLV_OK && found == tail) {
        status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE,
                           "%s: the zip file has no end; was it cut off?", r->path);
    } else if (status == CLV_OK) {
        r->count = get16(text + found + 10);
        r->bytes = get32(text + found + 12);
        r->at = get32(text + found + 16);
        wide = r->count == 0xFFFF || r->bytes == UINT32_MAX || r->at == UINT32_MAX;
    }
    clvi_free(text);
    CLV_TRY(status);
    if (wide)
        CLV_TRY(find_directory64(r, end, error));
    if (r->at > end || r->bytes > end - r->at || r->count > r->bytes / RECORD_BYTES)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: the zip file's directory would lie beyond its end",
                 r->path);
    if (r->bytes > DIRECTORY_BYTES)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: the zip file's directory has more than 16 MB", r->path);
    return CLV_OK;
}

/* ---- Entries ---- */

/* The numbers of a record that did not fit into 32 bits stand in its extra field, in this order. */
static bool widen(const unsigned char *extra, size_t extra_bytes, uint64_t *const numbers[3])
{
    bool wanted = false;
    for (int i = 0; i < 3; i++)
        wanted |= *numbers[i] == UINT32_MAX;
    while (wanted && extra_bytes >= 4) {
        const size_t bytes = get16(extra + 2);
        if (bytes > extra_bytes - 4)
            return false;
        if (get16(extra) == 1) {
            size_t used = 0;
            for (int i = 0; i < 3; i++) {
                if (*numbers[i] != UINT32_MAX)
                    continue;
                if (bytes - used < 8)
                    return false;
                *numbers[i] = get64(extra + 4 + used);
                used += 8;
            }
            return true;
        }
        extra += 4 + bytes;
        extra_bytes -= 4 + bytes;
    }
    return !wanted;
}

/* Goes from the entry's local header, at entry->offset, to its data. */
static clv_status find_data(const reader *r, clvi_zip_entry *entry, clv_error *error)
{
    unsigned char local[LOCAL_BYTES];
    const char *beyond = "would lie beyond the file's data; was the file cut off?";
    if (entry->offset > r->at || r->at - entry->offset < LOCAL_BYTES)
        return bad_entry(r, entry->name, beyond, error);
    CLV_TRY(read_at(r, entry->offset, local, sizeof local, error));
    if (get32(local) != 0x04034b50)
        return bad_entry(r, entry->name, "does not begin where the directory says", error);
    const uint64_t skip = LOCAL_BYTES + get16(local + 26) + get16(local + 28);
    const uint64_t room = r->at - entry->offset;
    if (skip > room || entry->bytes > room - skip)
        return bad_entry(r, entry->name, beyond, error);
    entry->offset += skip;
    return CLV_OK;
}

/* One record of the directory; *used: its bytes. */
static clv_status parse_record(const reader *r, clvi_arena *arena, const unsigned char *from,
                               size_t left, clvi_zip_entry *out, size_t *used, clv_error *error)
{
    const size_t name_bytes = left >= RECORD_BYTES ? get16(from + 28) : 0;
    const size_t extra_bytes = left >= RECORD_BYTES ? get16(from + 30) : 0;
    *used = RECORD_BYTES + name_bytes + extra_bytes;
    if (left >= RECORD_BYTES)
        *used += get16(from + 32);
    if (left < *used || get32(from) != 0x02014b50)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: the zip file's directory is damaged", r->path);
    char *name = clvi_arena_alloc(arena, name_bytes + 1);
    if (!name)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", r->path);
    memcpy(name, from + RECORD_BYTES, name_bytes);
    uint64_t bytes = get32(from + 24), packed = get32(from + 20), offset = get32(from + 42);
    uint64_t *const numbers[3] = {&bytes, &packed, &offset};
    if (strlen(name) != name_bytes)
        return bad_entry(r, name, "has a name with a NUL in it", error);
    if (get16(from + 8) & 1)
        return bad_entry(r, name, "is encrypted", error);
    if (get16(from + 10) != 0)
        return bad_entry(r, name, "is compressed, which PyTorch never does; save the file anew",
                         error);
    if (!widen(from + RECORD_BYTES + name_bytes, extra_bytes, numbers) || bytes != packed)
        return bad_entry(r, name, "has no sound size", error);
    *out = (clvi_zip_entry){.name = name, .offset = offset, .bytes = bytes};
    return find_data(r, out, error);
}

static int compare_name(const void *a, const void *b)
{
    return strcmp(((const clvi_zip_entry *)a)->name, ((const clvi_zip_entry *)b)->name);
}

static int compare_offset(const void *a, const void *b)
{
    const clvi_zip_entry *left = a, *right = b;
    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    return left->bytes < right->bytes ? -1 : left->bytes > right->bytes;
}

/* No byte belongs to two entries, no name stands for two; leaves them sorted by name. */
static clv_status check_entries(const reader *r, clvi_zip *zip, clv_error *error)
{
    if (zip->count < 2)
        return CLV_OK;
    qsort(zip->entries, zip->count, sizeof *zip->entries, compare_offset);
    for (size_t i = 1; i < zip->count; i++) {
        const clvi_zip_entry *before = &zip->entries[i - 1];
        if (zip->entries[i].offset < before->offset + before->bytes)
            return bad_entry(r, zip->entries[i].name, "overlaps another one", error);
    }
    qsort(zip->entries, zip->count, sizeof *zip->entries, compare_name);
    for (size_t i = 1; i < zip->count; i++)
        if (compare_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
            return bad_entry(r, zip->entries[i].name, "stands there twice", error);
    return CLV_OK;
}

static clv_status read_directory(const reader *r, clvi_zip *zip, clv_error *error)
{
    unsigned char *text = clvi_malloc((size_t)r->bytes);
    zip->entries = clvi_arena_alloc(zip->arena, (size_t)r->count * sizeof *zip->entries);
    clv_status status = CLV_OK;
    if (!text || !zip->entries)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", r->path);
    else
        status = read_at(r, r->at, text, r->bytes, error);
    for (size_t at = 0; zip->count < r->count && status == CLV_OK;) {
        size_t used = 0;
        status = parse_record(r, zip->arena, text + at, (size_t)r->bytes - at,
                              &zip->entries[zip->count], &used, error);
        at += used;
        zip->count++;
    }
    clvi_free(text);
    return status == CLV_OK ? check_entries(r, zip, error) : status;
}

/* ---- The zip ---- */

clv_status clvi_zip_open(int descriptor, const char *path, uint64_t file_bytes, clvi_zip **out,
                         clv_error *error)
{
    reader r = {.descriptor = descriptor, .path = path, .file_bytes = file_bytes};
    CLV_TRY(find_directory(&r, error));
    clvi_zip *zip = clvi_calloc(1, sizeof *zip);
    if (!zip)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    clv_status status = clvi_arena_create(&zip->arena, error);
    if (status == CLV_OK)
        status = read_directory(&r, zip, error);
    if (status != CLV_OK) {
        clvi_zip_destroy(zip);
        return status;
    }
    *out = zip;
    return CLV_OK;
}

void clvi_zip_destroy(clvi_zip *zip)
{
    if (!zip)
        return;
    clvi_arena_destroy(zip->arena);
    clvi_free(zip);
}

size_t clvi_zip_count(const clvi_zip *zip)
{
    return zip->count;
}

const clvi_zip_entry *clvi_zip_at(const clvi_zip *zip, size_t index)
{
    CLV_ASSERT(index < zip->count);
    return &zip->entries[index];
}

const clvi_zip_entry *clvi_zip_find(const clvi_zip *zip, const char *name)
{
    const clvi_zip_entry wanted = {.name = name};
    if (zip->count == 0)
        return NULL;
    return bsearch(&wanted, zip->entries, zip->count, sizeof *zip->entries, compare_name);
}
