/* core/train: folders of runs and the text files in them. */
#include "train/run_dir.h"
#include "train/run_files.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char home[] = "/tmp/conclave-run-dir-XXXXXX";
static char output[64];
static int warnings;

static void count_warnings(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    (void)line;
    warnings += level == CLVI_LOG_WARN ? 1 : 0;
}

static void remove_tree(const char *path)
{
    char **names = NULL;
    size_t count = 0;
    struct stat facts;
    if (lstat(path, &facts) == 0 && S_ISDIR(facts.st_mode) &&
        clvi_dir_list(path, &names, &count, NULL) == CLV_OK) {
        for (size_t i = 0; i < count; i++) {
            char *inside = clvi_path_join(path, names[i]);
            remove_tree(inside);
            clvi_free(inside);
        }
        clvi_names_free(names, count);
        rmdir(path);
    } else {
        unlink(path);
    }
}

static int set_up(void **state)
{
    (void)state;
    if (output[0] == '\0' && mkdtemp(home) == NULL)
        return -1;
    snprintf(output, sizeof(output), "%s/deep/runs", home);
    clvi_set_log_sink(count_warnings, NULL);
    warnings = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clvi_set_log_sink(NULL, NULL);
    remove_tree(output);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    remove_tree(home);
    return 0;
}

/* Makes a run and returns the last part of its path in `name`. */
static void create(const char *wanted, bool with_config, char *name, size_t bytes)
{
    clv_error error = CLV_ERROR_INIT;
    char *path = NULL;
    if (clvi_run_create(output, wanted, &path, &error) != CLV_OK)
        fail_msg("%s", error.message);
    assert_memory_equal(path, output, strlen(output));
    assert_true(clvi_is_dir(path));
    snprintf(name, bytes, "%s", path + strlen(output) + 1);
    if (with_config) {
        char *config = clvi_path_join(path, CLVI_RUN_CONFIG);
        assert_int_equal(clvi_file_write(config, "", 0, NULL), CLV_OK);
        clvi_free(config);
    }
    clvi_free(path);
}

static void assert_last(const char *target)
{
    char link[96], found[96] = "";
    snprintf(link, sizeof(link), "%s/last", output);
    assert_true(readlink(link, found, sizeof(found) - 1) > 0);
    assert_string_equal(found, target);
}

static void test_create(void **state)
{
    (void)state;
    char name[64];
    create("cnn", true, name, sizeof(name));
    assert_string_equal(name, "cnn");
    assert_last("cnn");
    create("cnn", true, name, sizeof(name));
    assert_string_equal(name, "cnn-2");
    create("cnn", true, name, sizeof(name));
    assert_string_equal(name, "cnn-3");
    assert_last("cnn-3");
    char first[96];
    snprintf(first, sizeof(first), "%s/cnn/", output);
    clvi_run_set_last(first);
    assert_last("cnn");
    assert_int_equal(warnings, 0);
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(clvi_dir_list(output, &names, &count, NULL), CLV_OK);
    assert_int_equal(count, 4); /* no temporary link is left */
    clvi_names_free(names, count);
}

static void test_names_that_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"", "last", "a/b", ".a", "..", "a\nb", "\xFF"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        clv_error error = CLV_ERROR_INIT;
        char *path = NULL;
        assert_int_equal(clvi_run_create(output, names[i], &path, &error), CLV_E_USAGE);
        assert_null(path);
        assert_non_null(strstr(error.message, "run"));
    }
    assert_false(clvi_is_dir(output));
    char *path = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_run_create("/dev/null/runs", "a", &path, &error), CLV_E_IO);
    assert_non_null(strstr(error.message, "/dev/null"));
}

/* The user's own file or folder named last stays. */
static void test_last_is_not_ours(void **state)
{
    (void)state;
    char last[96], name[64];
    snprintf(last, sizeof(last), "%s/last", output);
    assert_int_equal(clvi_make_dirs(last, 0755, NULL), CLV_OK);
    create("a", true, name, sizeof(name));
    assert_true(clvi_is_dir(last));
    assert_int_equal(warnings, 1);
}

