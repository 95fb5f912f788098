/* Runs the cases of one operation: test_ops OP [native | clblast] [fast] [awkward]. native,
 * clblast: the provider of matrix products, whatever the device. fast: kernels built as fast_math =
 * yes does. awkward: only the cases marked OP_AWKWARD, or where none is the smallest whose extents
 * do not divide, for implementations that are slow. Exit status 77: there is no device. */
#include "bounds.h"
#include "op_test.h"
#include "unit/test_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "op_suites.h"

static const op_suite *running;
static clvi_device *device;

static void run_case(void **state)
{
    op_test_run(device, running, *state);
}

static const op_suite *find_suite(const char *op)
{
    for (size_t i = 0; i < sizeof op_suites / sizeof *op_suites; i++)
        if (strcmp(op_suites[i]->op, op) == 0)
            return op_suites[i];
    return NULL;
}

/* What comes after the operation's name. */
static bool read_arguments(int argc, char **argv, clvi_device_options *options, bool *awkward)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "clblast") == 0)
            options->gemm = CLVI_GEMM_CLBLAST;
        else if (strcmp(argv[i], "native") == 0)
            options->gemm = CLVI_GEMM_NATIVE;
        else if (strcmp(argv[i], "fast") == 0)
            options->fast_math = true;
        else if (strcmp(argv[i], "awkward") == 0)
            *awkward = true;
        else
            return false;
    }
    return true;
}

static int64_t elements_of(const op_case *test)
{
    int64_t total = 0;
    for (int i = 0; i < REF_MAX_INPUTS && test->inputs[i].kind != OP_NONE; i++) {
        int64_t elements = test->inputs[i].kind == OP_INPUT ? test->n : 1;
        for (int axis = 0; axis < test->inputs[i].rank; axis++)
            elements *= test->inputs[i].dims[axis];
        total += elements;
    }
    return total;
}

static bool is_marked(const op_case *test)
{
    return (test->flags & OP_AWKWARD) != 0;
}

/* The smallest case of several samples whose last axis is odd and not short. */
static const op_case *smallest_awkward(void)
{
    const op_case *best = NULL;
    for (size_t i = 0; i < running->case_count; i++) {
        const op_case *test = &running->cases[i];
        const op_input *x = &test->inputs[0];
        const int64_t last = x->rank > 0 ? x->dims[x->rank - 1] : 0;
        if (test->n < 2 || last < 5 || last % 2 == 0)
            continue;
        if (best == NULL || elements_of(test) < elements_of(best))
            best = test;
    }
    return best;
}

/* Whether `awkward` leaves the case in. */
static bool is_awkward(const op_case *test)
{
    for (size_t i = 0; i < running->case_count; i++)
        if (is_marked(&running->cases[i]))
            return is_marked(test);
    return test == smallest_awkward();
}

int main(int argc, char **argv)
{
    clvi_device_options options = {.select = "auto"};
    bool awkward = false;
    running = argc > 1 ? find_suite(argv[1]) : NULL;
    if (running == NULL || !read_arguments(argc, argv, &options, &awkward)) {
        fprintf(stderr, "usage: test_ops OP [native | clblast] [fast] [awkward]; OP is a line of "
                        "core/ops/ops.list that has cases\n");
        return 2;
    }
    if (op_bounds_find(running->op) == NULL) {
        fprintf(stderr, "%s has no bounds in tests/ops/bounds.c\n", running->op);
        return EXIT_FAILURE;
    }
    int status = 0;
    device = test_device_open_with(&options, &status);
    if (device == NULL)
        return status;
    size_t count = 0;
    struct CMUnitTest *tests = calloc(running->case_count, sizeof *tests);
    for (size_t i = 0; tests != NULL && i < running->case_count; i++) {
        if (awkward && !is_awkward(&running->cases[i]))
            continue;
        tests[count].name = running->cases[i].name;
        tests[count].test_func = run_case;
        tests[count++].initial_state = (void *)(uintptr_t)&running->cases[i];
    }
    if (count == 0)
        fprintf(stderr, "%s has no awkward case: mark one OP_AWKWARD\n", running->op);
    const int failed =
        count == 0 ? 1 : _cmocka_run_group_tests(running->op, tests, count, NULL, NULL);
    free(tests);
    return test_device_close() != 0 || failed != 0;
}
