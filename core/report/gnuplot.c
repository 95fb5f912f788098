/* Plots drawn by gnuplot in a process of its own, and what a page takes of its SVG; see plot.h. */
#define _POSIX_C_SOURCE 200809L
#include "base/child.h"
#include "base/files.h"
#include "base/process.h"
#include "report/plot.h"
#include "report/table.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* ---- The program ---- */

static bool is_program(const char *path)
{
    return clvi_is_file(path) && access(path, X_OK) == 0;
}

/* CONCLAVE_GNUPLOT, or `gnuplot` in a folder of PATH. */
static bool find_gnuplot(char *out, size_t bytes)
{
    const char *given = clvi_env_get(CLVI_ENV_GNUPLOT), *folders = clvi_env_get(CLVI_ENV_PATH);
    if (given) {
        snprintf(out, bytes, "%s", given);
        return is_program(out);
    }
    for (const char *at = folders; at && *at;) {
        const size_t length = strcspn(at, ":");
        snprintf(out, bytes, "%.*s/gnuplot", (int)length, at);
        if (*at == '/' && length + sizeof "/gnuplot" <= bytes && is_program(out))
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* What it says: documents, and around them its words. */
typedef struct listener {
    clvi_text text; /* of the document under way */
    char words[256];
    bool inside;
    clvi_plot *const *plots;
    size_t count, at; /* plots; the one of the document under way */
    clvi_text *svgs;
} listener;

/* The next plot that has something to be drawn. */
static void seek(listener *l)
{
    while (l->at < l->count && l->plots[l->at]->points == 0)
        l->at++;
}

static void take_line(void *user, const char *line)
{
    listener *l = user;
    if (strncmp(line, "<?xml", 5) == 0)
        l->inside = true;
    if (!l->inside && line[strspn(line, " \t")] != '\0')
        snprintf(l->words, sizeof l->words, "%s", line + strspn(line, " \t"));
    if (!l->inside)
        return;
    clvi_text_append(&l->text, line);
    clvi_text_append(&l->text, "\n");
    if (strcmp(line, "</svg>") != 0)
        return;
    seek(l);
    if (l->at < l->count) {
        clvi_plot_take_svg(clvi_text_get(&l->text), l->plots[l->at], &l->svgs[l->at]);
        l->svgs[l->at].failed |= l->text.failed;
    }
    l->at++;
    l->inside = false;
    clvi_text_fini(&l->text);
}

static clv_status run(const char *program, const clvi_text *script, listener *l, clv_error *error)
{
    static const char *const arguments[] = {"-d", NULL}; /* without the user's own settings */
    clvi_child_end end;
    FILE *room = tmpfile();
    if (!room || fwrite(script->data, 1, script->length, room) != script->length ||
        fflush(room) != 0 || fseek(room, 0, SEEK_SET) != 0) {
        const int code = errno;
        if (room)
            fclose(room);
        return clvi_fail_errno(error, code, CLV_HERE, "no temporary file for gnuplot");
    }
    const clvi_child_desc desc = {.program = program,
                                  .arguments = arguments,
                                  .input = fileno(room),
                                  .silence_seconds = 60,
                                  .line = take_line,
                                  .user = l,
                                  .errors = true};
    const clv_status status = clvi_child_run(&desc, &end, error);
    fclose(room);
    CLV_TRY(status);
    seek(l);
    if (end.silent || end.signal != 0 || end.status != 0 || l->at < l->count)
        CLV_FAIL(error, CLV_E_IO, "%s has not drawn the plots: %s", program,
                 end.silent        ? "it said nothing for a minute"
                 : l->words[0]     ? l->words
                 : end.signal != 0 ? "a signal ended it"
                                   : "it gave no reason");
    return CLV_OK;
}

clv_status clvi_plots_draw(clvi_plot *const *plots, size_t count, clvi_text *svgs, bool *missing,
                           clv_error *error)
{
    char program[PATH_MAX];
    clvi_text script = {0};
    *missing = !find_gnuplot(program, sizeof program);
    if (*missing)
        return CLV_OK;
    for (size_t i = 0; i < count; i++)
        clvi_plot_script(plots[i], &script);
    listener l = {.plots = plots, .count = count, .svgs = svgs};
    clv_status status = CLV_OK;
    if (script.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the plots");
    else if (script.length > 0)
        status = run(program, &script, &l, error);
    clvi_text_fini(&script);
    clvi_text_fini(&l.text);
    return status;
}

/* ---- Its SVG ---- */

/* The value of an attribute of the tag at `tag`, which ends at `end`; *length 0: it has none. */
static const char *attribute(const char *tag, const char *end, const char *name, size_t *length)
{
    const size_t letters = strlen(name);
    *length = 0;
    for (const char *at = tag; at < end; at++) {
        if (*at != ' ' || strncmp(at + 1, name, letters) != 0 || at[letters + 1] != '=')
            continue;
        const char quote = at[letters + 2], *value = at + letters + 3;
        const char *last = memchr(value, quote, (size_t)(end - value));
        if (!last)
            return "";
        *length = (size_t)(last - value);
        return value;
    }
    return "";
}

/* Colour codes of plot.c as classes: "rgb( 10, 0, 3)" is s3, 11 in front also pale, 2 a line of the
 * grid; any other the axis. */
static void append_class(const char *color, clvi_text *out)
{
    int red, green, blue;
    if (sscanf(color, "rgb( %d , %d , %d )", &red, &green, &blue) != 3)
        red = 1;
    if (red == 10 || red == 11)
        clvi_text_printf(out, " class=\"s%d%s\"", blue, red == 11 ? " pale" : "");
    else
        clvi_text_append(out, red == 2 ? " class=\"grid\"" : " class=\"axis\"");
}

/* A text of the document, as it stands there, or the label that it stands for. */
static void append_text(const clvi_plot *plot, const char *text, size_t length, clvi_text *out)
{
    const char *label = clvi_text_get(&plot->labels);
    while (length > 0 && *text == ' ')
        text++, length--;
    if (*text != '@') {
        clvi_text_append_n(out, text, length);
        return;
    }
    size_t index = 0;
    for (text++; *text >= '0' && *text <= '9'; text++)
        index = 10 * index + (size_t)(*text - '0');
    for (size_t i = 0; i < index && i < plot->label_count; i++)
        label += strlen(label) + 1;
    if (index >= plot->label_count)
        return;
    clvi_text name = {0};
    clvi_text_append_n(&name, label, (size_t)(strrchr(label, '\n') - label));
    clvi_report_escape(out, clvi_text_get(&name));
    out->failed |= name.failed;
    clvi_text_fini(&name);
}

/* What the groups around an element say. */
typedef struct around {
    char width[16];                /* of lines */
    char x[16], y[16], anchor[16]; /* of a text */
} around;

static void copy(char *to, size_t bytes, const char *from, size_t length)
{
    snprintf(to, bytes, "%.*s", (int)length, from);
}

static void enter_group(const char *tag, const char *end, around *a)
{
    size_t length;
    const char *value = attribute(tag, end, "stroke-width", &length);
    if (length > 0)
        copy(a->width, sizeof a->width, value, length);
    value = attribute(tag, end, "transform", &length);
    if (length > 0)
        (void)sscanf(value, "translate(%15[-0-9.],%15[-0-9.])", a->x, a->y);
    value = attribute(tag, end, "text-anchor", &length);
    if (length > 0)
        copy(a->anchor, sizeof a->anchor, value, length);
}

static void append_path(const char *tag, const char *end, const around *a, clvi_text *out)
{
    size_t length, dashes;
    const char *data = attribute(tag, end, "d", &length);
    if (!memchr(data, 'L', length) && !memchr(data, 'l', length))
        return; /* a place alone: a mark without length */
    clvi_text_append(out, "<path");
    append_class(attribute(tag, end, "stroke", &dashes), out);
    if (strcmp(a->width, "1.00") != 0)
        clvi_text_printf(out, " stroke-width=\"%s\"", a->width);
    const char *dash = attribute(tag, end, "stroke-dasharray", &dashes);
    if (dashes > 0)
        clvi_text_printf(out, " stroke-dasharray=\"%.*s\"", (int)dashes, dash);
    clvi_text_append(out, " d=\"");
    for (size_t i = 0; i < length; i++) { /* white space as one blank, none at the ends */
        const bool blank = strchr(" \t\n", data[i]) != NULL;
        const bool last = i + 1 == length || strchr(" \t\n", data[i + 1]) != NULL;
        if (!blank || (i > 0 && !last))
            clvi_text_append_n(out, blank ? " " : data + i, 1);
    }
    clvi_text_append(out, "\"/>\n");
}

static void append_dot(const char *tag, const char *end, clvi_text *out)
{
    size_t length;
    char x[16], y[16], radius[16];
    const char *place = attribute(tag, end, "transform", &length);
    if (sscanf(place, "translate(%15[-0-9.],%15[-0-9.]) scale(%15[0-9.])", x, y, radius) != 3)
        return; /* a definition, not a dot */
    clvi_text_append(out, "<circle");
    append_class(attribute(tag, end, "color", &length), out);
    clvi_text_printf(out, " cx=\"%s\" cy=\"%s\" r=\"%s\"/>\n", x, y, radius);
}

void clvi_plot_take_svg(const char *document, const clvi_plot *plot, clvi_text *out)
{
    around a = {.width = "1.00", .anchor = "start"};
    size_t length;
    const char *body = strstr(document, "</defs>"), *root = strstr(document, "<svg");
    if (!root || !body)
        return;
    const char *box = attribute(root, body, "viewBox", &length);
    clvi_text_printf(out, "<svg viewBox=\"%.*s\" role=\"img\" aria-label=\"", (int)length, box);
    clvi_report_escape(out, plot->title ? plot->title : "");
    clvi_text_append(out, "\">\n");
    for (const char *at = body; (at = strchr(at, '<')) != NULL; at++) {
        const char *end = strchr(at, '>');
        if (!end)
            break;
        if (strncmp(at, "<g ", 3) == 0)
            enter_group(at, end, &a);
        else if (strncmp(at, "<path ", 6) == 0)
            append_path(at, end, &a, out);
        else if (strncmp(at, "<use ", 5) == 0)
            append_dot(at, end, out);
        else if (strncmp(at, "<text>", 6) == 0) {
            clvi_text_printf(out, "<text x=\"%s\" y=\"%s\" text-anchor=\"%s\">", a.x, a.y,
                             a.anchor);
            append_text(plot, end + 1, strcspn(end + 1, "<"), out);
            clvi_text_append(out, "</text>\n");
        }
    }
    clvi_text_append(out, "</svg>\n");
}