enum { THREADS = 8 };

static void *create_one(void *result)
{
    return clvi_run_create(output, "race", result, NULL) == CLV_OK ? result : NULL;
}

static void test_race(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    char *paths[THREADS] = {NULL};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, create_one, &paths[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        void *good = NULL;
        pthread_join(threads[i], &good);
        assert_non_null(good);
    }
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(paths[i], paths[j]);
    for (int i = 0; i < THREADS; i++)
        clvi_free(paths[i]);
}

static void assert_found(const char *what, const char *name)
{
    clv_error error = CLV_ERROR_INIT;
    char *path = NULL, expected[96];
    if (clvi_run_find(output, what, &path, &error) != CLV_OK)
        fail_msg("%s", error.message);
    snprintf(expected, sizeof(expected), "%s/%s", output, name);
    assert_string_equal(path, expected);
    clvi_free(path);
}

static void assert_not_found(const char *what, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    char *path = NULL;
    assert_int_equal(clvi_run_find(output, what, &path, &error), CLV_E_USAGE);
    assert_null(path);
    if (strstr(error.message, part) == NULL || strstr(error.message, what) == NULL)
        fail_msg("'%s' is not in '%s'", part, error.message);
}

static void test_find(void **state)
{
    (void)state;
    assert_not_found("last", "there is none in");
    char name[64], path[96];
    create("cnn", true, name, sizeof(name));
    create("mobilenet", true, name, sizeof(name));
    assert_found("last", "mobilenet");
    assert_found("cnn", "cnn");
    snprintf(path, sizeof(path), "%s/cnn", output);
    assert_found(path, "cnn");
    assert_not_found("mobilnet", "did you mean 'mobilenet'?");
    assert_not_found("./mobilnet", "did you mean 'mobilenet' in");
    assert_not_found("zzzzzzzzzz", "conclave runs");
    assert_not_found("/nonesuch/zzzzzzzzzz", "no folder with a config.ini");
    assert_not_found("", "no run ''");
    create("broken", false, name, sizeof(name)); /* killed before it wrote anything */
    assert_not_found("broken", "no run 'broken'");
    assert_not_found("last", "no run 'last'");
}

/* A folder that is no run, called like something else, does not stand in its way. */
static void test_meant(void **state)
{
    (void)state;
    char name[64], path[192];
    create("cnn", true, name, sizeof(name));
    snprintf(path, sizeof(path), "%s/%s", output, name);
    assert_true(clvi_run_meant("last"));
    assert_true(clvi_run_meant(path));
    assert_true(clvi_run_meant(output)); /* has a '/' */
    assert_false(clvi_run_meant("cnn"));
    char *here = getcwd(NULL, 0);
    assert_non_null(here);
    assert_int_equal(chdir(output), 0);
    assert_int_equal(mkdir("sparse", 0777), 0);
    assert_false(clvi_run_meant("sparse"));
    assert_true(clvi_run_meant("./sparse"));
    assert_true(clvi_run_meant("cnn"));
    assert_int_equal(rmdir("sparse"), 0);
    assert_int_equal(chdir(here), 0);
    free(here);
}

static void test_list(void **state)
{
    (void)state;
    char **names = NULL;
    size_t count = 9;
    assert_int_equal(clvi_run_list(output, &names, &count, NULL), CLV_OK);
    assert_int_equal(count, 0);
    clvi_names_free(names, count);
    char name[64];
    for (int i = 0; i < 11; i++)
        create("run", i != 4, name, sizeof(name));
    assert_int_equal(clvi_run_list(output, &names, &count, NULL), CLV_OK);
    assert_int_equal(count, 10);
    assert_string_equal(names[0], "run");
    assert_string_equal(names[1], "run-2");
    assert_string_equal(names[3], "run-4");
    assert_string_equal(names[4], "run-6");
    assert_string_equal(names[9], "run-11");
    clvi_names_free(names, count);
}

static void assert_content(const char *path, const char *expected)
{
    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(clvi_file_read(path, 65536, &data, &bytes, NULL), CLV_OK);
    assert_string_equal(data, expected);
    clvi_free(data);
}

