/* What the experts of a run are worth and what its gate does with them. See run_view.h. */
#include "report/heat_map.h"
#include "report/run_view.h"

#include <math.h>
#include <stdlib.h>

/* Of more classes the heat map shows those that are treated most unlike the others. */
enum { MOST_CLASSES = 60 };

static const char *name_of(const json_t *names, size_t expert)
{
    const char *name = json_string_value(json_array_get(names, expert));
    return name ? name : "?";
}

static double real_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The usage on the judged images. */
static const json_t *usage_of(const clvi_run_view *v)
{
    return json_object_get(json_object_get(v->record.summary, "usage"), clvi_run_view_split(v));
}

static double entry(const json_t *usage, const char *key, size_t expert)
{
    return real_of(json_array_get(json_object_get(usage, key), expert));
}

/* ---- Without an expert ---- */

/* Whether every expert is asked about every image: then leaving one out saves its work. */
static bool is_dense(const clvi_run_view *v)
{
    return v->record.active == v->record.multiply_adds;
}

/* Share of the multiply-adds of an image; NAN where it is not known. */
static double share_of_work(const clvi_run_view *v, size_t expert)
{
    const json_t *usage = json_object_get(v->record.summary, "usage");
    return is_dense(v) ? entry(usage, "multiply_adds", expert) / (double)v->record.multiply_adds
                       : NAN;
}

/* Milliseconds that the device takes to go forward through a part, NULL: through all, where the run
 * measured the parts of a step; 0 where it did not. */
static double forward_ms(const clvi_run_view *v, const char *part)
{
    static const char ending[] = " forward";
    const json_t *device = json_object_get(json_object_get(v->record.summary, "step_ms"), "device");
    const size_t end = sizeof ending - 1;
    const char *key;
    json_t *value;
    double sum = 0;
    json_object_foreach((json_t *)device, key, value)
    {
        const size_t length = strlen(key);
        const bool forward = length > end && strcmp(key + length - end, ending) == 0;
        const bool own =
            !part || (strncmp(key, "expert.", 7) == 0 && length == 7 + strlen(part) + end &&
                      strncmp(key + 7, part, length - 7 - end) == 0);
        if (forward && own)
            sum += json_number_value(value);
    }
    return sum;
}

/* Share of that time. Experts of one architecture may be computed together, as one of them: those
 * with as many multiply-adds share what they take alike. NAN where it is not known. */
static double share_of_time(const clvi_run_view *v, size_t expert)
{
    const json_t *usage = json_object_get(v->record.summary, "usage");
    const json_t *names = clvi_run_view_experts(v);
    const double own = entry(usage, "multiply_adds", expert), all = forward_ms(v, NULL);
    double sum = 0;
    size_t alike = 0;
    for (size_t i = 0; i < json_array_size(names); i++)
        if (entry(usage, "multiply_adds", i) == own) {
            sum += forward_ms(v, name_of(names, i));
            alike++;
        }
    return is_dense(v) && all > 0 && alike > 0 ? sum / (double)alike / all : NAN;
}

static void saving(clvi_report_table *t, double share)
{
    if (isfinite(share))
        clvi_report_cell(t, "−%.0f %%", 100 * share);
    else
        clvi_report_cell(t, "–");
}

/* A difference with its sign, in points. */
static void points(clvi_report_table *t, double difference)
{
    const double rounded = floor(fabs(100 * difference) * 100 + 0.5) / 100;
    if (!isfinite(difference))
        clvi_report_cell(t, "–");
    else if (rounded == 0)
        clvi_report_cell(t, "±0.00");
    else
        clvi_report_cell(t, "%s%.2f", difference < 0 ? "−" : "+", rounded);
}

