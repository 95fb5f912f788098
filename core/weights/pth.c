/* See pth.h. The two forms of file: PyTorch's torch/serialization.py. */
#include "weights/pth.h"

#include "base/text.h"
#include "weights/torch_objects.h"
#include "weights/zip.h"

#include <stdlib.h>
#include <unistd.h>

enum { MOST_NESTED = 8, MOST_DICTS = 4096, MOST_VISITS = 1 << 23 };

/* Where the data of a storage lies. */
typedef struct placed {
    const char *key;
    clvi_file_dtype dtype;
    int64_t elements;
    uint64_t offset;
} placed;

struct clvi_pth {
    int descriptor;
    char *path;
    uint64_t file_bytes;
    clvi_arena *arena;
    clvi_torch_objects objects;
    const clvi_pickle_value *root;
    placed *storages; /* by key, each once */
    size_t storage_count;
    const char *place;
    clvi_file_tensor *tensors;
    const clvi_torch_tensor **views; /* of each tensor */
    size_t count;
    size_t dicts, visits; /* while looking for the dictionary */
};

static clv_status out_of_memory(const clvi_pth *file, clv_error *error)
{
    CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", file->path);
}

/* ---- Storages ---- */

static int compare_key(const void *a, const void *b)
{
    return strcmp(((const placed *)a)->key, ((const placed *)b)->key);
}

static placed *find_storage(const clvi_pth *file, const char *key)
{
    const placed wanted = {.key = key};
    if (file->storage_count == 0)
        return NULL;
    return bsearch(&wanted, file->storages, file->storage_count, sizeof wanted, compare_key);
}

/* The list of storages, each once. */
static clv_status list_storages(clvi_pth *file, clv_error *error)
{
    const size_t most = file->objects.storage_count;
    placed *list = clvi_arena_alloc(file->arena, most * sizeof *list);
    size_t count = 0, kept = 0;
    if (!list)
        return out_of_memory(file, error);
    for (const clvi_torch_storage *s = file->objects.storages; s; s = s->before)
        list[count++] = (placed){.key = s->key, .dtype = s->dtype, .elements = s->elements};
    qsort(list, count, sizeof *list, compare_key);
    for (size_t i = 0; i < count; i++) {
        placed *last = kept > 0 ? &list[kept - 1] : NULL;
        if (!last || strcmp(last->key, list[i].key) != 0) {
            list[kept++] = list[i];
        } else if (last->dtype != list[i].dtype || last->elements != list[i].elements) {
            char shown[64];
            CLV_FAIL(error, CLV_E_FORMAT, "%s: storage '%s' is described in two ways", file->path,
                     clvi_printable(list[i].key, shown, sizeof shown));
        }
    }
    file->storages = list;
    file->storage_count = kept;
    return CLV_OK;
}

static clv_status bad_storage(const clvi_pth *file, const char *key, const char *what,
                              clv_error *error)
{
    char shown[64];
    CLV_FAIL(error, CLV_E_FORMAT, "%s: storage '%s' %s", file->path,
             clvi_printable(key, shown, sizeof shown), what);
}

/* ---- The zip form ---- */

/* "NAME/" of the entry NAME/data.pkl. */
static clv_status find_pickle(const clvi_pth *file, const clvi_zip *zip, const clvi_zip_entry **out,
                              clv_error *error)
{
    static const char tail[] = "/data.pkl";
    *out = NULL;
    for (size_t i = 0; i < clvi_zip_count(zip); i++) {
        const clvi_zip_entry *entry = clvi_zip_at(zip, i);
        const char *slash = strchr(entry->name, '/');
        if (!slash || strcmp(slash, tail) != 0)
            continue;
        if (*out)
            CLV_FAIL(error, CLV_E_FORMAT, "%s: the zip file has two entries */data.pkl",
                     file->path);
        *out = entry;
    }
    if (!*out)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: a zip file, but not one of PyTorch: it has no entry */data.pkl", file->path);
    return CLV_OK;
}

