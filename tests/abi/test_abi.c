/* The loader against plugins with one thing wrong each (wrong.c), against files that are no
 * plugins, and against places that are not to be trusted. Argument: the folder of the wrong
 * plugins. */
#include "base/files.h"
#include "base/process.h"
#include "graph/graph.h"
#include "plugin/loader.h"
#include "plugin/plugin_host.h"
#include "unit/short_memory.h"

#include <dlfcn.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char wrong_folder[PATH_MAX];

static clvi_plugins *open_set(const char *path)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_plugins *plugins = NULL;
    if (clvi_plugins_create(path, NULL, &plugins, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return plugins;
}

static void assert_contains(const char *message, const char *part)
{
    if (strstr(message, part) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", part, message);
}

static void assert_not_mapped(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (handle != NULL)
        fail_msg("%s is still open", path);
}

/* ---- One thing wrong
 * ------------------------------------------------------------------------------- */

typedef struct wrong_case {
    const char *name; /* of the file, expert_<name>.so */
    const char *field, *sentence;
} wrong_case;

static const wrong_case wrong_cases[] = {
    {"magic", "clv_plugin.magic", "is 0x12345678, wanted is 0x50564c43"},
    {"major", "clv_plugin.abi_major", "is 2, wanted is 1"},
    {"older", "clv_plugin.abi_major", "is 0, wanted is 1"},
    {"minor", "clv_plugin.abi_minor", "it wants a newer Conclave"},
    {"size", "clv_plugin.struct_size", "wanted is at least"},
    {"kind", "clv_plugin.kind", "is 7"},
    {"gate_inside", "clv_plugin.name", "must be called gate_gate_inside.so"},
    {"no_name", "clv_plugin.name", "is NULL, it is mandatory"},
    {"bad_name", "clv_plugin.name", "\"Bad Name\""},
    {"other_name", "clv_plugin.name", "must be called expert_another.so"},
    {"no_version", "clv_plugin.version", "is NULL, it is mandatory"},
    {"no_summary", "clv_plugin.summary", "is NULL, it is mandatory"},
    {"two_lines", "clv_plugin.summary", "is not one line"},
    {"no_build", "clv_plugin.build", "is NULL, it is mandatory"},
    {"null_table", "clv_plugin_v1", "returned NULL"},
    {"no_symbol", "clv_plugin_v1", "does not export"},
    {"undefined_symbol", "cannot be loaded", "clv_no_such_function"},
    {"no_options", "clv_plugin.options", "is NULL but option_count is 2"},
    {"no_count", "clv_plugin.options", "is not NULL but option_count is 0"},
    {"many_options", "clv_plugin.option_count", "is 100000"},
    {"stride", "clv_plugin.option_stride", "is 24 bytes"},
    {"option_size", "clv_plugin.options[1]", "struct_size of 8"},
    {"option_type", "clv_plugin.options[1]", "type 99 is unknown"},
    {"option_key", "clv_plugin.options[1]", "\"Second Key\""},
    {"option_twice", "clv_plugin.options[1]", "and options[0] are both called first"},
    {"option_reserved", "clv_plugin.options[1]", "is called weights"},
    {"option_default", "clv_plugin.options[1]", "its default \"ten\""},
    {"option_range", "clv_plugin.options[1]", "default \"10\""},
    {"option_choice", "clv_plugin.options[1]", "second"},
    {"names_null", "clv_plugin.weight_names", "do not agree"},
    {"names_stride", "clv_plugin.weight_names", "weight_name_stride is too small"},
    {"names_family", "clv_plugin.weight_names", "a family is not"},
    {"names_layers", "clv_plugin.weight_names", "layer_count is above"},
    {"names_ours", "clv_plugin.weight_names", "the name of a layer"},
    {"option_text", "clv_plugin.options[1]", "(second) has no line of help"},
};

/* What a refusal says of both; the plugin's is not known before its table was read. */
static void versions_text(const wrong_case *wrong, char *out, size_t bytes)
{
    const int major =
        CLV_ABI_MAJOR + (strcmp(wrong->name, "major") == 0) - (strcmp(wrong->name, "older") == 0);
    const int minor = CLV_ABI_MINOR + (strcmp(wrong->name, "minor") == 0);
    if (strncmp(wrong->field, "clv_plugin.", 11) != 0)
        snprintf(out, bytes, "(plugin ABI unknown, host ABI %d.%d)", CLV_ABI_MAJOR, CLV_ABI_MINOR);
    else
        snprintf(out, bytes, "(plugin ABI %d.%d, host ABI %d.%d)", major, minor, CLV_ABI_MAJOR,
                 CLV_ABI_MINOR);
}

static void test_wrong_plugins(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong_cases) / sizeof(wrong_cases[0]); i++) {
        const wrong_case *wrong = &wrong_cases[i];
        char path[PATH_MAX + 64], versions[64];
        clv_error error = CLV_ERROR_INIT;
        const clvi_plugin *found = NULL;
        clvi_plugins *plugins = open_set(wrong_folder);
        snprintf(path, sizeof(path), "%s/expert_%s.so", wrong_folder, wrong->name);
        versions_text(wrong, versions, sizeof(versions));
        const clv_status status =
            clvi_plugins_find(plugins, CLV_KIND_EXPERT, wrong->name, &found, &error);
        if (status != CLV_E_PLUGIN)
            fail_msg("%s: status %d, \"%s\"", wrong->name, status, error.message);
        assert_null(found);
        assert_contains(error.message, path);
        assert_contains(error.message, wrong->field);
        assert_contains(error.message, wrong->sentence);
        assert_contains(error.message, versions);
        assert_not_mapped(path);
        clvi_plugins_destroy(plugins);
    }
}

