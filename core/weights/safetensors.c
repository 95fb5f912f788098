/* Reading safetensors. Data is read with pread, not mapped: a file that shrinks under a map would
 * kill the process. The writer is tensor_writer.c. */
#include "weights/safetensors.h"

#include "base/process.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

enum { LENGTH_BYTES = 8 };

typedef struct metadata_entry {
    const char *key, *value;
} metadata_entry;

struct clvi_safetensors {
    int descriptor;
    char *path;
    uint64_t file_bytes;
    clvi_arena *arena;         /* strings and the arrays below */
    clvi_file_tensor *tensors; /* by offset */
    const size_t *by_name;     /* indices into tensors, sorted by name */
    size_t count;
    metadata_entry *metadata;
    size_t metadata_count;
};

static clv_status out_of_memory(const clvi_safetensors *file, clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory while reading its header",
                     file->path);
}

/* Says what is wrong with a tensor. */
static clv_status bad_tensor(const clvi_safetensors *file, const char *name, clv_error *error,
                             const char *what)
{
    char shown[128];
    return clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "%s: tensor '%s': %s", file->path,
                     clvi_printable(name, shown, sizeof(shown)), what);
}

static clv_status parse_dtype(const clvi_safetensors *file, const json_t *entry,
                              clvi_file_tensor *out, clv_error *error)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (name == NULL)
        return bad_tensor(file, out->name, error, "it has no dtype");
    for (int i = 0; i < CLVI_FILE_DTYPES; i++) {
        if (strcmp(name, clvi_file_dtype_name((clvi_file_dtype)i)) == 0) {
            out->dtype = (clvi_file_dtype)i;
            return CLV_OK;
        }
    }
    char shown[32], what[160];
    snprintf(what, sizeof(what),
             "its dtype '%s' is not one of F32, F16, BF16, F64, I32, I64, U8; convert the file",
             clvi_printable(name, shown, sizeof(shown)));
    return bad_tensor(file, out->name, error, what);
}

static clv_status parse_shape(const clvi_safetensors *file, const json_t *entry,
                              clvi_file_tensor *out, clv_error *error)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return bad_tensor(file, out->name, error, "it has no shape");
    if (json_array_size(shape) > CLVI_FILE_MAX_RANK)
        return bad_tensor(file, out->name, error, "it has more than 8 dimensions");
    out->rank = (int)json_array_size(shape);
    out->elements = 1;
    for (int i = 0; i < out->rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return bad_tensor(file, out->name, error, "its shape is no list of whole numbers");
        out->dims[i] = json_integer_value(dim);
        if (out->dims[i] > 0 && out->elements > INT64_MAX / 8 / out->dims[i])
            return bad_tensor(file, out->name, error, "its shape has too many elements");
        out->elements *= out->dims[i];
    }
    return CLV_OK;
}

static clv_status parse_offsets(const clvi_safetensors *file, const json_t *entry,
                                uint64_t data_start, clvi_file_tensor *out, clv_error *error)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return bad_tensor(file, out->name, error, "it has no pair of data_offsets");
    const json_int_t first = json_integer_value(begin), last = json_integer_value(end);
    if (first < 0 || last < first)
        return bad_tensor(file, out->name, error, "its data_offsets are in no order");
    if ((uint64_t)last > file->file_bytes - data_start)
        return bad_tensor(file, out->name, error,
                          "its data would lie beyond the end of the file; was it cut off?");
    out->bytes = (uint64_t)out->elements * clvi_file_dtype_bytes(out->dtype);
    if ((uint64_t)(last - first) != out->bytes)
        return bad_tensor(file, out->name, error, "shape and data_offsets differ in size");
    out->offset = data_start + (uint64_t)first;
    return CLV_OK;
}

/* The pairs of __metadata__, which may be absent. */
static clv_status parse_metadata(clvi_safetensors *file, json_t *header, clv_error *error)
{
    json_t *metadata = json_object_get(header, "__metadata__");
    if (metadata == NULL)
        return CLV_OK;
    if (!json_is_object(metadata))
        CLV_FAIL(error, CLV_E_FORMAT, "%s: its __metadata__ is no object of strings", file->path);
    file->metadata =
        clvi_arena_alloc(file->arena, json_object_size(metadata) * sizeof(*file->metadata));
    if (file->metadata == NULL)
        return out_of_memory(file, error);
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        char shown[128];
        if (!json_is_string(value))
            CLV_FAIL(error, CLV_E_FORMAT, "%s: '%s' of its __metadata__ is no string", file->path,
                     clvi_printable(key, shown, sizeof(shown)));
        metadata_entry *entry = &file->metadata[file->metadata_count];
        entry->key = clvi_arena_strdup(file->arena, key);
        entry->value = clvi_arena_strdup(file->arena, json_string_value(value));
        if (entry->key == NULL || entry->value == NULL)
            return out_of_memory(file, error);
        file->metadata_count++;
    }
    return CLV_OK;
}