static clv_status read_pickle(clvi_pth *file, const unsigned char *stream, size_t bytes,
                              const clvi_pickle_value **out, size_t *used, clv_error *error)
{
    const clvi_pickle_user user = clvi_torch_objects_user(&file->objects);
    const clv_status status = clvi_pickle_read(stream, bytes, &user, file->arena, out, used, error);
    if (status != CLV_OK)
        clvi_prepend(error, "%s", file->path);
    return status;
}

static clv_status read_zip_pickle(clvi_pth *file, const clvi_zip_entry *entry, clv_error *error)
{
    if (entry->bytes > CLVI_PICKLE_BYTES)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: its pickle has more than %d MB", file->path,
                 CLVI_PICKLE_BYTES >> 20);
    unsigned char *stream = clvi_malloc((size_t)entry->bytes);
    if (!stream)
        return out_of_memory(file, error);
    size_t used;
    clv_status status =
        clvi_file_read_at(file->descriptor, file->path, entry->offset, stream, entry->bytes, error);
    if (status == CLV_OK)
        status = read_pickle(file, stream, (size_t)entry->bytes, &file->root, &used, error);
    clvi_free(stream);
    return status;
}

/* Numbers are those of the machine that wrote; the entry is missing in older files. */
static clv_status check_byte_order(const clvi_pth *file, const clvi_zip_entry *entry,
                                   clv_error *error)
{
    char order[7] = "little";
    if (entry && entry->bytes < sizeof order) {
        memset(order, 0, sizeof order);
        CLV_TRY(clvi_file_read_at(file->descriptor, file->path, entry->offset, order, entry->bytes,
                                  error));
    }
    if (strcmp(order, "little") != 0)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: written by a big-endian machine; load and save it on a little-endian one",
                 file->path);
    return CLV_OK;
}

static clv_status place_in_zip(clvi_pth *file, const clvi_zip *zip, const char *folder,
                               int folder_bytes, clv_error *error)
{
    clvi_text name = {0};
    clv_status status = CLV_OK;
    for (size_t i = 0; i < file->storage_count && status == CLV_OK; i++) {
        placed *s = &file->storages[i];
        name.length = 0;
        clvi_text_printf(&name, "%.*s/data/%s", folder_bytes, folder, s->key);
        const clvi_zip_entry *entry = name.failed ? NULL : clvi_zip_find(zip, name.data);
        const uint64_t bytes = (uint64_t)s->elements * clvi_file_dtype_bytes(s->dtype);
        if (name.failed)
            status = out_of_memory(file, error);
        else if (!entry)
            status = bad_storage(file, s->key, "is not in the zip file", error);
        else if (entry->bytes != bytes)
            status = bad_storage(file, s->key, "has another size than its pickle says", error);
        else
            s->offset = entry->offset;
    }
    clvi_text_fini(&name);
    return status;
}

static clv_status read_entries(clvi_pth *file, const clvi_zip *zip, clv_error *error)
{
    const clvi_zip_entry *pickle;
    CLV_TRY(find_pickle(file, zip, &pickle, error));
    const int folder_bytes = (int)(strchr(pickle->name, '/') - pickle->name);
    char *order = clvi_arena_printf(file->arena, "%.*s/byteorder", folder_bytes, pickle->name);
    if (!order)
        return out_of_memory(file, error);
    CLV_TRY(check_byte_order(file, clvi_zip_find(zip, order), error));
    CLV_TRY(read_zip_pickle(file, pickle, error));
    CLV_TRY(list_storages(file, error));
    return place_in_zip(file, zip, pickle->name, folder_bytes, error);
}

static clv_status read_zip(clvi_pth *file, clv_error *error)
{
    clvi_zip *zip;
    CLV_TRY(clvi_zip_open(file->descriptor, file->path, file->file_bytes, &zip, error));
    const clv_status status = read_entries(file, zip, error);
    clvi_zip_destroy(zip);
    return status;
}

/* ---- The plain form: pickles one after the other, then the storages ---- */

/* A pickle of the number 0x1950a86a20f9469cfc6c. */
static const unsigned char plain_magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                            0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};
static const unsigned char zip_magic[] = {'P', 'K', 3, 4};

