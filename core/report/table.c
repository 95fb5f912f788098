/* See table.h. */
#include "report/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static const char unknown[] = "–";

clv_status clvi_report_table_init(clvi_report_table *table, const char *title,
                                  const clvi_report_column *columns, size_t count, clv_error *error)
{
    *table = (clvi_report_table){.title = title, .columns = columns, .column_count = count};
    return clvi_arena_create(&table->arena, error);
}

void clvi_report_table_fini(clvi_report_table *table)
{
    clvi_free(table->cells);
    clvi_arena_destroy(table->arena);
    *table = (clvi_report_table){0};
}

/* ---- Cells ---- */

void clvi_report_cell(clvi_report_table *table, const char *format, ...)
{
    char text[512];
    void *cells = table->cells;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *kept = clvi_arena_strdup(table->arena, text);
    if (!kept || clvi_grow(&cells, &table->capacity, table->count + 1, sizeof *table->cells,
                           NULL) != CLV_OK) {
        table->failed = true;
        return;
    }
    table->cells = cells;
    table->cells[table->count++] = kept;
}

void clvi_report_percent(clvi_report_table *table, double fraction)
{
    if (isfinite(fraction))
        clvi_report_cell(table, "%.2f %%", 100 * fraction);
    else
        clvi_report_cell(table, "%s", unknown);
}

void clvi_report_figure(clvi_report_table *table, double value)
{
    if (isfinite(value))
        clvi_report_cell(table, fabs(value) < 1000 ? "%.4f" : "%.4g", value);
    else
        clvi_report_cell(table, "%s", unknown);
}

void clvi_report_decimal(clvi_report_table *table, int decimals, double value)
{
    if (isfinite(value))
        clvi_report_cell(table, "%.*f", value == floor(value) && decimals < 2 ? 0 : decimals,
                         value);
    else
        clvi_report_cell(table, "%s", unknown);
}

void clvi_report_count(clvi_report_table *table, double count)
{
    char digits[32], out[48], *to = out;
    if (!isfinite(count) || count < 0 || count > 1e18) {
        clvi_report_cell(table, "%s", unknown);
        return;
    }
    const int length = snprintf(digits, sizeof digits, "%" PRId64, (int64_t)(count + 0.5));
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    clvi_report_cell(table, "%s", out);
}

/* Three digits and a unit. */
static void scaled(clvi_report_table *table, double value, double step, const char *const *units,
                   size_t count)
{
    size_t unit = 0;
    if (!isfinite(value) || value < 0) {
        clvi_report_cell(table, "%s", unknown);
        return;
    }
    for (; value >= 999.5 && unit + 1 < count; unit++)
        value /= step;
    const int digits = unit == 0 || value >= 99.95 ? 0 : value < 9.995 ? 2 : 1;
    clvi_report_cell(table, "%.*f%s%s", digits, value, units[unit][0] ? " " : "", units[unit]);
}

void clvi_report_short(clvi_report_table *table, double count)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    scaled(table, count, 1000, units, sizeof units / sizeof *units);
}

void clvi_report_bytes(clvi_report_table *table, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    scaled(table, bytes, 1024, units, sizeof units / sizeof *units);
}

void clvi_report_seconds(clvi_report_table *table, double seconds)
{
    if (!isfinite(seconds) || seconds < 0) {
        clvi_report_cell(table, "%s", unknown);
        return;
    }
    const int64_t whole = (int64_t)(seconds + 0.5);
    if (seconds < 99.95)
        clvi_report_cell(table, "%.1f s", seconds);
    else if (whole < 3600)
        clvi_report_cell(table, "%" PRId64 " min %02" PRId64 " s", whole / 60, whole % 60);
    else
        clvi_report_cell(table, "%" PRId64 " h %02" PRId64 " min", whole / 3600, whole / 60 % 60);
}

/* ---- Rendering ---- */

static void markdown_cell(clvi_text *out, const char *cell)
{
    clvi_text_append(out, " ");
    for (const char *at = cell; *at; at++) {
        if (*at == '|')
            clvi_text_append(out, "\\");
        clvi_text_append_n(out, *at == '\n' ? " " : at, 1);
    }
    clvi_text_append(out, " |");
}

void clvi_report_markdown(const clvi_report_table *table, clvi_text *out)
{
    const size_t columns = table->column_count;
    out->failed = out->failed || table->failed;
    if (table->count == 0)
        return;
    clvi_text_printf(out, "## %s\n\n|", table->title);
    for (size_t c = 0; c < columns; c++)
        markdown_cell(out, table->columns[c].heading);
    clvi_text_append(out, "\n|");
    for (size_t c = 0; c < columns; c++)
        clvi_text_append(out, table->columns[c].right ? "---:|" : "---|");
    clvi_text_append(out, "\n");
    for (size_t i = 0; i < table->count; i++) {
        if (i % columns == 0)
            clvi_text_append(out, "|");
        markdown_cell(out, table->cells[i]);
        if (i % columns == columns - 1)
            clvi_text_append(out, "\n");
    }
    if (table->note)
        clvi_text_printf(out, "\n%s\n", table->note);
    clvi_text_append(out, "\n");
}

void clvi_report_escape(clvi_text *out, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        size_t length = clvi_utf8_sequence(text, left);
        const bool control = length == 1 && (unsigned char)*text < 0x20 && !strchr("\t\n", *text);
        if (length == 0 || control || *text == 0x7F)
            clvi_text_append(out, "\xEF\xBF\xBD");
        else if (length == 1 && strchr("&<>\"", *text))
            clvi_text_append(out, *text == '&'   ? "&amp;"
                                  : *text == '<' ? "&lt;"
                                  : *text == '>' ? "&gt;"
                                                 : "&quot;");
        else
            clvi_text_append_n(out, text, length);
        length = length > 0 ? length : 1;
        text += length;
        left -= length;
    }
}

void clvi_report_html(const clvi_report_table *table, clvi_text *out)
{
    const size_t columns = table->column_count;
    out->failed = out->failed || table->failed;
    if (table->count == 0)
        return;
    clvi_text_printf(out, "<div class=\"scroll%s\"><table%s>\n<thead><tr>",
                     table->count / columns > CLVI_REPORT_LONG ? " long" : "",
                     table->sortable ? " class=\"sort\""
                     : table->wraps  ? " class=\"wrap\""
                                     : "");
    for (size_t c = 0; c < columns; c++) {
        clvi_text_append(out, table->columns[c].right ? "<th class=\"n\" scope=\"col\">"
                                                      : "<th scope=\"col\">");
        clvi_report_escape(out, table->columns[c].heading);
        clvi_text_append(out, "</th>");
    }
    clvi_text_append(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < table->count; i++) {
        const size_t c = i % columns;
        clvi_text_append(out, c == 0                    ? "<tr><th scope=\"row\">"
                              : table->columns[c].right ? "<td class=\"n\">"
                                                        : "<td>");
        clvi_report_escape(out, table->cells[i]);
        clvi_text_append(out, c == 0 ? "</th>" : "</td>");
        if (c == columns - 1)
            clvi_text_append(out, "</tr>\n");
    }
    clvi_text_append(out, "</tbody>\n</table></div>\n");
}
