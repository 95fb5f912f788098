/* See freeze.h. */
#include "freeze.h"

static bool gives(const clvi_raw_option *raw, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(raw[i].key, key) == 0)
            return true;
    return false;
}

static clv_status freeze_section(clvi_config *config, clvi_plugins *plugins, clv_kind kind,
                                 const char *section, clv_error *error)
{
    const char *name = clvi_config_text(config, section, "plugin");
    const clvi_plugin *plugin = NULL;
    const clv_status found = clvi_plugins_find(plugins, kind, name, &plugin, error);
    if (found != CLV_OK) {
        clvi_prepend(error, "%s: [%s] plugin", clvi_config_origin(config, section, "plugin"),
                     section);
        return found;
    }
    size_t count = 0;
    const clvi_raw_option *raw = clvi_config_options(config, section, &count);
    clv_options *checked = NULL;
    CLV_TRY(clvi_options_create(plugin->table, section, raw, count, &checked, error));
    clvi_options_destroy(checked);
    for (size_t i = 0; i < plugin->table->option_count; i++) {
        const clv_option_spec spec = clvi_plugin_option(plugin->table, i);
        raw = clvi_config_options(config, section, &count);
        if (!gives(raw, count, spec.key))
            CLV_TRY(clvi_config_set(config, section, spec.key, spec.default_value, error));
    }
    return CLV_OK;
}

/* The gate of a mixture, the whole or an expert of it, and of the mixtures in it. */
static clv_status freeze_gates(clvi_config *whole, const clvi_config *mixture,
                               clvi_plugins *plugins, clv_error *error)
{
    const size_t experts = clvi_config_expert_count(mixture);
    for (size_t i = 0; i < experts; i++)
        if (clvi_config_nested(mixture, i) != NULL)
            CLV_TRY(freeze_gates(whole, clvi_config_nested(mixture, i), plugins, error));
    if (experts < 2 || *clvi_config_text(mixture, "gate", "plugin") == '\0')
        return CLV_OK;
    return freeze_section(whole, plugins, CLV_KIND_GATE, clvi_config_section(mixture, "gate"),
                          error);
}

clv_status cli_freeze_config(clvi_config *config, clvi_plugins *plugins, clv_error *error)
{
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++)
        CLV_TRY(freeze_section(config, plugins, CLV_KIND_EXPERT,
                               clvi_config_leaf_section(config, i), error));
    CLV_TRY(freeze_gates(config, config, plugins, error));
    return clvi_config_set(config, "run", "name", clvi_config_name(config), error);
}
