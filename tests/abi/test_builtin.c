/* Plugins that are linked in, in place of files and beside those of the user. Arguments: the folder
 * of plugin files, then the names that this build was told to link in, such as expert_cnn. */
#include "base/files.h"
#include "plugin/builtin.h"
#include "plugin/plugin_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *folder;
static char *const *names;
static size_t name_count;

static clv_kind kind_of(const char *name)
{
    return strncmp(name, "gate_", 5) == 0 ? CLV_KIND_GATE : CLV_KIND_EXPERT;
}

static const clvi_plugin *find(clvi_plugins *plugins, const char *name)
{
    const clvi_plugin *found = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_plugins_find(plugins, kind_of(name), strchr(name, '_') + 1, &found, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return found;
}

/* Exactly those of the build, each by its name, where there is no folder at all. */
static void test_without_files(void **state)
{
    (void)state;
    const clvi_plugin *const *list = NULL;
    size_t count = 0;
    clvi_plugins *plugins = NULL;
    assert_int_equal(clvi_plugins_create(NULL, NULL, &plugins, NULL), CLV_OK);
    for (size_t i = 0; i < name_count; i++) {
        char path[128];
        snprintf(path, sizeof path, "built-in/%s.so", names[i]);
        const clvi_plugin *plugin = find(plugins, names[i]);
        assert_true(plugin->builtin);
        assert_string_equal(plugin->path, path);
        assert_ptr_equal(plugin, find(plugins, names[i]));
    }
    assert_int_equal(clvi_plugins_scan(plugins, &list, &count, NULL), CLV_OK);
    assert_int_equal(count, name_count);
    const clvi_plugin *none = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_plugins_find(plugins, CLV_KIND_EXPERT, "cnnn", &none, &error),
                     CLV_E_PLUGIN);
    assert_int_equal(strstr(error.message, "did you mean cnn?") != NULL,
                     clvi_builtin_find("expert_cnn.so") != NULL);
    clvi_plugins_destroy(plugins);
}

/* A folder of the user's comes before, the one of the build behind. */
static void test_beside_files(void **state)
{
    (void)state;
    for (int given = 0; given < 2; given++) {
        const clvi_plugin *const *list = NULL;
        size_t count = 0, builtin = 0;
        clvi_plugins *plugins = NULL;
        assert_int_equal(clvi_plugins_create(given ? folder : NULL, folder, &plugins, NULL),
                         CLV_OK);
        for (size_t i = 0; i < name_count; i++)
            assert_int_equal(find(plugins, names[i])->builtin, !given);
        assert_false(find(plugins, "expert_cnn")->builtin && given);
        assert_int_equal(clvi_plugins_scan(plugins, &list, &count, NULL), CLV_OK);
        for (size_t i = 0; i < count; i++) {
            builtin += list[i]->builtin;
            for (size_t k = 0; k < i; k++)
                assert_true(list[i]->table->kind != list[k]->table->kind ||
                            strcmp(list[i]->table->name, list[k]->table->name) != 0);
        }
        assert_int_equal(builtin, given ? 0 : name_count);
        assert_true(count >= 9); /* all that are shipped */
        clvi_plugins_destroy(plugins);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_without_files),
                                       cmocka_unit_test(test_beside_files)};
    if (argc < 2) {
        fprintf(stderr, "usage: %s PLUGINS [NAME]...\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    names = argv + 2;
    name_count = (size_t)argc - 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
