#include "train/checkpoint.h"

#include <jansson.h>

static const char format_name[] = "conclave 1";

/* ---- Writing ------------------------------------------------------------------------------------ */

static json_t *describe(const clvi_store *store, const clvi_optimizer *optimizer,
                        const clvi_train_state *state, const clvi_dataset *data)
{
    json_t *classes = json_array(), *groups = json_array();
    for (size_t i = 0; i < clvi_dataset_class_count(data); i++)
        json_array_append_new(classes, json_string(clvi_dataset_class_name(data, i)));
    for (uint32_t g = 0; g < clvi_store_group_count(store); g++)
        json_array_append_new(groups, json_integer(clvi_optimizer_group_steps(optimizer, g)));
    int height, width;
    clvi_dataset_size(data, &height, &width);
    return json_pack("{s:I, s:I, s:f, s:I, s:I, s:[i,i,i], s:s, s:o, s:o}", "epoch",
                     (json_int_t)state->epoch, "step", (json_int_t)state->step, "best",
                     state->stop.best, "best_epoch", (json_int_t)state->stop.best_epoch, "waited",
                     (json_int_t)state->stop.waited, "image", height, width,
                     clvi_dataset_channels(data), "data", clvi_dataset_fingerprint(data), "classes",
                     classes, "group_steps", groups);
}

