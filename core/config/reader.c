/* Line reader in front of inih 55, which has no line numbers by default, cuts lines at 200 and
 * section names at 50 bytes, drops what follows " ;", takes ':' for '=', takes an indented line for
 * a continued one, and ignores text behind a ']'. So this reader counts and joins lines and refuses
 * what inih would damage; a long value reaches the handler past inih's line buffer. */
#include "config/reader.h"

#include <ini.h>
#include <stdio.h>

typedef struct reader {
    const char *at, *end;
    int lines_read;    /* physical lines consumed */
    int line;          /* where the logical line that inih now has begins */
    clvi_text logical; /* that line, whole */
    const char *value; /* in `logical` */
    char section[CLVI_INI_SECTION_MAX + 1];
    bool in_section, section_refused;
    const clvi_ini_sink *sink;
    clv_status status;
    clv_error *error;
} reader;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next physical line without its end and the blanks around it; false at the end of the data. */
static bool take_line(reader *r, const char **begin, size_t *length)
{
    if (r->at == r->end)
        return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    const char *from = r->at, *to = stop != NULL ? stop : r->end;
    r->at = stop != NULL ? stop + 1 : r->end;
    r->lines_read++;
    if (to > from && to[-1] == '\r')
        to--;
    while (from < to && is_blank(*from))
        from++;
    while (to > from && is_blank(to[-1]))
        to--;
    *begin = from;
    *length = (size_t)(to - from);
    return true;
}

/* Fills r->logical with the next line that is neither empty nor a comment, continuations joined. */
static bool take_logical(reader *r)
{
    const char *begin = NULL;
    size_t length = 0;
    do {
        if (!take_line(r, &begin, &length))
            return false;
    } while (length == 0 || begin[0] == ';' || begin[0] == '#');
    r->line = r->lines_read;
    r->logical.length = 0;
    while (length > 0 && begin[length - 1] == '\\') {
        length--;
        while (length > 0 && is_blank(begin[length - 1]))
            length--;
        clvi_text_append_n(&r->logical, begin, length);
        if (!take_line(r, &begin, &length)) {
            r->sink->fault(r->sink->user, r->line, "a '\\' continues the last line into nothing");
            r->logical.length = 0;
            return false;
        }
        if (r->logical.length > 0)
            clvi_text_append(&r->logical, " ");
    }
    clvi_text_append_n(&r->logical, begin, length);
    while (r->logical.length > 0 && is_blank(r->logical.data[r->logical.length - 1]))
        r->logical.data[--r->logical.length] = '\0';
    return true;
}

/* What is wrong with "[section]", or NULL. */
static const char *check_section(const char *line)
{
    const size_t length = strcspn(line + 1, "]");
    if (line[1 + length] == '\0')
        return "a section's ']' is missing";
    if (line[2 + length] != '\0')
        return "nothing may follow the ']' of a section; comments need a line of their own";
    if (length == 0)
        return "a section needs a name";
    if (length > CLVI_INI_SECTION_MAX)
        return "the section's name is longer than 127 bytes";
    if (strchr(line, ';') != NULL)
        return "a section's name has no ';'";
    return NULL;
}

/* What is wrong with "key = value", or NULL. */
static const char *check_entry(const char *line)
{
    const size_t key = strcspn(line, "=:");
    if (line[key] == '\0')
        return "expected [section] or key = value";
    if (line[key] == ':')
        return "expected key = value; ':' does not stand for '=' here";
    if (key == 0)
        return "the key before '=' is missing";
    if (key > CLVI_INI_NAME_MAX)
        return "the key is longer than 49 bytes";
    for (const char *c = strchr(line, ';'); c != NULL; c = strchr(c + 1, ';'))
        if (is_blank(c[-1]))
            return "a ';' after a blank would end the value; comments need a line of their own";
    return NULL;
}

static bool hand_section(reader *r, char *line, int capacity)
{
    char *text = r->logical.data;
    const char *wrong = check_section(text);
    r->section_refused = wrong != NULL;
    if (wrong != NULL) {
        r->sink->fault(r->sink->user, r->line, wrong);
        return false;
    }
    r->in_section = true;
    snprintf(line, (size_t)capacity, "[s]"); /* inih would cut a long name */
    text[strlen(text) - 1] = '\0';
    snprintf(r->section, sizeof(r->section), "%s", text + 1);
    r->status = r->sink->section(r->sink->user, r->section, r->line, r->error);
    return true;
}

static bool hand_entry(reader *r, char *line, int capacity)
{
    const char *text = r->logical.data;
    const char *wrong = check_entry(text);
    if (wrong == NULL && !r->in_section)
        wrong = "an entry before the first [section]";
    if (wrong != NULL) {
        r->sink->fault(r->sink->user, r->line, wrong);
        return false;
    }
    r->value = text + strcspn(text, "=") + 1;
    while (is_blank(*r->value))
        r->value++;
    /* inih may cut the value here: `entry` below takes it from r->value. */
    snprintf(line, (size_t)capacity, "%s", text);
    return true;
}

/* inih's ini_reader: one logical line at a time, NULL at the end. */
static char *read_line(char *line, int capacity, void *stream)
{
    reader *r = stream;
    while (r->status == CLV_OK && take_logical(r)) {
        if (r->logical.failed) {
            r->status =
                clvi_fail(r->error, CLV_E_MEMORY, CLV_HERE, "out of memory: a line of text");
            return NULL;
        }
        if (r->logical.length == 0)
            continue;
        if (r->logical.data[0] == '[' ? hand_section(r, line, capacity)
                                      : !r->section_refused && hand_entry(r, line, capacity))
            return line;
    }
    return NULL;
}

/* inih's ini_handler. Its copies of section and value are dropped: they may be cut. */
static int entry(void *user, const char *section, const char *key, const char *value)
{
    (void)section, (void)value;
    reader *r = user;
    if (r->status == CLV_OK)
        r->status = r->sink->entry(r->sink->user, r->section, key, r->value, r->line, r->error);
    return 1;
}

/* Reports the first byte that no text file has; false when there is one. */
static bool check_bytes(const char *data, size_t bytes, const clvi_ini_sink *sink)
{
    int line = 1;
    for (size_t i = 0; i < bytes;) {
        const size_t step = clvi_utf8_sequence(data + i, bytes - i);
        const unsigned char c = (unsigned char)data[i];
        const bool line_end = c == '\n' || (c == '\r' && i + 1 < bytes && data[i + 1] == '\n');
        if (step == 0) {
            sink->fault(sink->user, line, "the text is not UTF-8");
            return false;
        }
        if ((c < 0x20 && c != '\t' && !line_end) || c == 0x7F) {
            sink->fault(sink->user, line, "a control character; this is no text file");
            return false;
        }
        line += c == '\n';
        i += step;
    }
    return true;
}

clv_status clvi_ini_read(const char *data, size_t bytes, const clvi_ini_sink *sink,
                         clv_error *error)
{
    if (bytes >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0) {
        data += 3;
        bytes -= 3;
    }
    if (!check_bytes(data, bytes, sink))
        return CLV_OK;
    reader r = {.at = data, .end = data + bytes, .sink = sink, .error = error};
    const int result = ini_parse_stream(read_line, &r, entry, &r);
    clvi_text_fini(&r.logical);
    if (r.status != CLV_OK)
        return r.status;
    if (result == -2)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the INI reader");
    if (result != 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "inih refused logical line %d", result);
    return CLV_OK;
}
