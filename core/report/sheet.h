/* A CSV file of a run in memory, its columns found by their names. */
#ifndef CLVI_REPORT_SHEET_H
#define CLVI_REPORT_SHEET_H

#include "base/text.h"

/* Zero-initialise; an empty one has no rows and no columns. */
typedef struct clvi_sheet {
    char *text;
    const char **cells; /* row-major, the names of the columns first */
    size_t columns, rows;
    size_t capacity;
} clvi_sheet;

/* Reads the file `name` in the folder `run`. A file that is not there, or has no line, gives an
 * empty sheet; lines with another number of fields than the first one (the last one of a run that
 * was killed) are passed over. Errors: CLV_E_IO, CLV_E_DATA (above 1 GiB), CLV_E_MEMORY. The caller
 * frees with clvi_sheet_fini. */
clv_status clvi_sheet_read(const char *run, const char *name, clvi_sheet *out,
                           clv_error *error) CLV_MUST_CHECK;
void clvi_sheet_fini(clvi_sheet *sheet);

/* The cell of a row, from 0, in the column called `column`; "" where there is no such column. */
const char *clvi_sheet_text(const clvi_sheet *sheet, size_t row, const char *column);
/* The same as a number; NAN where it is none. */
double clvi_sheet_real(const clvi_sheet *sheet, size_t row, const char *column);
/* Whether the cell is `text`. */
bool clvi_sheet_is(const clvi_sheet *sheet, size_t row, const char *column, const char *text);

#endif
