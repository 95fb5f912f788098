/* Numbers and tables for people. */
#include "show.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- Numbers ---- */

const char *cli_show_count(int64_t count, char *out)
{
    char digits[CLI_NUMBER_BYTES];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    const int first = digits[0] == '-';
    char *to = out;
    for (int i = 0; i < length; i++) {
        if (i > first && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

const char *cli_show_seconds(double seconds, char *out)
{
    const int64_t whole = isfinite(seconds) ? (int64_t)(seconds + 0.5) : 0;
    if (!isfinite(seconds))
        snprintf(out, CLI_NUMBER_BYTES, "-");
    else if (seconds < 10)
        snprintf(out, CLI_NUMBER_BYTES, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(out, CLI_NUMBER_BYTES, "%" PRId64 " s", whole);
    else if (whole < 3600)
        snprintf(out, CLI_NUMBER_BYTES, "%" PRId64 " min %02" PRId64 " s", whole / 60, whole % 60);
    else
        snprintf(out, CLI_NUMBER_BYTES, "%" PRId64 " h %02" PRId64 " min", whole / 3600,
                 whole / 60 % 60);
    return out;
}

const char *cli_show_bytes(uint64_t bytes, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1000 && unit + 1 < sizeof units / sizeof *units; unit++)
        value /= 1024;
    snprintf(out, CLI_NUMBER_BYTES, "%.*f %s",
             unit == 0 || value >= 100 ? 0
             : value < 10              ? 2
                                       : 1,
             value, units[unit]);
    return out;
}

const char *cli_show_percent(double fraction, char *out)
{
    if (isfinite(fraction))
        snprintf(out, CLI_NUMBER_BYTES, "%.2f %%", 100 * fraction);
    else
        snprintf(out, CLI_NUMBER_BYTES, "-");
    return out;
}

const char *cli_show_figure(double value, char *out)
{
    if (isfinite(value))
        snprintf(out, CLI_NUMBER_BYTES, fabs(value) < 1000 ? "%.4f" : "%.4g", value);
    else
        snprintf(out, CLI_NUMBER_BYTES, "-");
    return out;
}

/* ---- Tables ---- */

clv_status cli_table_init(cli_table *table, const cli_column *columns, size_t count,
                          clv_error *error)
{
    *table = (cli_table){.columns = columns, .column_count = count};
    return clvi_arena_create(&table->arena, error);
}

static void add_cell(cli_table *table, const char *text)
{
    void *cells = table->cells;
    if (table->failed || clvi_grow(&cells, &table->capacity, table->count + 1, sizeof *table->cells,
                                   NULL) != CLV_OK) {
        table->failed = true;
        return;
    }
    table->cells = cells;
    table->cells[table->count++] = text;
}

void cli_table_cell(cli_table *table, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char *kept = clvi_arena_strdup(table->arena, text);
    table->failed = table->failed || kept == NULL;
    add_cell(table, kept);
}

void cli_table_rule(cli_table *table)
{
    for (size_t c = 0; c < table->column_count; c++)
        add_cell(table, NULL);
}

/* Prints at most `width` columns of the text. */
static void print_cut(FILE *stream, const char *text, int width)
{
    int used = 0;
    size_t length = 0;
    for (; text[length] != '\0'; length++) {
        used += ((unsigned char)text[length] & 0xC0) != 0x80;
        if (used > width)
            break;
    }
    fprintf(stream, "%.*s", (int)length, text);
}

static void print_cell(FILE *stream, const cli_column *column, const char *text, int width,
                       bool last)
{
    const int own = clvi_text_columns(text);
    const int fill = own < width ? width - own : 0;
    if (column->right)
        fprintf(stream, "%*s", fill, "");
    if (own > width) {
        print_cut(stream, text, width - 2);
        fputs("..", stream);
    } else {
        fputs(text, stream);
    }
    if (!column->right && !last)
        fprintf(stream, "%*s", fill, "");
    fputs(last ? "\n" : "  ", stream);
}

/* Columns of the terminal; 0 when the stream is none. */
static int terminal_width(FILE *stream)
{
    struct winsize size;
    if (isatty(fileno(stream)) != 1)
        return 0;
    return ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void measure(const cli_table *table, FILE *stream, int *widths)
{
    const size_t columns = table->column_count;
    const int limit = terminal_width(stream);
    int sum = 2 * ((int)columns - 1);
    for (size_t c = 0; c < columns; c++) {
        widths[c] = clvi_text_columns(table->columns[c].heading);
        for (size_t i = c; i < table->count; i += columns)
            if (table->cells[i] != NULL && clvi_text_columns(table->cells[i]) > widths[c])
                widths[c] = clvi_text_columns(table->cells[i]);
        sum += widths[c];
    }
    for (size_t c = 0; c < columns && limit > 0 && sum > limit; c++)
        if (table->columns[c].shrink) {
            const int least = 8, wanted = widths[c] - (sum - limit);
            widths[c] = wanted > least ? wanted : widths[c] < least ? widths[c] : least;
        }
}

static void print_rule(FILE *stream, const int *widths, size_t columns)
{
    for (size_t c = 0; c < columns; c++) {
        for (int i = 0; i < widths[c]; i++)
            fputc('-', stream);
        fputs(c + 1 < columns ? "  " : "\n", stream);
    }
}

static void print_rows(const cli_table *table, FILE *stream, const int *widths)
{
    const size_t columns = table->column_count;
    bool headed = false;
    for (size_t c = 0; c < columns; c++)
        headed = headed || table->columns[c].heading[0] != '\0';
    for (size_t c = 0; headed && c < columns; c++)
        print_cell(stream, &table->columns[c], table->columns[c].heading, widths[c],
                   c + 1 == columns);
    for (size_t row = 0; row + columns <= table->count; row += columns) {
        const char *const *cells = table->cells + row;
        size_t used = columns; /* no blanks at the end of a line */
        while (cells[0] != NULL && used > 1 && cells[used - 1][0] == '\0')
            used--;
        if (cells[0] == NULL)
            print_rule(stream, widths, columns);
        else
            for (size_t c = 0; c < used; c++)
                print_cell(stream, &table->columns[c], cells[c], widths[c], c + 1 == used);
    }
}

clv_status cli_table_print(cli_table *table, FILE *stream, clv_error *error)
{
    int *widths = clvi_calloc(table->column_count, sizeof *widths);
    const bool failed = table->failed || widths == NULL;
    if (!failed) {
        measure(table, stream, widths);
        print_rows(table, stream, widths);
    }
    clvi_free(widths);
    clvi_free(table->cells);
    clvi_arena_destroy(table->arena);
    *table = (cli_table){0};
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a table to print");
    return CLV_OK;
}

/* ---- Scores and JSON ---- */

clv_status cli_show_scores(const char *const *labels, const clvi_score_summary *scores,
                           size_t count, clv_error *error)
{
    static const cli_column columns[] = {
        {"", false, false},          {"images", true, false}, {"top-1", true, false},
        {"95 % range", true, false}, {"top-5", true, false},  {"NLL", true, false},
        {"Brier", true, false},      {"ECE", true, false},    {"macro F1", true, false}};
    cli_table table;
    char number[CLI_NUMBER_BYTES];
    CLV_TRY(cli_table_init(&table, columns, sizeof columns / sizeof *columns, error));
    for (size_t i = 0; i < count; i++) {
        const clvi_score_summary *s = &scores[i];
        cli_table_cell(&table, "%s", labels[i]);
        cli_table_cell(&table, "%s", cli_show_count(s->count, number));
        cli_table_cell(&table, "%s", cli_show_percent(s->top1, number));
        cli_table_cell(&table, "%.2f-%.2f", 100 * s->top1_low, 100 * s->top1_high);
        cli_table_cell(&table, "%s", cli_show_percent(s->top5, number));
        cli_table_cell(&table, "%s", cli_show_figure(s->nll, number));
        cli_table_cell(&table, "%s", cli_show_figure(s->brier, number));
        cli_table_cell(&table, "%s", cli_show_figure(s->ece, number));
        cli_table_cell(&table, "%s", cli_show_figure(s->f1, number));
    }
    return cli_table_print(&table, stdout, error);
}

json_t *cli_json_text(const char *text)
{
    char *shown = clvi_malloc(strlen(text) + 1);
    json_t *json =
        shown != NULL ? json_string(clvi_printable(text, shown, strlen(text) + 1)) : NULL;
    clvi_free(shown);
    return json;
}

clv_status cli_show_json(json_t *value, size_t indent, clv_error *error)
{
    /* 9 digits: exact for f32, and no 0.10000000000000001. */
    char *text =
        value != NULL ? json_dumps(value, JSON_INDENT(indent) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (text == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the JSON to print");
    puts(text);
    free(text);
    return CLV_OK;
}
