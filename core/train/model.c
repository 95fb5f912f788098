/* See model.h. */
#include "train/model.h"

#include "plugin/loader.h"
#include "train/bundle.h"
#include "train/run_dir.h"
#include <math.h>
#include <stdio.h>

struct clvi_model {
    char *path;
    clvi_checkpoint *checkpoint;
    clvi_config *config;
    clvi_mixture *mixture;
    clvi_device *device; /* of the mixture */
    double temperature;
};

const char *clvi_model_which_name(clvi_model_which which)
{
    return which == CLVI_MODEL_LAST ? "last" : "best";
}

/* The checkpoint that is meant: in the run's folder, or `path` itself. */
static clv_status find_checkpoint(const char *path, clvi_model_which which, char **out,
                                  clv_error *error)
{
    const bool folder = clvi_is_dir(path);
    const char *name = which == CLVI_MODEL_LAST ? CLVI_RUN_LAST : CLVI_RUN_BEST;
    char *file = folder ? clvi_path_join(path, name) : clvi_strdup(path);
    if (file == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    if (folder && !clvi_has_file(path, CLVI_RUN_CONFIG)) {
        clvi_free(file);
        CLV_FAIL(error, CLV_E_DATA, "%s is no run: it has no %s", path, CLVI_RUN_CONFIG);
    }
    if (folder && !clvi_is_file(file)) {
        clvi_free(file);
        CLV_FAIL(error, CLV_E_DATA, "%s has no %s: no epoch of this run was finished", path, name);
    }
    *out = file;
    return CLV_OK;
}

/* ---- Plugins by name ---- */

/* A section that may name a plugin of a kind, and what it names. */
typedef struct plugin_site {
    const char *section, *plugin;
    clv_kind kind;
} plugin_site;

typedef clv_status plugin_visitor(void *user, const plugin_site *site, clv_error *error);

static clv_status visit_gates(const clvi_config *config, plugin_visitor *call, void *user,
                              clv_error *error)
{
    const size_t experts = clvi_config_expert_count(config);
    const plugin_site gate = {clvi_config_section(config, "gate"),
                              clvi_config_text(config, "gate", "plugin"), CLV_KIND_GATE};
    if (experts > 1)
        CLV_TRY(call(user, &gate, error));
    for (size_t i = 0; i < experts; i++)
        if (clvi_config_nested(config, i) != NULL)
            CLV_TRY(visit_gates(clvi_config_nested(config, i), call, user, error));
    return CLV_OK;
}

/* Calls for every section that may name a plugin. */
static clv_status visit_plugins(const clvi_config *config, plugin_visitor *call, void *user,
                                clv_error *error)
{
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++) {
        const char *section = clvi_config_leaf_section(config, i);
        const plugin_site expert = {section, clvi_config_text(config, section, "plugin"),
                                    CLV_KIND_EXPERT};
        CLV_TRY(call(user, &expert, error));
    }
    return visit_gates(config, call, user, error);
}

/* A bundle comes from elsewhere: it must not say which files are to be loaded. */
static clv_status refuse_file(void *user, const plugin_site *site, clv_error *error)
{
    const clvi_model *model = user;
    char shown[128];
    if (!clvi_is_path(site->plugin, ".so"))
        return CLV_OK;
    CLV_FAIL(error, CLV_E_FORMAT,
             "%s: [%s] plugin = %s is a file, which a bundle does not name; was it changed?",
             model->path, site->section, clvi_printable(site->plugin, shown, sizeof shown));
}

/* A configuration that becomes a bundle's. */
typedef struct naming {
    const clvi_model *model;
    clvi_config *config;
} naming;

