/* Writing safetensors: declarations collect the header, the data streams behind it. */
#include "weights/safetensors.h"

#include <errno.h>
#include <jansson.h>

typedef struct declared {
    clvi_file_dtype dtype;
    uint64_t bytes;
} declared;

struct clvi_tensor_writer {
    clvi_atomic_file file; /* stream NULL: committed */
    bool borrowed;         /* the stream is the caller's */
    char *path;
    json_t *metadata, *tensors;
    declared *list; /* in order of declaration */
    size_t count, capacity;
    uint64_t data_bytes; /* of all declared tensors */
    bool begun;          /* the header is written */
    size_t current;      /* whose data comes next, and how much of it was written */
    uint64_t written;
};

static clv_status out_of_memory(const char *path, clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory while writing", path);
}

/* Names come from configurations and other files: what JSON cannot hold is refused. */
static clv_status check_text(const clvi_tensor_writer *writer, const char *what, const char *text,
                             clv_error *error)
{
    const char *rest = text;
    size_t left = strlen(text);
    while (left > 0) {
        const size_t length = clvi_utf8_sequence(rest, left);
        if (length == 0) {
            char shown[128];
            CLV_FAIL(error, CLV_E_USAGE, "%s: the %s '%s' is no UTF-8", writer->path, what,
                     clvi_printable(text, shown, sizeof(shown)));
        }
        rest += length;
        left -= length;
    }
    return CLV_OK;
}

clv_status clvi_tensor_writer_create(const char *path, clvi_tensor_writer **out, clv_error *error)
{
    return clvi_tensor_writer_create_on(NULL, path, out, error);
}

clv_status clvi_tensor_writer_create_on(FILE *stream, const char *path, clvi_tensor_writer **out,
                                        clv_error *error)
{
    clvi_tensor_writer *writer = clvi_calloc(1, sizeof(*writer));
    if (writer == NULL)
        return out_of_memory(path, error);
    writer->path = clvi_strdup(path);
    writer->metadata = json_object();
    writer->tensors = json_object();
    clv_status status = CLV_OK;
    if (writer->path == NULL || writer->metadata == NULL || writer->tensors == NULL)
        status = out_of_memory(path, error);
    writer->borrowed = stream != NULL;
    writer->file.stream = stream;
    if (status == CLV_OK && stream == NULL)
        status = clvi_atomic_begin(&writer->file, path, error);
    if (status != CLV_OK) {
        clvi_tensor_writer_destroy(writer);
        return status;
    }
    *out = writer;
    return CLV_OK;
}

void clvi_tensor_writer_destroy(clvi_tensor_writer *writer)
{
    if (writer == NULL)
        return;
    if (!writer->borrowed)
        clvi_atomic_abort(&writer->file);
    json_decref(writer->metadata);
    json_decref(writer->tensors);
    clvi_free(writer->list);
    clvi_free(writer->path);
    clvi_free(writer);
}

clv_status clvi_tensor_writer_metadata(clvi_tensor_writer *writer, const char *key,
                                       const char *value, clv_error *error)
{
    if (writer->begun)
        CLV_FAIL(error, CLV_E_USAGE, "%s: metadata '%s' comes after data", writer->path, key);
    CLV_TRY(check_text(writer, "key of metadata", key, error));
    CLV_TRY(check_text(writer, "value of metadata", value, error));
    if (json_object_get(writer->metadata, key) != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "%s: metadata '%s' is given twice", writer->path, key);
    if (json_object_set_new(writer->metadata, key, json_string(value)) != 0)
        return out_of_memory(writer->path, error);
    return CLV_OK;
}

/* The header's entry of a tensor whose data begins at data_bytes; NULL when memory is exhausted. */
static json_t *describe(const clvi_tensor_writer *writer, const declared *tensor, int rank,
                        const int64_t *dims)
{
    json_t *shape = json_array();
    for (int i = 0; i < rank && shape != NULL; i++) {
        if (json_array_append_new(shape, json_integer(dims[i])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    }
    if (shape == NULL)
        return NULL;
    return json_pack("{s:s,s:o,s:[I,I]}", "dtype", clvi_file_dtype_name(tensor->dtype), "shape",
                     shape, "data_offsets", (json_int_t)writer->data_bytes,
                     (json_int_t)(writer->data_bytes + tensor->bytes));
}

static clv_status count_bytes(const clvi_tensor_writer *writer, const char *name, int rank,
                              const int64_t *dims, declared *tensor, clv_error *error)
{
    if (rank < 0 || rank > CLVI_FILE_MAX_RANK)
        CLV_FAIL(error, CLV_E_SHAPE, "%s: tensor '%s': rank %d is not 0 to %d", writer->path, name,
                 rank, CLVI_FILE_MAX_RANK);
    uint64_t bytes = clvi_file_dtype_bytes(tensor->dtype);
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0)
            CLV_FAIL(error, CLV_E_SHAPE, "%s: tensor '%s': dimension %d is negative", writer->path,
                     name, i);
        if (dims[i] > 0 && bytes > (uint64_t)INT64_MAX / (uint64_t)dims[i])
            CLV_FAIL(error, CLV_E_SHAPE, "%s: tensor '%s': too many elements", writer->path, name);
        bytes *= (uint64_t)dims[i];
    }
    if (bytes > (uint64_t)INT64_MAX - writer->data_bytes)
        CLV_FAIL(error, CLV_E_SHAPE, "%s: tensor '%s': too many elements", writer->path, name);
    tensor->bytes = bytes;
    return CLV_OK;
}

