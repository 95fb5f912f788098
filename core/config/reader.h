/* From the bytes of an INI file to its sections and entries, through inih. Knows no schema. */
#ifndef CLVI_INI_READER_H
#define CLVI_INI_READER_H

#include "base/text.h"

/* Bytes in a key's name, of which inih cuts longer ones, and in a section's, which does not go
 * through inih. */
enum { CLVI_INI_NAME_MAX = 49, CLVI_INI_SECTION_MAX = 127 };

/* What the reader calls, in the order of the file. Strings are valid during the call only; lines
 * count from 1. */
typedef struct clvi_ini_sink {
    void *user;
    /* A [section] line. */
    clv_status (*section)(void *user, const char *name, int line, clv_error *error);
    /* One key = value, blanks around both removed. */
    clv_status (*entry)(void *user, const char *section, const char *key, const char *value,
                        int line, clv_error *error);
    /* A line that is not taken, with the reason as a sentence; reading goes on after it. */
    void (*fault)(void *user, int line, const char *sentence);
} clvi_ini_sink;

/* Reads `bytes` bytes. A byte order mark and CRLF are accepted. A line that ends in '\' goes on in
 * the next one; the two are joined by one blank. Comments are lines of their own that begin with
 * ';' or '#'. Faults: not UTF-8, control characters, no '=', ':' instead of it, a ';' after a blank
 * within a line (inih would drop the rest), names too long, text behind a ']', an entry before the
 * first section. Returns CLV_E_MEMORY, or the first status a callback gives; faults are not
 * failures here. */
clv_status clvi_ini_read(const char *data, size_t bytes, const clvi_ini_sink *sink,
                         clv_error *error) CLV_MUST_CHECK;

#endif
