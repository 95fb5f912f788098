/* A matrix of numbers as a table whose cells are shaded by their value: a picture and its numbers
 * in one. */
#ifndef CLVI_REPORT_HEAT_MAP_H
#define CLVI_REPORT_HEAT_MAP_H

#include "report/table.h"

typedef enum clvi_heat_form {
    CLVI_HEAT_PERCENT, /* fractions: "12.3", in percent without the sign */
    CLVI_HEAT_DECIMAL, /* "-0.12" */
    CLVI_HEAT_SMALL,   /* small cells without a number: rows and columns are the same things */
} clvi_heat_form;

typedef struct clvi_heat_map {
    const char *corner;              /* what rows are: "class" */
    const char *const *row_names;    /* [rows] */
    const char *const *column_names; /* [columns]; CLVI_HEAT_SMALL: not used, columns have the
                                        numbers that rows have before their names */
    const double *values;            /* [rows, columns]; NAN: an empty cell */
    size_t rows, columns;
    double most; /* the absolute value of the fullest colour; of another colour below 0 */
    clvi_heat_form form;
} clvi_heat_map;

/* Appends it as HTML. In CLVI_HEAT_SMALL cells on the diagonal are grey and `most` is of the
 * others, whose numbers are told by the browser when one points at them. */
void clvi_heat_map_html(const clvi_heat_map *map, clvi_text *out);

#endif
