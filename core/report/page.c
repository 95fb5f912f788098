/* A comparison as one HTML page: tables and two drawings, light and dark, for any width of screen.
 * See comparison.h. */
#include "report/comparison.h"

#include <math.h>

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--soft:#57606a;"
    "--band:#f6f8fa;--a:#0969da;--b:#bc4c00;--c:#1a7f37;--d:#8250df;--e:#bf3989;--f:#6e7781}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;"
    "--soft:#8d96a0;--band:#161b22;--a:#58a6ff;--b:#f0883e;--c:#3fb950;--d:#bc8cff;--e:#f778ba;"
    "--f:#8b949e}}\n"
    "body{margin:0 auto;padding:1rem;max-width:72rem;color:var(--ink);background:var(--paper);"
    "font:1rem/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;white-space:nowrap}\n"
    "th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;"
    "font-weight:normal}\n"
    "thead th{color:var(--soft);border-bottom-width:2px}\n"
    "tbody th{position:sticky;left:0;background:var(--paper);max-width:45vw;overflow:hidden;"
    "text-overflow:ellipsis}\n"
    "tbody tr:nth-child(even)>*{background:var(--band)}\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums}.note{color:var(--soft);"
    "font-size:.85rem;max-width:60rem}\n"
    "svg{width:100%;height:auto;max-width:48rem;font:12px system-ui,sans-serif}\n"
    "svg text{fill:var(--ink)}svg .axis{stroke:var(--line)}svg .soft{fill:var(--soft)}\n";

/* Colours of lines, by model in turn. */
static const char colors[] = "abcdef";

static char color_of(size_t index)
{
    return colors[index % (sizeof colors - 1)];
}

/* A range of values to a range of pixels. */
typedef struct scale {
    double from, to, begin, end;
} scale;

static double place(const scale *s, double value)
{
    return s->begin + (value - s->from) / (s->to - s->from) * (s->end - s->begin);
}

/* A step of 1, 2 or 5 times a power of ten that makes about five parts. */
static double step_of(double span)
{
    const double power = pow(10, floor(log10(span / 5))), times = span / 5 / power;
    return power * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

static void include(double value, double *low, double *high)
{
    if (!isfinite(value))
        return;
    if (!(*low <= value))
        *low = value;
    if (!(*high >= value))
        *high = value;
}

/* ---- Accuracy, a dot and its interval per run ---- */

static void draw_run(const clvi_run_record *r, const scale *x, double y, char color, clvi_text *out)
{
    const double top1 = clvi_figure(r, "test_top1");
    if (!isfinite(top1))
        return;
    clvi_text_printf(
        out,
        "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" style=\"stroke:var(--%c)\" "
        "stroke-opacity=\".5\" stroke-width=\"3\"/><circle cx=\"%.1f\" cy=\"%.1f\" "
        "r=\"4\" style=\"fill:var(--%c)\"/>\n",
        place(x, 100 * clvi_figure(r, "test_top1_low")),
        place(x, 100 * clvi_figure(r, "test_top1_high")), y, y, color, place(x, 100 * top1), y,
        color);
}

static void draw_axis(const scale *x, double y, const char *unit, clvi_text *out)
{
    const double step = step_of(x->to - x->from);
    for (double v = ceil(x->from / step) * step; v <= x->to + step / 1000; v += step)
        clvi_text_printf(
            out,
            "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%.1f\"/><text "
            "class=\"soft\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g%s</text>\n",
            place(x, v), place(x, v), y, place(x, v), y + 14, fabs(v) < step / 1000 ? 0 : v, unit);
}

static void draw_accuracy(const clvi_comparison *c, clvi_text *out)
{
    enum { ROW = 44, WIDTH = 640 };
    double low = NAN, high = NAN;
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++)
            if (c->contestants[i].runs[k].record.path) {
                include(100 * clvi_figure(&c->contestants[i].runs[k].record, "test_top1_low"), &low,
                        &high);
                include(100 * clvi_figure(&c->contestants[i].runs[k].record, "test_top1_high"),
                        &low, &high);
            }
    if (!(high > low))
        return;
    const scale x = {low, high, 16, WIDTH - 16};
    const double height = (double)(c->count * ROW);
    clvi_text_printf(out,
                     "<section>\n<h2>Test accuracy</h2>\n<svg viewBox=\"0 0 %d %.0f\" role=\"img\" "
                     "aria-label=\"Test accuracy of each run with its 95 %% interval\">\n",
                     WIDTH, height + 20);
    draw_axis(&x, height, " %", out);
    for (size_t i = 0; i < c->count; i++) {
        const clvi_contestant *model = &c->contestants[i];
        const double y = (double)(i * ROW);
        clvi_text_printf(out, "<text x=\"4\" y=\"%.1f\">", y + 13);
        clvi_report_escape(out, model->name);
        clvi_text_append(out, "</text>\n");
        for (size_t k = 0; k < model->run_count; k++)
            if (model->runs[k].record.path)
                draw_run(&model->runs[k].record, &x,
                         y + 22 + (double)k * 16 / (double)model->run_count, color_of(i), out);
    }
    clvi_text_append(out,
                     "</svg>\n<p class=\"note\">A dot per run, with Wilson's 95 % interval over "
                     "the test images.</p>\n</section>\n");
}

