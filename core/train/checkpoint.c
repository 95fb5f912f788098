#include "train/checkpoint.h"

#include "train/bundle.h"

static const char format_name[] = "conclave 1";

/* Name of a segment's data of a kind in the file. NAME is what one uses, averages where there are
 * some, so that other programs find the right weights too. */
static const char *tensor_name(const clvi_store *store, const clvi_segment *s, clvi_store_kind kind,
                               clvi_text *out)
{
    const char *prefix = "";
    if (kind == CLVI_STORE_MOMENT1)
        prefix = "optimizer.m.";
    else if (kind == CLVI_STORE_MOMENT2)
        prefix = "optimizer.v.";
    else if (kind == CLVI_STORE_VALUE && clvi_store_keeps(store, CLVI_STORE_AVERAGE))
        prefix = "training.";
    out->length = 0;
    clvi_text_printf(out, "%s%s", prefix, s->name);
    return clvi_text_get(out);
}

static const clvi_store_kind saved_kinds[] = {CLVI_STORE_AVERAGE, CLVI_STORE_VALUE,
                                              CLVI_STORE_MOMENT1, CLVI_STORE_MOMENT2};
enum { SAVED_KINDS = sizeof saved_kinds / sizeof *saved_kinds };

/* ---- Writing ---- */

static json_t *words_json(const uint32_t *words, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(words[i]));
    return list;
}

static json_t *describe_running(const clvi_checkpoint_parts *p)
{
    const clvi_running_epoch *r = &p->state->running;
    json_t *json =
        json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:[I,I,I], s:o}", "steps", (json_int_t)r->steps,
                  "images", (json_int_t)r->images, "loss_sum", r->loss_sum, "top1_sum", r->top1_sum,
                  "top5_sum", r->top5_sum, "count", (json_int_t)r->count, "routed",
                  (json_int_t)r->unrouted, (json_int_t)r->wanted, (json_int_t)r->dropped, "metrics",
                  words_json(r->metrics, CLVI_METRICS_WORDS));
    if (json && p->signals && r->steps > 0)
        json_object_set_new(json, "signals", words_json(p->signals, p->signal_words));
    return json;
}

static json_t *describe(const clvi_checkpoint_parts *p)
{
    const clvi_train_state *state = p->state;
    json_t *classes = json_array(), *groups = json_array();
    for (size_t i = 0; i < clvi_dataset_class_count(p->data); i++)
        json_array_append_new(classes, json_string(clvi_dataset_class_name(p->data, i)));
    for (uint32_t g = 0; g < clvi_store_group_count(p->store); g++)
        json_array_append_new(groups, json_integer(clvi_optimizer_group_steps(p->optimizer, g)));
    int height, width;
    clvi_dataset_size(p->data, &height, &width);
    const clvi_early_stop_state *watch = &state->plateau.watch;
    return json_pack(
        "{s:I, s:I, s:f, s:I, s:I, s:[f,f,I,I], s:o, s:[I,I,I,I], s:[i,i,i], s:s, s:s, s:o, s:o}",
        "epoch", (json_int_t)state->epoch, "step", (json_int_t)state->step, "best",
        state->stop.best, "best_epoch", (json_int_t)state->stop.best_epoch, "waited",
        (json_int_t)state->stop.waited, "plateau", state->plateau.scale, watch->best,
        (json_int_t)watch->best_epoch, (json_int_t)watch->waited, "running", describe_running(p),
        "routed", (json_int_t)state->routed.images, (json_int_t)state->routed.unrouted,
        (json_int_t)state->routed.wanted, (json_int_t)state->routed.dropped, "image", height, width,
        clvi_dataset_channels(p->data), "data", clvi_dataset_fingerprint(p->data), "device",
        clvi_device_banner(clvi_store_device(p->store)), "classes", classes, "group_steps", groups);
}

