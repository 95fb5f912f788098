/* Every shipped configuration and suite: resolves, builds its networks, passes what is checked
 * before a training, and stands in configs/README.md. Nothing is trained. Arguments: the folder of
 * configurations, that of plugins. Exit 77 where there is no OpenCL device. */
#include "base/files.h"
#include "config/suite.h"
#include "mixture/mixture.h"
#include "mixture/picture.h"
#include "test_device.h"
#include "train/initial_run.h"
#include "train/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CLASSES = 46, MOST_NAME = 128 };

static clvi_device *device;
static clvi_plugins *plugins;
static const char *folder;

static clvi_config *load(const char *name, const char *const *overrides, size_t count)
{
    clvi_text report = {0};
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    const clvi_config_source source = {.name = name,
                                       .folders = &folder,
                                       .folder_count = 1,
                                       .overrides = overrides,
                                       .override_count = count,
                                       .report = &report};
    if (clvi_config_load(&source, &config, &error) != CLV_OK)
        fail_msg("%s: %s\n%s", name, error.message, clvi_text_get(&report));
    clvi_text_fini(&report);
    return config;
}

/* The mixture of a configuration as for training with 46 classes of grey images, without images. */
static clvi_mixture *build(const clvi_config *config)
{
    clvi_mixture *mixture = NULL;
    clv_error error = CLV_ERROR_INIT;
    clvi_mixture_desc desc = {.config = config,
                              .plugins = plugins,
                              .device = device,
                              .classes = CLASSES,
                              .channels = 1,
                              .max_batch = 2,
                              .train = true};
    clvi_picture_whole(config, &desc.height, &desc.width);
    if (clvi_mixture_create(&desc, &mixture, &error) != CLV_OK)
        fail_msg("%s: %s", clvi_config_name(config), error.message);
    return mixture;
}

/* ---- All of them ---- */

/* Every expert does; there need not be anything left to train. */
static bool starts_from_runs(const clvi_config *config)
{
    bool all = true;
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++)
        all = all && *clvi_config_text(config, clvi_config_leaf_section(config, i), "init") != '\0';
    return all;
}

static void test_configurations(void **state)
{
    (void)state;
    clvi_config_entry *list = NULL;
    size_t count = 0;
    OK(clvi_config_list(&folder, 1, &list, &count, error));
    assert_true(count > 50);
    for (size_t i = 0; i < count; i++) {
        bool given = true;
        clvi_config *config = load(list[i].name, NULL, 0);
        clvi_mixture *mixture = build(config);
        clvi_optimizer_desc rule;
        OK(clvi_settings_optimizer(config, &rule, error));
        OK(clvi_train_has_images(config, false, &given, error));
        if (given || list[i].description[0] == '\0' ||
            (clvi_mixture_training(mixture, 0) == 0 && !starts_from_runs(config)))
            fail_msg("%s: names images, is described by nothing, or has nothing to train",
                     list[i].name);
        clvi_mixture_destroy(mixture);
        clvi_config_destroy(config);
    }
    clvi_config_list_free(list, count);
}

/* The value of an axis "KEY=A,B" that comes after `index` others, as "KEY=VALUE"; false: none. */
static bool coordinate(const char *axis, size_t index, char *out, size_t bytes)
{
    const char *values = strchr(axis, '=') + 1;
    const char *separator = strchr(values, ';') != NULL ? ";" : ",";
    for (; index > 0 && values != NULL; index--) {
        values = strpbrk(values, separator);
        values += values != NULL;
    }
    if (values == NULL)
        return false;
    values += strspn(values, " ");
    snprintf(out, bytes, "%.*s%.*s", (int)(strchr(axis, '=') + 1 - axis), axis,
             (int)strcspn(values, separator), values);
    return true;
}

/* Builds every point of a grid, from axis `axis` on. */
static void build_points(const char *name, const clvi_suite_grid *grid, size_t axis,
                         const char **point)
{
    char text[MOST_NAME];
    if (axis == grid->count) {
        clvi_config *config = load(name, point, grid->count);
        clvi_mixture_destroy(build(config));
        clvi_config_destroy(config);
        return;
    }
    point[axis] = text;
    for (size_t i = 0; coordinate(grid->axes[axis], i, text, sizeof text); i++)
        build_points(name, grid, axis + 1, point);
}

static void test_grids(void **state)
{
    (void)state;
    enum { MOST_AXES = 8 };
    const char *point[MOST_AXES];
    clvi_suite suite;
    bool found = false;
    OK(clvi_suite_load("fusions", &folder, 1, &found, &suite, error));
    assert_true(found && suite.grid_count > 5);
    for (size_t g = 0; g < suite.grid_count; g++) {
        assert_true(suite.grids[g].count > 0 && suite.grids[g].count <= MOST_AXES);
        for (size_t k = 0; k < suite.count; k++)
            build_points(suite.configs[k], &suite.grids[g], 0, point);
    }
    clvi_suite_fini(&suite);
}

