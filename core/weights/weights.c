/* See weights.h. */
#include "weights/weights.h"

#include "base/memory.h"
#include "weights/h5.h"
#include "weights/named.h"
#include "weights/pth.h"
#include "weights/safetensors.h"

#include <unistd.h>

struct clvi_weights {
    char *path;
    char *note;                    /* of a file asked for by name */
    clvi_safetensors *safetensors; /* one of these */
    clvi_pth *pth;
    bool keras; /* safetensors were made of a file of Keras */
};

static clv_status read_begin(const char *path, unsigned char *begin, size_t *bytes,
                             clv_error *error)
{
    int descriptor;
    uint64_t file_bytes;
    CLV_TRY(clvi_file_open(path, &descriptor, &file_bytes, error));
    *bytes = file_bytes < *bytes ? (size_t)file_bytes : *bytes;
    const clv_status status = clvi_file_read_at(descriptor, path, 0, begin, *bytes, error);
    close(descriptor);
    return status;
}

static clv_status open_file(clvi_weights *file, const char *path, clv_error *error)
{
    unsigned char begin[16];
    size_t bytes = sizeof begin;
    if (clvi_named_is(path))
        CLV_TRY(clvi_named_find(path, &file->path, &file->note, error));
    else
        file->path = clvi_strdup(path);
    if (!file->path)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    path = file->path;
    CLV_TRY(read_begin(path, begin, &bytes, error));
    if (clvi_pth_looks_like(begin, bytes))
        return clvi_pth_open(path, &file->pth, error);
    file->keras = clvi_h5_looks_like(begin, bytes);
    if (file->keras)
        return clvi_h5_open(path, &file->safetensors, error);
    return clvi_safetensors_open(path, &file->safetensors, error);
}

clv_status clvi_weights_open(const char *path, clvi_weights **out, clv_error *error)
{
    clvi_weights *file = clvi_calloc(1, sizeof *file);
    if (!file)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    const clv_status status = open_file(file, path, error);
    if (status != CLV_OK) {
        clvi_weights_close(file);
        return status;
    }
    *out = file;
    return CLV_OK;
}

void clvi_weights_close(clvi_weights *file)
{
    if (!file)
        return;
    clvi_safetensors_close(file->safetensors);
    clvi_pth_close(file->pth);
    clvi_free(file->path);
    clvi_free(file->note);
    clvi_free(file);
}

const char *clvi_weights_path(const clvi_weights *file)
{
    return file->path;
}

const char *clvi_weights_note(const clvi_weights *file)
{
    return file->note;
}

const char *clvi_weights_format(const clvi_weights *file)
{
    return file->pth ? "PyTorch" : file->keras ? "Keras" : "safetensors";
}

clvi_weights_layout clvi_weights_layout_of(const clvi_weights *file)
{
    if (file->keras)
        return CLVI_LAYOUT_KERAS;
    const char *format =
        file->safetensors ? clvi_safetensors_metadata(file->safetensors, "format") : NULL;
    return format && strncmp(format, "conclave ", 9) == 0 ? CLVI_LAYOUT_OWN : CLVI_LAYOUT_TORCH;
}

const char *clvi_weights_config(const clvi_weights *file)
{
    return clvi_weights_layout_of(file) == CLVI_LAYOUT_OWN
               ? clvi_safetensors_metadata(file->safetensors, "config")
               : NULL;
}

const char *clvi_weights_metadata(const clvi_weights *file, const char *key)
{
    return file->safetensors ? clvi_safetensors_metadata(file->safetensors, key) : NULL;
}

const char *clvi_weights_place(const clvi_weights *file)
{
    return file->pth ? clvi_pth_place(file->pth) : "";
}

size_t clvi_weights_count(const clvi_weights *file)
{
    return file->pth ? clvi_pth_count(file->pth) : clvi_safetensors_count(file->safetensors);
}

const clvi_file_tensor *clvi_weights_at(const clvi_weights *file, size_t index)
{
    return file->pth ? clvi_pth_at(file->pth, index)
                     : clvi_safetensors_at(file->safetensors, index);
}

clv_status clvi_weights_read_f32(const clvi_weights *file, size_t index, float *out,
                                 clv_error *error)
{
    return file->pth ? clvi_pth_read_f32(file->pth, index, out, error)
                     : clvi_safetensors_read_f32(file->safetensors, index, out, error);
}
