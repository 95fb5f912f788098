/* See initial_weights.h. */
#include "mixture/initial_weights.h"

#include "base/process.h"
#include "weights/named.h"
#include "weights/transfer.h"

#include <stdio.h>

/* ---- What `init` says ---- */

/* "a", or "a/x" of a nested mixture. */
static bool is_expert_name(const char *text)
{
    for (;;) {
        char name[CLVI_EXPERT_BYTES];
        const size_t length = strcspn(text, "/");
        if (length >= sizeof name)
            return false;
        memcpy(name, text, length);
        name[length] = '\0';
        if (!clvi_value_is_name(name))
            return false;
        if (text[length] == '\0')
            return true;
        text += length + 1;
    }
}

const char *clvi_init_colon(const char *init)
{
    const char *colon = strrchr(init, ':');
    return colon != NULL && colon > init && is_expert_name(colon + 1) ? colon : NULL;
}

bool clvi_init_is_settled(const char *init)
{
    static const char end[] = ".safetensors";
    const size_t length = sizeof end - 1;
    const char *colon = clvi_init_colon(init);
    return colon != NULL && (size_t)(colon - init) > length &&
           strncmp(colon - length, end, length) == 0;
}

/* Its value where it names a checkpoint, otherwise NULL. */
static const char *settled(const clvi_config *config, const char *section)
{
    const char *init = clvi_config_text(config, section, "init");
    return clvi_init_is_settled(init) ? init : NULL;
}

const char *clvi_initial_weights_section(const clvi_config *config, const char *section,
                                         char out[CLVI_EXPERT_BYTES])
{
    const char *init = settled(config, section);
    if (init == NULL)
        return section;
    snprintf(out, CLVI_EXPERT_BYTES, "expert.%s", clvi_init_colon(init) + 1);
    return out;
}

/* ---- Files ---- */

/* Puts the place of the key before a sentence. */
static void blame(const clvi_config *config, const char *section, clv_error *error)
{
    const char *key = settled(config, section) != NULL ? "init" : "weights";
    clvi_prepend(error, "%s: [%s] %s", clvi_config_origin(config, section, key), section, key);
}

bool clvi_initial_weights_given(const clvi_config *config, const char *section)
{
    return *clvi_config_text(config, section, "weights") != '\0' || settled(config, section);
}

static clv_status open_init(const char *init, clvi_weights **out, clv_error *error)
{
    char *path = clvi_strdup(init);
    if (path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", init);
    path[clvi_init_colon(init) - init] = '\0';
    const clv_status status = clvi_weights_open(path, out, error);
    clvi_free(path);
    return status;
}

clv_status clvi_initial_weights_open(const clvi_config *config, const char *section,
                                     clvi_weights **out, clv_error *error)
{
    const char *init = settled(config, section);
    const clv_status status =
        init != NULL ? open_init(init, out, error)
                     : clvi_weights_open(clvi_config_text(config, section, "weights"), out, error);
    if (status != CLV_OK)
        blame(config, section, error);
    return status;
}

clv_status clvi_initial_weights_check(const clvi_config *config, clv_error *error)
{
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++) {
        const char *section = clvi_config_leaf_section(config, i);
        clvi_weights *file = NULL;
        if (!clvi_initial_weights_given(config, section))
            continue;
        CLV_TRY(clvi_initial_weights_open(config, section, &file, error));
        clvi_weights_close(file);
    }
    return CLV_OK;
}

const char *clvi_initial_weights_option(const clvi_config *config, const char *section,
                                        const clv_plugin *plugin, const char *key)
{
    size_t count;
    const clvi_raw_option *raw = clvi_config_options(config, section, &count);
    while (count-- > 0)
        if (strcmp(raw[count].key, key) == 0)
            return raw[count].value;
    for (size_t i = 0; i < plugin->option_count; i++) {
        const clv_option_spec spec = clvi_plugin_option(plugin, i);
        if (strcmp(spec.key, key) == 0)
            return spec.default_value;
    }
    return NULL;
}