/* By place; tensors without data before the one that begins where they are. */
static int compare_offset(const void *a, const void *b)
{
    const clvi_file_tensor *left = a, *right = b;
    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? -1 : 1;
    return strcmp(left->name, right->name);
}

typedef struct named_index {
    const char *name;
    size_t index;
} named_index;

static int compare_name(const void *a, const void *b)
{
    return strcmp(((const named_index *)a)->name, ((const named_index *)b)->name);
}

static clv_status index_names(clvi_safetensors *file, clv_error *error)
{
    named_index *names = clvi_calloc(file->count, sizeof(*names));
    size_t *by_name = clvi_arena_alloc(file->arena, file->count * sizeof(*by_name));
    if (names == NULL || by_name == NULL) {
        clvi_free(names);
        return out_of_memory(file, error);
    }
    for (size_t i = 0; i < file->count; i++)
        names[i] = (named_index){file->tensors[i].name, i};
    qsort(names, file->count, sizeof(*names), compare_name);
    for (size_t i = 0; i < file->count; i++)
        by_name[i] = names[i].index;
    clvi_free(names);
    file->by_name = by_name;
    return CLV_OK;
}

/* Data lies one after the other from data_start on: nothing twice, nothing unused between. */
static clv_status check_layout(const clvi_safetensors *file, uint64_t data_start, clv_error *error)
{
    uint64_t end = data_start;
    for (size_t i = 0; i < file->count; i++) {
        const clvi_file_tensor *tensor = &file->tensors[i];
        if (tensor->offset < end)
            return bad_tensor(file, tensor->name, error, "its data overlaps another tensor's");
        if (tensor->offset > end)
            return bad_tensor(file, tensor->name, error, "there is a gap before its data");
        end += tensor->bytes;
    }
    if (end < file->file_bytes)
        clvi_log(CLVI_LOG_WARN, "%s: %" PRIu64 " bytes after the last tensor are ignored",
                 file->path, file->file_bytes - end);
    return CLV_OK;
}

static clv_status parse_tensors(clvi_safetensors *file, json_t *header, uint64_t data_start,
                                clv_error *error)
{
    file->tensors =
        clvi_arena_alloc(file->arena, json_object_size(header) * sizeof(*file->tensors));
    if (file->tensors == NULL)
        return out_of_memory(file, error);
    const char *key;
    json_t *entry;
    json_object_foreach(header, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0)
            continue;
        clvi_file_tensor *tensor = &file->tensors[file->count];
        if (!json_is_object(entry))
            return bad_tensor(file, key, error, "its description is no object");
        tensor->name = clvi_arena_strdup(file->arena, key);
        if (tensor->name == NULL)
            return out_of_memory(file, error);
        CLV_TRY(parse_dtype(file, entry, tensor, error));
        CLV_TRY(parse_shape(file, entry, tensor, error));
        CLV_TRY(parse_offsets(file, entry, data_start, tensor, error));
        file->count++;
    }
    if (file->count > 1)
        qsort(file->tensors, file->count, sizeof(*file->tensors), compare_offset);
    CLV_TRY(check_layout(file, data_start, error));
    return index_names(file, error);
}

/* The header's text as JSON; the caller frees it with json_decref. */
static clv_status load_header(const clvi_safetensors *file, const char *text, size_t bytes,
                              json_t **out, clv_error *error)
{
    json_error_t fault;
    json_t *header = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &fault);
    if (header == NULL && json_error_code(&fault) == json_error_out_of_memory)
        return out_of_memory(file, error);
    if (!json_is_object(header)) {
        char shown[JSON_ERROR_TEXT_LENGTH];
        const char *why = header != NULL ? "it is no object" : fault.text;
        json_decref(header);
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: the safetensors header is not understood, %s; is the file damaged?",
                 file->path, clvi_printable(why, shown, sizeof(shown)));
    }
    *out = header;
    return CLV_OK;
}

