/* See initial_weights.h. */
#include "mixture/initial_weights.h"

#include "base/process.h"
#include "weights/transfer.h"

#include <stdio.h>

/* Puts the place of the key before a sentence. */
static void blame(const clvi_config *config, const char *section, clv_error *error)
{
    clvi_prepend(error, "%s: [%s] weights", clvi_config_origin(config, section, "weights"),
                 section);
}

clv_status clvi_initial_weights_open(const clvi_config *config, const char *section,
                                     clvi_weights **out, clv_error *error)
{
    const clv_status status =
        clvi_weights_open(clvi_config_text(config, section, "weights"), out, error);
    if (status != CLV_OK)
        blame(config, section, error);
    return status;
}

clv_status clvi_initial_weights_check(const clvi_config *config, clv_error *error)
{
    for (size_t i = 0; i < clvi_config_expert_count(config); i++) {
        const char *section = clvi_config_expert_section(config, i);
        clvi_weights *file = NULL;
        if (*clvi_config_text(config, section, "weights") == '\0')
            continue;
        CLV_TRY(clvi_initial_weights_open(config, section, &file, error));
        clvi_weights_close(file);
    }
    return CLV_OK;
}

/* The value of a plugin's option; NULL: it has no such one. */
static const char *option_of(const clvi_config *config, const char *section,
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

/* Weights of one origin may mean something else in a network that is built for another one. */
static clv_status check_option(const clvi_config *config, const char *section,
                               const clv_plugin *plugin, const clv_weight_names *family,
                               clv_error *error)
{
    const char *value = family->option ? option_of(config, section, plugin, family->option) : NULL;
    if (!value || clvi_name_equal(value, family->value))
        return CLV_OK;
    if (clvi_config_bool(config, section, "weights_strict"))
        CLV_FAIL(error, CLV_E_CONFIG,
                 "the names in it are those of %s, whose weights need %s = %s, here it is %s; "
                 "weights_strict = no takes them all the same",
                 family->family, family->option, family->value, value);
    clvi_log(CLVI_LOG_WARN, "%s: weights of %s need %s = %s, here it is %s", section,
             family->family, family->option, family->value, value);
    return CLV_OK;
}

static clv_status load(const clvi_config *config, const char *section, const clv_plugin *plugin,
                       const clv_graph *graph, clvi_store *store, clv_error *error)
{
    char prefix[128];
    (void)snprintf(prefix, sizeof prefix, "%s.", section);
    clvi_weights *file;
    CLV_TRY(clvi_initial_weights_open(config, section, &file, error));
    const clvi_transfer_desc desc = {.file = file,
                                     .graph = graph,
                                     .plugin = plugin,
                                     .prefix = prefix,
                                     .strict = clvi_config_bool(config, section, "weights_strict")};
    clvi_transfer *transfer = NULL;
    clv_status status = clvi_transfer_plan(&desc, &transfer, error);
    if (status == CLV_OK)
        status = check_option(config, section, plugin, clvi_transfer_family(transfer), error);
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
    for (size_t i = 0; i < clvi_config_expert_count(config); i++) {
        const char *section = clvi_config_expert_section(config, i);
        if (*clvi_config_text(config, section, "weights") == '\0')
            continue;
        const clvi_plugin *plugin;
        CLV_TRY(clvi_plugins_find(plugins, CLV_KIND_EXPERT,
                                  clvi_config_text(config, section, "plugin"), &plugin, error));
        CLV_TRY(load(config, section, plugin->table, clvi_mixture_expert_graph(mixture, i),
                     clvi_mixture_store(mixture), error));
    }
    return CLV_OK;
}