static clv_status write_metadata(clvi_tensor_writer *writer, json_t *description,
                                 const char *config, clv_error *error)
{
    char *text =
        description ? json_dumps(description, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
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

/* Announces all tensors (`values` NULL), or writes them. */
static clv_status pass_over(clvi_tensor_writer *writer, const clvi_store *store, float *values,
                            clvi_text *name, clv_error *error)
{
    for (int k = 0; k < SAVED_KINDS; k++)
        for (size_t i = 0; i < clvi_store_count(store); i++) {
            const clvi_segment *s = clvi_store_segment(store, i);
            if (!clvi_store_view(store, i, saved_kinds[k]).buf)
                continue;
            if (!values) {
                CLV_TRY(
                    clvi_tensor_writer_declare(writer, tensor_name(store, s, saved_kinds[k], name),
                                               CLVI_FILE_F32, s->shape.rank, s->shape.dims, error));
                continue;
            }
            CLV_TRY(clvi_store_read(store, i, saved_kinds[k], values, error));
            CLV_TRY(clvi_tensor_writer_append(writer, values, s->elements, error));
        }
    return CLV_OK;
}

static clv_status write_tensors(clvi_tensor_writer *writer, const clvi_store *store,
                                clv_error *error)
{
    int64_t largest = 1;
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const int64_t elements = clvi_store_segment(store, i)->elements;
        largest = elements > largest ? elements : largest;
    }
    float *values = clvi_malloc((size_t)largest * sizeof *values);
    if (!values)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to save the largest variable");
    clvi_text name = {0};
    clv_status status = pass_over(writer, store, NULL, &name, error);
    if (status == CLV_OK)
        status = pass_over(writer, store, values, &name, error);
    clvi_free(values);
    clvi_text_fini(&name);
    return status;
}

clv_status clvi_checkpoint_save(const char *path, const clvi_checkpoint_parts *parts,
                                clv_error *error)
{
    clvi_tensor_writer *writer = NULL;
    clv_status status = clvi_tensor_writer_create(path, &writer, error);
    if (status == CLV_OK) {
        json_t *description = describe(parts);
        status = write_metadata(writer, description, parts->config, error);
        json_decref(description);
    }
    if (status == CLV_OK)
        status = write_tensors(writer, parts->store, error);
    if (status == CLV_OK)
        status = clvi_tensor_writer_commit(writer, error);
    clvi_tensor_writer_destroy(writer);
    if (status != CLV_OK)
        clvi_prepend(error, "saving a checkpoint");
    return status;
}

/* ---- Reading ---- */

struct clvi_checkpoint {
    clvi_safetensors *file;
    json_t *training, *classes;
    clvi_train_state state;
    int image[3];
    bool bundle;
    double temperature; /* of a bundle; 0: not known */
};

static clv_status incomplete(const clvi_checkpoint *c, const char *what, clv_error *error)
{
    CLV_FAIL(error, CLV_E_FORMAT, "%s: no checkpoint of Conclave: %s",
             clvi_safetensors_path(c->file), what);
}

/* What a sparse gate did; absent in older files. */
static bool parse_routed(clvi_checkpoint *c)
{
    json_int_t n[4] = {0, 0, 0, 0};
    json_t *routed = json_object_get(c->training, "routed");
    if (routed && json_unpack(routed, "[I,I,I,I]", &n[0], &n[1], &n[2], &n[3]) != 0)
        return false;
    c->state.routed = (clvi_routed){n[0], n[1], n[2], n[3]};
    return true;
}

/* Where the epoch stood, and the plateau; absent in older files. */
static bool parse_running(clvi_checkpoint *c)
{
    clvi_running_epoch *r = &c->state.running;
    clvi_plateau *plateau = &c->state.plateau;
    const json_t *running = json_object_get(c->training, "running");
    const json_t *words = json_object_get(running, "metrics");
    json_t *watched = json_object_get(c->training, "plateau");
    json_int_t steps = 0, images = 0, count = 0, best_epoch = 0, waited = 0;
    json_int_t routed[3] = {0, 0, 0};
    plateau->scale = 1;
    if (watched && json_unpack(watched, "[F,F,I,I]", &plateau->scale, &plateau->watch.best,
                               &best_epoch, &waited) != 0)
        return false;
    plateau->watch.best_epoch = best_epoch, plateau->watch.waited = waited;
    if (!running)
        return true;
    /* Files from before routes were counted have no `routed`, and fewer words. */
    if (json_unpack((json_t *)running, "{s:I, s:I, s:F, s:F, s:F, s:I, s?[I,I,I]}", "steps", &steps,
                    "images", &images, "loss_sum", &r->loss_sum, "top1_sum", &r->top1_sum,
                    "top5_sum", &r->top5_sum, "count", &count, "routed", &routed[0], &routed[1],
                    &routed[2]) != 0 ||
        json_array_size(words) > CLVI_METRICS_WORDS || steps < 0 || images < 0)
        return false;
    r->steps = steps, r->images = images, r->count = count;
    r->unrouted = routed[0], r->wanted = routed[1], r->dropped = routed[2];
    for (size_t i = 0; i < json_array_size(words); i++)
        r->metrics[i] = (uint32_t)json_integer_value(json_array_get(words, i));
    return true;
}

/* A bundle is a checkpoint without what only training reads. */
static clv_status parse_bundle(clvi_checkpoint *c, clv_error *error)
{
    clvi_bundle bundle;
    CLV_TRY(clvi_bundle_read(c->file, &bundle, error));
    c->bundle = true;
    c->training = bundle.training;
    c->classes = bundle.classes;
    c->temperature = bundle.temperature;
    c->state = (clvi_train_state){.epoch = bundle.epoch, .plateau.scale = 1};
    memcpy(c->image, bundle.image, sizeof c->image);
    return CLV_OK;
}

/* Reads the metadata; checks everything that will be used. */
static clv_status parse(clvi_checkpoint *c, clv_error *error)
{
    const char *format = clvi_safetensors_metadata(c->file, "format");
    const char *training = clvi_safetensors_metadata(c->file, "training");
    if (format && strcmp(format, CLVI_BUNDLE_FORMAT) == 0)
        return parse_bundle(c, error);
    if (!format || strcmp(format, format_name) != 0)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: neither a checkpoint nor a bundle of Conclave: its metadata has no format "
                 "\"%s\" or \"%s\"",
                 clvi_safetensors_path(c->file), format_name, CLVI_BUNDLE_FORMAT);
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
    c->classes = json_incref(classes);
    c->state = (clvi_train_state){.epoch = epoch, .step = step, .stop = {best, best_epoch, waited}};
    if (epoch < 0 || step < 0 || !parse_running(c) || !parse_routed(c))
        return incomplete(c, "its state of training is damaged", error);
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
    json_decref(c->classes);
    clvi_free(c);
}

