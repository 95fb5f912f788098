/* core/config: an expert that is a mixture: its sections among those of the whole, what overrides
 * what, the dump, and what is refused. */
#define _POSIX_C_SOURCE 200809L
#include "base/files.h"
#include "base/process.h"
#include "config/config.h"
#include "config/differences.h"
#include "short_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void write_text(const char *path, const char *text)
{
    clv_error error = CLV_ERROR_INIT;
    if (clvi_file_write(path, text, strlen(text), &error) != CLV_OK)
        fail_msg("%s", error.message);
}

static clv_status load(const char *name, const char *text, const char *const *overrides,
                       clvi_config **out, clv_error *error)
{
    static const char *const folders[] = {"shipped"};
    size_t count = 0;
    while (overrides != NULL && overrides[count] != NULL)
        count++;
    const clvi_config_source source = {.name = name,
                                       .folders = folders,
                                       .folder_count = 1,
                                       .text = text,
                                       .text_bytes = text != NULL ? strlen(text) : 0,
                                       .overrides = overrides,
                                       .override_count = count};
    return clvi_config_load(&source, out, error);
}

static clvi_config *good(const char *name, const char *text, const char *const *overrides)
{
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (load(name, text, overrides, &config, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return config;
}

/* The refusal holds each part. */
static void refused(const char *text, const char *override, const char *const parts[3])
{
    const char *const overrides[] = {override, NULL};
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(load("a.ini", text, overrides, &config, &error), CLV_E_CONFIG);
    for (int i = 0; i < 3; i++)
        if (parts[i] != NULL && strstr(error.message, parts[i]) == NULL)
            fail_msg("\"%s\" is not in: %s", parts[i], error.message);
}

static const char *option(const clvi_config *c, const char *section, const char *key)
{
    size_t count;
    const clvi_raw_option *options = clvi_config_options(c, section, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(options[i].key, key) == 0)
            return options[i].value;
    return NULL;
}

/* Two experts, a is the mixture of pair.ini, b a cnn. */
#define OUTER                                                                                      \
    "[mixture]\nexperts = a, b\n[expert.a]\nmixture = sub/pair.ini\n[expert.b]\nplugin = cnn\n"    \
    "[gate]\nplugin = average\n"

#define OK(call)                                                                                   \
    do {                                                                                           \
        clv_error ok_error = CLV_ERROR_INIT, *error = &ok_error;                                   \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", ok_error.message);                                                      \
    } while (0)

static void test_sections(void **state)
{
    (void)state;
    static const char *const overrides[] = {"expert.a/y.widths=9", "gate.a.k=2", "run.seed=4",
                                            NULL};
    clvi_config *c = good("a.ini", OUTER "[expert.a/x]\ndepth = 7\n", overrides);
    assert_int_equal(clvi_config_expert_count(c), 2);
    assert_string_equal(clvi_config_expert_name(c, 0), "a");
    assert_null(clvi_config_nested(c, 1));
    const clvi_config *a = clvi_config_nested(c, 0);
    assert_non_null(a);
    assert_string_equal(clvi_config_scope(c), "");
    assert_string_equal(clvi_config_scope(a), "a");
    assert_int_equal(clvi_config_expert_count(a), 2);
    assert_string_equal(clvi_config_expert_name(a, 1), "y");
    assert_string_equal(clvi_config_expert_section(a, 1), "expert.a/y");
    assert_string_equal(clvi_config_section(a, "gate"), "gate.a");
    assert_string_equal(clvi_config_section(c, "gate"), "gate");
    assert_string_equal(clvi_config_text(a, "gate", "plugin"), "noisy_topk");
    assert_string_equal(clvi_config_text(c, "gate", "plugin"), "average");
    assert_string_equal(clvi_config_text(a, "loss", "terms"), "ce, importance:0.1");
    assert_string_equal(clvi_config_text(c, "loss", "terms"), "ce:1");
    /* What is not the mixture's own is that of the whole. */
    assert_int_equal(clvi_config_int(a, "run", "seed"), 4);
    assert_int_equal(clvi_config_int(a, "train", "epochs"), 10);
    /* The file around it and the command line override. */
    assert_string_equal(option(c, "expert.a/x", "depth"), "7");
    assert_string_equal(option(c, "expert.a/x", "widths"), "3");
    assert_string_equal(option(c, "expert.a/y", "widths"), "9");
    assert_string_equal(option(c, "gate.a", "k"), "2");
    assert_string_equal(clvi_config_origin(c, "expert.a/x", "widths"), "sub/pair.ini:7");
    assert_int_equal(clvi_config_leaf_count(c), 3);
    assert_string_equal(clvi_config_leaf_section(c, 1), "expert.a/y");
    assert_string_equal(clvi_config_leaf_name(c, 2), "b");
    clvi_config_destroy(c);
}

static clv_status count_difference(void *user, const char *section, const char *key,
                                   const char *before, const char *now, clv_error *error)
{
    (void)section, (void)key, (void)before, (void)now, (void)error;
    ++*(int *)user;
    return CLV_OK;
}

/* A dump needs no other file and gives itself again. */
static void test_dump(void **state)
{
    (void)state;
    static const char *const changed[] = {"expert.a/q/x.widths=4", NULL};
    static const char outer[] =
        "[mixture]\nexperts = a, c\n[expert.a]\nmixture = both\ntrainable = none\nseed = 3\n"
        "[expert.c]\nmixture = sub/pair.ini\n[gate]\nplugin = average\n";
    clvi_text first = {0}, second = {0};
    clvi_config *c = good("a.ini", outer, NULL), *again;
    clvi_config_dump(c, &first);
    assert_null(strstr(clvi_text_get(&first), "mixture ="));
    assert_non_null(strstr(clvi_text_get(&first), "\n[expert.a]\nseed = 3\ntrainable = none\n\n"
                                                  "[mixture.a]\nexperts = p, q\n"));
    assert_non_null(strstr(clvi_text_get(&first), "\n[mixture.a/q]\nexperts = x, y\n"));
    assert_non_null(strstr(clvi_text_get(&first), "\n[loss.c]\nterms = ce, importance:0.1\n\n"));
    assert_int_equal(rename("sub", "away"), 0);
    again = good("elsewhere/config.ini", clvi_text_get(&first), NULL);
    clvi_config_dump(again, &second);
    assert_string_equal(clvi_text_get(&first), clvi_text_get(&second));
    int differences = 0;
    OK(clvi_config_differences(c, again, count_difference, &differences, error));
    assert_int_equal(differences, 0);
    clvi_config_destroy(again);
    again = good("elsewhere/config.ini", clvi_text_get(&first), changed);
    OK(clvi_config_differences(c, again, count_difference, &differences, error));
    assert_int_equal(differences, 1);
    assert_int_equal(rename("away", "sub"), 0);
    assert_int_equal(clvi_config_leaf_count(again), 5);
    assert_string_equal(clvi_config_leaf_section(again, 1), "expert.a/q/x");
    clvi_config_destroy(again);
    clvi_config_destroy(c);
    clvi_text_fini(&first);
    clvi_text_fini(&second);
}

/* Of a plugin and a mixture the later layer counts, with what belongs to it. */
static void test_layers(void **state)
{
    (void)state;
    static const char *const to_plugin[] = {"expert.a.plugin=cnn", "expert.a.widths=2", NULL};
    static const char *const to_mixture[] = {"expert.b.mixture=both", NULL};
    static const char *const fewer[] = {"mixture.a.experts=y", NULL};
    clvi_config *c = good("a.ini", OUTER, to_plugin);
    assert_null(clvi_config_nested(c, 0));
    assert_int_equal(clvi_config_leaf_count(c), 2);
    clvi_config_destroy(c);
    c = good("a.ini", OUTER "[expert.b]\nwidths = 4\nbn = frozen\n", to_mixture);
    assert_non_null(clvi_config_nested(c, 1));
    assert_null(option(c, "expert.b", "widths"));
    assert_int_equal(clvi_config_leaf_count(c), 5);
    clvi_config_destroy(c);
    /* The gate of the file is left without work. */
    c = good("a.ini", OUTER, fewer);
    assert_int_equal(clvi_config_expert_count(clvi_config_nested(c, 0)), 1);
    clvi_text dump = {0};
    clvi_config_dump(c, &dump);
    assert_null(strstr(clvi_text_get(&dump), "[gate.a]"));
    clvi_text_fini(&dump);
    clvi_config_destroy(c);
}

static void test_seeds(void **state)
{
    (void)state;
    static const char *const overrides[] = {"expert.a.seed=3", "expert.a/q/x.seed=9",
                                            "expert.a.mixture=both", NULL};
    clvi_config *c = good("a.ini", OUTER, overrides);
    const clvi_config *a = clvi_config_nested(c, 0), *q = clvi_config_nested(a, 1);
    assert_int_equal(clvi_config_seed(c, NULL), -1);
    assert_int_equal(clvi_config_seed(c, "expert.b"), -1);
    assert_int_equal(clvi_config_seed(a, NULL), 3);
    assert_int_equal(clvi_config_seed(q, NULL), 3);
    assert_int_equal(clvi_config_seed(q, "expert.a/q/y"), 3);
    assert_int_equal(clvi_config_seed(q, "expert.a/q/x"), 9);
    clvi_config_destroy(c);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *override, *parts[3];
    } cases[] = {
        {OUTER "[expert.a]\nplugin = cnn\n",
         NULL,
         {"a.ini:10: [expert.a] has a plugin", "a.ini:4, a mixture", NULL}},
        {OUTER "[expert.a]\nwidths = 3\n",
         NULL,
         {"a.ini:10: [expert.a] widths", "[expert.a/NAME]", NULL}},
        {OUTER "[expert.a]\nbn = frozen\n", NULL, {"a.ini:10: [expert.a] bn", "mixture", NULL}},
        {OUTER "[expert.a]\ntrainable = head\n", NULL, {"a.ini:10:", "all or none", NULL}},
        {OUTER "[loss.a]\nbeta = 2\n", NULL, {"a.ini:10: [loss.a] beta", "no others", NULL}},
        {OUTER "[gate.b]\nplugin = average\n",
         NULL,
         {"a.ini:9: [gate.b] belongs to a mixture", "plugin = cnn", NULL}},
        {OUTER "[gate.c]\nplugin = average\n",
         NULL,
         {"a.ini:9: [gate.c]", "[expert.c], which there is not", NULL}},
        {OUTER "[expert.a/z]\nplugin = cnn\n",
         NULL,
         {"a.ini:9: [expert.a/z] is not named in [mixture.a] experts", NULL, NULL}},
        {OUTER "[expert.a/w/x]\nplugin = cnn\n", NULL, {"a.ini:9:", "[expert.a/w]", NULL}},
        {OUTER, "expert.a.mixture=piar", {"command line: [expert.a] mixture: ", "pair?", NULL}},
        {OUTER,
         "expert.a.mixture=nowhere.ini",
         {"command line: [expert.a] mixture: nowhere.ini: cannot open", NULL, NULL}},
        {OUTER, "expert.a.mixture=sub/wrong.ini", {"sub/wrong.ini:3: expected", NULL, NULL}},
        {OUTER, "expert.a.mixture=sub/bad.ini", {"sub/bad.ini:4: [expert.a/x] bn", NULL, NULL}},
        {OUTER, "expert.a.mixture=sub/empty.ini", {"[expert.a] mixture = ", "no [mixture]", NULL}},
        {OUTER,
         "expert.a.mixture=sub/self.ini",
         {"sub/self.ini:4: [expert.a/s] mixture goes in a circle: "
          "a.ini → sub/self.ini → sub/self.ini",
          NULL, NULL}},
        {OUTER,
         "expert.a.mixture=sub/there.ini",
         {"mixture goes in a circle: a.ini → sub/there.ini → sub/back.ini → sub/there.ini", NULL,
          NULL}},
        {OUTER,
         "expert.a.mixture=sub/deep1.ini",
         {"sub/deep3.ini:4: [expert.a/n/n/n] mixture: more than 4 mixtures inside each other: "
          "a.ini → sub/deep1.ini → sub/deep2.ini → sub/deep3.ini → sub/deep4.ini",
          NULL, NULL}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        refused(cases[i].text, cases[i].override, cases[i].parts);
}

/* A file that leads back to the one that was asked for. */
static void test_own_circle(void **state)
{
    (void)state;
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(load("sub/self.ini", NULL, NULL, &config, &error), CLV_E_CONFIG);
    assert_non_null(strstr(error.message, "sub/self.ini:4: [expert.s] mixture goes in a circle: "
                                          "sub/self.ini → sub/self.ini"));
    clvi_error_clear(&error);
    config = good("sub/deep2.ini", NULL, NULL); /* three below it: as many as there may be */
    assert_int_equal(clvi_config_leaf_count(config), 1);
    assert_string_equal(clvi_config_leaf_name(config, 0), "n/n/n/n");
    clvi_config_destroy(config);
}

/* 64 experts, and not one more. */
static void test_many(void **state)
{
    (void)state;
    for (int count = 64; count <= 65; count++) {
        clvi_text text = {0};
        clvi_config *config = NULL;
        clv_error error = CLV_ERROR_INIT;
        clvi_text_append(&text, "[gate]\nplugin = average\n[mixture]\nexperts = e0");
        for (int i = 1; i < count; i++)
            clvi_text_printf(&text, ", e%d", i);
        for (int i = 0; i < count; i++)
            clvi_text_printf(&text, "\n[expert.e%d]\nplugin = cnn", i);
        const clv_status status = load("a.ini", clvi_text_get(&text), NULL, &config, &error);
        if (count == 64) {
            assert_int_equal(status, CLV_OK);
            assert_int_equal(clvi_config_expert_count(config), 64);
        } else {
            assert_int_equal(status, CLV_E_CONFIG);
            assert_string_equal(error.message,
                                "a.ini:4: [mixture] experts names 65 experts; a mixture has at "
                                "most 64");
        }
        clvi_config_destroy(config);
        clvi_text_fini(&text);
    }
}

/* ---- No memory ---- */

static clv_status load_and_destroy(void *overrides, clv_error *error)
{
    clvi_config *config = NULL;
    const clv_status status = load("a.ini", OUTER, overrides, &config, error);
    clvi_config_destroy(config);
    return status;
}

static void test_no_memory(void **state)
{
    (void)state;
    const char *overrides[] = {"expert.a.mixture=both", "expert.a/q/x.widths=4", NULL};
    fail_each_allocation(load_and_destroy, overrides);
}

static void write_files(void)
{
    OK(clvi_make_dirs("sub", 0755, error));
    OK(clvi_make_dirs("shipped", 0755, error));
    write_text("sub/base.ini", "[run]\nseed = 8\n[train]\nepochs = 3\n[data]\nimage_size = 16\n");
    write_text("sub/pair.ini", "[run]\nbase = base.ini\n[mixture]\nexperts = x, y\n"
                               "[expert.x]\nplugin = cnn\nwidths = 3\n"
                               "[expert.y]\nplugin = cnn\nwidths = 4\n"
                               "[gate]\nplugin = noisy_topk\nk = 1\n"
                               "[loss]\nterms = ce, importance:0.1\nbeta = 1\n");
    write_text("shipped/pair.ini", "[mixture]\nexperts = x\n[expert.x]\nplugin = cnn\n");
    write_text("shipped/both.ini", "[mixture]\nexperts = p, q\ncombine = mean\n"
                                   "[expert.p]\nplugin = cnn\n"
                                   "[expert.q]\nmixture = ../sub/pair.ini\n");
    write_text("sub/wrong.ini", "[mixture]\n[train]\nepochs\n");
    write_text("sub/bad.ini", "[mixture]\nexperts = x\n[expert.x]\nbn = maybe\n");
    write_text("sub/empty.ini", "[train]\nepochs = 2\n");
    write_text("sub/self.ini", "[mixture]\nexperts = s\n[expert.s]\nmixture = self.ini\n");
    write_text("sub/there.ini", "[mixture]\nexperts = s\n[expert.s]\nmixture = back.ini\n");
    write_text("sub/back.ini", "[mixture]\nexperts = s\n[expert.s]\nmixture = there.ini\n");
    for (int i = 1; i <= 5; i++) {
        char path[32], text[80];
        snprintf(path, sizeof(path), "sub/deep%d.ini", i);
        snprintf(text, sizeof(text), "[mixture]\nexperts = n\n[expert.n]\nmixture = deep%d.ini\n",
                 i + 1);
        write_text(path, i < 5 ? text : "[mixture]\nexperts = n\n[expert.n]\nplugin = cnn\n");
    }
}

static void remove_files(void)
{
    static const char *const folders[] = {"sub", "shipped"};
    for (int i = 0; i < 2; i++) {
        char **names = NULL;
        size_t count = 0;
        OK(clvi_dir_list(folders[i], &names, &count, error));
        for (size_t k = 0; k < count; k++) {
            char *path = clvi_path_join(folders[i], names[k]);
            assert_int_equal(unlink(path), 0);
            clvi_free(path);
        }
        clvi_names_free(names, count);
        assert_int_equal(rmdir(folders[i]), 0);
    }
}

static int begin(void **state)
{
    static char folder[] = "/tmp/conclave-test-XXXXXX";
    if (mkdtemp(folder) == NULL || chdir(folder) != 0)
        return -1;
    write_files();
    *state = folder;
    return 0;
}

static int end(void **state)
{
    remove_files();
    return chdir("/") != 0 || rmdir(*state) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections), cmocka_unit_test(test_dump),
        cmocka_unit_test(test_layers),   cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_own_circle),
        cmocka_unit_test(test_many),     cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