/* ---- Versions ---- */

static clv_status build_nothing(const clv_host *host, clv_graph *graph, const clv_options *options,
                                const clv_build_input *in, clv_error *error)
{
    (void)host, (void)graph, (void)options, (void)in, (void)error;
    return CLV_OK;
}

/* The host of a later minor number takes what older ones took, and refuses what came after it. */
static void test_minor_numbers(void **state)
{
    clv_plugin table = {.magic = CLV_PLUGIN_MAGIC,
                        .struct_size = sizeof(table),
                        .abi_major = CLV_ABI_MAJOR,
                        .kind = CLV_KIND_EXPERT,
                        .name = "versions",
                        .version = "1",
                        .summary = "For the tests",
                        .build = build_nothing};
    (void)state;
    for (uint16_t host = 0; host < 4; host++)
        for (uint16_t minor = 0; minor < 5; minor++) {
            clv_error error = CLV_ERROR_INIT;
            char versions[64];
            table.abi_minor = minor;
            const clv_status status =
                clvi_plugin_check_for("a/expert_versions.so", &table, host, &error);
            assert_int_equal(status, minor <= host ? CLV_OK : CLV_E_PLUGIN);
            if (minor <= host)
                continue;
            snprintf(versions, sizeof(versions), "(plugin ABI %d.%d, host ABI %d.%d)",
                     CLV_ABI_MAJOR, minor, CLV_ABI_MAJOR, host);
            assert_contains(error.message, "a/expert_versions.so: clv_plugin.abi_minor");
            assert_contains(error.message, versions);
        }
}

/* Rows of an array that are shorter than the host's, or lie further apart than they are long: what
 * a row's struct_size does not reach counts as 0, whatever stands there. */
static void test_rows_of_other_sizes(void **state)
{
    struct row {
        clv_option_spec spec;
        char more[24];
    } rows[2];
    const clv_plugin table = {.options = (const clv_option_spec *)rows,
                              .option_count = 2,
                              .option_stride = sizeof(struct row)};
    (void)state;
    memset(rows, 0x5A, sizeof(rows));
    for (size_t i = 0; i < 2; i++) {
        rows[i].spec.struct_size = (uint32_t)offsetof(clv_option_spec, choices);
        rows[i].spec.min = (double)i;
    }
    const clv_option_spec second = clvi_plugin_option(&table, 1);
    assert_int_equal(second.struct_size, offsetof(clv_option_spec, choices));
    assert_true(second.min == 1);
    assert_null(second.choices);
    assert_null(second.text);
}

/* ---- Builds that must fail
 * ------------------------------------------------------------------------- */

typedef struct wrong_build {
    clv_kind kind;
    const char *name, *sentence;
    clv_status status;
} wrong_build;

