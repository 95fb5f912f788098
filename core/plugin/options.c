/* The options of one INI section, judged by the plugin's own schema, and the getters behind
 * clv_host. */
#include "plugin/options.h"

#include "plugin/plugin_host.h"

#include <stdio.h>

typedef struct option {
    const char *key;
    clvi_value value;
} option;

struct clv_options {
    clvi_arena *arena;
    option *options; /* in the order of the schema */
    size_t count;
};

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the options of a plugin");
}

static clv_status unknown_key(const clv_plugin *plugin, const char *section,
                              const clvi_raw_option *raw, clv_error *error)
{
    char key[64];
    const char *near = NULL;
    const char **keys = clvi_calloc(plugin->option_count, sizeof(*keys));
    if (keys == NULL)
        return no_memory(error);
    for (uint32_t i = 0; i < plugin->option_count; i++)
        keys[i] = clvi_plugin_option(plugin, i).key;
    near = clvi_nearest(raw->key, keys, plugin->option_count);
    clvi_free(keys);
    clvi_printable(raw->key, key, sizeof(key));
    if (near != NULL)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: [%s] %s: plugin %s has no such option; did you mean %s?",
                 raw->origin, section, key, plugin->name, near);
    CLV_FAIL(error, CLV_E_CONFIG,
             "%s: [%s] %s: plugin %s has no such option; see conclave plugins %s", raw->origin,
             section, key, plugin->name, plugin->name);
}

/* Every key of the section must be known. */
static clv_status check_keys(const clv_plugin *plugin, const char *section,
                             const clvi_raw_option *raw, size_t count, clv_error *error)
{
    for (size_t r = 0; r < count; r++) {
        bool known = false;
        for (uint32_t i = 0; i < plugin->option_count && !known; i++)
            known = clvi_name_equal(clvi_plugin_option(plugin, i).key, raw[r].key);
        if (!known)
            return unknown_key(plugin, section, &raw[r], error);
    }
    return CLV_OK;
}

/* The value of one option: the last one given, else the default. */
static clv_status parse_option(const clv_option_spec *spec, const char *section,
                               const clvi_raw_option *raw, size_t count, clv_options *options,
                               clv_error *error)
{
    const clvi_raw_option *given = NULL;
    clv_error cause = CLV_ERROR_INIT;
    option *to = &options->options[options->count];
    for (size_t r = 0; r < count; r++)
        if (clvi_name_equal(raw[r].key, spec->key))
            given = &raw[r];
    to->key = clvi_arena_strdup(options->arena, spec->key);
    if (to->key == NULL)
        return no_memory(error);
    const clv_status status =
        clvi_value_parse(spec, given != NULL ? given->value : spec->default_value, options->arena,
                         &to->value, &cause);
    if (status == CLV_E_CONFIG && given != NULL)
        CLV_FAIL(error, status, "%s: [%s] %s: %s", given->origin, section, spec->key,
                 cause.message);
    if (status != CLV_OK)
        CLV_FAIL(error, status, "[%s] %s: %s", section, spec->key, cause.message);
    options->count++;
    return CLV_OK;
}

static clv_status fill(clv_options *options, const clv_plugin *plugin, const char *section,
                       const clvi_raw_option *raw, size_t count, clv_error *error)
{
    CLV_TRY(clvi_arena_create(&options->arena, error));
    options->options =
        clvi_arena_alloc(options->arena, plugin->option_count * sizeof(*options->options));
    if (options->options == NULL)
        return no_memory(error);
    for (uint32_t i = 0; i < plugin->option_count; i++) {
        const clv_option_spec spec = clvi_plugin_option(plugin, i);
        CLV_TRY(parse_option(&spec, section, raw, count, options, error));
    }
    return CLV_OK;
}

clv_status clvi_options_create(const clv_plugin *plugin, const char *section,
                               const clvi_raw_option *raw, size_t count, clv_options **out,
                               clv_error *error)
{
    CLV_TRY(check_keys(plugin, section, raw, count, error));
    clv_options *options = clvi_calloc(1, sizeof(*options));
    if (options == NULL)
        return no_memory(error);
    const clv_status status = fill(options, plugin, section, raw, count, error);
    if (status != CLV_OK) {
        clvi_options_destroy(options);
        return status;
    }
    *out = options;
    return CLV_OK;
}

void clvi_options_destroy(clv_options *options)
{
    if (options == NULL)
        return;
    clvi_arena_destroy(options->arena);
    clvi_free(options);
}

/* ---- The plugin's side
 * --------------------------------------------------------------------------- */

/* The value of a key that has one of two types (equal: one). The key is the plugin's own. */
static clv_status get(const clv_options *options, const char *key, uint32_t type, uint32_t or_type,
                      const clvi_value **out, clv_error *error)
{
    char shown[64];
    if (options == NULL || key == NULL)
        CLV_FAIL(error, CLV_E_INTERNAL, "the plugin asks for an option of nothing");
    clvi_printable(key, shown, sizeof(shown));
    for (size_t i = 0; i < options->count; i++) {
        const clvi_value *value = &options->options[i].value;
        if (strcmp(options->options[i].key, key) != 0)
            continue;
        if (value->type != type && value->type != or_type)
            CLV_FAIL(error, CLV_E_INTERNAL, "the plugin asks for option %s by a wrong type", shown);
        *out = value;
        return CLV_OK;
    }
    CLV_FAIL(error, CLV_E_INTERNAL, "the plugin asks for option %s, which it does not declare",
             shown);
}

clv_status clvi_option_bool(const clv_options *o, const char *key, bool *out, clv_error *error)
{
    const clvi_value *value = NULL;
    CLV_TRY(get(o, key, CLV_OPTION_BOOL, CLV_OPTION_BOOL, &value, error));
    *out = value->boolean;
    return CLV_OK;
}

clv_status clvi_option_int(const clv_options *o, const char *key, int64_t *out, clv_error *error)
{
    const clvi_value *value = NULL;
    CLV_TRY(get(o, key, CLV_OPTION_INT, CLV_OPTION_INT, &value, error));
    *out = value->integer;
    return CLV_OK;
}

clv_status clvi_option_real(const clv_options *o, const char *key, double *out, clv_error *error)
{
    const clvi_value *value = NULL;
    CLV_TRY(get(o, key, CLV_OPTION_REAL, CLV_OPTION_REAL, &value, error));
    *out = value->real;
    return CLV_OK;
}

clv_status clvi_option_text(const clv_options *o, const char *key, const char **out,
                            clv_error *error)
{
    const clvi_value *value = NULL;
    CLV_TRY(get(o, key, CLV_OPTION_TEXT, CLV_OPTION_CHOICE, &value, error));
    *out = value->text;
    return CLV_OK;
}

clv_status clvi_option_ints(const clv_options *o, const char *key, const int64_t **out,
                            uint32_t *count, clv_error *error)
{
    const clvi_value *value = NULL;
    CLV_TRY(get(o, key, CLV_OPTION_INT_LIST, CLV_OPTION_INT_LIST, &value, error));
    *out = value->integers;
    *count = (uint32_t)value->count;
    return CLV_OK;
}

clv_status clvi_option_reals(const clv_options *o, const char *key, const double **out,
                             uint32_t *count, clv_error *error)
{
    const clvi_value *value = NULL;
    CLV_TRY(get(o, key, CLV_OPTION_REAL_LIST, CLV_OPTION_REAL_LIST, &value, error));
    *out = value->reals;
    *count = (uint32_t)value->count;
    return CLV_OK;
}
