/* See bundle.h. */
#include "train/bundle.h"

#include "base/text.h"
#include "version.h"

#include <math.h>
#include <stdlib.h>

/* ---- Reading ---- */

static clv_status damaged(const clvi_safetensors *file, const char *key, const char *what,
                          clv_error *error)
{
    CLV_FAIL(error, CLV_E_FORMAT, "%s: a damaged bundle: its metadata `%s` %s; export it again",
             clvi_safetensors_path(file), key, what);
}

/* The JSON of a key, for the caller to release. */
static clv_status load(const clvi_safetensors *file, const char *key, json_t **out,
                       clv_error *error)
{
    const char *text = clvi_safetensors_metadata(file, key);
    if (text == NULL)
        return damaged(file, key, "is missing", error);
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (value == NULL)
        return damaged(file, key, "is no JSON", error);
    *out = value;
    return CLV_OK;
}

static clv_status read_classes(const clvi_safetensors *file, clvi_bundle *b, clv_error *error)
{
    CLV_TRY(load(file, "classes", &b->classes, error));
    bool good = json_is_array(b->classes) && json_array_size(b->classes) >= 2;
    for (size_t i = 0; good && i < json_array_size(b->classes); i++)
        good = json_is_string(json_array_get(b->classes, i));
    return good ? CLV_OK : damaged(file, "classes", "is no list of two names or more", error);
}

static clv_status read_image(const clvi_safetensors *file, clvi_bundle *b, clv_error *error)
{
    json_t *json = NULL;
    CLV_TRY(load(file, "preprocessing", &json, error));
    bool good = json_unpack(json, "{s:i, s:i, s:i}", "height", &b->image[0], "width", &b->image[1],
                            "channels", &b->image[2]) == 0;
    json_decref(json);
    for (int i = 0; good && i < 3; i++)
        good = b->image[i] >= 1 && b->image[i] <= 65536;
    good = good && (b->image[2] == 1 || b->image[2] == 3);
    return good ? CLV_OK : damaged(file, "preprocessing", "has no size of images", error);
}

static clv_status read_training(const clvi_safetensors *file, clvi_bundle *b, clv_error *error)
{
    json_int_t epoch = -1;
    CLV_TRY(load(file, "training", &b->training, error));
    if (json_unpack(b->training, "{s:I}", "epoch", &epoch) != 0 || epoch < 0)
        return damaged(file, "training", "has no epoch", error);
    b->epoch = epoch;
    return CLV_OK;
}

static clv_status read_temperature(const clvi_safetensors *file, clvi_bundle *b, clv_error *error)
{
    const char *text = clvi_safetensors_metadata(file, "temperature");
    if (text == NULL)
        return CLV_OK;
    if (!clvi_parse_real(text, &b->temperature) || !(b->temperature > 0))
        return damaged(file, "temperature", "is no number above 0", error);
    return CLV_OK;
}

clv_status clvi_bundle_read(const clvi_safetensors *file, clvi_bundle *out, clv_error *error)
{
    clvi_bundle b = {0};
    clv_status status = read_classes(file, &b, error);
    if (status == CLV_OK)
        status = read_image(file, &b, error);
    if (status == CLV_OK)
        status = read_training(file, &b, error);
    if (status == CLV_OK)
        status = read_temperature(file, &b, error);
    if (status == CLV_OK && clvi_safetensors_metadata(file, "config") == NULL)
        status = damaged(file, "config", "is missing", error);
    if (status != CLV_OK) {
        clvi_bundle_fini(&b);
        return status;
    }
    *out = b;
    return CLV_OK;
}

void clvi_bundle_fini(clvi_bundle *bundle)
{
    json_decref(bundle->classes);
    json_decref(bundle->training);
    *bundle = (clvi_bundle){0};
}

/* ---- Validation ---- */

static const char *const validation_names[] = {"validation.confidence", "validation.gate_entropy"};

clv_status clvi_bundle_validation_init(clvi_bundle_validation *out, size_t count, clv_error *error)
{
    clvi_bundle_validation v = {.count = count};
    if (count > 0) {
        v.confidence = clvi_calloc(count, sizeof *v.confidence);
        v.gate_entropy = clvi_calloc(count, sizeof *v.gate_entropy);
        if (v.confidence == NULL || v.gate_entropy == NULL) {
            clvi_bundle_validation_fini(&v);
            CLV_FAIL(error, CLV_E_MEMORY, "no memory for what was said of %zu validation images",
                     count);
        }
    }
    *out = v;
    return CLV_OK;
}

void clvi_bundle_validation_fini(clvi_bundle_validation *v)
{
    clvi_free(v->confidence);
    clvi_free(v->gate_entropy);
    *v = (clvi_bundle_validation){0};
}

/* Index of a tensor of validation; *images: its elements. */
static clv_status find_validation(const clvi_safetensors *file, int which, int64_t *index,
                                  int64_t *images, clv_error *error)
{
    *index = clvi_safetensors_find(file, validation_names[which]);
    if (*index < 0)
        return CLV_OK;
    const clvi_file_tensor *t = clvi_safetensors_at(file, (size_t)*index);
    if (t->dtype != CLVI_FILE_F64 || t->rank != 1 || (*images >= 0 && t->elements != *images))
        CLV_FAIL(error, CLV_E_FORMAT, "%s: a damaged bundle: its tensor %s is no F64 [images]",
                 clvi_safetensors_path(file), validation_names[which]);
    *images = t->elements;
    return CLV_OK;
}

