/* conclave plugins: the experts and gates that are found, and the options of one. */
#include "command.h"

#include "base/files.h"
#include "plugin/plugin_host.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char *kind_name(const clvi_plugin *plugin)
{
    return plugin->table->kind == CLV_KIND_GATE ? "gate" : "expert";
}

static const char *type_name(uint32_t type)
{
    static const char *const names[] = {"",     "bool",   "int",      "real",
                                        "text", "choice", "int list", "real list"};
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : "";
}

/* ---- Text
 * ---------------------------------------------------------------------------------------- */

static void print_list(const clvi_plugin *const *list, size_t count)
{
    int name = 0, version = 0;
    for (size_t i = 0; i < count; i++) {
        const int wide = (int)strlen(list[i]->table->name);
        const int long_version = (int)strlen(list[i]->table->version);
        name = wide > name ? wide : name;
        version = long_version > version ? long_version : version;
    }
    for (size_t i = 0; i < count; i++)
        printf("%-6s  %-*s  %-*s  %s\n", kind_name(list[i]), name, list[i]->table->name, version,
               list[i]->table->version, list[i]->table->summary);
}

static clv_status print_plugin(const clvi_plugin *plugin, clv_error *error)
{
    const clv_plugin *table = plugin->table;
    clvi_text range = {0};
    printf("%s %s %s: %s\n%s\n", kind_name(plugin), table->name, table->version, table->summary,
           plugin->path);
    for (uint32_t i = 0; i < table->option_count; i++) {
        const clv_option_spec spec = clvi_plugin_option(table, i);
        if (range.data != NULL)
            range.data[range.length = 0] = '\0';
        clvi_value_describe(&spec, &range);
        printf("\n  %s = %s\n      %s (%s)\n", spec.key, spec.default_value, spec.text,
               clvi_text_get(&range));
    }
    if (table->option_count == 0)
        puts("\n  no options");
    const bool failed = range.failed;
    clvi_text_fini(&range);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the options of %s", table->name);
    return CLV_OK;
}

/* ---- JSON
 * ---------------------------------------------------------------------------------------- */

static json_t *option_json(const clv_option_spec *spec)
{
    json_t *option =
        json_pack("{s:s, s:s, s:s, s:s}", "key", spec->key, "type", type_name(spec->type),
                  "default", spec->default_value, "text", spec->text);
    if (spec->min < 0 || spec->min > 0 || spec->max < 0 || spec->max > 0) {
        json_object_set_new(option, "min", json_real(spec->min));
        json_object_set_new(option, "max", json_real(spec->max));
    }
    if (spec->type == CLV_OPTION_CHOICE)
        json_object_set_new(option, "choices", json_string(spec->choices));
    return option;
}

static json_t *plugin_json(const clvi_plugin *plugin)
{
    const clv_plugin *table = plugin->table;
    json_t *options = json_array();
    for (uint32_t i = 0; i < table->option_count; i++) {
        const clv_option_spec spec = clvi_plugin_option(table, i);
        json_array_append_new(options, option_json(&spec));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "kind", kind_name(plugin), "name",
                     table->name, "version", table->version, "summary", table->summary, "path",
                     plugin->path, "options", options);
}

/* {"plugins": [ … ]} */
static clv_status print_json(const clvi_plugin *const *list, size_t count, clv_error *error)
{
    json_t *plugins = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(plugins, plugin_json(list[i]));
    json_t *whole = json_pack("{s:o}", "plugins", plugins);
    char *text = whole != NULL ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    json_decref(whole);
    if (text == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the list of plugins");
    puts(text);
    free(text);
    return CLV_OK;
}

/* ---- Finding
 * --------------------------------------------------------------------------------------- */

static clv_status not_found(const clvi_plugin *const *list, size_t count, const char *name,
                            clv_error *error)
{
    char shown[64];
    const char **names = clvi_calloc(count + 1, sizeof(*names));
    if (names == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the names of plugins");
    for (size_t i = 0; i < count; i++)
        names[i] = list[i]->table->name;
    const char *near = clvi_nearest(name, names, count);
    clvi_free(names);
    clvi_printable(name, shown, sizeof(shown));
    if (near != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "there is no plugin \"%s\"; did you mean %s?", shown, near);
    CLV_FAIL(error, CLV_E_USAGE, "there is no plugin \"%s\"; conclave plugins lists them", shown);
}

/* An expert and a gate may have the same name: both are shown. */
static clv_status show_named(const clvi_plugin *const *list, size_t count, const char *name,
                             bool json, clv_error *error)
{
    const clvi_plugin *chosen[2];
    size_t found = 0;
    for (size_t i = 0; i < count && found < 2; i++)
        if (strcmp(list[i]->table->name, name) == 0)
            chosen[found++] = list[i];
    if (found == 0)
        return not_found(list, count, name, error);
    if (json)
        return print_json(chosen, found, error);
    for (size_t i = 0; i < found; i++) {
        if (i > 0)
            putchar('\n');
        CLV_TRY(print_plugin(chosen[i], error));
    }
    return CLV_OK;
}

static clv_status show_file(clvi_plugins *plugins, const char *path, bool json, clv_error *error)
{
    const clv_kind kind =
        strncmp(clvi_path_name(path), "gate_", 5) == 0 ? CLV_KIND_GATE : CLV_KIND_EXPERT;
    const clvi_plugin *plugin = NULL;
    CLV_TRY(clvi_plugins_find(plugins, kind, path, &plugin, error));
    return json ? print_json(&plugin, 1, error) : print_plugin(plugin, error);
}

static clv_status show(clvi_plugins *plugins, const cli_args *args, clv_error *error)
{
    const bool json = cli_flag(args, "json");
    const char *name = cli_at(args, 0);
    const size_t length = name != NULL ? strlen(name) : 0;
    if (length > 0 &&
        (strchr(name, '/') != NULL || (length > 3 && strcmp(name + length - 3, ".so") == 0)))
        return show_file(plugins, name, json, error);
    const clvi_plugin *const *list = NULL;
    size_t count = 0;
    CLV_TRY(clvi_plugins_scan(plugins, &list, &count, error));
    if (name != NULL)
        return show_named(list, count, name, json, error);
    if (json)
        return print_json(list, count, error);
    print_list(list, count);
    if (count == 0)
        fprintf(stderr, "no plugins in %s nor in --plugin-path\n", cli_plugin_dir());
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    if (cli_count(args) > 1)
        CLV_FAIL(error, CLV_E_USAGE, "plugins takes one name, \"%s\" is one too many",
                 cli_at(args, 1));
    clvi_plugins *plugins = NULL;
    CLV_TRY(clvi_plugins_create(cli_option_value(args, "plugin-path"), cli_plugin_dir(), &plugins,
                                error));
    const clv_status status = show(plugins, args, error);
    clvi_plugins_destroy(plugins);
    return status;
}

static const cli_option options[] = {
    {"plugin-path", "FOLDERS", "look in these folders first, separated by ':'", 0, false},
    {"json", NULL, "one JSON object instead of text", 0, false},
};

const cli_command cmd_plugins = {
    .name = "plugins",
    .summary = "List experts and gates, or the options of one",
    .usage = "[PLUGIN|FILE.so] [options]",
    .example = "conclave plugins cnn",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
