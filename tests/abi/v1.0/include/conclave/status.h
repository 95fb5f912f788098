/* Status codes and the error object that every fallible call of Conclave fills in.
 * Included by plugins, by programs that use the library, and by the core itself. C11 and C++17. */
#ifndef CONCLAVE_STATUS_H
#define CONCLAVE_STATUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CLV_EXPORT              __attribute__((visibility("default")))
#define CLV_MUST_CHECK          __attribute__((warn_unused_result))
#define CLV_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define CLV_EXPORT
#define CLV_MUST_CHECK
#define CLV_PRINTF(text, first)
#endif

/* X(symbol, value, exit code of the command, text). Values are part of the ABI: never renumbered,
 * only more are added. A plugin returns one of these. */
#define CLV_STATUS_LIST(X)                                                                         \
    X(OK, 0, 0, "done")                                                                            \
    X(E_USAGE, -1, 2, "wrong use")                                                                 \
    X(E_CONFIG, -2, 2, "wrong configuration")                                                      \
    X(E_SHAPE, -3, 1, "shapes do not fit")                                                         \
    X(E_PLUGIN, -4, 1, "plugin refused")                                                           \
    X(E_DATA, -5, 1, "bad data")                                                                   \
    X(E_FORMAT, -6, 1, "file format not understood")                                               \
    X(E_IO, -7, 1, "input or output failed")                                                       \
    X(E_MEMORY, -8, 1, "out of memory")                                                            \
    X(E_DEVICE, -9, 1, "no such device")                                                           \
    X(E_CL, -10, 1, "OpenCL call failed")                                                          \
    X(E_BUILD, -11, 1, "kernel does not build")                                                    \
    X(E_NUMERIC, -12, 1, "a number is not finite")                                                 \
    X(E_INTERRUPTED, -13, 1, "interrupted")                                                        \
    X(E_INTERNAL, -14, 1, "internal error")

typedef enum clv_status {
#define CLV_STATUS_ENUM(symbol, value, exit_code, text) CLV_##symbol = value,
    CLV_STATUS_LIST(CLV_STATUS_ENUM)
#undef CLV_STATUS_ENUM
} clv_status;

/* What went wrong, in one sentence. Owned by the caller, who sets struct_size = sizeof(clv_error)
 * and zeroes the rest (CLV_ERROR_INIT does both). Every function that takes a `clv_error *`
 * accepts NULL: then only the status is reported. The first cause wins; callers prepend context. */
typedef struct clv_error {
    uint32_t struct_size; /* this and all that follows never changes; fields may be appended */
    int32_t status;       /* a clv_status */
    int32_t native_code;  /* OpenCL, CLBlast or errno code, 0 if none */
    int32_t line;         /* in `file` */
    const char *file;     /* source file that reported it; static storage */
    char message[512];    /* UTF-8, no newline at the end */
} clv_error;

#ifdef __cplusplus
#define CLV_ERROR_INIT                                                                             \
    {                                                                                              \
        (uint32_t)sizeof(clv_error), 0, 0, 0, nullptr,                                             \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#else
#define CLV_ERROR_INIT                                                                             \
    {                                                                                              \
        .struct_size = (uint32_t)sizeof(clv_error)                                                 \
    }
#endif

/* ---- In the library: for programs, not for plugins, which link nothing ---- */

/* Text of a status, such as "bad data". Static storage; never NULL. */
CLV_EXPORT const char *clv_status_text(clv_status status);

/* Exit code that the conclave command gives for a status: 0 done, 1 failed, 2 wrong use. */
CLV_EXPORT int clv_status_exit_code(clv_status status);

#ifdef __cplusplus
}
#endif
#endif
