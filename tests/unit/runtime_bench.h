/* A device that is opened with kernels of the test's own, and a kernel cache of its own. */
#ifndef CLV_TEST_RUNTIME_BENCH_H
#define CLV_TEST_RUNTIME_BENCH_H

#define _GNU_SOURCE
#include "base/files.h"
#include "base/process.h"
#include "runtime/device.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* The kernels of "t.cl", which bench_open writes. */
extern const char bench_kernels[];

/* What the log was given since bench_open, but what is being compiled. */
extern char log_text[8192];
/* The log's sink that puts it there. */
void take_log(void *user, clvi_log_level level, const char *line);

/* A folder with loose kernels, and a device that is opened with it. */
typedef struct bench {
    char folder[64];
    clvi_runtime *runtime;
    clvi_device *device;
    clv_error error;
} bench;

#define OK(call)                                                                                   \
    do {                                                                                           \
        clvi_error_clear(&b->error);                                                               \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", b->error.message);                                                      \
    } while (0)

/* The call fails with `status`, and its sentence has `part`. */
#define REFUSED(call, code, part)                                                                  \
    do {                                                                                           \
        clvi_error_clear(&b->error);                                                               \
        assert_int_equal(call, code);                                                              \
        assert_int_equal(b->error.status, code);                                                   \
        if (strstr(b->error.message, part) == NULL)                                                \
            fail_msg("expected \"%s\" in \"%s\"", part, b->error.message);                         \
    } while (0)

/* Set-up and tear-down of a test; its state is a bench. */
int bench_open(void **state);
int bench_close(void **state);
#define BENCH_TEST(function) cmocka_unit_test_setup_teardown(function, bench_open, bench_close)

/* A file in the folder of kernels. */
void write_kernels(bench *b, const char *name, const char *text);
void open_device(bench *b);
void reopen(bench *b);
clvi_device_counters counters(const bench *b);

/* Kernels of t.cl: "nothing"; "add", x[1] = x[0] + 2 (times SCALE); "slow", some tenths of a second
 * with x of 65,535 floats. */
void launch_nothing(bench *b);
clv_status launch_add(bench *b, clvi_buf *x, const char *options, size_t groups);
void launch_slow(bench *b, clvi_buf *x);

/* 77 or 1: there is no device to test on; 0: there is. */
int no_device(void);

#endif