static clv_status show_table(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {{"expert", false, false},
                                                 {"mean weight", true, false},
                                                 {"assignments", true, false},
                                                 {"first choice", true, false},
                                                 {"right alone", true, false},
                                                 {"drop it: points", true, false},
                                                 {"drop it: multiply–adds", true, false},
                                                 {"drop it: time", true, false}};
    const json_t *names = clvi_run_view_experts(v), *usage = usage_of(v);
    const double whole = v->record.scores[v->record.judged].top1;
    const double images = real_of(json_object_get(usage, "images"));
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    t.sortable = true;
    for (size_t i = 0; i < json_array_size(names); i++) {
        clvi_report_cell(&t, "%s", name_of(names, i));
        clvi_report_percent(&t, entry(usage, "weight_share", i));
        clvi_report_percent(&t, entry(usage, "share", i));
        clvi_report_percent(&t, entry(usage, "first_choice", i) / images);
        clvi_report_percent(&t, entry(usage, "alone", i));
        points(&t, entry(usage, "without", i) - whole);
        saving(&t, share_of_work(v, i));
        saving(&t, share_of_time(v, i));
    }
    t.note = clvi_arena_printf(
        t.arena,
        "On %s images. “Drop it” is what the accuracy of the mixture, %.2f %%, becomes without the "
        "expert, whose weight the others get%s. Time is measured by `train --step-times`; experts "
        "of equal size share it.",
        clvi_run_view_split(v), 100 * whole,
        is_dense(v) ? ", and what is saved: of the multiply–adds and the time that an image takes"
                    : "; as only some experts are asked about an image, that saves no work");
    t.failed = t.failed || !t.note;
    clvi_page_table(page, &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

/* ---- The gate ---- */

static void row(clvi_report_table *t, const char *name, const json_t *usage, const char *key,
                bool percent)
{
    const double value = real_of(json_object_get(usage, key));
    if (!isfinite(value))
        return;
    clvi_report_cell(t, "%s", name);
    if (percent)
        clvi_report_percent(t, value);
    else
        clvi_report_figure(t, value);
}

static clv_status show_gate(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {{"figure", false, false}, {"value", true, false}};
    const json_t *usage = usage_of(v);
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, "The gate", columns, 2, error));
    t.wraps = true;
    row(&t, "accuracy with equal weights", usage, "uniform", true);
    row(&t, "accuracy with the weights of another image", usage, "shuffled", true);
    row(&t, "an expert is right (oracle)", usage, "oracle", true);
    row(&t, "entropy of an image’s weights, 1: all alike", usage, "mean_entropy", false);
    row(&t, "entropy of the mean weights, 1: all used alike", usage, "entropy_of_mean", false);
    row(&t, "bits that the first choice says of the class", usage, "class_information_bits", false);
    row(&t, "the same of shuffled classes", usage, "class_information_bits_shuffled", false);
    row(&t, "bits that it says of the source", usage, "source_information_bits", false);
    clvi_page_table(page, &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

/* ---- Who is asked about which class ---- */

typedef struct class_row {
    const char *name;
    size_t first;  /* its first line in the sheet */
    double unlike; /* sum of the absolute differences of its weights to those of all images */
} class_row;

static int by_unlikeness(const void *a, const void *b)
{
    const class_row *x = a, *y = b;
    if (x->unlike != y->unlike)
        return x->unlike < y->unlike ? 1 : -1;
    return (x->first > y->first) - (x->first < y->first);
}

static int by_place(const void *a, const void *b)
{
    const class_row *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Lines of a group stand together, one for each expert. */
static size_t find_classes(const clvi_run_view *v, size_t experts, class_row *rows)
{
    const clvi_sheet *s = &v->usage;
    const json_t *usage = usage_of(v);
    size_t count = 0;
    for (size_t i = 0; i + experts <= s->rows; i++) {
        if (!clvi_sheet_is(s, i, "by", "class") ||
            !clvi_sheet_is(s, i, "split", clvi_run_view_split(v)))
            continue;
        class_row row = {.name = clvi_sheet_text(s, i, "group"), .first = i};
        for (size_t e = 0; e < experts; e++)
            row.unlike +=
                fabs(clvi_sheet_real(s, i + e, "weight_share") - entry(usage, "weight_share", e));
        rows[count++] = row;
        i += experts - 1;
    }
    return count;
}

static void draw_usage(const clvi_run_view *v, const class_row *rows, size_t count,
                       const char **names, double *values, clvi_page *page)
{
    const json_t *experts = clvi_run_view_experts(v);
    const size_t columns = json_array_size(experts);
    const char **column_names = names + count;
    double most = 0;
    for (size_t r = 0; r < count; r++) {
        names[r] = rows[r].name;
        for (size_t e = 0; e < columns; e++) {
            const double share = clvi_sheet_real(&v->usage, rows[r].first + e, "weight_share");
            values[r * columns + e] = share;
            most = share > most ? share : most;
        }
    }
    for (size_t e = 0; e < columns; e++)
        column_names[e] = name_of(experts, e);
    const clvi_heat_map map = {.corner = "class",
                               .row_names = names,
                               .column_names = column_names,
                               .values = values,
                               .rows = count,
                               .columns = columns,
                               .most = most,
                               .form = CLVI_HEAT_PERCENT};
    clvi_page_heading(page, "Which expert for which class");
    clvi_heat_map_html(&map, &page->body);
}

static clv_status show_usage(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    const size_t experts = json_array_size(clvi_run_view_experts(v));
    class_row *rows = clvi_calloc(v->usage.rows + 1, sizeof *rows);
    const char **names = clvi_calloc(MOST_CLASSES + experts + 1, sizeof *names);
    double *values = clvi_calloc(MOST_CLASSES * (experts + 1), sizeof *values);
    if (rows && names && values) {
        const size_t all = find_classes(v, experts, rows);
        const size_t count = all < MOST_CLASSES ? all : MOST_CLASSES;
        qsort(rows, all, sizeof *rows, by_unlikeness);
        qsort(rows, count, sizeof *rows, by_place);
        if (count > 0)
            draw_usage(v, rows, count, names, values, page);
        if (count > 0)
            clvi_page_note(page, all > count
                                     ? "Mean weight in percent, of the 60 classes whose weights "
                                       "differ most from those of all images."
                                     : "Mean weight of each expert on the images of a class, in "
                                       "percent.");
    }
    const bool failed = !rows || !names || !values;
    clvi_free(rows);
    clvi_free(names);
    clvi_free(values);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the usage of %zu experts", experts);
    return CLV_OK;
}

/* ---- How its weights are distributed ---- */

/* Steps of one expert's bins; adds its rows to the table. Returns the images without it. */
static double add_bins(const clvi_run_view *v, const char *expert, clvi_plot *plot,
                       clvi_report_table *t)
{
    const clvi_sheet *s = &v->weights;
    double none = 0, all = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s->rows; i++) {
            if (!clvi_sheet_is(s, i, "expert", expert) ||
                !clvi_sheet_is(s, i, "split", clvi_run_view_split(v)))
                continue;
            const double from = clvi_sheet_real(s, i, "from"), to = clvi_sheet_real(s, i, "to");
            const double images = clvi_sheet_real(s, i, "images");
            if (pass == 0) {
                all += images;
                none += to == 0 ? images : 0;
                continue;
            }
            clvi_report_cell(t, "%s", expert);
            clvi_report_cell(t, to == 0 ? "not asked" : "%.2f to %.2f", from, to);
            clvi_report_count(t, images);
            clvi_report_percent(t, images / all);
            if (to == 0)
                continue;
            clvi_plot_point(plot, from, 100 * images / all);
            clvi_plot_point(plot, to, 100 * images / all);
        }
    return none;
}

static clv_status show_weights(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {{"expert", false, false},
                                                 {"weight", true, false},
                                                 {"images", true, false},
                                                 {"of all", true, false}};
    const json_t *names = clvi_run_view_experts(v);
    clvi_report_table t;
    double none = 0;
    if (v->weights.rows == 0)
        return CLV_OK;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    clvi_page_heading(page, "How the weights are distributed");
    clvi_page_plots_begin(page, false);
    clvi_plot *plot = clvi_page_plot(page, "Images, %", "weight of the expert");
    plot->no_dots = true;
    for (size_t i = 0; i < json_array_size(names); i++) {
        clvi_plot_series(plot, CLVI_PLOT_LINE, i, name_of(names, i));
        none += add_bins(v, name_of(names, i), plot, &t);
    }
    clvi_page_plots_end(page);
    clvi_page_details(page, "The distributions as a table", &t);
    clvi_page_note(page, none > 0 ? "Images that an expert is not asked about are not in its "
                                    "curve; the table counts them."
                                  : NULL);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

clv_status clvi_run_show_experts(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    if (!clvi_run_view_experts(v))
        return CLV_OK;
    clvi_page_section(page, "Experts");
    CLV_TRY(show_table(v, page, error));
    CLV_TRY(show_gate(v, page, error));
    CLV_TRY(show_usage(v, page, error));
    return show_weights(v, page, error);
}
