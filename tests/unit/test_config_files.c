/* core/config: configurations as files: inheritance, and the search for shipped ones. */
#define _POSIX_C_SOURCE 200809L
#include "base/files.h"
#include "config/config.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char minimal[] = "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n";

/* A temporary folder of configurations. */
typedef struct folder {
    char path[64];
} folder;

static void write_file(const folder *f, const char *name, const char *content)
{
    char *path = clvi_path_join(f->path, name);
    assert_int_equal(clvi_file_write(path, content, strlen(content), NULL), CLV_OK);
    clvi_free(path);
}

static folder make_folder(void)
{
    folder f = {"/tmp/conclave-test-XXXXXX"};
    assert_non_null(mkdtemp(f.path));
    return f;
}

static void remove_folder(folder *f)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(clvi_dir_list(f->path, &names, &count, NULL), CLV_OK);
    for (size_t i = 0; i < count; i++) {
        char *path = clvi_path_join(f->path, names[i]);
        unlink(path);
        clvi_free(path);
    }
    clvi_names_free(names, count);
    assert_int_equal(rmdir(f->path), 0);
}

static clv_status load_path(const folder *f, const char *name, clvi_config **out, clv_error *error)
{
    char *path = clvi_path_join(f->path, name);
    const clvi_config_source source = {.name = path};
    const clv_status status = clvi_config_load(&source, out, error);
    clvi_free(path);
    return status;
}

static void test_inheritance(void **state)
{
    (void)state;
    folder f = make_folder();
    write_file(
        &f, "base.ini",
        "[mixture]\nexperts = a, b\n[expert.a]\nplugin = cnn\ndepth = 3\n[expert.b]\n"
        "plugin = cnn\ndepth = 4\n[gate]\nplugin = average\n[train]\nepochs = 7\nbatch = 9\n");
    write_file(&f, "middle.ini", "[train]\nepochs = 8\n[run]\nbase = base.ini\n");
    write_file(&f, "top.ini",
               "[run]\nbase = middle.ini\n[expert.a]\nwidth = 5\nplugin = other\n"
               "[expert.b]\ndepth = 6\n[train]\nbatch = 10\n");
    clvi_config *c = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (load_path(&f, "top.ini", &c, &error) != CLV_OK)
        fail_msg("%s", error.message);
    assert_int_equal(clvi_config_int(c, "train", "epochs"), 8);
    assert_int_equal(clvi_config_int(c, "train", "batch"), 10);
    assert_non_null(strstr(clvi_config_origin(c, "train", "epochs"), "/middle.ini:2"));
    assert_string_equal(clvi_config_text(c, "run", "base"), "");
    assert_string_equal(clvi_config_name(c), "top");
    size_t count = 0;
    const clvi_raw_option *options = clvi_config_options(c, "expert.a", &count);
    assert_int_equal(count, 1); /* depth belonged to the other plugin */
    assert_string_equal(options[0].key, "width");
    options = clvi_config_options(c, "expert.b", &count);
    assert_int_equal(count, 1);
    assert_string_equal(options[0].value, "6");
    clvi_config_destroy(c);

    write_file(&f, "fewer.ini", "[run]\nbase = base.ini\n[mixture]\nexperts = b\n");
    assert_int_equal(load_path(&f, "fewer.ini", &c, &error), CLV_OK);
    assert_int_equal(clvi_config_expert_count(c), 1);
    clvi_config_destroy(c);

    write_file(&f, "x.ini", "[run]\nbase = y.ini\n");
    write_file(&f, "y.ini", "[run]\nbase = ./x.ini\n");
    assert_int_equal(load_path(&f, "x.ini", &c, &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "y.ini:2: [run] base inherits "));
    assert_non_null(strstr(error.message, "in a circle, which "));
    clvi_error_clear(&error);
    write_file(&f, "self.ini", "[run]\nbase = self.ini\n");
    assert_int_equal(load_path(&f, "self.ini", &c, &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "in a circle"));
    clvi_error_clear(&error);
    write_file(&f, "lost.ini", "[run]\nbase = nowhere.ini\n");
    assert_int_equal(load_path(&f, "lost.ini", &c, &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "lost.ini:2: [run] base: "));
    assert_non_null(strstr(error.message, "nowhere.ini: cannot open: No such file"));
    clvi_error_clear(&error);

    for (int i = 0; i < 10; i++) {
        char name[32], content[64];
        snprintf(name, sizeof(name), "deep%d.ini", i);
        snprintf(content, sizeof(content), "[run]\nbase = deep%d.ini\n", i + 1);
        write_file(&f, name, i < 9 ? content : minimal);
    }
    assert_int_equal(load_path(&f, "deep1.ini", &c, &error), CLV_OK);
    clvi_config_destroy(c);
    assert_int_equal(load_path(&f, "deep0.ini", &c, &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "deep8.ini:2: [run] base goes deeper than 8 files"));
    clvi_error_clear(&error);

    assert_int_equal(load_path(&f, "none.ini", &c, &error), CLV_E_IO);
    assert_non_null(strstr(error.message, "none.ini"));
    remove_folder(&f);
}

static void test_search(void **state)
{
    (void)state;
    folder own = make_folder(), shipped = make_folder();
    clvi_text text = {0};
    clvi_text_printf(&text, "# One CNN, alone\n%s", minimal);
    write_file(&shipped, "cnn-custom-only.ini", text.data);
    write_file(&shipped, "other.ini", minimal);
    write_file(&shipped, "README.md", "x");
    write_file(&own, "Other.ini", "; mine\n");
    clvi_text_fini(&text);
    const char *folders[] = {"/nonexistent/folder", shipped.path};

    unsetenv("CONCLAVE_CONFIG_PATH");
    char *path = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_config_find("CNN_custom_only", folders, 2, &path, &error), CLV_OK);
    assert_non_null(strstr(path, "/cnn-custom-only.ini"));
    clvi_free(path);
    assert_int_equal(clvi_config_find("cnn-custm-only", folders, 2, &path, &error), CLV_E_USAGE);
    assert_string_equal(error.message,
                        "no configuration is called \"cnn-custm-only\"; did you mean "
                        "cnn-custom-only?");
    clvi_error_clear(&error);
    assert_int_equal(clvi_config_find("zzz", NULL, 0, &path, &error), CLV_E_USAGE);
    clvi_error_clear(&error);
    assert_int_equal(clvi_config_find("x.ini", folders, 2, &path, &error), CLV_OK);
    assert_string_equal(path, "x.ini");
    clvi_free(path);

    setenv("CONCLAVE_CONFIG_PATH", own.path, 1);
    clvi_config_entry *list = NULL;
    size_t count = 0;
    assert_int_equal(clvi_config_list(folders, 2, &list, &count, &error), CLV_OK);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].name, "Other");
    assert_string_equal(list[0].description, "mine");
    assert_string_equal(list[1].name, "cnn-custom-only");
    assert_string_equal(list[1].description, "One CNN, alone");
    clvi_config_list_free(list, count);
    unsetenv("CONCLAVE_CONFIG_PATH");

    const clvi_config_source source = {
        .name = "cnn_custom_only", .folders = folders, .folder_count = 2};
    clvi_config *c = NULL;
    assert_int_equal(clvi_config_load(&source, &c, &error), CLV_OK);
    assert_string_equal(clvi_config_name(c), "cnn-custom-only");
    clvi_config_destroy(c);
    remove_folder(&own);
    remove_folder(&shipped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inheritance),
        cmocka_unit_test(test_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