/* What weights ask of the network: an option of the plugin (NULL: nothing), and its value. */
typedef struct need {
    const char *option, *value;
} need;

/* Weights of one origin may mean something else in a network that is built for another one. `what`
 * begins the sentence. */
static clv_status check_need(const clvi_config *config, const char *section,
                             const clv_plugin *plugin, const char *what, need n, clv_error *error)
{
    const char *value =
        n.option ? clvi_initial_weights_option(config, section, plugin, n.option) : NULL;
    if (!value || clvi_name_equal(value, n.value))
        return CLV_OK;
    if (clvi_config_bool(config, section, "weights_strict"))
        CLV_FAIL(error, CLV_E_CONFIG,
                 "%s need %s = %s, here it is %s; weights_strict = no takes them all the same",
                 what, n.option, n.value, value);
    clvi_log(CLVI_LOG_WARN, "%s: %s need %s = %s, here it is %s", section, what, n.option, n.value,
             value);
    return CLV_OK;
}

/* By the name that the weights were asked for, and by the names in the file. */
static clv_status check_name(const clvi_config *config, const char *section,
                             const clv_plugin *plugin, clv_error *error)
{
    const char *name = clvi_config_text(config, section, "weights");
    char what[160];
    need n = {NULL, NULL};
    n.option = clvi_named_option(name, &n.value);
    (void)snprintf(what, sizeof what, "the weights %.120s", name);
    return check_need(config, section, plugin, what, n, error);
}

static clv_status check_family(const clvi_config *config, const char *section,
                               const clv_plugin *plugin, const clv_weight_names *family,
                               clv_error *error)
{
    char what[160];
    (void)snprintf(what, sizeof what, "weights with the names of %.100s", family->family);
    return check_need(config, section, plugin, what, (need){family->option, family->value}, error);
}

static clv_status load(const clvi_config *config, const char *section, const clv_plugin *plugin,
                       const clv_graph *graph, clvi_store *store, clv_error *error)
{
    char prefix[CLVI_EXPERT_BYTES + 2], there[CLVI_EXPERT_BYTES + 2], name[CLVI_EXPERT_BYTES];
    (void)snprintf(prefix, sizeof prefix, "%s.", section);
    (void)snprintf(there, sizeof there, "%s.", clvi_initial_weights_section(config, section, name));
    clvi_weights *file;
    clv_status status = check_name(config, section, plugin, error);
    if (status != CLV_OK) {
        blame(config, section, error);
        return status;
    }
    CLV_TRY(clvi_initial_weights_open(config, section, &file, error));
    const clvi_transfer_desc desc = {.file = file,
                                     .graph = graph,
                                     .plugin = plugin,
                                     .prefix = prefix,
                                     .file_prefix = there,
                                     .strict = settled(config, section) != NULL ||
                                               clvi_config_bool(config, section, "weights_strict")};
    clvi_transfer *transfer = NULL;
    status = clvi_transfer_plan(&desc, &transfer, error);
    if (status == CLV_OK)
        status = check_family(config, section, plugin, clvi_transfer_family(transfer), error);
    if (status == CLV_OK)
        status = clvi_transfer_run(transfer, store, error);
    if (status != CLV_OK)
        blame(config, section, error);
    clvi_transfer_destroy(transfer);
    clvi_weights_close(file);
    return status;
}

clv_status clvi_initial_weights_load(const clvi_config *config, clvi_plugins *plugins,
                                     clvi_mixture *mixture, clv_error *error)
{
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++) {
        const char *section = clvi_config_leaf_section(config, i);
        if (!clvi_initial_weights_given(config, section))
            continue;
        const clvi_plugin *plugin;
        CLV_TRY(clvi_plugins_find(plugins, CLV_KIND_EXPERT,
                                  clvi_config_text(config, section, "plugin"), &plugin, error));
        CLV_TRY(load(config, section, plugin->table, clvi_mixture_expert_graph(mixture, i),
                     clvi_mixture_store(mixture), error));
    }
    return CLV_OK;
}
