/* Comma-separated values after RFC 4180: fields that need it stand in quotes. */
#ifndef CLVI_CSV_H
#define CLVI_CSV_H

#include "base/text.h"

/* Appends a field: a comma before it unless the line is new, quotes where it holds a comma, a quote
 * or a line break. */
void clvi_csv_append(clvi_text *text, const char *field);
/* Appends a number in `digits` significant digits; an empty field when it is not finite. */
void clvi_csv_append_real(clvi_text *text, double value, int digits);
void clvi_csv_append_int(clvi_text *text, int64_t value);
void clvi_csv_end_line(clvi_text *text);

/* Cuts the next line of a table in memory, in place, into at most `most` fields; *cursor, which
 * points at its begin, moves behind it. Returns how many fields the line has, those beyond `most`
 * too; 0 at the end of the text. Blank lines are passed over. An open quote ends with the text. */
size_t clvi_csv_next(char **cursor, char **fields, size_t most);

#endif
