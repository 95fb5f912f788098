/* Runs the cases of one operation: test_ops OP [clblast]. With clblast, CLBlast is the provider of
 * matrix products, whatever the device. Exit status 77: there is no device. */
#include "bounds.h"
#include "op_test.h"
#include "unit/test_device.h"

#include <setjmp.h>
#include <stdarg.h>
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

int main(int argc, char **argv)
{
    const bool clblast = argc == 3 && strcmp(argv[2], "clblast") == 0;
    for (size_t i = 0; (argc == 2 || clblast) && i < sizeof op_suites / sizeof *op_suites; i++)
        if (strcmp(op_suites[i]->op, argv[1]) == 0)
            running = op_suites[i];
    if (running == NULL) {
        fprintf(stderr,
                "usage: test_ops OP [clblast]; OP is a line of core/ops/ops.list that has cases\n");
        return 2;
    }
    if (op_bounds_find(running->op) == NULL) {
        fprintf(stderr, "%s has no bounds in tests/ops/bounds.c\n", running->op);
        return EXIT_FAILURE;
    }
    int status = 0;
    device = test_device_open_gemm(clblast ? CLVI_GEMM_CLBLAST : CLVI_GEMM_AUTO, &status);
    if (device == NULL)
        return status;
    struct CMUnitTest *tests = calloc(running->case_count, sizeof *tests);
    for (size_t i = 0; tests != NULL && i < running->case_count; i++) {
        tests[i].name = running->cases[i].name;
        tests[i].test_func = run_case;
        tests[i].initial_state = (void *)(uintptr_t)&running->cases[i];
    }
    const int failed = tests == NULL ? 1
                                     : _cmocka_run_group_tests(running->op, tests,
                                                               running->case_count, NULL, NULL);
    free(tests);
    return test_device_close() != 0 || failed != 0;
}