clv_status clvi_tensor_writer_declare(clvi_tensor_writer *writer, const char *name,
                                      clvi_file_dtype dtype, int rank, const int64_t *dims,
                                      clv_error *error)
{
    CLV_TRY(check_text(writer, "name of a tensor", name, error));
    if (writer->begun)
        CLV_FAIL(error, CLV_E_USAGE, "%s: tensor '%s' is declared after data", writer->path, name);
    if (strcmp(name, "__metadata__") == 0)
        CLV_FAIL(error, CLV_E_USAGE, "%s: no tensor can be named __metadata__", writer->path);
    if (json_object_get(writer->tensors, name) != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "%s: tensor '%s' is declared twice", writer->path, name);
    declared tensor = {.dtype = dtype};
    CLV_TRY(count_bytes(writer, name, rank, dims, &tensor, error));
    void *list = writer->list;
    CLV_TRY(clvi_grow(&list, &writer->capacity, writer->count + 1, sizeof(*writer->list), error));
    writer->list = list;
    if (json_object_set_new(writer->tensors, name, describe(writer, &tensor, rank, dims)) != 0)
        return out_of_memory(writer->path, error);
    writer->list[writer->count++] = tensor;
    writer->data_bytes += tensor.bytes;
    return CLV_OK;
}

static int append_json(const char *piece, size_t bytes, void *text)
{
    clvi_text_append_n(text, piece, bytes);
    return ((clvi_text *)text)->failed ? -1 : 0;
}

/* The file up to its data: length, JSON, blanks up to a multiple of 8 bytes. */
static bool make_header(const clvi_tensor_writer *writer, clvi_text *out)
{
    clvi_text_append_n(out, "\0\0\0\0\0\0\0", 8);
    json_t *all = json_object();
    bool good = all != NULL;
    if (good && json_object_size(writer->metadata) > 0)
        good = json_object_set(all, "__metadata__", writer->metadata) == 0;
    good = good && json_object_update(all, writer->tensors) == 0 &&
           json_dump_callback(all, append_json, out, JSON_COMPACT) == 0;
    json_decref(all);
    while (out->length % 8 != 0 && !out->failed)
        clvi_text_append(out, " ");
    if (!good || out->failed)
        return false;
    for (size_t i = 0, length = out->length - 8; i < 8; i++, length >>= 8)
        out->data[i] = (char)(unsigned char)(length & 0xFF);
    return true;
}

static clv_status write_all(clvi_tensor_writer *writer, const void *data, size_t bytes,
                            clv_error *error)
{
    errno = 0;
    if (fwrite(data, 1, bytes, writer->file.stream) == bytes)
        return CLV_OK;
    return clvi_fail_errno(error, errno != 0 ? errno : EIO, CLV_HERE, "%s: cannot write",
                           writer->path);
}

static clv_status begin_data(clvi_tensor_writer *writer, clv_error *error)
{
    if (writer->begun)
        return CLV_OK;
    clvi_text header = {0};
    clv_status status = CLV_OK;
    if (!make_header(writer, &header))
        status = out_of_memory(writer->path, error);
    else if (header.length - 8 > CLVI_SAFETENSORS_HEADER_BYTES)
        status = clvi_fail(error, CLV_E_USAGE, CLV_HERE,
                           "%s: names and metadata exceed the 100 MB of a safetensors header",
                           writer->path);
    else
        status = write_all(writer, header.data, header.length, error);
    clvi_text_fini(&header);
    if (status == CLV_OK)
        writer->begun = true;
    return status;
}

/* Skips tensors that are complete, among them those without elements. */
static void advance(clvi_tensor_writer *writer)
{
    while (writer->current < writer->count &&
           writer->written == writer->list[writer->current].bytes) {
        writer->current++;
        writer->written = 0;
    }
}

/* Elements in the file's byte order, least significant byte first. */
static clv_status write_elements(clvi_tensor_writer *writer, const unsigned char *data,
                                 size_t bytes, size_t width, clv_error *error)
{
    const uint16_t probe = 1;
    if (width == 1 || *(const unsigned char *)&probe == 1)
        return write_all(writer, data, bytes, error);
    for (size_t i = 0; i < bytes; i += width) {
        unsigned char element[8];
        for (size_t j = 0; j < width; j++)
            element[j] = data[i + width - 1 - j];
        CLV_TRY(write_all(writer, element, width, error));
    }
    return CLV_OK;
}

clv_status clvi_tensor_writer_append(clvi_tensor_writer *writer, const void *data, int64_t elements,
                                     clv_error *error)
{
    CLV_TRY(begin_data(writer, error));
    advance(writer);
    if (elements == 0)
        return CLV_OK;
    if (writer->current == writer->count)
        CLV_FAIL(error, CLV_E_USAGE, "%s: more data than the declared tensors have", writer->path);
    const declared *tensor = &writer->list[writer->current];
    const size_t width = clvi_file_dtype_bytes(tensor->dtype);
    if (elements < 0 || (uint64_t)elements > (tensor->bytes - writer->written) / width)
        CLV_FAIL(error, CLV_E_USAGE, "%s: %lld elements are more than tensor %zu has left",
                 writer->path, (long long)elements, writer->current);
    const size_t bytes = (size_t)elements * width;
    CLV_TRY(write_elements(writer, data, bytes, width, error));
    writer->written += bytes;
    return CLV_OK;
}

clv_status clvi_tensor_writer_commit(clvi_tensor_writer *writer, clv_error *error)
{
    CLV_TRY(begin_data(writer, error));
    advance(writer);
    if (writer->current != writer->count)
        CLV_FAIL(error, CLV_E_USAGE, "%s: the data of tensor %zu is not complete", writer->path,
                 writer->current);
    if (!writer->borrowed)
        return clvi_atomic_commit(&writer->file, error);
    if (fflush(writer->file.stream) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot write", writer->path);
    return CLV_OK;
}
