/* See initial_run.h. */
#include "train/initial_run.h"

#include "base/process.h"
#include "base/text.h"
#include "mixture/initial_weights.h"

#include <stdio.h>

/* ---- Which expert ---- */

static bool find(const clvi_config *config, const char *name, size_t *index)
{
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++)
        if (strcmp(clvi_config_leaf_name(config, i), name) == 0) {
            *index = i;
            return true;
        }
    return false;
}

static clv_status refuse_expert(const clvi_config *config, const char *section, const char *name,
                                const clvi_initial_expert *from, clv_error *error)
{
    const size_t count = clvi_config_leaf_count(from->config);
    clvi_text list = {0};
    for (size_t i = 0; i < count; i++)
        clvi_text_printf(&list, "%s%s", i > 0 ? ", " : "", clvi_config_leaf_name(from->config, i));
    const clv_status status = clvi_config_fail(
        config, section, "init", error, "%s has no expert %s but %s; write init = %s:EXPERT",
        from->source, name, clvi_text_get(&list), from->source);
    clvi_text_fini(&list);
    return status;
}

clv_status clvi_initial_expert_pick(const clvi_config *config, const char *section,
                                    const char *name, clvi_initial_expert *from, clv_error *error)
{
    const char *own = strchr(section, '.') + 1;
    const char *last = strrchr(own, '/');
    if (find(from->config, name != NULL ? name : own, &from->index) ||
        (name == NULL && last != NULL && find(from->config, last + 1, &from->index)))
        return CLV_OK;
    if (name != NULL || clvi_config_leaf_count(from->config) > 1)
        return refuse_expert(config, section, name != NULL ? name : own, from, error);
    from->index = 0;
    return CLV_OK;
}

/* ---- The same network ---- */

static clv_status refuse(const clvi_config *config, const char *section,
                         const clvi_initial_expert *from, const char *key, const char *here,
                         const char *there, clv_error *error)
{
    return clvi_config_fail(config, section, "init", error, "%s is %s here, but %s in [%s] of %s",
                            key, here, there, clvi_config_leaf_section(from->config, from->index),
                            from->source);
}

/* A plugin's option as the section gives it, or its default; in its usual form. Appends. */
static clv_status option_value(const clvi_config *config, const char *section,
                               const clv_option_spec *spec, clvi_text *out, clv_error *error)
{
    size_t count;
    const clvi_raw_option *raw = clvi_config_options(config, section, &count);
    const char *text = spec->default_value;
    for (size_t i = 0; i < count; i++)
        if (strcmp(raw[i].key, spec->key) == 0)
            text = raw[i].value;
    clvi_arena *arena = NULL;
    clvi_value value = {0};
    CLV_TRY(clvi_arena_create(&arena, error));
    const clv_status status = clvi_value_parse(spec, text, arena, &value, error);
    if (status == CLV_OK)
        clvi_value_format(&value, out);
    clvi_arena_destroy(arena);
    CLV_TRY(status);
    if (out->failed)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to compare experts");
    return CLV_OK;
}

static clv_status match_option(const clvi_config *config, const char *section,
                               const clvi_initial_expert *from, const clv_option_spec *spec,
                               clv_error *error)
{
    const char *theirs = clvi_config_leaf_section(from->config, from->index);
    clvi_text here = {0}, there = {0};
    clv_status status = option_value(config, section, spec, &here, error);
    if (status == CLV_OK)
        status = option_value(from->config, theirs, spec, &there, error);
    if (status == CLV_OK && strcmp(clvi_text_get(&here), clvi_text_get(&there)) != 0)
        status = refuse(config, section, from, spec->key, clvi_text_get(&here),
                        clvi_text_get(&there), error);
    clvi_text_fini(&here);
    clvi_text_fini(&there);
    return status;
}

static clv_status match_size(const clvi_config *config, const char *section,
                             const clvi_initial_expert *from, clv_error *error)
{
    int height, width, other_height, other_width;
    clvi_config_size(config, "data", "image_size", &height, &width);
    clvi_config_size(from->config, "data", "image_size", &other_height, &other_width);
    if (height == other_height && width == other_width)
        return CLV_OK;
    return clvi_config_fail(config, section, "init", error,
                            "%s was trained on images of %dx%d; here data.image_size is %dx%d",
                            from->source, other_height, other_width, height, width);
}

clv_status clvi_initial_expert_match(const clvi_config *config, const char *section,
                                     const clvi_initial_expert *from, clvi_plugins *plugins,
                                     clv_error *error)
{
    const char *theirs = clvi_config_leaf_section(from->config, from->index);
    const char *plugin = clvi_config_text(config, section, "plugin");
    const char *other = clvi_config_text(from->config, theirs, "plugin");
    if (!clvi_name_equal(plugin, other))
        return refuse(config, section, from, "plugin", plugin, other, error);
    const clvi_plugin *found;
    CLV_TRY(clvi_plugins_find(plugins, CLV_KIND_EXPERT, plugin, &found, error));
    for (size_t i = 0; i < found->table->option_count; i++) {
        const clv_option_spec spec = clvi_plugin_option(found->table, i);
        CLV_TRY(match_option(config, section, from, &spec, error));
    }
    CLV_TRY(match_size(config, section, from, error));
    const char *pixels = clvi_config_text(config, section, "preprocess");
    const char *other_pixels = clvi_config_text(from->config, theirs, "preprocess");
    if (strcmp(pixels, "auto") == 0 || strcmp(pixels, other_pixels) == 0)
        return CLV_OK;
    return refuse(config, section, from, "preprocess", pixels, other_pixels, error);
}