/* A suite names each of its configurations once, as its file is spelled. */
static void test_suites(void **state)
{
    (void)state;
    clvi_config_entry *list = NULL;
    size_t count = 0;
    OK(clvi_suite_list(&folder, 1, &list, &count, error));
    assert_true(count >= 5);
    for (size_t i = 0; i < count; i++) {
        clvi_suite suite;
        bool found = false;
        OK(clvi_suite_load(list[i].name, &folder, 1, &found, &suite, error));
        assert_true(found);
        for (size_t k = 0; k < suite.count; k++) {
            char file[MOST_NAME], *path = NULL;
            snprintf(file, sizeof file, "/%s.ini", suite.configs[k]);
            OK(clvi_config_find(suite.configs[k], &folder, 1, &path, error));
            assert_string_equal(strrchr(path, '/'), file);
            clvi_free(path);
            for (size_t m = 0; m < k; m++)
                assert_string_not_equal(suite.configs[m], suite.configs[k]);
        }
        clvi_suite_fini(&suite);
    }
    clvi_config_list_free(list, count);
}

static void expect_described(const char *readme, const clvi_config_entry *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char code[MOST_NAME];
        snprintf(code, sizeof code, "`%s`", list[i].name);
        if (strstr(readme, code) == NULL)
            fail_msg("README.md of the configurations lacks %s", code);
    }
}

static void test_readme(void **state)
{
    (void)state;
    clvi_config_entry *list = NULL;
    size_t count = 0, bytes = 0;
    char *path = clvi_path_join(folder, "README.md"), *text = NULL;
    assert_non_null(path);
    OK(clvi_file_read(path, 1 << 20, &text, &bytes, error));
    OK(clvi_config_list(&folder, 1, &list, &count, error));
    expect_described(text, list, count);
    clvi_config_list_free(list, count);
    OK(clvi_suite_list(&folder, 1, &list, &count, error));
    expect_described(text, list, count);
    clvi_config_list_free(list, count);
    clvi_free(text);
    clvi_free(path);
}

/* ---- Names ---- */

static void expect_found(const char *typed, const char *name)
{
    char *path = NULL, file[MOST_NAME];
    OK(clvi_config_find(typed, &folder, 1, &path, error));
    snprintf(file, sizeof file, "/%s.ini", name);
    assert_string_equal(strrchr(path, '/'), file);
    clvi_free(path);
}

/* `name` with every `from` as `to`. */
static void expect_swapped(const char *name, char from, char to)
{
    char typed[MOST_NAME];
    snprintf(typed, sizeof typed, "%s", name);
    for (char *c = typed; *c != '\0'; c++)
        *c = *c == from ? to : *c;
    expect_found(typed, name);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"efficientnet-b0-only",
                                        "cnn-custom-only",
                                        "vgg-16-only",
                                        "efficentnet_cnn_mixture_of_expert_concate_feature",
                                        "efficentnet_cnn_mixture_of_expert_score_fusion",
                                        "efficentnet_vgg16_mixture_of_expert_concate_feature",
                                        "efficentnet_vgg16_mixture_of_expert_score_fusion",
                                        "cnn_vgg16_mixture_of_expert_concate_feature",
                                        "cnn_vgg16_mixture_of_expert_score_fusion",
                                        "three_efficientnet_average",
                                        "two_efficientnet_one_cnn_average",
                                        "three_efficientnet_cnn_gate",
                                        "three_cnn_average",
                                        "late_score_fusion",
                                        "three_cnn_cnn_gate",
                                        "two_efficientnet_one_cnn_cnn_gate",
                                        "jacobs_two_domains"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        expect_found(names[i], names[i]);
        expect_swapped(names[i], '-', '_');
        expect_swapped(names[i], '_', '-');
        if (strncmp(names[i], "efficentnet", 11) == 0) {
            char typed[MOST_NAME];
            snprintf(typed, sizeof typed, "efficientnet%s", names[i] + 11);
            expect_found(typed, names[i]);
        }
    }
}

/* ---- What they promise ---- */

static int64_t parameters(const char *name, size_t *experts)
{
    clvi_config *config = load(name, NULL, 0);
    clvi_mixture *mixture = build(config);
    const int64_t count = clvi_mixture_training(mixture, 0);
    *experts = clvi_mixture_expert_count(mixture);
    clvi_mixture_destroy(mixture);
    clvi_config_destroy(config);
    return count;
}

/* NAME_equal_total has so many experts, and within 2 % as many parameters as its model. */
static void test_equal_totals(void **state)
{
    (void)state;
    static const struct {
        const char *name, *as;
        size_t experts;
    } totals[] = {
        {"experts_1_equal_total", "experts_4", 1},
        {"experts_2_equal_total", "experts_4", 2},
        {"experts_3_equal_total", "experts_4", 3},
        {"experts_8_equal_total", "experts_4", 8},
        {"efficentnet_cnn_equal_total", "efficentnet_cnn_mixture_of_expert_score_fusion", 1},
        {"efficentnet_vgg16_equal_total", "efficentnet_vgg16_mixture_of_expert_score_fusion", 1},
        {"cnn_vgg16_equal_total", "cnn_vgg16_mixture_of_expert_score_fusion", 1},
    };
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
        size_t experts = 0;
        const int64_t wanted = parameters(totals[i].as, &experts);
        const int64_t total = parameters(totals[i].name, &experts);
        assert_int_equal(experts, totals[i].experts);
        if (llabs(total - wanted) * 50 > wanted)
            fail_msg("%s has %lld parameters, %s %lld", totals[i].name, (long long)total,
                     totals[i].as, (long long)wanted);
    }
}

