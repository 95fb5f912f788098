/* core/config: the sections [data.NAME] beside data.path, and how they become options. */
#include "config/config.h"
#include "train/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define EXPERT "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n"

static clv_status load(const char *text, const char *override, clvi_config **out, clv_error *error)
{
    const clvi_config_source source = {.name = "a.ini",
                                       .text = text,
                                       .text_bytes = strlen(text),
                                       .overrides = &override,
                                       .override_count = override ? 1 : 0};
    return clvi_config_load(&source, out, error);
}

static clvi_config *load_good(const char *text, const char *override)
{
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (load(text, override, &config, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return config;
}

static void refuses(const char *text, const char *sentence)
{
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(load(text, NULL, &config, &error), CLV_E_CONFIG);
    assert_string_equal(error.message, sentence);
}

static const char two[] = EXPERT "[data.written]\npath = w\ntrain = Learn\n[data.printed]\n"
                                 "path = p.zip\n[data]\nresize = bicubic\nfit = crop\n"
                                 "image_size = 48x64\n";

static void test_several_sources(void **state)
{
    (void)state;
    clvi_config *config = load_good(two, NULL);
    assert_int_equal(clvi_config_source_count(config), 2);
    assert_string_equal(clvi_config_source_name(config, 0), "written");
    assert_string_equal(clvi_config_source_section(config, 1), "data.printed");
    const clvi_data_options options = clvi_train_data_options(config);
    assert_int_equal(options.source_count, 2);
    assert_string_equal(options.sources[0].name, "written");
    assert_string_equal(options.sources[0].path, "w");
    assert_string_equal(options.sources[0].split_folder[CLVI_TRAIN], "Learn");
    assert_null(options.sources[1].split_folder[CLVI_TRAIN]);
    assert_string_equal(options.sources[1].path, "p.zip");
    assert_int_equal(options.resample, CLVI_BICUBIC);
    assert_int_equal(options.fit, CLVI_CROP);
    /* A dump gives the same configuration. */
    clvi_text dump = {0}, again = {0};
    clvi_config_dump(config, &dump);
    clvi_config_destroy(config);
    config = load_good(clvi_text_get(&dump), NULL);
    assert_int_equal(clvi_config_source_count(config), 2);
    clvi_config_dump(config, &again);
    assert_string_equal(clvi_text_get(&dump), clvi_text_get(&again));
    clvi_config_destroy(config);
    clvi_text_fini(&dump);
    clvi_text_fini(&again);
}

static void test_one_path(void **state)
{
    (void)state;
    clvi_config *config = load_good(EXPERT "[data]\npath = x\nval = check\n", NULL);
    assert_int_equal(clvi_config_source_count(config), 0);
    const clvi_data_options options = clvi_train_data_options(config);
    assert_int_equal(options.source_count, 0);
    assert_string_equal(options.path, "x");
    assert_string_equal(options.split_folder[CLVI_VAL], "check");
    assert_int_equal(options.resample, CLVI_BILINEAR);
    assert_int_equal(options.fit, CLVI_STRETCH);
    clvi_config_destroy(config);
}

/* The later layer counts: a path on the command line takes the place of all sources. */
static void test_path_against_sources(void **state)
{
    (void)state;
    clvi_config *config = load_good(two, "data.path=other");
    assert_int_equal(clvi_config_source_count(config), 0);
    assert_string_equal(clvi_train_data_options(config).path, "other");
    clvi_text dump = {0};
    clvi_config_dump(config, &dump);
    assert_null(strstr(clvi_text_get(&dump), "[data."));
    clvi_text_fini(&dump);
    clvi_config_destroy(config);
    config = load_good(EXPERT "[data]\npath = x\n", "data.more.path=y");
    assert_int_equal(clvi_config_source_count(config), 1);
    assert_string_equal(clvi_config_text(config, "data", "path"), "");
    clvi_config_destroy(config);
    refuses(EXPERT "[data]\npath = x\n[data.more]\npath = y\n",
            "a.ini:7: [data.more] stands beside data.path; give each source a section of its own");
}

/* Whether images are named; "": yes, "no": none, otherwise what is said. */
static void expect_images(const char *text, const char *override, bool required, const char *said)
{
    clvi_config *config = load_good(text, override);
    clv_error error = CLV_ERROR_INIT;
    bool given = false;
    const clv_status status = clvi_train_has_images(config, required, &given, &error);
    clvi_config_destroy(config);
    if (status == CLV_OK) {
        assert_string_equal(given ? "" : "no", said);
        return;
    }
    assert_int_equal(status, CLV_E_USAGE);
    assert_non_null(strstr(error.message, said));
    assert_string_not_equal(said, "");
}

/* Where sources have no path, the command line gives it, or images are missed when wanted. */
static void test_paths_given_later(void **state)
{
    (void)state;
    static const char none[] = EXPERT "[data.a]\n[data.b]\ntrain = x\n";
    expect_images(none, NULL, false, "no");
    expect_images(none, NULL, true, "give data.a.path=PATH");
    expect_images(none, "data.a.path=here", false, "give data.b.path=PATH");
    expect_images(none, "data.path=here", true, "");
    expect_images(EXPERT "[data.a]\n[data.b]\npath = y\n", "data.a.path=x", true, "");
    expect_images(EXPERT, NULL, false, "no");
    expect_images(EXPERT, NULL, true, "give --data PATH");
    expect_images(EXPERT "[data]\npath = x\n", NULL, true, "");
    clvi_config *config = load_good(EXPERT "[data.a]\n[data.b]\npath = y\n", "data.a.path=x");
    const clvi_data_options options = clvi_train_data_options(config);
    assert_int_equal(options.source_count, 2);
    assert_string_equal(options.sources[0].path, "x");
    assert_string_equal(options.sources[1].path, "y");
    clvi_config_destroy(config);
}

static void test_faults(void **state)
{
    (void)state;
    refuses(EXPERT "[data.a]\npath = x\nsize = 3\n", "a.ini:7: [data.a] \"size\": unknown key");
    refuses(EXPERT "[dat]\npath = x\n",
            "a.ini:5: section \"dat\" is unknown; did you mean [data]?");
    clvi_text many = {0};
    clvi_text_append(&many, EXPERT);
    for (int i = 0; i < 17; i++)
        clvi_text_printf(&many, "[data.s%d]\npath = x\n", i);
    refuses(clvi_text_get(&many), "a.ini:37: more than 16 sections [data.NAME]");
    clvi_text_fini(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_several_sources),
        cmocka_unit_test(test_one_path),
        cmocka_unit_test(test_path_against_sources),
        cmocka_unit_test(test_paths_given_later),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
