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

clv_status cli_freeze_config(clvi_config *config, clvi_plugins *plugins, clv_error *error)
{
    const size_t experts = clvi_config_expert_count(config);
    for (size_t i = 0; i < experts; i++)
        CLV_TRY(freeze_section(config, plugins, CLV_KIND_EXPERT,
                               clvi_config_expert_section(config, i), error));
    if (experts > 1 && *clvi_config_text(config, "gate", "plugin") != '\0')
        CLV_TRY(freeze_section(config, plugins, CLV_KIND_GATE, "gate", error));
    return clvi_config_set(config, "run", "name", clvi_config_name(config), error);
}
