/* See plot.h. */
#include "report/plot.h"

#include "report/table.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 360, HEIGHT = 210, LEFT = 46, RIGHT = 10, TOP = 8, MARKS = 24, UNIT = 16 };
enum { FEW_POINTS = 40 };

void clvi_plot_fini(clvi_plot *p)
{
    clvi_text_fini(&p->data);
    clvi_text_fini(&p->commands);
    clvi_text_fini(&p->legend);
    clvi_text_fini(&p->labels);
    *p = (clvi_plot){0};
}

/* ---- Series ---- */

/* What the colour and dashes of a thing are called in the page's style. */
static size_t color_of(size_t thing)
{
    return thing % CLVI_PLOT_COLORS + 1;
}

static size_t dash_of(size_t thing)
{
    return thing / CLVI_PLOT_COLORS % CLVI_PLOT_DASHES;
}

/* Ends the block of the series under way. */
static void end_series(const clvi_plot *p, clvi_text *data)
{
    if (p->series > 0)
        clvi_text_append(data, "E\n");
}

void clvi_plot_series(clvi_plot *p, clvi_plot_form form, size_t thing, const char *name)
{
    static const char *const dashes[CLVI_PLOT_DASHES] = {"1", "(12,6)", "(3,5)"};
    const unsigned color = (unsigned)color_of(thing);
    end_series(p, &p->data);
    p->series++;
    p->in_series = 0;
    clvi_text_printf(&p->data, "$d%zu << E\n", p->series);
    clvi_text_printf(&p->commands, "%s$d%zu using 1:2 with ", p->series > 1 ? ", " : "plot ",
                     p->series);
    if (form == CLVI_PLOT_LINE)
        clvi_text_printf(&p->commands, "@%zu lt 1 dt %s lw 1.8 pt 7 ps 0.25 lc rgb '#0a00%02x'",
                         p->series, dashes[dash_of(thing)], color);
    else if (form == CLVI_PLOT_DOTS)
        clvi_text_printf(&p->commands, "points pt 7 ps 0.8 lc rgb '#0a00%02x'", color);
    else
        clvi_text_printf(&p->commands, "lines lt 1 dt 1 lw 5 lc rgb '#0b00%02x'", color);
    if (!name)
        return;
    clvi_text_printf(&p->legend, "<li><i class=\"s%zu d%zu\"></i>", color_of(thing),
                     dash_of(thing));
    clvi_report_escape(&p->legend, name);
    clvi_text_append(&p->legend, "</li>");
}

static void include(double value, bool first, double *least, double *most)
{
    *least = first || value < *least ? value : *least;
    *most = first || value > *most ? value : *most;
}

void clvi_plot_point(clvi_plot *p, double x, double y)
{
    if (!isfinite(x) || !isfinite(y)) {
        if (p->in_series > 0)
            clvi_text_append(&p->data, "\n");
        return;
    }
    include(x, p->points == 0, &p->least_x, &p->most_x);
    include(y, p->points == 0, &p->least_y, &p->most_y);
    p->points++;
    p->in_series++;
    clvi_text_printf(&p->data, "%.9g %.9g\n", x, y);
}

void clvi_plot_label(clvi_plot *p, double y, const char *text)
{
    char place[96];
    snprintf(place, sizeof place, "%.6g", y);
    clvi_text_append(&p->labels, text);
    clvi_text_append_n(&p->labels, "\n", 1);
    clvi_text_append(&p->labels, place);
    clvi_text_append_n(&p->labels, "", 1);
    p->label_count++;
}

/* ---- Axes ---- */

