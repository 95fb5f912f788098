/* See expert.h. */
#include "mixture/expert.h"

void clvi_expert_fini(clvi_expert *e)
{
    clvi_graph_destroy(e->graph);
    clvi_options_destroy(e->options);
    *e = (clvi_expert){0};
}

static clv_status build(const clvi_config *config, clvi_plugins *plugins,
                        const clv_build_input *input, clvi_expert *e, clv_error *error)
{
    const clvi_plugin *plugin;
    size_t count;
    const clvi_raw_option *raw = clvi_config_options(config, e->section, &count);
    const clv_status status = clvi_plugins_find(
        plugins, CLV_KIND_EXPERT, clvi_config_text(config, e->section, "plugin"), &plugin, error);
    if (status != CLV_OK) {
        clvi_prepend(error, "%s: [%s] plugin", clvi_config_origin(config, e->section, "plugin"),
                     e->section);
        return status;
    }
    e->plugin_path = plugin->builtin ? NULL : plugin->path;
    CLV_TRY(clvi_options_create(plugin->table, e->section, raw, count, &e->options, error));
    const clv_status built =
        clvi_plugin_build(plugin, e->options, input, e->section, &e->graph, error);
    if (built == CLV_E_CONFIG) /* what it says is about its options */
        clvi_prepend(error, "%s: [%s]", clvi_config_origin(config, e->section, "plugin"),
                     e->section);
    CLV_TRY(built);
    if (e->graph->input_count == 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: [%s] build declares no image: it would see nothing",
                 plugin->path, e->section);
    return clvi_input_form_choose(config, e->section, &e->graph->inputs[0].desc, &e->form, error);
}

clv_status clvi_expert_build(const clvi_config *config, clvi_plugins *plugins, const char *section,
                             const clv_build_input *input, clvi_expert *out, clv_error *error)
{
    clvi_expert expert = {.section = section};
    const clv_status status = build(config, plugins, input, &expert, error);
    if (status != CLV_OK) {
        clvi_expert_fini(&expert);
        return status;
    }
    *out = expert;
    return CLV_OK;
}

void clvi_experts_describe_pixels(const clvi_config *config, clvi_plugins *plugins,
                                  const clvi_picture *picture, clvi_text *out)
{
    const clv_build_input input = {.struct_size = sizeof input,
                                   .mode = CLV_MODE_INFER,
                                   .classes = 2,
                                   .experts = 1,
                                   .image_height = picture->height,
                                   .image_width = picture->width,
                                   .image_channels = picture->channels == 1 ? 1 : 3};
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++) {
        clv_error why = CLV_ERROR_INIT;
        clvi_expert expert = {0};
        const char *section = clvi_config_leaf_section(config, i);
        clvi_text_printf(out, "# %s: ", section);
        if (clvi_expert_build(config, plugins, section, &input, &expert, &why) == CLV_OK) {
            clvi_text_append(out, "a pixel x of 0 to 255 becomes ");
            clvi_input_form_describe(&expert.form, picture, out);
        } else {
            clvi_text_printf(out, "what is done to a pixel cannot be said: %s", why.message);
        }
        clvi_text_append(out, "\n");
        clvi_expert_fini(&expert);
    }
}