/* "folder/expert_NAME.so" becomes NAME; any other file could not be found again by a name. */
static clv_status name_file(void *user, const plugin_site *site, clv_error *error)
{
    const naming *n = user;
    size_t length = 0;
    char shown[128];
    if (!clvi_is_path(site->plugin, ".so"))
        return CLV_OK;
    const char *found = clvi_plugin_name_in_file(clvi_path_name(site->plugin), site->kind, &length);
    if (found == NULL)
        CLV_FAIL(error, CLV_E_USAGE,
                 "%s: [%s] plugin = %s: a bundle calls plugins by name; call the file %s_NAME.so",
                 n->model->path, site->section, clvi_printable(site->plugin, shown, sizeof shown),
                 clvi_kind_text(site->kind));
    clvi_text name = {0};
    clvi_text_append_n(&name, found, length);
    const clv_status status =
        name.failed
            ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", n->model->path)
            : clvi_config_replace(n->config, site->section, "plugin", clvi_text_get(&name), error);
    clvi_text_fini(&name);
    return status;
}

static clv_status load_config(const clvi_model *model, clvi_config **out, clv_error *error)
{
    const char *text = clvi_checkpoint_config(model->checkpoint);
    const clvi_config_source source = {
        .name = model->path, .text = text, .text_bytes = strlen(text)};
    return clvi_config_load(&source, out, error);
}

static clv_status read_config(clvi_model *model, clv_error *error)
{
    CLV_TRY(load_config(model, &model->config, error));
    return clvi_checkpoint_is_bundle(model->checkpoint)
               ? visit_plugins(model->config, refuse_file, model, error)
               : CLV_OK;
}

/* The path of the file `name` of the run whose best checkpoint the model is; empty: it is none. */
static void file_beside(const clvi_model *model, const char *name, clvi_text *path)
{
    const char *own = clvi_path_name(model->path);
    if (strcmp(own, CLVI_RUN_BEST) != 0)
        return;
    clvi_text_append_n(path, model->path, (size_t)(own - model->path));
    clvi_text_append(path, name);
}

/* That of a bundle, or the one in the summary beside the best checkpoint, where it is of these
 * weights. */
static double read_temperature(const clvi_model *model)
{
    if (clvi_checkpoint_temperature(model->checkpoint) > 0)
        return clvi_checkpoint_temperature(model->checkpoint);
    clvi_text path = {0};
    double temperature = 0;
    file_beside(model, CLVI_RUN_SUMMARY, &path);
    json_t *summary = path.failed || path.length == 0 ? NULL : json_load_file(path.data, 0, NULL);
    if (json_integer_value(json_object_get(summary, "best_epoch")) == clvi_model_epoch(model))
        temperature = json_number_value(json_object_get(summary, "temperature"));
    json_decref(summary);
    clvi_text_fini(&path);
    return isfinite(temperature) && temperature > 0 ? temperature : 0;
}

