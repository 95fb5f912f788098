/* conclave export --safetensors: weights for PyTorch. */
#include "export.h"
#include "export/torch.h"

/* The names of all experts that have a plugin, "a, b/x". */
static clv_status unknown_expert(const clvi_config *config, const char *wanted, clv_error *error)
{
    clvi_text names = {0};
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++)
        clvi_text_printf(&names, "%s%s", i > 0 ? ", " : "",
                         clvi_config_leaf_section(config, i) + strlen("expert."));
    const clv_status status =
        wanted ? clvi_fail(error, CLV_E_USAGE, CLV_HERE, "--expert %s: there are %s", wanted,
                           clvi_text_get(&names))
               : clvi_fail(error, CLV_E_USAGE, CLV_HERE,
                           "--safetensors writes one expert; say which with --expert: %s",
                           clvi_text_get(&names));
    clvi_text_fini(&names);
    return status;
}

static clv_status find_expert(const clvi_config *config, const char *wanted, size_t *out,
                              clv_error *error)
{
    const size_t count = clvi_config_leaf_count(config);
    size_t found = !wanted && count == 1 ? 0 : count;
    for (size_t i = 0; i < count && wanted; i++)
        if (strcmp(clvi_config_leaf_section(config, i) + strlen("expert."), wanted) == 0)
            found = i;
    if (found == count)
        return unknown_expert(config, wanted, error);
    *out = found;
    return CLV_OK;
}

clv_status export_torch(export_job *job, const char *path, clv_error *error)
{
    clvi_export_source source;
    size_t leaf = 0;
    const clvi_plugin *plugin;
    const clvi_config *config = clvi_model_config(job->model);
    CLV_TRY(find_expert(config, cli_option_value(job->args, "expert"), &leaf, error));
    CLV_TRY(export_source(job, &source, error));
    CLV_TRY(clvi_plugins_find(
        job->session.plugins, CLV_KIND_EXPERT,
        clvi_config_text(config, clvi_config_leaf_section(config, leaf), "plugin"), &plugin,
        error));
    return clvi_export_torch(&source, leaf, plugin->table, path, error);
}