bool clvi_pth_looks_like(const unsigned char *begin, size_t bytes)
{
    return (bytes >= sizeof zip_magic && memcmp(begin, zip_magic, sizeof zip_magic) == 0) ||
           (bytes >= sizeof plain_magic && memcmp(begin, plain_magic, sizeof plain_magic) == 0);
}

/* Storages in the order of `keys`, from `offset` on: the number of elements, then them. */
static clv_status place_in_stream(clvi_pth *file, const clvi_pickle_value *keys, uint64_t offset,
                                  clv_error *error)
{
    if (keys->kind != CLVI_PICKLE_LIST || keys->count != file->storage_count)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: its list of storages is damaged", file->path);
    for (size_t i = 0; i < keys->count; i++) {
        const clvi_pickle_value *key = keys->items[i];
        placed *s = key->kind == CLVI_PICKLE_TEXT ? find_storage(file, key->text) : NULL;
        if (!s || s->offset != 0)
            CLV_FAIL(error, CLV_E_FORMAT, "%s: its list of storages is damaged", file->path);
        unsigned char count[8];
        if (file->file_bytes - offset < sizeof count)
            return bad_storage(file, s->key, "would lie beyond the end of the file", error);
        CLV_TRY(
            clvi_file_read_at(file->descriptor, file->path, offset, count, sizeof count, error));
        uint64_t told = 0;
        for (int k = 8; k-- > 0;)
            told = told << 8 | count[k];
        offset += sizeof count;
        if (told != (uint64_t)s->elements)
            return bad_storage(file, s->key, "has another size than its pickle says", error);
        const uint64_t bytes = told * clvi_file_dtype_bytes(s->dtype);
        if (bytes > file->file_bytes - offset)
            return bad_storage(file, s->key, "would lie beyond the end of the file", error);
        s->offset = offset;
        offset += bytes;
    }
    return CLV_OK;
}

static clv_status read_stream(clvi_pth *file, const unsigned char *stream, size_t bytes,
                              clv_error *error)
{
    enum { MAGIC, PROTOCOL, SYSTEM, ROOT, KEYS, PARTS };
    const clvi_pickle_value *parts[PARTS];
    size_t at = 0;
    for (int i = 0; i < PARTS; i++) {
        size_t used;
        CLV_TRY(read_pickle(file, stream + at, bytes - at, &parts[i], &used, error));
        at += used;
    }
    const clvi_pickle_value *little = parts[SYSTEM]->kind == CLVI_PICKLE_DICT
                                          ? clvi_pickle_get(parts[SYSTEM], "little_endian")
                                          : NULL;
    if (!little || little->kind != CLVI_PICKLE_BOOL || little->integer == 0 ||
        parts[PROTOCOL]->kind != CLVI_PICKLE_INT || parts[PROTOCOL]->integer != 1001)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: a PyTorch file of another protocol or of a big-endian machine", file->path);
    file->root = parts[ROOT];
    CLV_TRY(list_storages(file, error));
    return place_in_stream(file, parts[KEYS], at, error);
}

static clv_status read_plain(clvi_pth *file, clv_error *error)
{
    const uint64_t bytes =
        file->file_bytes < CLVI_PICKLE_BYTES ? file->file_bytes : CLVI_PICKLE_BYTES;
    unsigned char *stream = clvi_malloc((size_t)bytes);
    if (!stream)
        return out_of_memory(file, error);
    clv_status status = clvi_file_read_at(file->descriptor, file->path, 0, stream, bytes, error);
    if (status == CLV_OK)
        status = read_stream(file, stream, (size_t)bytes, error);
    clvi_free(stream);
    return status;
}

/* ---- Which dictionary ---- */

static bool has_tensors(const clvi_pickle_value *dict)
{
    for (size_t i = 0; i < dict->count; i += 2)
        if (clvi_torch_tensor_of(dict->items[i + 1]))
            return true;
    return false;
}

typedef struct search {
    const clvi_pickle_value *found;
    const char *place;
} search;

static clv_status find_tensors(clvi_pth *file, const clvi_pickle_value *dict, const char *place,
                               int depth, search *out, clv_error *error);