/* Elements of an expert's variables. */
static int64_t expert_elements(const clvi_mixture *mixture, size_t index)
{
    const clv_graph *graph = clvi_mixture_expert_graph(mixture, index);
    int64_t sum = 0;
    for (size_t i = 0; i < graph->variable_count; i++)
        sum += graph->variables[i].elements;
    return sum;
}

/* NAME_blocks is NAME, but of each EfficientNet-B0 only the head and the last blocks train. */
static void test_blocks(void **state)
{
    (void)state;
    enum { WHOLE = 4066474, BLOCKS = 3214666 }; /* with 46 classes */
    static const struct {
        const char *name;
        int64_t efficientnets;
        size_t experts;
    } rows[] = {{"one_efficientnet", 1, 1},
                {"three_efficientnet_average", 3, 3},
                {"three_efficientnet_cnn_gate", 3, 3},
                {"two_efficientnet_one_cnn_average", 2, 3},
                {"two_efficientnet_one_cnn_cnn_gate", 2, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[MOST_NAME];
        size_t whole_experts = 0, experts = 0;
        snprintf(name, sizeof name, "%s_blocks", rows[i].name);
        const int64_t others =
            parameters(rows[i].name, &whole_experts) - rows[i].efficientnets * WHOLE;
        assert_int_equal(parameters(name, &experts) - others, rows[i].efficientnets * BLOCKS);
        assert_int_equal(experts, rows[i].experts);
        assert_int_equal(whole_experts, rows[i].experts);
    }
}

/* experts_K has K experts, all as large as that of experts_1. */
static void test_equal_experts(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 3, 4, 8};
    int64_t one = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char name[MOST_NAME];
        snprintf(name, sizeof name, "experts_%zu", counts[i]);
        clvi_config *config = load(name, NULL, 0);
        clvi_mixture *mixture = build(config);
        assert_int_equal(clvi_mixture_expert_count(mixture), counts[i]);
        one = i == 0 ? expert_elements(mixture, 0) : one;
        for (size_t k = 0; k < counts[i]; k++)
            assert_int_equal(expert_elements(mixture, k), one);
        clvi_mixture_destroy(mixture);
        clvi_config_destroy(config);
    }
}

/* Every shipped expert fits what it starts from: experts of the configuration named there. */
static void test_starts(void **state)
{
    (void)state;
    clvi_config_entry *list = NULL;
    size_t count = 0, starts = 0;
    OK(clvi_config_list(&folder, 1, &list, &count, error));
    for (size_t i = 0; i < count; i++) {
        clvi_config *config = load(list[i].name, NULL, 0);
        for (size_t k = 0; k < clvi_config_leaf_count(config); k++) {
            const char *section = clvi_config_leaf_section(config, k);
            const char *init = clvi_config_text(config, section, "init");
            if (*init == '\0')
                continue;
            clvi_config *theirs = load(init, NULL, 0);
            clvi_initial_expert from = {.config = theirs, .source = init};
            OK(clvi_initial_expert_pick(config, section, NULL, &from, error));
            OK(clvi_initial_expert_match(config, section, &from, plugins, error));
            clvi_config_destroy(theirs);
            starts++;
        }
        clvi_config_destroy(config);
    }
    assert_true(starts > 20);
    clvi_config_list_free(list, count);
}

/* Both sources of jacobs_two_domains come from the command line. */
static void test_two_domains(void **state)
{
    (void)state;
    static const char *const paths[] = {"data.printed.path=p.zip", "data.handwritten.path=h"};
    clvi_config *config = load("jacobs_two_domains", paths, 2);
    bool given = false;
    OK(clvi_train_has_images(config, true, &given, error));
    const clvi_data_options options = clvi_train_data_options(config);
    assert_int_equal(options.source_count, 2);
    assert_string_equal(options.sources[0].name, "handwritten");
    assert_string_equal(options.sources[0].path, "h");
    assert_string_equal(options.sources[1].path, "p.zip");
    clvi_config_destroy(config);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configurations), cmocka_unit_test(test_suites),
        cmocka_unit_test(test_grids),          cmocka_unit_test(test_readme),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_equal_totals),
        cmocka_unit_test(test_equal_experts),  cmocka_unit_test(test_starts),
        cmocka_unit_test(test_two_domains),    cmocka_unit_test(test_blocks),
    };
    int status = 0;
    if (argc < 3)
        return 2;
    folder = argv[1];
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_plugins_create(argv[2], NULL, &plugins, &error) != CLV_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clvi_plugins_destroy(plugins);
    return failed + test_device_close();
}