static const wrong_build wrong_builds[] = {
    {CLV_KIND_EXPERT, "build_fails", "(expert.a): it is raining", CLV_E_CONFIG},
    {CLV_KIND_EXPERT, "build_silent", "fails without saying why", CLV_E_DATA},
    {CLV_KIND_EXPERT, "build_strange", "fails without saying why", CLV_E_PLUGIN},
    {CLV_KIND_EXPERT, "build_ignores", "\"not a name\" of a scope", CLV_E_PLUGIN},
    {CLV_KIND_EXPERT, "two_inputs", "\"image\" is declared twice", CLV_E_PLUGIN},
    {CLV_KIND_EXPERT, "scope_open", "leaves the scope \"features.\" open", CLV_E_PLUGIN},
    {CLV_KIND_EXPERT, "wrong_role", "\"logit\", which an expert has not", CLV_E_PLUGIN},
    {CLV_KIND_EXPERT, "no_logits", "no output \"logits\"", CLV_E_PLUGIN},
    {CLV_KIND_EXPERT, "wrong_units", "\"logits\" is [N, 8], wanted is [N, 7]", CLV_E_SHAPE},
    {CLV_KIND_EXPERT, "wrong_features", "\"features\" is [N, 5, 4, 3]", CLV_E_SHAPE},
    {CLV_KIND_EXPERT, "expert_routes", "which only a gate has", CLV_E_PLUGIN},
    {CLV_KIND_GATE, "no_route", "does not describe its route", CLV_E_PLUGIN},
    {CLV_KIND_GATE, "route_too_many", "is 9, but there are 2 experts", CLV_E_PLUGIN},
};

static clv_status build_one(clvi_plugins *plugins, clv_kind kind, const char *name,
                            clv_graph **graph, clv_error *error)
{
    const clv_build_input input = {
        .struct_size = (uint32_t)sizeof(input),
        .mode = CLV_MODE_TRAIN,
        .classes = 7,
        .experts = kind == CLV_KIND_GATE ? 2 : 1,
        .image_height = 5,
        .image_width = 4,
        .image_channels = 3,
    };
    const clvi_plugin *plugin = NULL;
    clv_options *options = NULL;
    CLV_TRY(clvi_plugins_find(plugins, kind, name, &plugin, error));
    CLV_TRY(clvi_options_create(plugin->table, "expert.a", NULL, 0, &options, error));
    const clv_status status = clvi_plugin_build(plugin, options, &input, "expert.a", graph, error);
    clvi_options_destroy(options);
    return status;
}

static void test_wrong_builds(void **state)
{
    clvi_plugins *plugins = open_set(wrong_folder);
    (void)state;
    for (size_t i = 0; i < sizeof(wrong_builds) / sizeof(wrong_builds[0]); i++) {
        const wrong_build *wrong = &wrong_builds[i];
        clv_error error = CLV_ERROR_INIT;
        clv_graph *graph = NULL;
        const clv_status status = build_one(plugins, wrong->kind, wrong->name, &graph, &error);
        if (status != wrong->status)
            fail_msg("%s: status %d, \"%s\"", wrong->name, status, error.message);
        assert_null(graph);
        assert_contains(error.message, wrong->name);
        assert_contains(error.message, wrong->sentence);
    }
    clvi_plugins_destroy(plugins);
}

/* The sentence of a plugin must stay readable when the plugin is gone. */
static void test_error_outlives_the_plugin(void **state)
{
    clvi_plugins *plugins = open_set(wrong_folder);
    clv_error error = CLV_ERROR_INIT;
    clv_graph *graph = NULL;
    char path[PATH_MAX + 64];
    (void)state;
    assert_int_equal(build_one(plugins, CLV_KIND_EXPERT, "build_fails", &graph, &error),
                     CLV_E_CONFIG);
    clvi_plugins_destroy(plugins);
    snprintf(path, sizeof(path), "%s/expert_build_fails.so", wrong_folder);
    assert_not_mapped(path);
    assert_contains(error.message, "it is raining");
    assert_true(strlen(error.file) > 0);
}

static void test_opened_once_and_closed(void **state)
{
    clvi_plugins *plugins = open_set(wrong_folder);
    clv_error error = CLV_ERROR_INIT;
    const clvi_plugin *first = NULL, *second = NULL, *by_path = NULL, *gate = NULL;
    char path[PATH_MAX + 64];
    (void)state;
    snprintf(path, sizeof(path), "%s/../%s/expert_good.so", wrong_folder,
             strrchr(wrong_folder, '/') + 1);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "good", &first, &error), CLV_OK);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "good", &second, &error), CLV_OK);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, path, &by_path, &error), CLV_OK);
    assert_ptr_equal(first, second);
    assert_ptr_equal(first, by_path);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_GATE, path, &gate, &error), CLV_E_PLUGIN);
    assert_contains(error.message, "clv_plugin.kind is expert, wanted is gate");
    clvi_plugins_destroy(plugins);
    assert_not_mapped(path);
    clvi_plugins_destroy(NULL);
}