/* The dictionary below the value of a key; out->found stays NULL where there is none. */
static clv_status look_below(clvi_pth *file, const clvi_pickle_value *key,
                             const clvi_pickle_value *v, const char *place, int depth, search *out,
                             clv_error *error)
{
    *out = (search){0};
    if (key->kind != CLVI_PICKLE_TEXT || v->kind != CLVI_PICKLE_DICT || depth >= MOST_NESTED)
        return CLV_OK;
    const char *inner =
        clvi_arena_printf(file->arena, "%s%s%.64s", place, *place ? "." : "", key->text);
    if (!inner)
        return out_of_memory(file, error);
    return find_tensors(file, v, inner, depth + 1, out, error);
}

/* This dictionary, or the one within it that holds the weights. */
static clv_status find_tensors(clvi_pth *file, const clvi_pickle_value *dict, const char *place,
                               int depth, search *out, clv_error *error)
{
    static const char *const names[] = {"state_dict", "model_state_dict", "model_state", "model",
                                        "net",        "network",          "weights",     "params"};
    file->visits += dict->count;
    if (++file->dicts > MOST_DICTS || file->visits > MOST_VISITS)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: more dictionaries within others than any model has",
                 file->path);
    if (has_tensors(dict)) {
        *out = (search){dict, place};
        return CLV_OK;
    }
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (size_t i = 0; i < dict->count; i += 2)
            if (clvi_pickle_is_text(dict->items[i], names[k])) {
                CLV_TRY(
                    look_below(file, dict->items[i], dict->items[i + 1], place, depth, out, error));
                if (out->found)
                    return CLV_OK;
            }
    search only = {0};
    for (size_t i = 0; i < dict->count; i += 2) {
        search now;
        CLV_TRY(look_below(file, dict->items[i], dict->items[i + 1], place, depth, &now, error));
        char shown[2][96];
        if (now.found && only.found)
            CLV_FAIL(error, CLV_E_FORMAT,
                     "%s: both '%s' and '%s' in it have tensors, and neither is called state_dict "
                     "or model; save one of them alone",
                     file->path, clvi_printable(only.place, shown[0], sizeof shown[0]),
                     clvi_printable(now.place, shown[1], sizeof shown[1]));
        if (now.found)
            only = now;
    }
    *out = only;
    return CLV_OK;
}

/* ---- Tensors ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static clv_status check_unique(const clvi_pth *file, clv_error *error)
{
    const char **names = clvi_malloc((file->count + 1) * sizeof *names);
    char shown[96];
    clv_status status = CLV_OK;
    if (!names)
        return out_of_memory(file, error);
    for (size_t i = 0; i < file->count; i++)
        names[i] = file->tensors[i].name;
    qsort(names, file->count, sizeof *names, compare_names);
    for (size_t i = 1; i < file->count && status == CLV_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "%s: tensor '%s' stands there twice",
                               file->path, clvi_printable(names[i], shown, sizeof shown));
    clvi_free(names);
    return status;
}

static clv_status add_tensor(clvi_pth *file, const clvi_pickle_value *key,
                             const clvi_torch_tensor *view, clv_error *error)
{
    if (key->kind != CLVI_PICKLE_TEXT || strlen(key->text) != key->count)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: a tensor has no text as its name", file->path);
    const placed *s = find_storage(file, view->storage->key);
    CLV_ASSERT(s);
    const size_t width = clvi_file_dtype_bytes(s->dtype);
    clvi_file_tensor *t = &file->tensors[file->count];
    *t = (clvi_file_tensor){.name = key->text,
                            .dtype = s->dtype,
                            .rank = view->rank,
                            .elements = view->elements,
                            .offset = s->offset + (uint64_t)view->first * width,
                            .bytes = (uint64_t)view->span * width};
    memcpy(t->dims, view->dims, sizeof t->dims);
    file->views[file->count++] = view;
    return CLV_OK;
}

static clv_status list_tensors(clvi_pth *file, clv_error *error)
{
    search found = {0};
    if (file->root->kind == CLVI_PICKLE_DICT)
        CLV_TRY(find_tensors(file, file->root, "", 0, &found, error));
    if (!found.found)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: no dictionary of tensors is in it", file->path);
    const size_t most = found.found->count / 2;
    file->place = found.place;
    file->tensors = clvi_arena_alloc(file->arena, most * sizeof *file->tensors);
    file->views = clvi_arena_alloc(file->arena, most * sizeof *file->views);
    if (!file->tensors || !file->views)
        return out_of_memory(file, error);
    for (size_t i = 0; i < found.found->count; i += 2) {
        const clvi_torch_tensor *view = clvi_torch_tensor_of(found.found->items[i + 1]);
        if (view)
            CLV_TRY(add_tensor(file, found.found->items[i], view, error));
    }
    return check_unique(file, error);
}

/* ---- The file ---- */

