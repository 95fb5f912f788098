/* The public API: a model on a device, for programs that classify images. See conclave.h. */
#include "base/structs.h"
#include "train/settings.h"
#include "use/classifier.h"
#include "use/place.h"
#include "version.h"

struct clv_model {
    clvi_model *model;
    clvi_plugins *plugins;
    clvi_runtime *runtime;
    clvi_device *device;
    clvi_classifier *classifier;
};

const char *clv_version(void)
{
    return CLVI_VERSION;
}

/* ---- Opening ---- */

/* The caller's options as this version knows them: what those of an older one do not reach is 0. */
static clv_status read_options(const clv_model_options *given, clv_model_options *out,
                               clv_error *error)
{
    enum { MOST_BATCH = 65536 };
    clv_model_options options = CLV_MODEL_OPTIONS_INIT;
    if (given != NULL && !clvi_struct_take(&options, sizeof options, given,
                                           CLVI_BYTES_TO(clv_model_options, max_batch), SIZE_MAX))
        CLV_FAIL(error, CLV_E_USAGE,
                 "clv_model_options: struct_size is %u; begin with CLV_MODEL_OPTIONS_INIT",
                 (unsigned)given->struct_size);
    if (options.max_batch == 0)
        options.max_batch = 1;
    if (options.max_batch > MOST_BATCH)
        CLV_FAIL(error, CLV_E_USAGE, "clv_model_options: max_batch is %u; give at most %d",
                 (unsigned)options.max_batch, MOST_BATCH);
    *out = options;
    return CLV_OK;
}

static clv_status read_which(const clv_model_options *options, clvi_model_which *out,
                             clv_error *error)
{
    const char *name = options->checkpoint != NULL ? options->checkpoint : "best";
    *out = CLVI_MODEL_BEST;
    if (strcmp(name, clvi_model_which_name(CLVI_MODEL_LAST)) == 0)
        *out = CLVI_MODEL_LAST;
    else if (strcmp(name, clvi_model_which_name(CLVI_MODEL_BEST)) != 0)
        CLV_FAIL(error, CLV_E_USAGE, "clv_model_options: checkpoint is \"%s\"; give best or last",
                 name);
    return CLV_OK;
}

static clv_status open_device(clv_model *m, const char *select, clv_error *error)
{
    const clvi_config *config = clvi_model_config(m->model);
    clvi_device_options options = clvi_train_device_options(config);
    options.select = select != NULL ? select : clvi_config_text(config, "device", "select");
    CLV_TRY(clvi_runtime_create(&m->runtime, error));
    return clvi_device_open(m->runtime, &options, &m->device, error);
}

static clv_status open_plugins(clv_model *m, const char *path, clv_error *error)
{
    char *folder = NULL;
    CLV_TRY(clvi_place_plugins(&folder, error));
    const clv_status status = clvi_plugins_create(path, folder, &m->plugins, error);
    clvi_free(folder);
    return status;
}

static clv_status open_model(clv_model *m, const char *path, const clv_model_options *options,
                             clv_error *error)
{
    clvi_model_which which;
    CLV_TRY(read_which(options, &which, error));
    CLV_TRY(clvi_model_open(path, which, &m->model, error));
    CLV_TRY(open_plugins(m, options->plugin_path, error));
    CLV_TRY(open_device(m, options->device, error));
    const clvi_model_place place = {
        .device = m->device, .plugins = m->plugins, .max_batch = options->max_batch, .cold = true};
    CLV_TRY(clvi_model_load(m->model, &place, error));
    return clvi_classifier_create(m->model, place.max_batch, &m->classifier, error);
}

clv_status clv_model_open(const char *path, const clv_model_options *options, clv_model **out,
                          clv_error *error)
{
    clv_model_options used = CLV_MODEL_OPTIONS_INIT;
    if (path == NULL || path[0] == '\0')
        CLV_FAIL(error, CLV_E_USAGE, "which model? give a run's folder or a bundle");
    CLV_TRY(read_options(options, &used, error));
    clv_model *m = clvi_calloc(1, sizeof *m);
    if (m == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    const clv_status status = open_model(m, path, &used, error);
    if (status != CLV_OK) {
        clv_model_close(m);
        return status;
    }
    *out = m;
    return CLV_OK;
}

void clv_model_close(clv_model *m)
{
    if (m == NULL)
        return;
    clvi_classifier_destroy(m->classifier);
    clvi_model_close(m->model);
    clvi_device_close(m->device);
    clvi_runtime_destroy(m->runtime);
    clvi_plugins_destroy(m->plugins);
    clvi_free(m);
}

/* ---- Computing ---- */

clv_status clv_model_warm_up(clv_model *m, clv_error *error)
{
    return clvi_classifier_warm(m->classifier, error);
}

uint64_t clv_model_compilations(clv_model *m)
{
    clvi_device_counters counters;
    clvi_classifier_counters(m->classifier, &counters);
    return counters.programs_built + counters.programs_cached + counters.kernels_compiled;
}

clv_status clv_model_classify(clv_model *m, const clv_image *images, size_t count, clv_result **out,
                              clv_error *error)
{
    return clvi_classifier_run(m->classifier, images, count, out, error);
}

/* ---- Facts ---- */

size_t clv_model_class_count(const clv_model *m)
{
    return clvi_model_class_count(m->model);
}

const char *clv_model_class_name(const clv_model *m, size_t index)
{
    return index < clv_model_class_count(m) ? clvi_model_class_name(m->model, index) : NULL;
}

size_t clv_model_expert_count(const clv_model *m)
{
    return clvi_config_expert_count(clvi_model_config(m->model));
}

const char *clv_model_expert_name(const clv_model *m, size_t index)
{
    return index < clv_model_expert_count(m)
               ? clvi_config_expert_name(clvi_model_config(m->model), index)
               : NULL;
}

int clv_model_has_gate(const clv_model *m)
{
    return clvi_mixture_has_gate(clvi_model_mixture(m->model));
}

void clv_model_image_size(const clv_model *m, int32_t *height, int32_t *width, int32_t *channels)
{
    int h, w, c;
    clvi_model_image(m->model, &h, &w, &c);
    if (height != NULL)
        *height = h;
    if (width != NULL)
        *width = w;
    if (channels != NULL)
        *channels = c;
}

double clv_model_temperature(const clv_model *m)
{
    return clvi_model_temperature(m->model);
}

const char *clv_model_device(const clv_model *m)
{
    return clvi_device_banner(m->device);
}