clv_status clvi_bundle_validation_read(const clvi_safetensors *file, clvi_bundle_validation *out,
                                       clv_error *error)
{
    int64_t index[2], images = -1;
    clvi_bundle_validation v = {0};
    for (int i = 0; i < 2; i++)
        CLV_TRY(find_validation(file, i, &index[i], &images, error));
    CLV_TRY(clvi_bundle_validation_init(&v, images > 0 ? (size_t)images : 0, error));
    double *const to[] = {v.confidence, v.gate_entropy};
    clv_status status = CLV_OK;
    for (int i = 0; i < 2 && status == CLV_OK && v.count > 0; i++) {
        for (size_t k = 0; k < v.count; k++)
            to[i][k] = NAN;
        if (index[i] >= 0)
            status = clvi_safetensors_read(file, (size_t)index[i], to[i], error);
    }
    if (status != CLV_OK) {
        clvi_bundle_validation_fini(&v);
        return status;
    }
    *out = v;
    return CLV_OK;
}

/* Announces both (`write` false), or writes them. */
static clv_status pass_validation(clvi_tensor_writer *writer, const clvi_bundle_validation *v,
                                  bool write, clv_error *error)
{
    const double *const from[] = {v->confidence, v->gate_entropy};
    const int64_t images = (int64_t)v->count;
    for (int i = 0; i < 2; i++) {
        bool known = false;
        for (size_t k = 0; k < v->count; k++)
            known |= isfinite(from[i][k]);
        if (known && write)
            CLV_TRY(clvi_tensor_writer_append(writer, from[i], images, error));
        else if (known)
            CLV_TRY(clvi_tensor_writer_declare(writer, validation_names[i], CLVI_FILE_F64, 1,
                                               &images, error));
    }
    return CLV_OK;
}

/* ---- Writing ---- */

static clv_status write_json(clvi_tensor_writer *writer, const char *key, const json_t *value,
                             clv_error *error)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (text == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the metadata `%s` of a bundle", key);
    const clv_status status = clvi_tensor_writer_metadata(writer, key, text, error);
    free(text);
    return status;
}

static clv_status write_metadata(clvi_tensor_writer *writer, const clvi_bundle_parts *parts,
                                 clv_error *error)
{
    CLV_TRY(clvi_tensor_writer_metadata(writer, "format", CLVI_BUNDLE_FORMAT, error));
    CLV_TRY(clvi_tensor_writer_metadata(writer, "conclave", CLVI_VERSION, error));
    CLV_TRY(clvi_tensor_writer_metadata(writer, "config", parts->config, error));
    CLV_TRY(write_json(writer, "classes", parts->classes, error));
    CLV_TRY(write_json(writer, "preprocessing", parts->preprocessing, error));
    CLV_TRY(write_json(writer, "training", parts->training, error));
    if (!(parts->temperature > 0))
        return CLV_OK;
    clvi_text text = {0};
    clvi_text_append_real(&text, parts->temperature);
    const clv_status status =
        text.failed
            ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for a bundle")
            : clvi_tensor_writer_metadata(writer, "temperature", clvi_text_get(&text), error);
    clvi_text_fini(&text);
    return status;
}

/* Whether a tensor is left behind: moments, variables beside their averages, what only training
 * reads; and a bundle's own. */
static bool stays(const char *name)
{
    return strncmp(name, "optimizer.", 10) == 0 || strncmp(name, "training.", 9) == 0 ||
           strncmp(name, "validation.", 11) == 0;
}

/* Announces all tensors (`values` NULL), or copies them through `values`. */
static clv_status pass_over(clvi_tensor_writer *writer, const clvi_safetensors *from, void *values,
                            clv_error *error)
{
    for (size_t i = 0; i < clvi_safetensors_count(from); i++) {
        const clvi_file_tensor *t = clvi_safetensors_at(from, i);
        if (stays(t->name))
            continue;
        if (values == NULL) {
            CLV_TRY(clvi_tensor_writer_declare(writer, t->name, t->dtype, t->rank, t->dims, error));
            continue;
        }
        CLV_TRY(clvi_safetensors_read(from, i, values, error));
        CLV_TRY(clvi_tensor_writer_append(writer, values, t->elements, error));
    }
    return CLV_OK;
}

static clv_status copy_tensors(clvi_tensor_writer *writer, const clvi_safetensors *from,
                               const clvi_bundle_validation *validation, clv_error *error)
{
    uint64_t most = 1;
    for (size_t i = 0; i < clvi_safetensors_count(from); i++) {
        const clvi_file_tensor *t = clvi_safetensors_at(from, i);
        most = t->bytes > most && !stays(t->name) ? t->bytes : most;
    }
    CLV_TRY(pass_validation(writer, validation, false, error));
    CLV_TRY(pass_over(writer, from, NULL, error));
    CLV_TRY(pass_validation(writer, validation, true, error));
    void *values = clvi_malloc((size_t)most);
    if (values == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to copy the largest tensor of %s",
                 clvi_safetensors_path(from));
    const clv_status status = pass_over(writer, from, values, error);
    clvi_free(values);
    return status;
}

clv_status clvi_bundle_write(const char *path, const clvi_bundle_parts *parts, clv_error *error)
{
    clvi_tensor_writer *writer = NULL;
    clv_status status = clvi_tensor_writer_create(path, &writer, error);
    if (status == CLV_OK)
        status = write_metadata(writer, parts, error);
    if (status == CLV_OK)
        status = copy_tensors(writer, parts->from, &parts->validation, error);
    if (status == CLV_OK)
        status = clvi_tensor_writer_commit(writer, error);
    clvi_tensor_writer_destroy(writer);
    return status;
}