const clvi_safetensors *clvi_checkpoint_file(const clvi_checkpoint *c)
{
    return c->file;
}

size_t clvi_checkpoint_class_count(const clvi_checkpoint *c)
{
    return json_array_size(c->classes);
}

const char *clvi_checkpoint_class_name(const clvi_checkpoint *c, size_t index)
{
    return json_string_value(json_array_get(c->classes, index));
}

const char *clvi_checkpoint_config(const clvi_checkpoint *c)
{
    return clvi_safetensors_metadata(c->file, "config");
}

void clvi_checkpoint_image(const clvi_checkpoint *c, int *height, int *width, int *channels)
{
    *height = c->image[0], *width = c->image[1], *channels = c->image[2];
}

bool clvi_checkpoint_is_bundle(const clvi_checkpoint *c)
{
    return c->bundle;
}

double clvi_checkpoint_temperature(const clvi_checkpoint *c)
{
    return c->temperature;
}

const clvi_train_state *clvi_checkpoint_state(const clvi_checkpoint *c)
{
    return &c->state;
}

clv_status clvi_checkpoint_signals(const clvi_checkpoint *c, uint32_t *words, size_t count,
                                   clv_error *error)
{
    const json_t *list = json_object_get(json_object_get(c->training, "running"), "signals");
    if (count == 0)
        return CLV_OK;
    memset(words, 0, count * sizeof *words);
    if (!list)
        return CLV_OK;
    if (json_array_size(list) != count)
        return incomplete(c, "its signals are those of other networks", error);
    for (size_t i = 0; i < count; i++)
        words[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return CLV_OK;
}

static const char *word(const clvi_checkpoint *c, const char *key)
{
    const char *text = json_string_value(json_object_get(c->training, key));
    return text ? text : "";
}

const char *clvi_checkpoint_device(const clvi_checkpoint *c)
{
    return word(c, "device");
}

const char *clvi_checkpoint_data(const clvi_checkpoint *c)
{
    return word(c, "data");
}

/* Reads the tensor `name`, which has the shape of a segment. */
static clv_status read_one(const clvi_checkpoint *c, const clvi_segment *s, const char *name,
                           float *out, clv_error *error)
{
    const char *path = clvi_safetensors_path(c->file);
    const int64_t found = clvi_safetensors_find(c->file, name);
    if (found < 0)
        CLV_FAIL(error, CLV_E_FORMAT, "%s has no tensor %s", path, name);
    const clvi_file_tensor *t = clvi_safetensors_at(c->file, (size_t)found);
    bool same = t->rank == s->shape.rank;
    for (int k = 0; same && k < t->rank; k++)
        same = t->dims[k] == s->shape.dims[k];
    if (!same) {
        char shape[64];
        CLV_FAIL(error, CLV_E_FORMAT, "%s: tensor %s has another shape than the %s of this network",
                 path, name, clvi_shape_text(&s->shape, shape, sizeof shape));
    }
    return clvi_safetensors_read_f32(c->file, (size_t)found, out, error);
}

clv_status clvi_checkpoint_read(const clvi_checkpoint *c, const clvi_segment *segment, float *out,
                                clv_error *error)
{
    return read_one(c, segment, segment->name, out, error);
}

/* Loads the tensor `name` as data of a kind of segment `index`. */
static clv_status load_one(const clvi_checkpoint *c, clvi_store *store, size_t index,
                           const char *name, clvi_store_kind kind, clv_error *error)
{
    const clvi_segment *s = clvi_store_segment(store, index);
    float *values = clvi_malloc((size_t)s->elements * sizeof *values);
    if (!values)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to load %s", name);
    clv_status status = read_one(c, s, name, values, error);
    if (status == CLV_OK)
        status = clvi_store_write(store, index, kind, values, error);
    clvi_free(values);
    return status;
}

clv_status clvi_checkpoint_load(const clvi_checkpoint *c, clvi_store *store, clv_error *error)
{
    for (size_t i = 0; i < clvi_store_count(store); i++)
        CLV_TRY(load_one(c, store, i, clvi_store_segment(store, i)->name, CLVI_STORE_VALUE, error));
    return CLV_OK;
}

static clv_status load_all(const clvi_checkpoint *c, clvi_store *store, clvi_text *name,
                           clv_error *error)
{
    for (int k = 0; k < SAVED_KINDS; k++)
        for (size_t i = 0; i < clvi_store_count(store); i++)
            if (clvi_store_view(store, i, saved_kinds[k]).buf)
                CLV_TRY(
                    load_one(c, store, i,
                             tensor_name(store, clvi_store_segment(store, i), saved_kinds[k], name),
                             saved_kinds[k], error));
    return CLV_OK;
}

clv_status clvi_checkpoint_resume(const clvi_checkpoint *c, clvi_store *store,
                                  clvi_optimizer *optimizer, clv_error *error)
{
    const json_t *groups = json_object_get(c->training, "group_steps");
    const uint32_t count = clvi_store_group_count(store);
    if (json_array_size(groups) != count)
        return incomplete(c, "its step counts are those of other networks", error);
    clvi_text name = {0};
    const clv_status status = load_all(c, store, &name, error);
    clvi_text_fini(&name);
    for (uint32_t g = 0; g < count; g++)
        clvi_optimizer_set_group_steps(optimizer, g, json_integer_value(json_array_get(groups, g)));
    return status;
}
