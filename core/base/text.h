/* Strings: growing buffer, numbers, natural order, the nearest known name. */
#ifndef CLVI_TEXT_H
#define CLVI_TEXT_H

#include "memory.h"

#include <stdbool.h>

/* A growing string, always NUL-terminated. Zero-initialise; clvi_text_fini frees it. An allocation
 * failure sets `failed` and further appends do nothing: check once at the end. */
typedef struct clvi_text {
    char *data; /* NULL while empty */
    size_t length, capacity;
    bool failed;
} clvi_text;
void clvi_text_append(clvi_text *text, const char *piece);
void clvi_text_append_n(clvi_text *text, const char *piece, size_t length);
/* Numbers are written as in the C locale, whatever setlocale says. */
void clvi_text_printf(clvi_text *text, const char *format, ...) CLV_PRINTF(2, 3);
/* A finite number in the fewest digits that clvi_parse_real reads back to the same double; whole
 * numbers below 1e15 without exponent. */
void clvi_text_append_real(clvi_text *text, double value);
/* A word as a shell takes it: in quotes where it holds what a shell would change. */
void clvi_text_append_word(clvi_text *text, const char *word);
/* The same into `out` of `bytes` bytes, for a sentence; returns it. Plain and shortened where there
 * is no room for more. */
const char *clvi_shell_word(const char *word, char *out, size_t bytes);
/* Bytes in base64 (RFC 4648), in one line. */
void clvi_text_append_base64(clvi_text *text, const void *bytes, size_t count);
void clvi_text_fini(clvi_text *text);
/* The string so far, "" while empty. Borrowed until the next append. */
const char *clvi_text_get(const clvi_text *text);

/* Whole-string conversions in the C locale whatever setlocale says; surrounding blanks allowed,
 * anything else after the number refused. False: not a number of that kind, *out untouched.
 * Integers accept a sign; reals accept 1e-3, 0.5, inf is refused. */
bool clvi_parse_int(const char *text, int64_t *out);
bool clvi_parse_real(const char *text, double *out);
bool clvi_parse_bool(const char *text, bool *out); /* yes/no true/false on/off 1/0, any case */

/* Natural order: runs of digits compare as numbers ("character_2" before "character_10"), the rest
 * by byte; ties by strcmp, so that the order is total. For qsort of char *: clvi_natural_compare_p.
 */
int clvi_natural_compare(const char *a, const char *b);
int clvi_natural_compare_p(const void *a, const void *b);

/* The candidate nearest to `name` by edit distance (case folded, - and _ alike), or NULL when none
 * is near enough to be meant (more than a third of its letters differ). */
const char *clvi_nearest(const char *name, const char *const *candidates, size_t count);

/* True when the two names are equal with case folded and '-' and '_' alike. */
bool clvi_name_equal(const char *a, const char *b);

/* True when a name is 1 to `most` letters a-z, digits and '_'; NULL is none. */
bool clvi_is_plain_name(const char *name, size_t most);

/* True when a text ends with `ending` and there is something before it. */
bool clvi_has_ending(const char *text, const char *ending);

/* Columns of a terminal that a text takes: characters of UTF-8, which are one wide but for rare
 * ones. */
int clvi_text_columns(const char *text);

/* Bytes (1 to 4) of the valid UTF-8 sequence at the start of `text`, of which `available` bytes may
 * be read; 0 when there is none (overlong, surrogate, beyond U+10FFFF, cut off). */
size_t clvi_utf8_sequence(const char *text, size_t available);

/* Text with everything that is not printable ASCII or UTF-8 replaced by '?', for messages. Writes
 * at most `bytes` including the NUL; returns `out`. */
const char *clvi_printable(const char *text, char *out, size_t bytes);

#endif
