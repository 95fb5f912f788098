/* core/plugin/options.c: a section's options against a plugin's schema, and the plugin's getters.
 */
#include "plugin/plugin_host.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

/* As a plugin of a later ABI would bring them: at a wider stride. */
typedef struct wide_spec {
    clv_option_spec spec;
    char more[8];
} wide_spec;

#define SPEC(type_, key_, default_, min_, max_, choices_)                                          \
    {                                                                                              \
        {(uint32_t)sizeof(wide_spec), type_, key_, default_, min_, max_, choices_, "some help"},   \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

static const wide_spec specs[] = {
    SPEC(CLV_OPTION_BOOL, "batch_norm", "yes", 0, 0, NULL),
    SPEC(CLV_OPTION_INT, "kernel", "3", 1, 15, NULL),
    SPEC(CLV_OPTION_REAL, "dropout", "0.5", 0, 0.95, NULL),
    SPEC(CLV_OPTION_TEXT, "note", "", 0, 0, NULL),
    SPEC(CLV_OPTION_CHOICE, "activation", "relu", 0, 0, "relu | silu"),
    SPEC(CLV_OPTION_INT_LIST, "widths", "32, 64", 1, 4096, NULL),
    SPEC(CLV_OPTION_REAL_LIST, "rates", "0.1, 0.2, 0.3", 0, 0, NULL),
};

static const clv_plugin plugin = {
    .name = "test",
    .options = &specs[0].spec,
    .option_count = sizeof(specs) / sizeof(specs[0]),
    .option_stride = (uint32_t)sizeof(wide_spec),
};

static clv_options *create(const clvi_raw_option *raw, size_t count)
{
    clv_error error = CLV_ERROR_INIT;
    clv_options *options = NULL;
    if (clvi_options_create(&plugin, "expert.a", raw, count, &options, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return options;
}

static void refuse(const char *key, const char *value, const char *sentence)
{
    const clvi_raw_option raw = {key, value, "a.ini:14"};
    clv_error error = CLV_ERROR_INIT;
    clv_options *options = NULL;
    assert_int_equal(clvi_options_create(&plugin, "expert.a", &raw, 1, &options, &error),
                     CLV_E_CONFIG);
    assert_null(options);
    if (strstr(error.message, sentence) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", sentence, error.message);
}

static void test_defaults(void **state)
{
    const clv_host *host = clvi_host_table();
    clv_options *options = create(NULL, 0);
    bool norm = false;
    int64_t kernel = 0;
    double dropout = 0;
    const char *note = NULL, *activation = NULL;
    const int64_t *widths = NULL;
    const double *rates = NULL;
    uint32_t width_count = 0, rate_count = 0;
    (void)state;
    assert_int_equal(host->option_bool(options, "batch_norm", &norm, NULL), CLV_OK);
    assert_int_equal(host->option_int(options, "kernel", &kernel, NULL), CLV_OK);
    assert_int_equal(host->option_real(options, "dropout", &dropout, NULL), CLV_OK);
    assert_int_equal(host->option_text(options, "note", &note, NULL), CLV_OK);
    assert_int_equal(host->option_text(options, "activation", &activation, NULL), CLV_OK);
    assert_int_equal(host->option_ints(options, "widths", &widths, &width_count, NULL), CLV_OK);
    assert_int_equal(host->option_reals(options, "rates", &rates, &rate_count, NULL), CLV_OK);
    assert_true(norm);
    assert_int_equal(kernel, 3);
    assert_true(dropout == 0.5);
    assert_string_equal(note, "");
    assert_string_equal(activation, "relu");
    assert_int_equal(width_count, 2);
    assert_int_equal(widths[1], 64);
    assert_int_equal(rate_count, 3);
    assert_true(rates[2] == 0.3);
    clvi_options_destroy(options);
    clvi_options_destroy(NULL);
}

static void test_given_values_are_copied(void **state)
{
    char value[] = "8, 16, 24", key[] = "widths";
    const clvi_raw_option raw[] = {{"kernel", "5", "a.ini:3"},
                                   {key, value, "a.ini:4"},
                                   {"kernel", "7", "command line"}, /* the last one counts */
                                   {"Batch-Norm", "off", "a.ini:5"}};
    clv_options *options = create(raw, 4);
    memset(value, 'x', sizeof(value) - 1);
    memset(key, 'x', sizeof(key) - 1);
    const clv_host *host = clvi_host_table();
    const int64_t *widths = NULL;
    uint32_t count = 0;
    int64_t kernel = 0;
    bool norm = true;
    (void)state;
    assert_int_equal(host->option_ints(options, "widths", &widths, &count, NULL), CLV_OK);
    assert_int_equal(host->option_int(options, "kernel", &kernel, NULL), CLV_OK);
    assert_int_equal(host->option_bool(options, "batch_norm", &norm, NULL), CLV_OK);
    assert_int_equal(count, 3);
    assert_int_equal(widths[2], 24);
    assert_int_equal(kernel, 7);
    assert_false(norm);
    clvi_options_destroy(options);
}

static void test_refusals(void **state)
{
    (void)state;
    refuse("kernal", "3",
           "a.ini:14: [expert.a] kernal: plugin test has no such option; did you "
           "mean kernel?");
    refuse("zzz", "3", "[expert.a] zzz: plugin test has no such option; see conclave plugins");
    refuse("kernel", "16", "a.ini:14: [expert.a] kernel: \"16\": expected integer, 1 to 15");
    refuse("kernel", "3.5", "[expert.a] kernel: \"3.5\"");
    refuse("kernel", "", "[expert.a] kernel: \"\"");
    refuse("dropout", "nan", "[expert.a] dropout");
    refuse("dropout", "1", "[expert.a] dropout");
    refuse("batch_norm", "perhaps", "[expert.a] batch_norm: \"perhaps\": expected yes | no");
    refuse("activation", "rleu", "did you mean relu?");
    refuse("widths", "32, 0", "[expert.a] widths");
    refuse("widths", "32,,64", "[expert.a] widths");
}

static void test_getters_hold_the_plugin_to_its_schema(void **state)
{
    const clv_host *host = clvi_host_table();
    clv_options *options = create(NULL, 0);
    clv_error error = CLV_ERROR_INIT;
    int64_t number = 77;
    (void)state;
    assert_int_equal(host->option_int(options, "widths", &number, &error), CLV_E_INTERNAL);
    assert_non_null(strstr(error.message, "option widths by a wrong type"));
    clv_error second = CLV_ERROR_INIT;
    assert_int_equal(host->option_int(options, "depth", &number, &second), CLV_E_INTERNAL);
    assert_non_null(strstr(second.message, "depth, which it does not declare"));
    assert_int_equal(host->option_int(options, NULL, &number, NULL), CLV_E_INTERNAL);
    assert_int_equal(number, 77);
    clvi_options_destroy(options);
}

static void test_plugin_without_options(void **state)
{
    static const clv_plugin bare = {.name = "bare"};
    const clvi_raw_option raw = {"kernel", "3", "a.ini:2"};
    clv_error error = CLV_ERROR_INIT;
    clv_options *options = NULL;
    (void)state;
    assert_int_equal(clvi_options_create(&bare, "gate", NULL, 0, &options, &error), CLV_OK);
    clvi_options_destroy(options);
    assert_int_equal(clvi_options_create(&bare, "gate", &raw, 1, &options, &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "a.ini:2: [gate] kernel: plugin bare has no such"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_given_values_are_copied),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_getters_hold_the_plugin_to_its_schema),
        cmocka_unit_test(test_plugin_without_options),
    };
    return cmocka_run_group_tests_name("plugin_options", tests, NULL, NULL);
}
