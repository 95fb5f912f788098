/* A table of texts, and how it looks as Markdown and in HTML. */
#ifndef CLVI_REPORT_TABLE_H
#define CLVI_REPORT_TABLE_H

#include "base/text.h"

typedef struct clvi_report_column {
    const char *heading;
    bool right; /* numbers */
    bool wide;  /* not on a terminal */
} clvi_report_column;

/* Zero-initialise, then clvi_report_table_init. */
typedef struct clvi_report_table {
    const char *title;                 /* both are borrowed or lie in `arena` */
    const char *note;                  /* sentences below it; NULL: none */
    const clvi_report_column *columns; /* borrowed */
    size_t column_count;
    clvi_arena *arena;
    const char **cells; /* row-major */
    size_t count, capacity;
    bool failed;   /* an allocation has failed: rendering says so */
    bool sortable; /* in a page: by any column */
    bool wraps;    /* in a page: cells are texts, which may have several lines */
} clvi_report_table;

clv_status clvi_report_table_init(clvi_report_table *table, const char *title,
                                  const clvi_report_column *columns, size_t count,
                                  clv_error *error) CLV_MUST_CHECK;
void clvi_report_table_fini(clvi_report_table *table);
void clvi_report_cell(clvi_report_table *table, const char *format, ...) CLV_PRINTF(2, 3);
/* "98.53 %", "0.0531", "12.3 M", "18,400", "3 min 20 s", "1.53 GiB"; "–" for what is not known. */
void clvi_report_percent(clvi_report_table *table, double fraction);
void clvi_report_figure(clvi_report_table *table, double value);
void clvi_report_count(clvi_report_table *table, double count);
void clvi_report_short(clvi_report_table *table, double count);
void clvi_report_seconds(clvi_report_table *table, double seconds);
void clvi_report_bytes(clvi_report_table *table, double bytes);

/* In so many decimals, a whole number of one decimal without. */
void clvi_report_decimal(clvi_report_table *table, int decimals, double value);

/* Appends it with its title; Markdown as GitHub has it. Without rows nothing is appended. */
void clvi_report_markdown(const clvi_report_table *table, clvi_text *out);
/* Appends it alone, for a page (page.h); with more rows than these it scrolls by itself. */
enum { CLVI_REPORT_LONG = 50 };
void clvi_report_html(const clvi_report_table *table, clvi_text *out);
/* Appends text for HTML: what has a meaning there is replaced, and what is no character of a
 * page (control characters, bytes that are no UTF-8) becomes U+FFFD. */
void clvi_report_escape(clvi_text *out, const char *text);

#endif
