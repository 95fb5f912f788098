/* What `init` says, which expert is meant, and which fit. Argument: the folder of plugins. */
#include "mixture/initial_weights.h"
#include "train/initial_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static clvi_plugins *plugins;

static clvi_config *load(const char *name, const char *text)
{
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    const clvi_config_source source = {.name = name, .text = text, .text_bytes = strlen(text)};
    if (clvi_config_load(&source, &config, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return config;
}

static void test_words(void **state)
{
    (void)state;
    assert_null(clvi_init_colon(""));
    assert_null(clvi_init_colon("run"));
    assert_null(clvi_init_colon(":a"));
    assert_null(clvi_init_colon("run:"));
    assert_null(clvi_init_colon("run:a b"));
    assert_null(clvi_init_colon("run:/a"));
    assert_null(clvi_init_colon("run:a/"));
    assert_string_equal(clvi_init_colon("run:a"), ":a");
    assert_string_equal(clvi_init_colon("C:runs:team/a"), ":team/a");
    assert_false(clvi_init_is_settled("x.safetensors"));
    assert_false(clvi_init_is_settled("runs/x:a"));
    assert_false(clvi_init_is_settled(".safetensors:a"));
    assert_true(clvi_init_is_settled("x.safetensors:a"));
    assert_true(clvi_init_is_settled("runs/x/best.safetensors:team/a"));
}

/* Where the file's expert stands, and whether the expert starts from a file at all. */
static void test_sections(void **state)
{
    (void)state;
    char name[CLVI_EXPERT_BYTES];
    clvi_config *c = load("a.ini", "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n");
    assert_false(clvi_initial_weights_given(c, "expert.a"));
    assert_string_equal(clvi_initial_weights_section(c, "expert.a", name), "expert.a");
    assert_int_equal(clvi_config_replace(c, "expert.a", "init", "code", NULL), CLV_OK);
    assert_false(clvi_initial_weights_given(c, "expert.a"));
    assert_int_equal(clvi_config_replace(c, "expert.a", "init", "f.safetensors:t/b", NULL), CLV_OK);
    assert_true(clvi_initial_weights_given(c, "expert.a"));
    assert_string_equal(clvi_initial_weights_section(c, "expert.a", name), "expert.t/b");
    clvi_config_destroy(c);
}

/* Who gave a value stays. */
static void test_replace(void **state)
{
    (void)state;
    clvi_config *c =
        load("a.ini", "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\ninit = code\n");
    assert_int_equal(clvi_config_replace(c, "expert.a", "init", "other", NULL), CLV_OK);
    assert_string_equal(clvi_config_text(c, "expert.a", "init"), "other");
    assert_string_equal(clvi_config_origin(c, "expert.a", "init"), "a.ini:5");
    clvi_config_destroy(c);
}

static const char start[] = "[data]\nimage_size = 16\n[mixture]\nexperts = a\n[expert.a]\n"
                            "plugin = cnn\nwidths = 8,16\ninit = code\n";

/* Picks and matches [expert.a] of `start` (with `more` of its section) among `text`. Returns the
 * index of the expert, or -1 and the message. */
static int meet(const char *more, const char *text, const char *name, char message[512])
{
    char own[1024];
    snprintf(own, sizeof own, "%s%s", start, more);
    clvi_config *config = load("a.ini", own), *theirs = load("code.ini", text);
    clvi_initial_expert from = {.config = theirs, .source = "code"};
    clv_error error = CLV_ERROR_INIT;
    clv_status status = clvi_initial_expert_pick(config, "expert.a", name, &from, &error);
    if (status == CLV_OK)
        status = clvi_initial_expert_match(config, "expert.a", &from, plugins, &error);
    snprintf(message, 512, "%s", error.message);
    clvi_config_destroy(config);
    clvi_config_destroy(theirs);
    assert_true(status == CLV_OK || status == CLV_E_CONFIG);
    return status == CLV_OK ? (int)from.index : -1;
}

#define OTHER(name, widths) "[expert." name "]\nplugin = cnn\nwidths = " widths "\n"
#define SIZE                "[data]\nimage_size = 16\n[mixture]\n"

static void test_pick(void **state)
{
    (void)state;
    static const char two[] = SIZE "experts = b, c\n" OTHER("b", "8, 24")
        OTHER("c", "8, 16") "[gate]\nplugin = average\n";
    char message[512];
    assert_int_equal(meet("", SIZE "experts = b\n" OTHER("b", "8, 16"), NULL, message), 0);
    assert_int_equal(meet("", two, "c", message), 1);
    assert_int_equal(meet("", two, NULL, message), -1);
    assert_string_equal(message, "a.ini:8: [expert.a] init: code has no expert a but b, c; write "
                                 "init = code:EXPERT");
    assert_int_equal(meet("", two, "a", message), -1);
    assert_int_equal(meet("", two, "b", message), -1);
    assert_string_equal(message, "a.ini:8: [expert.a] init: widths is 8, 16 here, but 8, 24 in "
                                 "[expert.b] of code");
}

static void test_match(void **state)
{
    (void)state;
    char message[512];
    /* A default is what it says. */
    assert_int_equal(
        meet("batch_norm = yes\n", SIZE "experts = a\n" OTHER("a", "8, 16"), NULL, message), 0);
    assert_int_equal(
        meet("batch_norm = no\n", SIZE "experts = a\n" OTHER("a", "8, 16"), NULL, message), -1);
    assert_non_null(strstr(message, "init: batch_norm is no here, but yes in [expert.a] of code"));
    assert_int_equal(meet("", SIZE "experts = a\n[expert.a]\nplugin = vgg16\n", NULL, message), -1);
    assert_non_null(strstr(message, "init: plugin is cnn here, but vgg16 in [expert.a] of code"));
    assert_int_equal(meet("", "[mixture]\nexperts = a\n" OTHER("a", "8, 16"), NULL, message), -1);
    assert_non_null(strstr(message, "on images of 32x32; here data.image_size is 16x16"));
    static const char unit[] = SIZE "experts = a\n" OTHER("a", "8, 16") "preprocess = unit\n";
    assert_int_equal(meet("", unit, NULL, message), 0);
    assert_int_equal(meet("preprocess = timm\n", unit, NULL, message), -1);
    assert_non_null(strstr(message, "preprocess is timm here, but unit in [expert.a] of code"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),   cmocka_unit_test(test_sections),
        cmocka_unit_test(test_replace), cmocka_unit_test(test_pick),
        cmocka_unit_test(test_match),
    };
    clv_error error = CLV_ERROR_INIT;
    if (argc < 2)
        return 2;
    if (clvi_plugins_create(argv[1], NULL, &plugins, &error) != CLV_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clvi_plugins_destroy(plugins);
    return failed;
}
