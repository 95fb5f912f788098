/* Filling a clv_error, and the three control macros of the core. See conclave/status.h. */
#ifndef CLVI_ERROR_H
#define CLVI_ERROR_H

#include <conclave/status.h>

#include <stdarg.h>
#include <string.h>

/* Records status and sentence in `error` (NULL allowed) unless it already holds an error; returns
 * `status`. Never fails itself. */
clv_status clvi_fail(clv_error *error, clv_status status, const char *file, int line,
                     const char *format, ...) CLV_PRINTF(5, 6);
clv_status clvi_failv(clv_error *error, clv_status status, const char *file, int line,
                      const char *format, va_list arguments) CLV_PRINTF(5, 0);

/* As clvi_fail, with native_code = code: of OpenCL, CLBlast or errno. */
clv_status clvi_fail_code(clv_error *error, clv_status status, int code, const char *file, int line,
                          const char *format, ...) CLV_PRINTF(6, 7);

/* Records the failure `from` in `error`. Returns its status. */
clv_status clvi_error_copy(clv_error *error, const clv_error *from);

/* As clvi_fail for errno `code`: ": " and strerror(code) are appended, native_code = code. */
clv_status clvi_fail_errno(clv_error *error, int code, const char *file, int line,
                           const char *format, ...) CLV_PRINTF(5, 6);

/* Puts "context: " before the message of an error that is set; nothing otherwise. */
void clvi_prepend(clv_error *error, const char *format, ...) CLV_PRINTF(2, 3);

/* Makes `error` empty again, ready for another call. */
void clvi_error_clear(clv_error *error);

/* Returns from the function with the failing status of `call`. */
#define CLV_TRY(call)                                                                              \
    do {                                                                                           \
        const clv_status clv_try_status = (call);                                                  \
        if (clv_try_status != CLV_OK)                                                              \
            return clv_try_status;                                                                 \
    } while (0)

/* Returns `status` from the function after recording the sentence. As an expression: use clvi_fail
 * with CLV_HERE. */
#define CLV_FAIL(error, status, ...)                                                               \
    return clvi_fail((error), (status), __FILE__, __LINE__, __VA_ARGS__)

#define CLV_HERE __FILE__, __LINE__

/* A programmer's error: aborts in debug builds, is checked by nobody in release builds. */
#ifdef NDEBUG
#define CLV_ASSERT(condition) ((void)0)
#else
#include <assert.h>
#define CLV_ASSERT(condition) assert(condition)
#endif

#endif