/* A step of 1, 2 or 5 times a power of ten that makes about `parts` parts. */
static double step_of(double span, double parts)
{
    const double power = pow(10, floor(log10(span / parts))), times = span / parts / power;
    return power * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

static void append_mark(clvi_text *out, double value, bool first)
{
    clvi_text_printf(out, "%s'%.6g' %.9g", first ? "" : ", ", value, value);
}

/* Marks on an axis of a range, and the range where it is to end on marks. */
static void linear_axis(char axis, double low, double high, bool whole, clvi_text *out)
{
    if (!(high > low)) {
        const double room = whole || low == 0 ? 1 : fabs(low) * 0.1;
        low -= room;
        high += room;
    }
    double step = step_of(high - low, axis == 'x' ? 5 : 4);
    if (whole && step < 1)
        step = 1;
    if (axis == 'y') {
        low = floor(low / step + 1e-9) * step;
        high = ceil(high / step - 1e-9) * step;
    }
    clvi_text_printf(out, "set %crange [%.9g:%.9g]\nset %ctics (", axis, low, high, axis);
    const double first = ceil(low / step - 1e-9);
    for (int i = 0; (first + i) * step <= high + step * 1e-6; i++)
        append_mark(out, (first + i) * step, i == 0);
    clvi_text_append(out, ")\n");
}

/* Powers of ten; where these are few, 2 and 5 times them as well. */
static void log_axis(double low, double high, clvi_text *out)
{
    const double times[] = {1, 2, 5};
    const double from = floor(log10(low)), to = ceil(log10(high)), decades = log10(high / low);
    const int every = decades > 12 ? (int)(decades / 6) : 1;
    bool first = true;
    clvi_text_printf(out, "set logscale y\nset yrange [%.9g:%.9g]\nset ytics (", low / 1.15,
                     high * 1.15);
    for (double power = from; power <= to; power += every)
        for (int i = 0; i < (decades < 2.5 ? 3 : 1); i++) {
            const double value = times[i] * pow(10, power);
            if (value < low / 1.15 || value > high * 1.15)
                continue;
            append_mark(out, value, first);
            first = false;
        }
    clvi_text_append(out, ")\n");
}

/* Names beside rows; what they say is put in by clvi_plot_take_svg. */
static void place_labels(const clvi_plot *p, clvi_text *out)
{
    const char *at = clvi_text_get(&p->labels);
    for (size_t i = 0; i < p->label_count; i++, at += strlen(at) + 1)
        clvi_text_printf(out, "set label '@%zu' at graph 0, first %s left front tc rgb '#010101'\n",
                         i, strrchr(at, '\n') + 1);
}

static void axes(const clvi_plot *p, clvi_text *out)
{
    linear_axis('x', p->least_x, p->most_x, p->whole_x, out);
    if (p->rows)
        clvi_text_printf(out,
                         "set yrange [%zu:0]\nunset ytics\nset grid xtics lt 1 lw 1 lc rgb "
                         "'#020202'\n",
                         p->label_count);
    else if (p->log_y && p->least_y > 0 && p->most_y > 10 * p->least_y)
        log_axis(p->least_y, p->most_y, out);
    else
        linear_axis('y', p->least_y, p->most_y, false, out);
    if (!p->rows)
        clvi_text_append(out, "set grid ytics lt 1 lw 1 lc rgb '#020202'\n");
    place_labels(p, out);
}

void clvi_plot_script(const clvi_plot *p, clvi_text *out)
{
    const int height = p->height > 0 ? p->height : HEIGHT, left = p->rows ? RIGHT : LEFT;
    const char *unit = p->unit ? p->unit : "";
    const int bottom = *unit ? MARKS + UNIT : MARKS;
    if (p->points == 0)
        return;
    out->failed = out->failed || p->data.failed || p->commands.failed || p->labels.failed;
    clvi_text_append(out, "reset session\n");
    clvi_text_append(out, clvi_text_get(&p->data));
    end_series(p, out);
    clvi_text_printf(out,
                     "set terminal svg size %d,%d dynamic noenhanced font 'sans-serif,11'\n"
                     "set output '/dev/fd/2'\nunset key\nset border 1 lt 1 lw 1 lc rgb '#010101'\n"
                     "set tics nomirror scale 0 tc rgb '#010101'\n"
                     "set lmargin at screen %.6f\nset rmargin at screen %.6f\n"
                     "set tmargin at screen %.6f\nset bmargin at screen %.6f\n"
                     "set xlabel '%s' tc rgb '#010101' offset 0,0.65\n",
                     WIDTH, height, (double)left / WIDTH, 1 - (double)RIGHT / WIDTH,
                     1 - (double)TOP / height, (double)bottom / height, unit);
    axes(p, out);
    /* Lines of few points get dots: macros "@3" of the commands say which. */
    for (const char *at = clvi_text_get(&p->commands); *at; at++) {
        if (*at != '@') {
            clvi_text_append_n(out, at, 1);
            continue;
        }
        at += strspn(at + 1, "0123456789");
        clvi_text_append(out, !p->no_dots && p->points <= FEW_POINTS * p->series ? "linespoints"
                                                                                 : "lines");
    }
    clvi_text_append(out, "\nunset output\n");
}
