/* Filling a clv_error. Nothing here allocates, so that "out of memory" can be reported. */
#define _POSIX_C_SOURCE 200809L
#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>

/* A struct from an older caller may end behind its message. */
static bool is_writable(const clv_error *error)
{
    return error != NULL &&
           error->struct_size >= offsetof(clv_error, message) + sizeof(error->message);
}

/* Cuts an incomplete UTF-8 sequence (left by truncation) and newlines off the end. */
static void tidy_end(char *message, bool truncated)
{
    size_t length = strlen(message);
    if (truncated) {
        size_t start = length;
        while (start > 0 && length - start < 4) {
            const unsigned char byte = (unsigned char)message[--start];
            if ((byte & 0xC0) == 0x80)
                continue;
            const size_t need = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
            if (length - start < need)
                length = start;
            break;
        }
    }
    while (length > 0 && (message[length - 1] == '\n' || message[length - 1] == '\r'))
        length--;
    message[length] = '\0';
}

clv_status clvi_failv(clv_error *error, clv_status status, const char *file, int line,
                      const char *format, va_list arguments)
{
    if (!is_writable(error) || error->status != CLV_OK)
        return status;
    error->status = status;
    error->native_code = 0;
    error->line = line;
    error->file = file;
    const int written = vsnprintf(error->message, sizeof(error->message), format, arguments);
    if (written < 0)
        snprintf(error->message, sizeof(error->message), "%s", clv_status_text(status));
    tidy_end(error->message, written >= (int)sizeof(error->message));
    return status;
}

clv_status clvi_fail(clv_error *error, clv_status status, const char *file, int line,
                     const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    clvi_failv(error, status, file, line, format, arguments);
    va_end(arguments);
    return status;
}

clv_status clvi_fail_code(clv_error *error, clv_status status, int code, const char *file, int line,
                          const char *format, ...)
{
    if (!is_writable(error) || error->status != CLV_OK)
        return status;
    va_list arguments;
    va_start(arguments, format);
    clvi_failv(error, status, file, line, format, arguments);
    va_end(arguments);
    error->native_code = code;
    return status;
}

clv_status clvi_error_copy(clv_error *error, const clv_error *from)
{
    return clvi_fail_code(error, (clv_status)from->status, from->native_code, from->file,
                          from->line, "%s", from->message);
}

clv_status clvi_fail_errno(clv_error *error, int code, const char *file, int line,
                           const char *format, ...)
{
    if (!is_writable(error) || error->status != CLV_OK)
        return CLV_E_IO;
    va_list arguments;
    va_start(arguments, format);
    clvi_failv(error, CLV_E_IO, file, line, format, arguments);
    va_end(arguments);
    error->native_code = code;

    char reason[128];
    if (strerror_r(code, reason, sizeof(reason)) != 0)
        snprintf(reason, sizeof(reason), "error %d", code);
    /* The reason stays whole when the sentence before it is too long. */
    const size_t reason_bytes = strlen(reason) + 3;
    size_t length = strlen(error->message);
    if (length + reason_bytes > sizeof(error->message)) {
        error->message[sizeof(error->message) - reason_bytes] = '\0';
        tidy_end(error->message, true);
        length = strlen(error->message);
    }
    snprintf(error->message + length, sizeof(error->message) - length, ": %s", reason);
    return CLV_E_IO;
}

void clvi_prepend(clv_error *error, const char *format, ...)
{
    if (!is_writable(error) || error->status == CLV_OK)
        return;
    char joined[sizeof(error->message)];
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(joined, sizeof(joined), format, arguments);
    va_end(arguments);
    if (written < 0)
        return;
    const size_t length = strlen(joined);
    const int rest = snprintf(joined + length, sizeof(joined) - length, ": %s", error->message);
    tidy_end(joined, (size_t)rest >= sizeof(joined) - length);
    memcpy(error->message, joined, sizeof(joined));
}

void clvi_error_clear(clv_error *error)
{
    if (!is_writable(error))
        return;
    error->status = CLV_OK;
    error->native_code = 0;
    error->line = 0;
    error->file = NULL;
    error->message[0] = '\0';
}