static clv_status open_file(clvi_pth *file, const char *path, clv_error *error)
{
    unsigned char begin[sizeof plain_magic];
    file->path = clvi_strdup(path);
    if (!file->path)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    CLV_TRY(clvi_arena_create(&file->arena, error));
    file->objects.arena = file->arena;
    CLV_TRY(clvi_file_open(path, &file->descriptor, &file->file_bytes, error));
    const size_t bytes = file->file_bytes < sizeof begin ? (size_t)file->file_bytes : sizeof begin;
    CLV_TRY(clvi_file_read_at(file->descriptor, path, 0, begin, bytes, error));
    if (!clvi_pth_looks_like(begin, bytes))
        CLV_FAIL(error, CLV_E_FORMAT, "%s: not a file of PyTorch", path);
    CLV_TRY(begin[0] == zip_magic[0] ? read_zip(file, error) : read_plain(file, error));
    return list_tensors(file, error);
}

clv_status clvi_pth_open(const char *path, clvi_pth **out, clv_error *error)
{
    clvi_pth *file = clvi_calloc(1, sizeof *file);
    if (!file)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    file->descriptor = -1;
    const clv_status status = open_file(file, path, error);
    if (status != CLV_OK) {
        clvi_pth_close(file);
        return status;
    }
    *out = file;
    return CLV_OK;
}

void clvi_pth_close(clvi_pth *file)
{
    if (!file)
        return;
    if (file->descriptor >= 0)
        close(file->descriptor);
    clvi_arena_destroy(file->arena);
    clvi_free(file->path);
    clvi_free(file);
}

size_t clvi_pth_count(const clvi_pth *file)
{
    return file->count;
}

const clvi_file_tensor *clvi_pth_at(const clvi_pth *file, size_t index)
{
    CLV_ASSERT(index < file->count);
    return &file->tensors[index];
}

const char *clvi_pth_place(const clvi_pth *file)
{
    return file->place;
}

/* ---- Elements ---- */

static bool is_contiguous(const clvi_torch_tensor *t)
{
    int64_t stride = 1;
    for (int i = t->rank; i-- > 0;) {
        if (t->dims[i] != 1 && t->strides[i] != stride)
            return false;
        stride *= t->dims[i];
    }
    return true;
}

/* Row-major order of a view of `span`. */
static void gather(const clvi_torch_tensor *t, const float *span, float *out)
{
    int64_t index[CLVI_FILE_MAX_RANK] = {0}, from = 0;
    for (int64_t k = 0; k < t->elements; k++) {
        out[k] = span[from];
        for (int i = t->rank; i-- > 0;) {
            from += t->strides[i];
            if (++index[i] < t->dims[i])
                break;
            from -= t->strides[i] * t->dims[i];
            index[i] = 0;
        }
    }
}

clv_status clvi_pth_read_f32(const clvi_pth *file, size_t index, float *out, clv_error *error)
{
    const clvi_file_tensor *tensor = clvi_pth_at(file, index);
    const clvi_torch_tensor *view = file->views[index];
    if (tensor->elements == 0)
        return CLV_OK;
    if (is_contiguous(view))
        return clvi_file_read_f32(file->descriptor, file->path, tensor->dtype, tensor->offset,
                                  tensor->elements, out, error);
    float *span = clvi_malloc((size_t)view->span * sizeof *span);
    if (!span)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory to read '%s'", file->path, tensor->name);
    const clv_status status = clvi_file_read_f32(file->descriptor, file->path, tensor->dtype,
                                                 tensor->offset, view->span, span, error);
    if (status == CLV_OK)
        gather(view, span, out);
    clvi_free(span);
    return status;
}