static clv_status read_header(clvi_safetensors *file, clv_error *error)
{
    unsigned char length[LENGTH_BYTES];
    if (file->file_bytes < LENGTH_BYTES)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: too short for a safetensors file", file->path);
    CLV_TRY(clvi_file_read_at(file->descriptor, file->path, 0, length, LENGTH_BYTES, error));
    uint64_t bytes = 0;
    for (int i = LENGTH_BYTES; i-- > 0;)
        bytes = bytes << 8 | length[i];
    if (bytes > CLVI_SAFETENSORS_HEADER_BYTES || bytes < 2)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: not a safetensors file (its header would have %" PRIu64 " bytes)", file->path,
                 bytes);
    if (bytes > file->file_bytes - LENGTH_BYTES)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: the file ends within its header of %" PRIu64
                 " bytes; was it cut off, or is it another format?",
                 file->path, bytes);
    char *text = clvi_malloc((size_t)bytes);
    if (text == NULL)
        return out_of_memory(file, error);
    json_t *header = NULL;
    clv_status status =
        clvi_file_read_at(file->descriptor, file->path, LENGTH_BYTES, text, bytes, error);
    if (status == CLV_OK)
        status = load_header(file, text, (size_t)bytes, &header, error);
    clvi_free(text);
    if (status == CLV_OK)
        status = parse_metadata(file, header, error);
    if (status == CLV_OK)
        status = parse_tensors(file, header, LENGTH_BYTES + bytes, error);
    json_decref(header);
    return status;
}

/* Fills a file whose descriptor may be open. */
static clv_status open_file(clvi_safetensors *file, const char *path, clv_error *error)
{
    file->path = clvi_strdup(path);
    if (file->path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    CLV_TRY(clvi_arena_create(&file->arena, error));
    if (file->descriptor < 0)
        CLV_TRY(clvi_file_open(path, &file->descriptor, &file->file_bytes, error));
    else
        CLV_TRY(clvi_file_size(file->descriptor, path, &file->file_bytes, error));
    return read_header(file, error);
}

clv_status clvi_safetensors_open(const char *path, clvi_safetensors **out, clv_error *error)
{
    return clvi_safetensors_adopt(-1, path, out, error);
}

clv_status clvi_safetensors_adopt(int descriptor, const char *path, clvi_safetensors **out,
                                  clv_error *error)
{
    clvi_safetensors *file = clvi_calloc(1, sizeof(*file));
    if (file == NULL) {
        if (descriptor >= 0)
            close(descriptor);
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    }
    file->descriptor = descriptor;
    const clv_status status = open_file(file, path, error);
    if (status != CLV_OK) {
        clvi_safetensors_close(file);
        return status;
    }
    *out = file;
    return CLV_OK;
}

void clvi_safetensors_close(clvi_safetensors *file)
{
    if (file == NULL)
        return;
    if (file->descriptor >= 0)
        close(file->descriptor);
    clvi_arena_destroy(file->arena);
    clvi_free(file->path);
    clvi_free(file);
}

size_t clvi_safetensors_count(const clvi_safetensors *file)
{
    return file->count;
}

const clvi_file_tensor *clvi_safetensors_at(const clvi_safetensors *file, size_t index)
{
    CLV_ASSERT(index < file->count);
    return &file->tensors[index];
}

int64_t clvi_safetensors_find(const clvi_safetensors *file, const char *name)
{
    size_t low = 0, high = file->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const size_t index = file->by_name[middle];
        const int order = strcmp(name, file->tensors[index].name);
        if (order == 0)
            return (int64_t)index;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

const char *clvi_safetensors_metadata(const clvi_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}

const char *clvi_safetensors_path(const clvi_safetensors *file)
{
    return file->path;
}

clv_status clvi_safetensors_read(const clvi_safetensors *file, size_t index, void *out,
                                 clv_error *error)
{
    const clvi_file_tensor *tensor = clvi_safetensors_at(file, index);
    CLV_TRY(
        clvi_file_read_at(file->descriptor, file->path, tensor->offset, out, tensor->bytes, error));
    clvi_file_to_host(out, clvi_file_dtype_bytes(tensor->dtype), (size_t)tensor->elements);
    return CLV_OK;
}

clv_status clvi_safetensors_read_f32(const clvi_safetensors *file, size_t index, float *out,
                                     clv_error *error)
{
    const clvi_file_tensor *tensor = clvi_safetensors_at(file, index);
    return clvi_file_read_f32(file->descriptor, file->path, tensor->dtype, tensor->offset,
                              tensor->elements, out, error);
}