/* ---- Validation accuracy over time ---- */

static void draw_line(const clvi_run_record *r, const scale *x, const scale *y, char color,
                      clvi_text *out)
{
    clvi_text_printf(
        out, "<polyline fill=\"none\" stroke-width=\"2\" style=\"stroke:var(--%c)\" points=\"",
        color);
    for (size_t i = 0; i < r->history_count; i++)
        if (isfinite(r->history[i].val_top1))
            clvi_text_printf(out, "%.1f,%.1f ", place(x, r->history[i].seconds),
                             place(y, 100 * r->history[i].val_top1));
    clvi_text_append(out, "\"/>\n");
}

static void draw_history(const clvi_comparison *c, clvi_text *out)
{
    enum { WIDTH = 640, HEIGHT = 300, LEGEND = 18 };
    double low = NAN, high = NAN, first = 0, last = NAN;
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++) {
            const clvi_run_record *r = &c->contestants[i].runs[k].record;
            for (size_t e = 0; e < r->history_count; e++) {
                include(100 * r->history[e].val_top1, &low, &high);
                include(r->history[e].seconds, &first, &last);
            }
        }
    if (!(high > low) || !(last > 0))
        return;
    const scale x = {0, last, 40, WIDTH - 16}, y = {low, high, HEIGHT - 8, 8};
    clvi_text_printf(out,
                     "<section>\n<h2>Validation accuracy over time</h2>\n<svg viewBox=\"0 0 %d "
                     "%.0f\" role=\"img\" aria-label=\"Validation accuracy by seconds of "
                     "training\">\n",
                     WIDTH, HEIGHT + 24 + (double)c->count * LEGEND);
    draw_axis(&x, HEIGHT, " s", out);
    const double step = step_of(high - low);
    for (double v = ceil(low / step) * step; v <= high; v += step)
        clvi_text_printf(out,
                         "<line class=\"axis\" x1=\"40\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text "
                         "class=\"soft\" x=\"36\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                         WIDTH - 16, place(&y, v), place(&y, v), place(&y, v) + 4, v);
    for (size_t i = 0; i < c->count; i++) {
        for (size_t k = 0; k < c->contestants[i].run_count; k++)
            if (c->contestants[i].runs[k].record.path)
                draw_line(&c->contestants[i].runs[k].record, &x, &y, color_of(i), out);
        const double line = HEIGHT + 34 + (double)i * LEGEND;
        clvi_text_printf(
            out,
            "<rect x=\"40\" y=\"%.1f\" width=\"14\" height=\"4\" style=\"fill:var(--%c)\"/>"
            "<text x=\"60\" y=\"%.1f\">",
            line - 6, color_of(i), line);
        clvi_report_escape(out, c->contestants[i].name);
        clvi_text_append(out, "</text>\n");
    }
    clvi_text_append(out, "</svg>\n<p class=\"note\">Percent, a line per run. Augmented training, "
                          "validation after each epoch.</p>\n</section>\n");
}

clv_status clvi_comparison_html(const clvi_comparison *c, clvi_text *out, clv_error *error)
{
    clvi_report_table tables[CLVI_COMPARISON_TABLES];
    CLV_TRY(clvi_comparison_tables(c, tables, error));
    clvi_text_append(out,
                     "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                     "<title>");
    clvi_report_escape(out, c->title);
    clvi_text_append(out, "</title>\n<style>\n");
    clvi_text_append(out, style);
    clvi_text_append(out, "</style>\n</head>\n<body>\n<h1>");
    clvi_report_escape(out, c->title);
    clvi_text_append(out, "</h1>\n");
    if (c->command) {
        clvi_text_append(out, "<p class=\"note\"><code>");
        clvi_report_escape(out, c->command);
        clvi_text_append(out, "</code></p>\n");
    }
    for (size_t i = 0; i < CLVI_COMPARISON_TABLES; i++) {
        clvi_report_html(&tables[i], out);
        if (i == 0)
            draw_accuracy(c, out);
        clvi_report_table_fini(&tables[i]);
    }
    draw_history(c, out);
    clvi_text_append(out, "</body>\n</html>\n");
    if (out->failed)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the page");
    return CLV_OK;
}
