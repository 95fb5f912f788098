/* See csv.h. */
#include "base/csv.h"

#include <inttypes.h>
#include <math.h>

static void separate(clvi_text *text)
{
    if (text->length > 0 && text->data[text->length - 1] != '\n')
        clvi_text_append(text, ",");
}

void clvi_csv_append(clvi_text *text, const char *field)
{
    separate(text);
    /* Without its quotes an empty first field would be taken for the begin of the line. */
    const bool first = text->length == 0 || text->data[text->length - 1] == '\n';
    if ((field[0] != '\0' || !first) && strpbrk(field, ",\"\r\n") == NULL) {
        clvi_text_append(text, field);
        return;
    }
    clvi_text_append(text, "\"");
    for (const char *at = field; *at != '\0';) {
        const size_t plain = strcspn(at, "\"");
        clvi_text_append_n(text, at, plain);
        at += plain;
        if (*at == '"') {
            clvi_text_append(text, "\"\"");
            at++;
        }
    }
    clvi_text_append(text, "\"");
}

void clvi_csv_append_real(clvi_text *text, double value, int digits)
{
    separate(text);
    if (isfinite(value))
        clvi_text_printf(text, "%.*g", digits, value);
    else if (text->length == 0 || text->data[text->length - 1] == '\n')
        clvi_text_append(text, "\"\"");
}

void clvi_csv_append_int(clvi_text *text, int64_t value)
{
    separate(text);
    clvi_text_printf(text, "%" PRId64, value);
}

void clvi_csv_end_line(clvi_text *text)
{
    clvi_text_append(text, "\n");
}

/* Takes a quoted field apart; `at` stands behind its first quote. Returns what follows it. */
static char *unquote(char *at)
{
    char *to = at;
    for (; *at != '\0'; at++) {
        if (*at == '"' && at[1] == '"') {
            at++;
        } else if (*at == '"') {
            at++;
            break;
        }
        *to++ = *at;
    }
    char *next = at + strcspn(at, ",\n");
    *to = '\0'; /* before `next`, or there is no closing quote and the text ends here */
    return next;
}

size_t clvi_csv_next(char **cursor, char **fields, size_t most)
{
    char *at = *cursor + strspn(*cursor, "\r\n");
    size_t count = 0;
    while (*at != '\0') {
        const bool quoted = *at == '"';
        char *begin = quoted ? at + 1 : at;
        char *end = quoted ? unquote(begin) : at + strcspn(at, ",\n");
        const char stop = *end;
        if (!quoted && end > begin && stop != ',' && end[-1] == '\r')
            end[-1] = '\0';
        *end = '\0';
        if (count < most)
            fields[count] = begin;
        count++;
        at = stop == '\0' ? end : end + 1;
        if (stop == ',' && *at == '\0' && count < most)
            fields[count] = at;
        if (stop == ',' && *at == '\0')
            count++;
        if (stop != ',')
            break;
    }
    *cursor = at;
    return count;
}