clv_status clvi_model_open(const char *path, clvi_model_which which, clvi_model **out,
                           clv_error *error)
{
    clvi_model *model = clvi_calloc(1, sizeof *model);
    if (model == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    clv_status status = find_checkpoint(path, which, &model->path, error);
    if (status == CLV_OK)
        status = clvi_checkpoint_open(model->path, &model->checkpoint, error);
    if (status == CLV_OK)
        status = read_config(model, error);
    if (status != CLV_OK) {
        clvi_model_close(model);
        return status;
    }
    model->temperature = read_temperature(model);
    *out = model;
    return CLV_OK;
}

void clvi_model_close(clvi_model *model)
{
    if (model == NULL)
        return;
    clvi_mixture_destroy(model->mixture);
    clvi_config_destroy(model->config);
    clvi_checkpoint_close(model->checkpoint);
    clvi_free(model->path);
    clvi_free(model);
}

const char *clvi_model_path(const clvi_model *model)
{
    return model->path;
}

clvi_config *clvi_model_config(clvi_model *model)
{
    return model->config;
}

size_t clvi_model_class_count(const clvi_model *model)
{
    return clvi_checkpoint_class_count(model->checkpoint);
}

const char *clvi_model_class_name(const clvi_model *model, size_t index)
{
    return clvi_checkpoint_class_name(model->checkpoint, index);
}

void clvi_model_image(const clvi_model *model, int *height, int *width, int *channels)
{
    clvi_checkpoint_image(model->checkpoint, height, width, channels);
}

double clvi_model_temperature(const clvi_model *model)
{
    return model->temperature;
}

/* Those that a bundle carries: of an image only confidence and gate_entropy are known. */
static clv_status read_bundled(const clvi_model *model, clvi_predictions *out, clv_error *error)
{
    clvi_bundle_validation v = {0};
    clv_status status = CLV_OK;
    CLV_TRY(clvi_bundle_validation_read(clvi_checkpoint_file(model->checkpoint), &v, error));
    if (v.count > 0)
        out->items = clvi_calloc(v.count, sizeof *out->items);
    if (v.count > 0 && out->items == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", model->path);
    for (size_t i = 0; i < v.count && status == CLV_OK; i++) {
        out->items[i] = (clvi_prediction){.image = "",
                                          .label = -1,
                                          .predicted = -1,
                                          .log_probability = NAN,
                                          .confidence = v.confidence[i],
                                          .gate_entropy = v.gate_entropy[i]};
        out->count = out->capacity = i + 1;
    }
    clvi_bundle_validation_fini(&v);
    return status;
}

clv_status clvi_model_validation(const clvi_model *model, clvi_predictions *out, clv_error *error)
{
    if (clvi_checkpoint_is_bundle(model->checkpoint))
        return read_bundled(model, out, error);
    clvi_text path = {0};
    clvi_predictions read = {0};
    if (model->temperature > 0)
        file_beside(model, CLVI_RUN_PREDICTIONS, &path);
    clv_status status = CLV_OK;
    if (path.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", model->path);
    else if (path.length > 0 && clvi_is_file(path.data))
        status = clvi_predictions_read(path.data, CLVI_VAL, &read, error);
    clvi_text_fini(&path);
    CLV_TRY(status);
    *out = read;
    return CLV_OK;
}

int64_t clvi_model_epoch(const clvi_model *model)
{
    return clvi_checkpoint_state(model->checkpoint)->epoch;
}

int64_t clvi_model_step(const clvi_model *model)
{
    return clvi_checkpoint_state(model->checkpoint)->step;
}

/* ---- As a bundle ---- */

/* What is done to an image, in words of the configuration; the size is what is read again. */
static json_t *describe_preprocessing(const clvi_model *model)
{
    int height, width, channels;
    json_t *experts = json_object();
    clvi_model_image(model, &height, &width, &channels);
    for (size_t i = 0; i < clvi_config_leaf_count(model->config); i++) {
        const char *section = clvi_config_leaf_section(model->config, i);
        json_object_set_new(experts, section,
                            json_string(clvi_config_text(model->config, section, "preprocess")));
    }
    return json_pack("{s:i, s:i, s:i, s:s, s:s, s:f, s:o}", "height", height, "width", width,
                     "channels", channels, "resize",
                     clvi_config_text(model->config, "data", "resize"), "fit",
                     clvi_config_text(model->config, "data", "fit"), "crop_share",
                     clvi_config_real(model->config, "data", "crop_share"), "experts", experts);
}

/* What eval compares other images with. */
static clv_status take_validation(const clvi_model *model, clvi_bundle_validation *out,
                                  clv_error *error)
{
    clvi_predictions known = {0};
    CLV_TRY(clvi_model_validation(model, &known, error));
    const clv_status status = clvi_bundle_validation_init(out, known.count, error);
    for (size_t i = 0; i < known.count && status == CLV_OK; i++) {
        out->confidence[i] = known.items[i].confidence;
        out->gate_entropy[i] = known.items[i].gate_entropy;
    }
    clvi_predictions_fini(&known);
    return status;
}

/* The configuration as a bundle has it. */
static clv_status dump_config(const clvi_model *model, clvi_text *out, clv_error *error)
{
    clvi_config *config = NULL;
    CLV_TRY(load_config(model, &config, error));
    naming n = {model, config};
    const clv_status status = visit_plugins(config, name_file, &n, error);
    if (status == CLV_OK)
        clvi_config_dump(config, out);
    clvi_config_destroy(config);
    CLV_TRY(status);
    if (out->failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", model->path);
    return CLV_OK;
}

clv_status clvi_model_export(const clvi_model *model, const char *path, clv_error *error)
{
    json_t *classes = json_array(), *preprocessing = describe_preprocessing(model);
    for (size_t i = 0; i < clvi_model_class_count(model); i++)
        json_array_append_new(classes, json_string(clvi_model_class_name(model, i)));
    json_t *training = json_pack("{s:I, s:s, s:s}", "epoch", (json_int_t)clvi_model_epoch(model),
                                 "device", clvi_checkpoint_device(model->checkpoint), "data",
                                 clvi_checkpoint_data(model->checkpoint));
    clvi_text text = {0};
    clv_status status = dump_config(model, &text, error);
    clvi_bundle_parts parts = {.from = clvi_checkpoint_file(model->checkpoint),
                               .config = clvi_text_get(&text),
                               .classes = classes,
                               .preprocessing = preprocessing,
                               .training = training,
                               .temperature = model->temperature};
    if (status == CLV_OK)
        status = take_validation(model, &parts.validation, error);
    if (status == CLV_OK)
        status = clvi_bundle_write(path, &parts, error);
    clvi_bundle_validation_fini(&parts.validation);
    clvi_text_fini(&text);
    json_decref(classes);
    json_decref(preprocessing);
    json_decref(training);
    return status;
}

/* ---- On a device ---- */

static clvi_mixture_desc describe(const clvi_model *model, const clvi_model_place *place)
{
    clvi_mixture_desc desc = {.config = model->config,
                              .plugins = place->plugins,
                              .device = place->device,
                              .classes = (int)clvi_model_class_count(model),
                              .max_batch = place->max_batch,
                              .train = false};
    clvi_model_image(model, &desc.height, &desc.width, &desc.channels);
    return desc;
}

static clv_status compile(clvi_mixture *mixture, clvi_device *device, clv_error *error)
{
    CLV_TRY(clvi_mixture_compile(mixture, error));
    CLV_TRY(clvi_wait(device, error));
    clvi_device_save_programs(device);
    return CLV_OK;
}

clv_status clvi_model_load(clvi_model *model, const clvi_model_place *place, clv_error *error)
{
    CLV_ASSERT(model->mixture == NULL);
    const clvi_mixture_desc desc = describe(model, place);
    clvi_mixture *mixture = NULL;
    CLV_TRY(clvi_mixture_create(&desc, &mixture, error));
    clv_status status = clvi_checkpoint_load(model->checkpoint, clvi_mixture_store(mixture), error);
    if (status == CLV_OK)
        status = clvi_wait(place->device, error);
    if (status == CLV_OK && !place->cold)
        status = compile(mixture, place->device, error);
    if (status != CLV_OK) {
        clvi_mixture_destroy(mixture);
        return status;
    }
    model->mixture = mixture;
    model->device = place->device;
    return CLV_OK;
}

clv_status clvi_model_compile(clvi_model *model, clv_error *error)
{
    return compile(model->mixture, model->device, error);
}

clvi_device *clvi_model_device(clvi_model *model)
{
    return model->device;
}

clv_status clvi_model_draft(clvi_model *model, clvi_plugins *plugins, clv_error *error)
{
    CLV_ASSERT(model->mixture == NULL);
    const clvi_model_place place = {.plugins = plugins, .max_batch = 1};
    const clvi_mixture_desc desc = describe(model, &place);
    return clvi_mixture_draft(&desc, &model->mixture, error);
}

clv_status clvi_model_read(const clvi_model *model, size_t segment, float *out, clv_error *error)
{
    const clvi_store *store = clvi_mixture_store(model->mixture);
    return clvi_checkpoint_read(model->checkpoint, clvi_store_segment(store, segment), out, error);
}

clvi_mixture *clvi_model_mixture(clvi_model *model)
{
    return model->mixture;
}
