/* See sheet.h. */
#include "report/sheet.h"

#include "base/csv.h"
#include "base/files.h"

#include <math.h>

enum { MOST_COLUMNS = 64 };
#define MOST_BYTES ((size_t)1 << 30)

void clvi_sheet_fini(clvi_sheet *s)
{
    clvi_free(s->text);
    clvi_free(s->cells);
    *s = (clvi_sheet){0};
}

static clv_status add_line(clvi_sheet *s, char *const *fields, clv_error *error)
{
    void *cells = s->cells;
    const size_t used = s->rows * s->columns;
    CLV_TRY(clvi_grow(&cells, &s->capacity, used + s->columns, sizeof *s->cells, error));
    s->cells = cells;
    for (size_t c = 0; c < s->columns; c++)
        s->cells[used + c] = fields[c];
    s->rows++;
    return CLV_OK;
}

/* The line of names counts as a row here. */
static clv_status cut(clvi_sheet *s, clv_error *error)
{
    char *fields[MOST_COLUMNS], *cursor = s->text;
    for (size_t count; (count = clvi_csv_next(&cursor, fields, MOST_COLUMNS)) > 0;) {
        if (s->columns == 0)
            s->columns = count < MOST_COLUMNS ? count : MOST_COLUMNS;
        if (count == s->columns)
            CLV_TRY(add_line(s, fields, error));
    }
    s->rows -= s->rows > 0;
    return CLV_OK;
}

clv_status clvi_sheet_read(const char *run, const char *name, clvi_sheet *out, clv_error *error)
{
    clvi_sheet s = {0};
    char *path = clvi_path_join(run, name);
    size_t bytes;
    if (!path)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to read %s of %s", name, run);
    clv_status status = CLV_OK;
    if (clvi_is_file(path))
        status = clvi_file_read(path, MOST_BYTES, &s.text, &bytes, error);
    clvi_free(path);
    if (status == CLV_OK && s.text)
        status = cut(&s, error);
    if (status != CLV_OK) {
        clvi_sheet_fini(&s);
        return status;
    }
    *out = s;
    return CLV_OK;
}

const char *clvi_sheet_text(const clvi_sheet *s, size_t row, const char *column)
{
    for (size_t c = 0; c < s->columns && row < s->rows; c++)
        if (strcmp(s->cells[c], column) == 0)
            return s->cells[(row + 1) * s->columns + c];
    return "";
}

double clvi_sheet_real(const clvi_sheet *s, size_t row, const char *column)
{
    double value;
    return clvi_parse_real(clvi_sheet_text(s, row, column), &value) ? value : NAN;
}

bool clvi_sheet_is(const clvi_sheet *s, size_t row, const char *column, const char *text)
{
    return strcmp(clvi_sheet_text(s, row, column), text) == 0;
}