static void test_metrics(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof(path), "%s/metrics.csv", home);
    const clvi_metrics_row train = {.epoch = 1,
                                    .step = 500,
                                    .split = "train",
                                    .loss = 0.125,
                                    .top1 = 0.9,
                                    .top5 = 1,
                                    .lr = 1e-5,
                                    .seconds = 12.5,
                                    .images_per_second = 2310.25,
                                    .trainable = 1234567890123,
                                    .dropped = 0.25,
                                    .unrouted = 0};
    clvi_metrics_row val = train;
    val.split = "val";
    val.top5 = NAN;
    val.lr = INFINITY;
    val.dropped = val.unrouted = NAN;
    clvi_row_file *file = NULL;
    assert_int_equal(clvi_metrics_csv_open(path, &file, NULL), CLV_OK);
    assert_int_equal(clvi_metrics_csv_add(file, &train, NULL), CLV_OK);
#define HEADER                                                                                     \
    "epoch,step,split,loss,top1,top5,lr,seconds,images_per_second,trainable,"                      \
    "dropped,unrouted\n"
#define TRAIN "1,500,train,0.125,0.9,1,1e-05,12.5,2310.25,1234567890123,0.25,0\n"
    assert_content(path, HEADER TRAIN); /* a row is there before the file is closed */
    clvi_row_file_close(file);
    assert_int_equal(clvi_metrics_csv_open(path, &file, NULL), CLV_OK);
    assert_int_equal(clvi_metrics_csv_add(file, &val, NULL), CLV_OK);
    clvi_row_file_close(file);
    assert_content(path, HEADER TRAIN "1,500,val,0.125,0.9,,,12.5,2310.25,1234567890123,,\n");

    assert_int_equal(clvi_file_write(path, "epoch,loss\n", 11, NULL), CLV_OK);
    clv_error error = CLV_ERROR_INIT;
    file = NULL;
    assert_int_equal(clvi_metrics_csv_open(path, &file, &error), CLV_E_FORMAT);
    assert_null(file);
    assert_content(path, "epoch,loss\n");
    unlink(path);
    assert_int_equal(clvi_metrics_csv_open("/nonesuch/metrics.csv", &file, NULL), CLV_E_IO);
    assert_null(file);
    clvi_row_file_close(NULL);
}

static void test_log(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof(path), "%s/log.txt", home);
    clvi_log_file *file = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(clvi_log_file_open(path, &file, NULL), CLV_OK);
        clvi_log_file_write(file, i == 0 ? CLVI_LOG_INFO : CLVI_LOG_WARN, "a line");
        clvi_log_file_close(file);
    }
    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(clvi_file_read(path, 65536, &data, &bytes, NULL), CLV_OK);
    const size_t stamp = strlen("2025-01-31 12:34:56");
    assert_true(data[4] == '-' && data[10] == ' ' && data[16] == ':');
    assert_memory_equal(data + stamp, "  a line\n", 9);
    assert_string_equal(data + stamp + 9 + stamp, "  warning: a line\n");
    clvi_free(data);
    unlink(path);
    assert_int_equal(clvi_log_file_open("/nonesuch/log.txt", &file, NULL), CLV_E_IO);
    clvi_log_file_close(NULL);
}

static void test_json(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof(path), "%s/summary.json", home);
    json_t *value = json_pack("{s:o,s:o,s:[i],s:s}", "b", clvi_json_real(0.1), "a",
                              clvi_json_real(NAN), "n", 7, "t", "\xE0\xA4\x95");
    assert_non_null(value);
    assert_int_equal(clvi_json_write(path, value, NULL), CLV_OK);
    assert_content(path, "{\n  \"b\": 0.1,\n  \"a\": null,\n  \"n\": [\n    7\n  ],\n"
                         "  \"t\": \"\xE0\xA4\x95\"\n}\n");
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_json_write("/nonesuch/a.json", value, &error), CLV_E_IO);
    json_decref(value);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_last_is_not_ours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_race, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_meant, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_metrics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down_all);
}
