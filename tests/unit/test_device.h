/* The device of a test program that needs one. */
#ifndef CLV_TEST_DEVICE_H
#define CLV_TEST_DEVICE_H

#include "runtime/runtime.h"

/* Opens the device that CONCLAVE_DEVICE chooses. NULL: *status is the program's exit status, 77, or
 * 1 where there must be a device (CONCLAVE_REQUIRE_DEVICE=1). */
clvi_device *test_device_open(int *status);
/* As above with other options. */
clvi_device *test_device_open_with(const clvi_device_options *options, int *status);
/* Saves the kernels and closes. Returns 1 (and says so) where buffers are left, else 0. */
int test_device_close(void);

/* Fails the running test with the error's sentence where `call`, which may use `error`, fails. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        clv_error ok_error = CLV_ERROR_INIT, *error = &ok_error;                                   \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", ok_error.message);                                                      \
    } while (0)

#endif