static void test_not_found(void **state)
{
    char path[2 * PATH_MAX];
    clv_error error = CLV_ERROR_INIT, second = CLV_ERROR_INIT, third = CLV_ERROR_INIT;
    const clvi_plugin *found = NULL;
    (void)state;
    snprintf(path, sizeof(path), ":/no/such/folder::%s:", wrong_folder);
    clvi_plugins *plugins = open_set(path);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "goood", &found, &error),
                     CLV_E_PLUGIN);
    assert_contains(error.message, "there is no expert plugin \"goood\"; did you mean good?");
    assert_contains(error.message, "/no/such/folder (no such folder)");
    assert_contains(error.message, wrong_folder);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "", &found, &second),
                     CLV_E_PLUGIN);
    clvi_plugins_destroy(plugins);
    plugins = open_set(NULL);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_GATE, "good", &found, &third),
                     CLV_E_PLUGIN);
    assert_contains(third.message, "no folder at all");
    clvi_plugins_destroy(plugins);
}

/* ---- Files and places
 * ------------------------------------------------------------------------------ */

typedef struct place {
    char path[64]; /* a folder of its own */
    char plugin[128], second[128];
    char *image; /* the bytes of expert_good.so */
    size_t bytes;
} place;

static void put(const char *path, const void *data, size_t bytes)
{
    clv_error error = CLV_ERROR_INIT;
    if (clvi_file_write(path, data, bytes, &error) != CLV_OK)
        fail_msg("%s", error.message);
}

static int make_place(void **state)
{
    char good[PATH_MAX + 64];
    place *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -1;
    *state = p;
    strcpy(p->path, "/tmp/conclave-abi-XXXXXX");
    snprintf(good, sizeof(good), "%s/expert_good.so", wrong_folder);
    if (mkdtemp(p->path) == NULL ||
        clvi_file_read(good, SIZE_MAX / 2, &p->image, &p->bytes, NULL) != CLV_OK)
        return -1;
    snprintf(p->plugin, sizeof(p->plugin), "%s/expert_good.so", p->path);
    snprintf(p->second, sizeof(p->second), "%s/second", p->path);
    put(p->plugin, p->image, p->bytes);
    return 0;
}

static int remove_place(void **state)
{
    place *p = *state;
    char command[128];
    unsetenv("CONCLAVE_TRUST_PLUGINS");
    snprintf(command, sizeof(command), "rm -rf '%s'", p->path);
    const int status = system(command);
    clvi_free(p->image);
    free(p);
    return status;
}

static clv_status find_in(const char *path, const char *name, clv_error *error)
{
    clvi_plugins *plugins = open_set(path);
    const clvi_plugin *found = NULL;
    const clv_status status = clvi_plugins_find(plugins, CLV_KIND_EXPERT, name, &found, error);
    clvi_plugins_destroy(plugins);
    return status;
}

static void refuse_in(const char *path, const char *name, const char *sentence)
{
    clv_error error = CLV_ERROR_INIT;
    const clv_status status = find_in(path, name, &error);
    if (status != CLV_E_PLUGIN || strstr(error.message, sentence) == NULL)
        fail_msg("status %d, \"%s\"; expected \"%s\"", status, error.message, sentence);
}

static void take_in(const char *path, const char *name)
{
    clv_error error = CLV_ERROR_INIT;
    if (find_in(path, name, &error) != CLV_OK)
        fail_msg("%s", error.message);
}

