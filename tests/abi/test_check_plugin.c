/* conclave check-plugin: nothing to complain about in what is shipped and in own_op/; each bad
 * plugin of bad/ is found, and what is wrong with it is named. Arguments: the command, the folder
 * of the bad plugins, the folder of the kernels, and the good plugins. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

static char command[PATH_MAX], bad_folder[PATH_MAX], kernels[PATH_MAX];
static char **good;
static int good_count;
static char text[65536];

/* A sanitizer has an allocator of its own that does not say what it gave out, and finds leaks
 * itself.
 */
#if defined(__SANITIZE_ADDRESS__)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

/* Runs "conclave check-plugin ARGUMENTS" with an environment; fills text with what it prints.
 * Returns the exit code. */
static int check_plugin(const char *environment, const char *arguments)
{
    char line[4 * PATH_MAX];
    /* Crashes are to stay crashes. */
    snprintf(line, sizeof(line),
             "ASAN_OPTIONS=$ASAN_OPTIONS:handle_segv=0 %s '%s' check-plugin %s 2>&1", environment,
             command, arguments);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The words after "WRONG  CHECK" of the first complaint of that check, or NULL. */
static const char *complaint(const char *check)
{
    char head[64];
    snprintf(head, sizeof(head), "WRONG  %-12s  ", check);
    const char *line = strstr(text, head);
    return line != NULL ? line + strlen(head) : NULL;
}

static void test_good(void **state)
{
    (void)state;
    for (int i = 0; i < good_count; i++) {
        char arguments[PATH_MAX + 8];
        snprintf(arguments, sizeof(arguments), "'%s'", good[i]);
        if (check_plugin("", arguments) != 0 || strstr(text, "checks passed") == NULL)
            fail_msg("%s", text);
        assert_non_null(strstr(text, "ok     table "));
        assert_non_null(strstr(text, "ok     memory "));
        assert_non_null(strstr(text, "ok     running leaks "));
    }
}

static void test_options(void **state)
{
    char arguments[2 * PATH_MAX];
    (void)state;
    for (int i = 0; i < good_count; i++)
        if (strstr(good[i], "expert_cnn.so") != NULL) {
            snprintf(arguments, sizeof(arguments),
                     "'%s' widths=6,7,8 activation=silu pool=avg dropout=0.3 hidden=9", good[i]);
            if (check_plugin("", arguments) != 0 || strstr(text, "ok     gradients ") == NULL)
                fail_msg("%s", text);
            snprintf(arguments, sizeof(arguments), "'%s' width=6", good[i]);
            assert_int_equal(check_plugin("", arguments), 1);
            assert_non_null(complaint("options"));
            assert_non_null(strstr(complaint("options"), "did you mean widths?"));
        }
    assert_int_equal(check_plugin("", ""), 2);
    assert_non_null(strstr(text, "check-plugin wants a file"));
    assert_int_equal(check_plugin("", "a.so b.so"), 2);
    assert_int_equal(check_plugin("", "/no/expert_x.so"), 1);
    assert_non_null(strstr(complaint("table"), "cannot be opened"));
}

typedef struct bad_case {
    const char *file, *check, *sentence;
} bad_case;

static const bad_case bad_cases[] = {
    {"expert_exit", "table", "exit: something ended the process with status 3"},
    {"expert_init_fails", "table", "init fails without saying why"},
    {"expert_no_forward", "table", "clv_op_desc.forward is NULL"},
    {"expert_op_name", "table", "wanted is \"op_name.\""},
    {"expert_op_twice", "table", "registered already"},
    {"expert_crash", "shapes", "crash: the process was ended by signal 11"},
    {"expert_hang", "shapes", "hang: nothing happened for 5 s"},
    {"expert_names", "shapes", "variable scale is not the same in training and in inference"},
    {"expert_shape", "shapes", "3 classes, 1 experts: "},
    {"expert_shape", "shapes", "output \"logits\" is [N, 4], wanted is [N, 3]"},
    {"expert_unset", "shapes", "the shape rule does not set output 0"},
    {"expert_repeat", "repeats", "another graph another time; they differ in operation drop"},
    {"expert_leak", "leaks", "leak: build leaves about 4"},
    {"expert_bounds", "own ops",
     "multiply by itself: the gradient of input-0: element 45 was "
     "written, it has 45 with 5 samples"},
    {"expert_fault", "own ops", "crash: the process was ended by signal 11"},
    {"expert_fewer", "own ops", "element 44 of output 0 is not finite"},
    {"expert_first", "own ops", "element 9 of output 0 is not finite: it is not written"},
    {"expert_gradient", "own ops", "multiply with 5 samples: wrong gradient of input 1: slope 5.9"},
    {"expert_nan", "own ops", "element 0 of output 0 is not finite"},
    {"expert_needs", "own ops", "needs asks for an amount of memory below 0"},
    {"expert_op_shape", "own ops", "output-0: element 40 was written, it has 40 with 5 samples"},
    {"expert_arg", "own ops", "forward: clv_arg.struct_size of argument 1 is below"},
    {"expert_product", "own ops", "rows of 4611686018427387904, 0 and 0 elements"},
    {"expert_random", "own ops", "multiply: the same values give other bits another time"},
    {"expert_reference", "own ops", "element 0 of output 0 is -0.1"},
    {"expert_source", "own ops", "use of undeclared identifier 'oops'"},
    {"expert_unasked", "own ops", "backward uses the gradient of input 0, which is absent"},
    {"expert_undeclared", "own ops", "backward uses input 0, whose value needs does not name"},
    {"expert_unused", "memory", "gradient of scale is not finite: no output depends on it"},
    {"expert_modes", "modes", "output logits differs between training and inference"},
    {"expert_leak_run", "running leaks", "leak: forward and backward leave about "},
    {"gate_dense", "route", "2 weights of a sample are not exactly 0, declared are at most 1"},
    {"gate_negative", "route", "a weight of the route is below 0"},
    {"gate_batch", "route", "2 experts: a batch of 32 has 64 weights that are not exactly 0"},
    {"gate_others", "route", "a sample has other weights in a batch of 5 than of 32"},
    {"gate_unwanted", "route", "a weight is not 0 where the output \"wanted\" is"},
    {"gate_after", "after step", "element 0 of the state s is not finite after step 2"},
    {"expert_expert_after", "shapes", "step_sum or after_step, which only a gate has"},
    {"gate_sum", "route", "the weights of a sample sum to 0.6, declared is 1"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++) {
        const bad_case *bad = &bad_cases[i];
        char arguments[PATH_MAX + 64];
        const bool hangs = strcmp(bad->file, "expert_hang") == 0;
        if (sanitized && strncmp(bad->file, "expert_leak", 11) == 0)
            continue;
        snprintf(arguments, sizeof(arguments), "'%s/%s.so'%s", bad_folder, bad->file,
                 hangs ? " --time-limit 5" : "");
        const int status = check_plugin("", arguments);
        const char *said = complaint(bad->check);
        if (status != 1 || said == NULL || strstr(said, bad->sentence) == NULL)
            fail_msg("%s: exit %d, expected \"%s\" about %s in\n%s", bad->file, status,
                     bad->sentence, bad->check, text);
        assert_non_null(strstr(text, "found something wrong"));
    }
}

/* Shipped gates as their options make others of them. */
static void test_gate_options(void **state)
{
    (void)state;
    static const struct {
        const char *file, *options;
        bool learns;
    } rows[] = {{"/gate_noisy_topk.so", "balance_bias=0.1 capacity_factor=0.5", true},
                {"/gate_noisy_topk.so", "k=1 noise=no capacity_factor=0.5", false},
                {"/gate_switch.so", "balance_bias=0.1", true}};
    int found = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int k = 0; k < good_count; k++) {
            char arguments[PATH_MAX + 128];
            const char *file = strrchr(good[k], '/');
            if (file == NULL || strcmp(file, rows[i].file) != 0)
                continue;
            found++;
            snprintf(arguments, sizeof(arguments), "'%s' %s", good[k], rows[i].options);
            if (check_plugin("", arguments) != 0)
                fail_msg("%s", text);
            assert_true((strstr(text, "ok     after step ") != NULL) == rows[i].learns);
        }
    assert_int_equal(found, sizeof(rows) / sizeof(rows[0]));
}

