/* conclave profile: its sums agree with each other and with a count by hand. Arguments: the
 * command. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "../unit/image_files.h"

static char command[PATH_MAX];

/* One block of 4 filters on 8×8 pictures of 3 channels, 2 at a time. */
#define TINY                                                                                       \
    "profile cnn-custom-only expert.cnn.widths=4 --image-size 8 --batch 2 --repeat 2 --classes 3"

/* Runs "conclave TINY MORE", which must succeed; the JSON that it prints, or NULL when not asked.
 */
static json_t *profile(const char *more)
{
    static char text[1 << 17];
    char line[PATH_MAX + 512];
    snprintf(line, sizeof(line), "'%s' " TINY " %s", command, more);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: status %d, %s", line, status, text);
    return json_loads(text, 0, NULL);
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static double sum(const json_t *list, const char *key)
{
    double total = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        total += number(json_array_get(list, i), key);
    return total;
}

/* The row of a list whose `a` and `b` have these values. */
static const json_t *find(const json_t *list, const char *const a[2], const char *const b[2])
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        if (strcmp(json_string_value(json_object_get(row, a[0])), a[1]) == 0 &&
            strcmp(json_string_value(json_object_get(row, b[0])), b[1]) == 0)
            return row;
    }
    fail_msg("no row %s %s", a[1], b[1]);
    return NULL;
}

static void test_sums(void **state)
{
    (void)state;
    json_t *all = profile("--json 2>/dev/null");
    assert_non_null(all);
    const json_t *ops = json_object_get(all, "ops"), *steps = json_object_get(all, "steps");
    const json_t *kernels = json_object_get(all, "kernels");
    const double ms = number(all, "kernel_ms");
    assert_true(ms > 0 && ms <= number(all, "recorded_ms") + 1e-6);
    assert_true(number(all, "step_ms") > 0 && number(all, "processor_ms") > 0);
    assert_true(fabs(sum(ops, "ms") - ms) < 1e-6 * ms + 1e-9);
    assert_true(fabs(sum(steps, "ms") - ms) < 1e-6 * ms + 1e-9);
    assert_true(fabs(sum(kernels, "ms") - ms) < 1e-6 * ms + 1e-9);
    assert_true(sum(ops, "launches") == sum(kernels, "launches"));
    /* 2 pictures × 64 pixels × 27 inputs × 4 filters. */
    const json_t *conv = find(ops, (const char *const[2]){"op", "conv2d_bn"},
                              (const char *const[2]){"pass", "forward"});
    assert_true(number(conv, "macs") == 2.0 * 64 * 27 * 4);
    /* The gradient to the weights only: nobody wants that of the picture. */
    conv = find(ops, (const char *const[2]){"op", "conv2d_bn"},
                (const char *const[2]){"pass", "backward"});
    assert_true(number(conv, "macs") == 2.0 * 64 * 27 * 4);
    (void)find(ops, (const char *const[2]){"op", "optimizer"}, (const char *const[2]){"pass", ""});
    json_decref(all);
}

static void test_inference(void **state)
{
    (void)state;
    json_t *all = profile("--mode infer --json 2>/dev/null");
    assert_non_null(all);
    assert_string_equal(json_string_value(json_object_get(all, "mode")), "infer");
    const json_t *ops = json_object_get(all, "ops");
    for (size_t i = 0; i < json_array_size(ops); i++)
        assert_string_not_equal(json_string_value(json_object_get(json_array_get(ops, i), "pass")),
                                "backward");
    json_decref(all);
}

static void test_trace(void **state)
{
    char path[] = "/tmp/conclave-trace-XXXXXX", more[128];
    (void)state;
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    snprintf(more, sizeof(more), "--json --trace %s 2>/dev/null", path);
    json_t *all = profile(more), *trace = json_load_file(path, 0, NULL);
    remove(path);
    assert_non_null(all);
    assert_non_null(trace);
    const json_t *events = json_object_get(trace, "traceEvents");
    const double launches = 2 * sum(json_object_get(all, "kernels"), "launches");
    assert_true((double)json_array_size(events) == launches);
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        assert_string_equal(json_string_value(json_object_get(event, "ph")), "X");
        assert_true(number(event, "ts") >= 0 && number(event, "dur") >= 0);
    }
    json_decref(trace);
    json_decref(all);
}

/* Steps of training on 20 pictures of two classes, 8 steps of 2: from files, and from memory. */
static void test_input(void **state)
{
    (void)state;
    char *folder = folder_make(), more[PATH_MAX];
    put_class(folder, "train/a", 10, 1);
    put_class(folder, "train/b", 10, 100);
    for (int kept = 0; kept < 2; kept++) {
        snprintf(more, sizeof(more),
                 "--input --data '%s' data.val_fraction=0.2 --repeat 3 --json data.cache=%s -q",
                 folder, kept ? "memory" : "none");
        json_t *all = profile(more);
        assert_non_null(all);
        const json_t *ratio = json_object_get(all, "ratio");
        assert_true(number(all, "batch") == 2 && number(all, "steps") == 8);
        assert_true(number(all, "rounds") == 3);
        assert_true(json_array_size(ratio) == 3);
        double last = 0;
        for (size_t i = 0; i < 3; i++) {
            const double value = json_number_value(json_array_get(ratio, i));
            assert_true(value > 0 && value >= last);
            last = value;
        }
        assert_true(number(all, "memory_images_per_s") > 0);
        assert_true(number(all, "files_images_per_s") > 0);
        assert_true(number(all, "processor_ratio") > 0);
        assert_true(number(all, "waited") >= 0 && number(all, "waited") <= 1);
        json_decref(all);
    }
    folder_remove(folder);
}

/* A call that must fail with this status and say this. */
static void refuses(const char *more, int status, const char *what)
{
    char line[PATH_MAX + 512], text[4096];
    snprintf(line, sizeof(line), "'%s' " TINY " %s 2>&1", command, more);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
    assert_int_equal(WEXITSTATUS(pclose(pipe)), status);
    if (!strstr(text, what))
        fail_msg("%s: %s", line, text);
}

static void test_input_refusals(void **state)
{
    (void)state;
    char *folder = folder_make(), more[PATH_MAX];
    put_class(folder, "train/a", 3, 1);
    put_class(folder, "train/b", 3, 100);
    refuses("--input", 2, "which images? give --data PATH");
    snprintf(more, sizeof(more), "--input --mode infer --data '%s'", folder);
    refuses(more, 2, "--input measures training");
    snprintf(more, sizeof(more), "--input --data '%s' --batch 4", folder);
    refuses(more, 1, "fewer than two batches of 4; use a smaller --batch");
    file_put(folder, "train/b/broken.png", "no picture", 10);
    snprintf(more, sizeof(more), "--input --data '%s'", folder);
    refuses(more, 1, "broken.png");
    folder_remove(folder);
}

int main(int argc, char **argv)
{
    if (argc != 2 || realpath(argv[1], command) == NULL) {
        fputs("usage: test_profile CONCLAVE\n", stderr);
        return 2;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),           cmocka_unit_test(test_inference),
        cmocka_unit_test(test_trace),          cmocka_unit_test(test_input),
        cmocka_unit_test(test_input_refusals),
    };
    return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