static void test_files_that_are_no_plugins(void **state)
{
    place *p = *state;
    const char text[] = "#!/bin/sh\nexit 0\n";
    put(p->plugin, text, sizeof(text));
    refuse_in(p->path, "good", "is not a shared object");
    put(p->plugin, "", 0);
    refuse_in(p->path, "good", "is not a shared object");
    /* Cut off in the header, in the table of segments, in a segment. */
    put(p->plugin, p->image, 40);
    refuse_in(p->path, "good", "is not a shared object");
    put(p->plugin, p->image, 100);
    refuse_in(p->path, "good", "is cut off");
    put(p->plugin, p->image, 1000);
    refuse_in(p->path, "good", "is cut off");
    /* Anywhere: glibc would die of SIGBUS where a segment is mapped beyond the end. What stands
     * behind the last segment is of no use to the loader, so not every cut is refused. */
    for (size_t part = 0; part < 16; part++) {
        put(p->plugin, p->image, p->bytes * part / 16);
        clv_error error = CLV_ERROR_INIT;
        if (find_in(p->path, "good", &error) != CLV_OK)
            assert_contains(error.message, p->plugin);
    }
    assert_int_equal(unlink(p->plugin), 0);
    assert_int_equal(mkdir(p->plugin, 0755), 0);
    refuse_in(p->path, "good", "is not a file");
    assert_int_equal(rmdir(p->plugin), 0);
    assert_int_equal(mkfifo(p->plugin, 0644), 0);
    refuse_in(p->path, "good", "is not a file");
    refuse_in(NULL, "/no/such/expert_x.so", "/no/such/expert_x.so: cannot be opened");
    put(p->plugin, text, sizeof(text));
    char near[200];
    snprintf(near, sizeof(near), "%s/expert_gud.so", p->path);
    refuse_in(NULL, near, "cannot be opened: No such file or directory; did you mean ");

    /* Neither the struct of a caller who knows less of it nor a first failure is touched. */
    clv_error shorter = {.struct_size = 8}, first = CLV_ERROR_INIT;
    clvi_fail(&first, CLV_E_DATA, CLV_HERE, "first");
    assert_int_equal(find_in(NULL, near, &shorter), CLV_E_PLUGIN);
    assert_int_equal(shorter.status, CLV_OK);
    assert_int_equal(find_in(NULL, near, &first), CLV_E_PLUGIN);
    assert_int_equal(first.status, CLV_E_DATA);
}

static void test_two_of_one_name(void **state)
{
    place *p = *state;
    char both[256], other[160];
    assert_int_equal(mkdir(p->second, 0755), 0);
    snprintf(both, sizeof(both), "%s:%s", p->path, p->second);
    snprintf(other, sizeof(other), "%s/expert_good.so", p->second);
    assert_int_equal(symlink("../expert_good.so", other), 0);
    take_in(both, "good"); /* the very same file twice is no second one */
    snprintf(both, sizeof(both), "%s:%s/", p->path, p->path);
    take_in(both, "good");

    assert_int_equal(unlink(other), 0);
    put(other, p->image, p->bytes);
    snprintf(both, sizeof(both), "%s:%s", p->path, p->second);
    refuse_in(both, "good", "two expert plugins are named good");
    refuse_in(both, "good", p->plugin);
    refuse_in(both, "good", other);

    clvi_plugins *plugins = open_set(p->path);
    const clvi_plugin *found = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "good", &found, &error), CLV_OK);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, other, &found, &error),
                     CLV_E_PLUGIN);
    assert_contains(error.message, "two expert plugins are named good");
    clvi_plugins_destroy(plugins);
}

static bool has_in(const char *path, clv_kind kind, const char *name)
{
    clvi_plugins *plugins = open_set(path);
    clv_error error = CLV_ERROR_INIT;
    bool has = false;
    if (clvi_plugins_has(plugins, kind, name, &has, &error) != CLV_OK)
        fail_msg("%s", error.message);
    clvi_plugins_destroy(plugins);
    return has;
}

/* A name is taken where a file has it, whatever is wrong with it; nothing is opened for that. */
static void test_names_that_are_taken(void **state)
{
    place *p = *state;
    char both[256], other[160];
    assert_true(has_in(p->path, CLV_KIND_EXPERT, "good"));
    assert_false(has_in(p->path, CLV_KIND_GATE, "good"));
    assert_false(has_in(p->path, CLV_KIND_EXPERT, "goo"));
    assert_false(has_in(p->second, CLV_KIND_EXPERT, "good"));
    assert_int_equal(chmod(p->path, 0777), 0);
    assert_true(has_in(p->path, CLV_KIND_EXPERT, "good"));
    assert_int_equal(chmod(p->path, 0755), 0);
    put(p->plugin, "no plugin", 9);
    assert_true(has_in(p->path, CLV_KIND_EXPERT, "good"));
    assert_int_equal(mkdir(p->second, 0755), 0);
    snprintf(other, sizeof(other), "%s/expert_good.so", p->second);
    put(other, "another", 7);
    snprintf(both, sizeof(both), "%s:%s", p->path, p->second);
    assert_true(has_in(both, CLV_KIND_EXPERT, "good"));
}