/* ---- Checkpoints ---- */

clv_status clvi_initial_run_open(const char *path, clvi_checkpoint **out, clvi_config **theirs,
                                 clv_error *error)
{
    clvi_checkpoint *checkpoint = NULL;
    CLV_TRY(clvi_checkpoint_open(path, &checkpoint, error));
    const char *text = clvi_checkpoint_config(checkpoint);
    const clvi_config_source source = {.name = path, .text = text, .text_bytes = strlen(text)};
    const clv_status status = clvi_config_load(&source, theirs, error);
    if (status == CLV_OK)
        *out = checkpoint;
    else
        clvi_checkpoint_close(checkpoint);
    return status;
}

/* The checkpoint that the settled `init` of a section names. */
static clv_status open_settled(const clvi_config *config, const char *section,
                               clvi_checkpoint **out, clvi_config **theirs, clv_error *error)
{
    const char *init = clvi_config_text(config, section, "init");
    char *path = clvi_strdup(init);
    if (path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", init);
    path[clvi_init_colon(init) - init] = '\0';
    const clv_status status = clvi_initial_run_open(path, out, theirs, error);
    clvi_free(path);
    if (status != CLV_OK)
        clvi_prepend(error, "%s: [%s] init", clvi_config_origin(config, section, "init"), section);
    return status;
}

static clv_status match_classes(const clvi_config *config, const char *section,
                                const clvi_checkpoint *checkpoint, const char *source,
                                const clvi_dataset *data, clv_error *error)
{
    const size_t there = clvi_checkpoint_class_count(checkpoint),
                 here = clvi_dataset_class_count(data);
    if (there != here)
        return clvi_config_fail(config, section, "init", error,
                                "%s tells %zu classes apart, the images here have %zu", source,
                                there, here);
    for (size_t i = 0; i < here; i++) {
        const char *a = clvi_checkpoint_class_name(checkpoint, i),
                   *b = clvi_dataset_class_name(data, i);
        char shown[2][64];
        if (strcmp(a, b) != 0)
            return clvi_config_fail(config, section, "init", error,
                                    "of the classes of %s, number %zu is %s; of the images here %s",
                                    source, i + 1, clvi_printable(a, shown[0], sizeof shown[0]),
                                    clvi_printable(b, shown[1], sizeof shown[1]));
    }
    return CLV_OK;
}

static clv_status match_data(const clvi_config *config, const char *section,
                             const clvi_checkpoint *checkpoint, const clvi_initial_expert *from,
                             const clvi_dataset *data, clv_error *error)
{
    int height, width, channels;
    CLV_TRY(match_classes(config, section, checkpoint, from->source, data, error));
    clvi_checkpoint_image(checkpoint, &height, &width, &channels);
    if (channels != clvi_dataset_channels(data))
        return clvi_config_fail(config, section, "init", error,
                                "%s was trained on images of %d channels, those here have %d "
                                "(data.channels)",
                                from->source, channels, clvi_dataset_channels(data));
    if (strcmp(clvi_checkpoint_data(checkpoint), clvi_dataset_fingerprint(data)) != 0)
        clvi_log(CLVI_LOG_WARN,
                 "%s: %s was trained on other images or another split: it may have learnt from "
                 "what validates or tests here",
                 section, from->source);
    return CLV_OK;
}

static clv_status check_expert(const clvi_config *config, const char *section,
                               clvi_plugins *plugins, const clvi_dataset *data, clv_error *error)
{
    const char *init = clvi_config_text(config, section, "init");
    clvi_checkpoint *checkpoint = NULL;
    clvi_config *theirs = NULL;
    CLV_TRY(open_settled(config, section, &checkpoint, &theirs, error));
    clvi_initial_expert from = {.config = theirs, .source = clvi_config_path(theirs)};
    clv_status status =
        clvi_initial_expert_pick(config, section, clvi_init_colon(init) + 1, &from, error);
    if (status == CLV_OK)
        status = clvi_initial_expert_match(config, section, &from, plugins, error);
    if (status == CLV_OK)
        status = match_data(config, section, checkpoint, &from, data, error);
    clvi_config_destroy(theirs);
    clvi_checkpoint_close(checkpoint);
    return status;
}

clv_status clvi_initial_run_check(const clvi_config *config, clvi_plugins *plugins,
                                  const clvi_dataset *data, bool all, clv_error *error)
{
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++) {
        const char *section = clvi_config_leaf_section(config, i);
        const char *init = clvi_config_text(config, section, "init");
        if (clvi_init_is_settled(init))
            CLV_TRY(check_expert(config, section, plugins, data, error));
        else if (all && *init != '\0')
            return clvi_config_fail(config, section, "init", error,
                                    "%s is no checkpoint of an expert (FILE.safetensors:EXPERT); "
                                    "`conclave train` finds or trains it",
                                    init);
    }
    return CLV_OK;
}
