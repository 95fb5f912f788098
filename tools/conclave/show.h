/* How results look: numbers with units, and tables whose columns are aligned. */
#ifndef CONCLAVE_SHOW_H
#define CONCLAVE_SHOW_H

#include "base/text.h"
#include "train/scores.h"

#include <jansson.h>
#include <stdio.h>

/* Each writes into `out`, for which 32 bytes are enough, and returns it. */
enum { CLI_NUMBER_BYTES = 32 };
const char *cli_show_count(int64_t count, char *out);     /* "18,400" */
const char *cli_show_seconds(double seconds, char *out);  /* "8.3 s", "3 min 20 s", "2 h 05 min" */
const char *cli_show_bytes(uint64_t bytes, char *out);    /* "812 KiB", "1.53 GiB" */
const char *cli_show_percent(double fraction, char *out); /* "98.53 %"; "-" when not finite */
const char *cli_show_figure(double value, char *out);     /* "0.0531"; "-" when not finite */

typedef struct cli_column {
    const char *heading;
    bool right;  /* numbers */
    bool shrink; /* where the terminal is too narrow, this one is cut; one of a table */
} cli_column;

/* A table under construction. Rows are filled cell by cell. */
typedef struct cli_table {
    const cli_column *columns;
    size_t column_count;
    clvi_arena *arena;
    const char **cells; /* row-major; a rule is a row of NULL */
    size_t count, capacity;
    bool failed;
} cli_table;
/* `columns` must outlive the table. After a failed init nothing is to be freed. */
clv_status cli_table_init(cli_table *table, const cli_column *columns, size_t count,
                          clv_error *error) CLV_MUST_CHECK;
void cli_table_cell(cli_table *table, const char *format, ...) CLV_PRINTF(2, 3);
/* A line across, such as before totals; between rows only. */
void cli_table_rule(cli_table *table);
/* Prints with a line of headings (unless all are "") and frees the table. Errors: CLV_E_MEMORY. */
clv_status cli_table_print(cli_table *table, FILE *stream, clv_error *error) CLV_MUST_CHECK;

/* Scores as a table, a row for each of `count`; labels[i] begins row i. */
clv_status cli_show_scores(const char *const *labels, const clvi_score_summary *scores,
                           size_t count, clv_error *error) CLV_MUST_CHECK;

/* A text that need not be UTF-8, such as a path, as JSON must be. The caller's; NULL: no memory. */
json_t *cli_json_text(const char *text);
/* Prints a JSON value on one line (indent 0) or indented, and releases it. NULL counts as out of
 * memory. Errors: CLV_E_MEMORY. */
clv_status cli_show_json(json_t *value, size_t indent, clv_error *error) CLV_MUST_CHECK;

#endif