static void test_places_not_to_trust(void **state)
{
    place *p = *state;
    take_in(p->path, "good");
    assert_int_equal(chmod(p->path, 0777), 0);
    refuse_in(p->path, "good", "everybody may write to this folder");
    take_in(NULL, p->plugin); /* named by its path: its folder is not looked at */
    assert_int_equal(setenv("CONCLAVE_TRUST_PLUGINS", "/tmp", 1), 0);
    refuse_in(p->path, "good", "everybody may write to this folder");
    assert_int_equal(setenv("CONCLAVE_TRUST_PLUGINS", p->path, 1), 0);
    take_in(p->path, "good");
    assert_int_equal(unsetenv("CONCLAVE_TRUST_PLUGINS"), 0);
    assert_int_equal(chmod(p->path, 0755), 0);

    char inner[PATH_MAX], name[4 * PATH_MAX];
    snprintf(inner, sizeof inner, "%.120s/below", p->path);
    snprintf(name, sizeof name, "mkdir %s && cp %s %s", inner, p->plugin, inner);
    assert_int_equal(system(name), 0);
    take_in(inner, "good");
    assert_int_equal(chmod(p->path, 0777), 0);
    refuse_in(inner, "good", "above it; chmod o-w that");
    assert_int_equal(setenv("CONCLAVE_TRUST_PLUGINS", inner, 1), 0);
    take_in(inner, "good");
    assert_int_equal(unsetenv("CONCLAVE_TRUST_PLUGINS"), 0);
    assert_int_equal(chmod(p->path, 01777), 0); /* as /tmp */
    take_in(inner, "good");
    assert_int_equal(chmod(p->path, 0755), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(inner, 12345, (gid_t)-1), 0);
        refuse_in(inner, "good", "this folder belongs to user 12345, neither to root nor to you");
    }
    snprintf(name, sizeof name, "rm -r %s", inner);
    assert_int_equal(system(name), 0);

    assert_int_equal(chmod(p->plugin, 0666), 0);
    refuse_in(p->path, "good", "everybody may write to this file");
    refuse_in(NULL, p->plugin, "everybody may write to this file");
    assert_int_equal(chmod(p->plugin, 0644), 0);
    if (geteuid() == 0) { /* only root can give a file away */
        assert_int_equal(chown(p->plugin, 12345, (gid_t)-1), 0);
        refuse_in(p->path, "good", "it belongs to user 12345, neither to root nor to you");
        assert_int_equal(setenv("CONCLAVE_TRUST_PLUGINS", p->path, 1), 0);
        take_in(p->path, "good");
    }
}

/* ---- Looking through folders
 * ----------------------------------------------------------------------- */

typedef struct warnings {
    int count;
    char last[1024];
} warnings;

static void count_warning(void *user, clvi_log_level level, const char *line)
{
    warnings *w = user;
    w->count += level == CLVI_LOG_WARN;
    snprintf(w->last, sizeof(w->last), "%s", line);
}

static void test_scan(void **state)
{
    place *p = *state;
    warnings seen = {0};
    clv_error error = CLV_ERROR_INIT;
    const clvi_plugin *const *list = NULL;
    size_t count = 0;
    (void)p;
    clvi_set_log_sink(count_warning, &seen);
    clvi_plugins *plugins = open_set(wrong_folder);
    assert_int_equal(clvi_plugins_scan(plugins, &list, &count, &error), CLV_OK);
    assert_int_equal(seen.count, sizeof(wrong_cases) / sizeof(wrong_cases[0]));
    assert_int_equal(count, 1 + sizeof(wrong_builds) / sizeof(wrong_builds[0]));
    for (size_t i = 1; i < count; i++) {
        const clv_plugin *a = list[i - 1]->table, *b = list[i]->table;
        assert_true(a->kind < b->kind || (a->kind == b->kind && strcmp(a->name, b->name) < 0));
    }
    assert_int_equal(clvi_plugins_scan(plugins, &list, &count, &error), CLV_OK);
    assert_int_equal(count, 1 + sizeof(wrong_builds) / sizeof(wrong_builds[0]));
    clvi_plugins_destroy(plugins);

    assert_int_equal(chmod(p->path, 0777), 0);
    plugins = open_set(p->path);
    assert_int_equal(clvi_plugins_scan(plugins, &list, &count, &error), CLV_OK);
    assert_int_equal(count, 0);
    assert_contains(seen.last, "everybody may write");
    clvi_plugins_destroy(plugins);
    clvi_set_log_sink(NULL, NULL);
}

