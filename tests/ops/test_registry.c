/* Each operation of core/ops/ops.list has all its pieces: test_registry SOURCE_ROOT. */
#include "base/files.h"
#include "bounds.h"
#include "op_test.h"
#include "ops/op.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "op_suites.h"

static const char *root;

/* Whether SOURCE_ROOT/folder/name+ending is a file; says so if not. */
static bool exists(const char *folder, const char *name, const char *ending)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/%s%s", root, folder, name, ending);
    if (clvi_is_file(path))
        return true;
    print_error("operation %s lacks %s\n", name, path);
    return false;
}

/* Operations that have no kernels/<op>.cl: those made of others' kernels, and fill, which the
 * device does by itself. Aliases have no kernels either. */
static const struct {
    const char *op, *programs[3];
} shared[] = {
    {"conv2d_bn", {"conv2d", "batch_norm", NULL}},
    {"depthwise_conv2d_bn", {"depthwise_conv2d", "batch_norm", NULL}},
    {"dense", {"gemm", "bias_act", NULL}},
    {"fill", {NULL}},
};

/* How many of the operation's kernel files are missing. */
static int missing_kernels(const clvi_op *op)
{
    int missing = 0;
    if (op->is_alias)
        return 0;
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        if (strcmp(shared[i].op, op->name) != 0)
            continue;
        for (size_t k = 0; shared[i].programs[k] != NULL; k++)
            missing += !exists("kernels", shared[i].programs[k], ".cl");
        return missing;
    }
    return !exists("kernels", op->name, ".cl");
}

static void test_pieces(void **state)
{
    (void)state;
    int missing = 0;
    assert_true(clvi_op_count() > 0);
    for (size_t i = 0; i < clvi_op_count(); i++) {
        const clvi_op *op = clvi_op_at(i);
        char cases[64];
        bool has_suite = false;
        snprintf(cases, sizeof cases, "cases_%s", op->name);
        missing += !exists("core/ops", op->name, ".c");
        missing += missing_kernels(op);
        missing += !exists("tests/ref", op->name, "_ref.c");
        missing += !exists("tests/ops", cases, ".c");
        for (size_t k = 0; k < sizeof op_suites / sizeof *op_suites; k++)
            has_suite |= strcmp(op_suites[k]->op, op->name) == 0 && op_suites[k]->case_count > 0;
        if (!has_suite || op_bounds_find(op->name) == NULL) {
            print_error("operation %s lacks cases or bounds\n", op->name);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
}

/* The table is the list: same names, same order, and each can be found. */
static void test_table(void **state)
{
    (void)state;
    char path[4096];
    char *list = NULL;
    size_t bytes = 0, count = 0;
    snprintf(path, sizeof path, "%s/core/ops/ops.list", root);
    assert_int_equal(clvi_file_read(path, 1 << 16, &list, &bytes, NULL), CLV_OK);
    for (char *line = list; *line != '\0'; count++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        assert_non_null(clvi_op_at(count));
        assert_string_equal(clvi_op_at(count)->name, line);
        assert_ptr_equal(clvi_op_find(line), clvi_op_at(count));
        line = end + 1;
    }
    assert_int_equal(count, clvi_op_count());
    assert_null(clvi_op_at(count));
    assert_null(clvi_op_find("no such operation"));
    clvi_free(list);
}

/* Descriptors are whole: what every caller relies on is there. */
static void test_descriptors(void **state)
{
    (void)state;
    for (size_t i = 0; i < clvi_op_count(); i++) {
        const clvi_op *op = clvi_op_at(i);
        assert_true(op->min_inputs >= 0 && op->min_inputs <= op->max_inputs);
        assert_true(op->max_inputs <= CLVI_MAX_INPUTS);
        assert_true(op->output_count >= 1 && op->output_count <= CLVI_MAX_OUTPUTS);
        assert_non_null(op->shape);
        assert_true(op->is_alias == (op->forward == NULL));
        for (size_t a = 0; a < op->attr_count; a++) {
            assert_non_null(op->attrs[a].name);
            assert_true(op->attrs[a].offset < op->attr_bytes);
            assert_true(op->attrs[a].type != CLV_ATTR_TEXT || op->attrs[a].choices != NULL);
        }
    }
}

/* What freezing goes by: an operation that reads the run's random numbers says so, and one with
 * running statistics names its weight and bias. */
static void test_flags(void **state)
{
    (void)state;
    for (size_t i = 0; i < clvi_op_count(); i++) {
        const clvi_op *op = clvi_op_at(i);
        char path[4096], *text = NULL;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/core/ops/%s.c", root, op->name);
        assert_int_equal(clvi_file_read(path, 1 << 20, &text, &bytes, NULL), CLV_OK);
        /* sample_drop.c draws for those that include it. */
        const bool draws = strstr(text, "run->random") != NULL ||
                           strstr(text, "#include \"ops/sample_drop.h\"") != NULL;
        /* conv_norm.c normalises for those that include it. */
        const bool normalises = strstr(text, ".running_mean =") != NULL ||
                                strstr(text, "#include \"ops/conv_norm.h\"") != NULL;
        clvi_free(text);
        if (op->draws != draws)
            fail_msg("%s: draws is %d, but the file says %d", op->name, op->draws, draws);
        if ((op->norm_inputs != 0) != normalises)
            fail_msg("%s: norm_inputs is %u", op->name, (unsigned)op->norm_inputs);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_registry SOURCE_ROOT\n");
        return 2;
    }
    root = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_flags),
    };
    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