static clv_status write_metadata(clvi_tensor_writer *writer, json_t *description,
                                 const char *config, clv_error *error)
{
    char *text = description ? json_dumps(description, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (!text)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to describe the checkpoint");
    clv_status status = clvi_tensor_writer_metadata(writer, "format", format_name, error);
    if (status == CLV_OK)
        status = clvi_tensor_writer_metadata(writer, "training", text, error);
    if (status == CLV_OK)
        status = clvi_tensor_writer_metadata(writer, "config", config, error);
    free(text);
    return status;
}

/* Name of a segment's data of a kind in the file. */
static void tensor_name(const clvi_segment *s, clvi_store_kind kind, clvi_text *out)
{
    clvi_text_fini(out);
    clvi_text_printf(out, "%s%s",
                     kind == CLVI_STORE_MOMENT1   ? "optimizer.m."
                     : kind == CLVI_STORE_MOMENT2 ? "optimizer.v."
                                                  : "",
                     s->name);
}

static const clvi_store_kind saved_kinds[] = {CLVI_STORE_VALUE, CLVI_STORE_MOMENT1,
                                              CLVI_STORE_MOMENT2};
enum { SAVED_KINDS = sizeof saved_kinds / sizeof *saved_kinds };

static clv_status write_tensors(clvi_tensor_writer *writer, const clvi_store *store,
                                clv_error *error)
{
    clvi_text name = {0};
    float *values = NULL;
    int64_t largest = 1;
    clv_status status = CLV_OK;
    for (int k = 0; k < SAVED_KINDS && status == CLV_OK; k++)
        for (size_t i = 0; i < clvi_store_count(store) && status == CLV_OK; i++) {
            const clvi_segment *s = clvi_store_segment(store, i);
            largest = s->elements > largest ? s->elements : largest;
            if (!clvi_store_view(store, i, saved_kinds[k]).buf)
                continue;
            tensor_name(s, saved_kinds[k], &name);
            status = clvi_tensor_writer_declare(writer, clvi_text_get(&name), CLVI_FILE_F32,
                                                s->shape.rank, s->shape.dims, error);
        }
    if (status == CLV_OK && !(values = clvi_malloc((size_t)largest * sizeof *values)))
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to save the largest variable");
    for (int k = 0; k < SAVED_KINDS && status == CLV_OK; k++)
        for (size_t i = 0; i < clvi_store_count(store) && status == CLV_OK; i++) {
            if (!clvi_store_view(store, i, saved_kinds[k]).buf)
                continue;
            status = clvi_store_read(store, i, saved_kinds[k], values, error);
            if (status == CLV_OK)
                status = clvi_tensor_writer_append(writer, values,
                                                   clvi_store_segment(store, i)->elements, error);
        }
    clvi_free(values);
    clvi_text_fini(&name);
    return status;
}

clv_status clvi_checkpoint_save(const char *path, clvi_store *store,
                                const clvi_optimizer *optimizer, const clvi_train_state *state,
                                const char *config, const clvi_dataset *data, clv_error *error)
{
    clvi_tensor_writer *writer;
    CLV_TRY(clvi_tensor_writer_create(path, &writer, error));
    json_t *description = describe(store, optimizer, state, data);
    clv_status status = write_metadata(writer, description, config, error);
    json_decref(description);
    if (status == CLV_OK)
        status = write_tensors(writer, store, error);
    if (status == CLV_OK)
        status = clvi_tensor_writer_commit(writer, error);
    clvi_tensor_writer_destroy(writer);
    if (status != CLV_OK)
        clvi_prepend(error, "saving a checkpoint");
    return status;
}

/* ---- Reading ------------------------------------------------------------------------------------ */

struct clvi_checkpoint {
    clvi_safetensors *file;
    json_t *training;
    clvi_train_state state;
    int image[3];
};

static clv_status incomplete(const clvi_checkpoint *c, const char *what, clv_error *error)
{
    CLV_FAIL(error, CLV_E_FORMAT, "%s: no checkpoint of Conclave: %s",
             clvi_safetensors_path(c->file), what);
}

/* Reads the metadata; checks everything that will be used. */
static clv_status parse(clvi_checkpoint *c, clv_error *error)
{
    const char *format = clvi_safetensors_metadata(c->file, "format");
    const char *training = clvi_safetensors_metadata(c->file, "training");
    if (!format || strcmp(format, format_name) != 0)
        return incomplete(c, "its metadata has no format \"conclave 1\"", error);
    if (!training || !clvi_safetensors_metadata(c->file, "config"))
        return incomplete(c, "its metadata lacks `training` or `config`", error);
    c->training = json_loads(training, JSON_REJECT_DUPLICATES, NULL);
    json_int_t epoch, step, best_epoch, waited;
    double best;
    json_t *classes;
    if (!c->training ||
        json_unpack(c->training, "{s:I, s:I, s:F, s:I, s:I, s:[i,i,i], s:o}", "epoch", &epoch,
                    "step", &step, "best", &best, "best_epoch", &best_epoch, "waited", &waited,
                    "image", &c->image[0], &c->image[1], &c->image[2], "classes", &classes) != 0)
        return incomplete(c, "its `training` metadata is damaged", error);
    bool good = json_is_array(classes) && json_array_size(classes) >= 2;
    for (size_t i = 0; good && i < json_array_size(classes); i++)
        good = json_is_string(json_array_get(classes, i));
    for (int i = 0; i < 3; i++)
        good &= c->image[i] >= 1 && c->image[i] <= 65536;
    if (!good)
        return incomplete(c, "its classes or image size are damaged", error);
    c->state = (clvi_train_state){epoch, step, {best, best_epoch, waited}};
    return CLV_OK;
}

clv_status clvi_checkpoint_open(const char *path, clvi_checkpoint **out, clv_error *error)
{
    clvi_checkpoint *c = clvi_calloc(1, sizeof *c);
    if (!c)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to open %s", path);
    clv_status status = clvi_safetensors_open(path, &c->file, error);
    if (status == CLV_OK)
        status = parse(c, error);
    if (status != CLV_OK) {
        clvi_checkpoint_close(c);
        return status;
    }
    *out = c;
    return CLV_OK;
}

void clvi_checkpoint_close(clvi_checkpoint *c)
{
    if (!c)
        return;
    clvi_safetensors_close(c->file);
    json_decref(c->training);
    clvi_free(c);
}

size_t clvi_checkpoint_class_count(const clvi_checkpoint *c)
{
    return json_array_size(json_object_get(c->training, "classes"));
}

const char *clvi_checkpoint_class_name(const clvi_checkpoint *c, size_t index)
{
    return json_string_value(json_array_get(json_object_get(c->training, "classes"), index));
}

const char *clvi_checkpoint_config(const clvi_checkpoint *c)
{
    return clvi_safetensors_metadata(c->file, "config");
}

void clvi_checkpoint_image(const clvi_checkpoint *c, int *height, int *width, int *channels)
{
    *height = c->image[0], *width = c->image[1], *channels = c->image[2];
}

const clvi_train_state *clvi_checkpoint_state(const clvi_checkpoint *c)
{
    return &c->state;
}

static clv_status load_one(const clvi_checkpoint *c, clvi_store *store, size_t index,
                           clv_error *error)
{
    const clvi_segment *s = clvi_store_segment(store, index);
    const char *path = clvi_safetensors_path(c->file);
    const int64_t found = clvi_safetensors_find(c->file, s->name);
    if (found < 0)
        CLV_FAIL(error, CLV_E_FORMAT, "%s has no tensor %s", path, s->name);
    const clvi_file_tensor *t = clvi_safetensors_at(c->file, (size_t)found);
    bool same = t->rank == s->shape.rank;
    for (int k = 0; same && k < t->rank; k++)
        same = t->dims[k] == s->shape.dims[k];
    if (!same) {
        char shape[64];
        CLV_FAIL(error, CLV_E_FORMAT, "%s: tensor %s has another shape than the %s of this network",
                 path, s->name, clvi_shape_text(&s->shape, shape, sizeof shape));
    }
    float *values = clvi_malloc((size_t)s->elements * sizeof *values);
    if (!values)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to load %s", s->name);
    clv_status status = clvi_safetensors_read_f32(c->file, (size_t)found, values, error);
    if (status == CLV_OK)
        status = clvi_store_write(store, index, CLVI_STORE_VALUE, values, error);
    clvi_free(values);
    return status;
}

clv_status clvi_checkpoint_load(const clvi_checkpoint *c, clvi_store *store, clv_error *error)
{
    for (size_t i = 0; i < clvi_store_count(store); i++)
        CLV_TRY(load_one(c, store, i, error));
    return CLV_OK;
}