static void test_environment_and_fallback(void **state)
{
    place *p = *state;
    clv_error error = CLV_ERROR_INIT;
    clvi_plugins *plugins = NULL;
    const clvi_plugin *found = NULL;
    assert_int_equal(setenv("CONCLAVE_PLUGIN_PATH", p->path, 1), 0);
    take_in(NULL, "good");
    assert_int_equal(unsetenv("CONCLAVE_PLUGIN_PATH"), 0);
    assert_int_equal(clvi_plugins_create("", p->path, &plugins, &error), CLV_OK);
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "good", &found, &error), CLV_OK);
    assert_string_equal(found->path, p->plugin);
    clvi_plugins_destroy(plugins);

    /* Never the current directory. */
    char before[PATH_MAX];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(p->path), 0);
    refuse_in(":", "good", "no folder at all");
    take_in(NULL, "expert_good.so"); /* a file is named */
    assert_int_equal(chdir(before), 0);
}

/* ---- Memory
 * ---------------------------------------------------------------------------------------- */

static clv_status load_and_build(clv_error *error)
{
    clvi_plugins *plugins = NULL;
    clv_graph *graph = NULL;
    CLV_TRY(clvi_plugins_create(wrong_folder, "/usr", &plugins, error));
    const clvi_plugin *plugin = NULL;
    clv_options *options = NULL;
    const clv_build_input input = {(uint32_t)sizeof(input), CLV_MODE_TRAIN, 7, 1, 5, 4, 3, 0};
    clv_status status = clvi_plugins_find(plugins, CLV_KIND_EXPERT, "good", &plugin, error);
    if (status == CLV_OK)
        status = clvi_options_create(plugin->table, "expert.a", NULL, 0, &options, error);
    if (status == CLV_OK)
        status = clvi_plugin_build(plugin, options, &input, "expert.a", &graph, error);
    clvi_graph_destroy(graph);
    clvi_options_destroy(options);
    clvi_plugins_destroy(plugins);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    clv_status status = CLV_E_MEMORY;
    clvi_set_allocator(&short_memory);
    for (int n = 0; status != CLV_OK && n < 200; n++) {
        clv_error error = CLV_ERROR_INIT;
        allowed = n;
        blocks = 0;
        status = load_and_build(&error);
        assert_int_equal(blocks, 0);
        assert_true(status == CLV_OK || (status == CLV_E_MEMORY && error.message[0] != '\0'));
    }
    clvi_set_allocator(NULL);
    assert_int_equal(status, CLV_OK);
}

#define PLACE_TEST(function) cmocka_unit_test_setup_teardown(function, make_place, remove_place)

int main(int argc, char **argv)
{
    if (argc != 2 || realpath(argv[1], wrong_folder) == NULL) {
        fputs("usage: test_abi FOLDER_OF_THE_WRONG_PLUGINS\n", stderr);
        return 2;
    }
    unsetenv("CONCLAVE_KEEP_PLUGINS"); /* here it matters that they are closed */
    unsetenv("CONCLAVE_TRUST_PLUGINS");
    unsetenv("CONCLAVE_PLUGIN_PATH");
    umask(022);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_plugins),
        cmocka_unit_test(test_minor_numbers),
        cmocka_unit_test(test_rows_of_other_sizes),
        cmocka_unit_test(test_wrong_builds),
        cmocka_unit_test(test_error_outlives_the_plugin),
        cmocka_unit_test(test_opened_once_and_closed),
        cmocka_unit_test(test_not_found),
        PLACE_TEST(test_files_that_are_no_plugins),
        PLACE_TEST(test_two_of_one_name),
        PLACE_TEST(test_names_that_are_taken),
        PLACE_TEST(test_places_not_to_trust),
        PLACE_TEST(test_scan),
        PLACE_TEST(test_environment_and_fallback),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}