/* What the bad plugins share is good. */
static void test_fine(void **state)
{
    char arguments[PATH_MAX + 64];
    (void)state;
    snprintf(arguments, sizeof(arguments), "'%s/expert_fine.so'", bad_folder);
    if (check_plugin("", arguments) != 0)
        fail_msg("%s", text);
    assert_non_null(strstr(text, "ok     own ops "));
}

static void test_json(void **state)
{
    char arguments[PATH_MAX + 64];
    json_error_t problem;
    (void)state;
    snprintf(arguments, sizeof(arguments), "'%s/gate_sum.so' --json 2>/dev/null; true", bad_folder);
    check_plugin("", arguments);
    json_t *whole = json_loads(text, 0, &problem);
    assert_non_null(whole);
    assert_true(json_is_false(json_object_get(whole, "good")));
    const json_t *checks = json_object_get(whole, "checks");
    const json_t *first = json_array_get(checks, 0);
    assert_string_equal(json_string_value(json_object_get(first, "check")), "table");
    assert_string_equal(json_string_value(json_object_get(first, "result")), "ok");
    json_decref(whole);
}

/* Another gradient in a built-in kernel: the check of whole networks has to see it. */
static void test_gradients_of_networks(void **state)
{
    char folder[] = "/tmp/conclave-check-XXXXXX", line[3 * PATH_MAX], environment[PATH_MAX];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(line, sizeof(line),
             "cp -r '%s/.' %s && sed -i 's/\\* scale, gx/* (1.2f * scale), gx/' "
             "%s/global_avg_pool.cl && ! cmp -s '%s/global_avg_pool.cl' %s/global_avg_pool.cl",
             kernels, folder, folder, kernels, folder);
    assert_int_equal(system(line), 0);
    snprintf(environment, sizeof(environment), "CONCLAVE_KERNEL_DIR=%s", folder);
    for (int i = 0; i < good_count; i++) {
        char arguments[PATH_MAX + 64];
        if (strstr(good[i], "expert_cnn.so") == NULL)
            continue;
        snprintf(arguments, sizeof(arguments), "'%s' widths=6,8", good[i]);
        assert_int_equal(check_plugin(environment, arguments), 1);
        const char *said = complaint("gradients");
        if (said == NULL ||
            strstr(said, " of 8 parameters have a wrong gradient: features.0.0.") == NULL)
            fail_msg("%s", text);
    }
    snprintf(line, sizeof(line), "rm -rf %s", folder);
    assert_int_equal(system(line), 0);
}

/* Whether there is a device for plugins to run on. */
static bool has_device(void)
{
    char arguments[PATH_MAX + 64];
    snprintf(arguments, sizeof(arguments), "'%s/expert_fine.so'", bad_folder);
    check_plugin("", arguments);
    return complaint("device") == NULL;
}

int main(int argc, char **argv)
{
    if (argc < 5 || realpath(argv[1], command) == NULL || realpath(argv[2], bad_folder) == NULL ||
        realpath(argv[3], kernels) == NULL) {
        fputs("usage: test_check_plugin CONCLAVE FOLDER_OF_BAD_PLUGINS KERNELS GOOD_PLUGIN…\n",
              stderr);
        return 2;
    }
    good = argv + 4;
    good_count = argc - 4;
    const char *required = getenv("CONCLAVE_REQUIRE_DEVICE");
    if (!has_device()) {
        fputs(text, stderr);
        return required != NULL && *required == '1' ? 1 : 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_gate_options),
        cmocka_unit_test(test_fine),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_gradients_of_networks),
    };
    return cmocka_run_group_tests_name("check_plugin", tests, NULL, NULL);
}
