/* What reached each expert in training, epoch by epoch. See run_view.h. */
#include "report/heat_map.h"
#include "report/run_view.h"

#include <math.h>

/* Of more pairs and epochs the table has the last epoch alone. */
enum { MOST_ROWS = 3000, FEW_PARTS = 8 };

/* Networks of signals.csv: "expert.a", …, "gate". */
typedef struct parts {
    const char **names; /* [count] */
    size_t count;
} parts;

static bool has(const parts *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->names[i], name) == 0)
            return true;
    return false;
}

/* The values of `column`, each once, in the order in which they come. */
static clv_status distinct(const clvi_sheet *s, const char *column, parts *out, clv_error *error)
{
    size_t capacity = 0;
    parts p = {0};
    for (size_t i = 0; i < s->rows; i++) {
        const char *name = clvi_sheet_text(s, i, column);
        void *names = p.names;
        if (has(&p, name))
            continue;
        if (clvi_grow(&names, &capacity, p.count + 1, sizeof *p.names, error) != CLV_OK) {
            clvi_free(p.names);
            return CLV_E_MEMORY;
        }
        p.names = names;
        p.names[p.count++] = name;
    }
    *out = p;
    return CLV_OK;
}

/* "expert.a" as "a". */
static const char *shown(const char *part)
{
    return strncmp(part, "expert.", 7) == 0 ? part + 7 : part;
}

/* ---- Experts and gate ---- */

static const struct signal {
    const char *column, *title;
    double times;
    bool log;
} signals[] = {{"weight", "Mean weight, %", 100, false},
               {"posterior", "Mean posterior: who explains the label, %", 100, false},
               {"top1", "Right on its images, %", 100, false},
               {"logit_gradient", "Gradient of the logits", 1, true},
               {"gradient", "Gradient of the parameters", 1, true},
               {"entropy", "Entropy of the gate, 1: all alike", 1, false},
               {"posterior_entropy", "Entropy of the posterior", 1, false}};
enum { SIGNALS = sizeof signals / sizeof *signals };

/* named: which parts stand in a legend; of many each in the first plot that has it. */
static void draw_signal(const clvi_run_view *v, const parts *p, const struct signal *what,
                        bool *named, clvi_plot *plot)
{
    const clvi_sheet *s = &v->signals;
    plot->whole_x = true;
    plot->log_y = what->log;
    for (size_t k = 0; k < p->count; k++) {
        bool known = false;
        for (size_t i = 0; i < s->rows && !known; i++)
            known = clvi_sheet_is(s, i, "part", p->names[k]) &&
                    isfinite(clvi_sheet_real(s, i, what->column));
        if (!known)
            continue;
        const bool name = p->count <= FEW_PARTS || !named[k];
        named[k] = true;
        clvi_plot_series(plot, CLVI_PLOT_LINE, k, name ? shown(p->names[k]) : NULL);
        for (size_t i = 0; i < s->rows; i++)
            if (clvi_sheet_is(s, i, "part", p->names[k]))
                clvi_plot_point(plot, clvi_sheet_real(s, i, "epoch"),
                                what->times * clvi_sheet_real(s, i, what->column));
    }
}

static clv_status list_signals(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {
        {"network", false, false},        {"epoch", true, false},
        {"weight", true, false},          {"posterior", true, false},
        {"right", true, false},           {"gradient of logits", true, false},
        {"of parameters", true, false},   {"entropy", true, false},
        {"of the posterior", true, false}};
    const clvi_sheet *s = &v->signals;
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    t.sortable = true;
    for (size_t i = 0; i < s->rows; i++) {
        clvi_report_cell(&t, "%s", shown(clvi_sheet_text(s, i, "part")));
        clvi_report_count(&t, clvi_sheet_real(s, i, "epoch"));
        for (size_t k = 0; k < SIGNALS; k++) {
            const double value = clvi_sheet_real(s, i, signals[k].column);
            if (signals[k].times > 1)
                clvi_report_percent(&t, value);
            else
                clvi_report_cell(&t, isfinite(value) ? "%.4g" : "–", value);
        }
    }
    clvi_page_details(page, "The signals as a table", &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

/* ---- Pairs of experts ---- */

static const struct measure {
    const char *column, *title;
    bool percent;
    double most;
} measures[] = {{"disagreement", "Disagreement, % of the images", true, 1},
                {"yule_q", "Yule’s Q of their errors", false, 1},
                {"gradient_cosine", "Cosine of their gradients", false, 1},
                {"weight_distance", "Distance of their weights", false, 1.5}};
enum { MEASURES = sizeof measures / sizeof *measures };

/* Mean, smallest and largest value of a measure over the pairs, epoch by epoch. */
static void draw_measure(const clvi_run_view *v, const struct measure *what, clvi_plot *plot)
{
    static const char *const names[] = {"mean of the pairs", "smallest", "largest"};
    const clvi_sheet *s = &v->pairs;
    plot->whole_x = true;
    for (int kind = 0; kind < 3; kind++) {
        clvi_plot_series(plot, CLVI_PLOT_LINE, kind == 0 ? 0 : kind == 1 ? 12 : 19, names[kind]);
        for (size_t i = 0; i < s->rows;) {
            const double epoch = clvi_sheet_real(s, i, "epoch");
            double sum = 0, count = 0, least = NAN, most = NAN;
            for (; i < s->rows && clvi_sheet_real(s, i, "epoch") == epoch; i++) {
                const double value = clvi_sheet_real(s, i, what->column);
                if (!isfinite(value))
                    continue;
                sum += value, count++;
                least = value >= least ? least : value;
                most = value <= most ? most : value;
            }
            const double value = kind == 0 ? sum / count : kind == 1 ? least : most;
            clvi_plot_point(plot, epoch, (what->percent ? 100 : 1) * value);
            if (!isfinite(epoch))
                i++; /* a line without an epoch: passed over */
        }
    }
}

static size_t place_of(const parts *p, const char *name)
{
    size_t i = 0;
    while (i < p->count && strcmp(p->names[i], name) != 0)
        i++;
    return i;
}

/* The matrix of the last epoch. */
static void draw_matrix(const clvi_run_view *v, const parts *p, const struct measure *what,
                        double *values, clvi_page *page)
{
    const clvi_sheet *s = &v->pairs;
    const char *last = clvi_sheet_text(s, s->rows - 1, "epoch");
    bool known = false;
    for (size_t i = 0; i < p->count * p->count; i++)
        values[i] = NAN;
    for (size_t i = 0; i < s->rows; i++) {
        const size_t a = place_of(p, shown(clvi_sheet_text(s, i, "first")));
        const size_t b = place_of(p, shown(clvi_sheet_text(s, i, "second")));
        const double value = clvi_sheet_real(s, i, what->column);
        if (!clvi_sheet_is(s, i, "epoch", last) || a == p->count || b == p->count)
            continue;
        values[a * p->count + b] = values[b * p->count + a] = value;
        known = known || isfinite(value);
    }
    if (!known)
        return;
    const clvi_heat_map map = {.corner = "",
                               .row_names = p->names,
                               .column_names = p->names,
                               .values = values,
                               .rows = p->count,
                               .columns = p->count,
                               .most = what->most,
                               .form = what->percent ? CLVI_HEAT_PERCENT : CLVI_HEAT_DECIMAL};
    clvi_text_append(&page->body, "<figure><figcaption>");
    clvi_report_escape(&page->body, what->title);
    clvi_text_append(&page->body, "</figcaption>\n");
    clvi_heat_map_html(&map, &page->body);
    clvi_text_append(&page->body, "</figure>\n");
}

static clv_status list_pairs(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {{"pair", false, false},
                                                 {"epoch", true, false},
                                                 {"disagreement", true, false},
                                                 {"Yule’s Q", true, false},
                                                 {"cosine of gradients", true, false},
                                                 {"distance of weights", true, false}};
    const clvi_sheet *s = &v->pairs;
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    t.sortable = true;
    const char *last = clvi_sheet_text(s, s->rows - 1, "epoch");
    if (s->rows > MOST_ROWS)
        t.note = "Of the last epoch; signal_pairs.csv has the others.";
    for (size_t i = 0; i < s->rows; i++) {
        if (t.note && !clvi_sheet_is(s, i, "epoch", last))
            continue;
        clvi_report_cell(&t, "%s, %s", shown(clvi_sheet_text(s, i, "first")),
                         shown(clvi_sheet_text(s, i, "second")));
        clvi_report_count(&t, clvi_sheet_real(s, i, "epoch"));
        clvi_report_percent(&t, clvi_sheet_real(s, i, "disagreement"));
        for (size_t k = 1; k < MEASURES; k++)
            clvi_report_figure(&t, clvi_sheet_real(s, i, measures[k].column));
    }
    clvi_page_details(page, "The pairs as a table", &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

static clv_status show_pairs(const clvi_run_view *v, const parts *all, clvi_page *page,
                             clv_error *error)
{
    parts p = {.names = clvi_calloc(all->count + 1, sizeof *p.names)};
    double *values = clvi_calloc(all->count * all->count + 1, sizeof *values);
    clv_status status = CLV_OK;
    if (!p.names || !values)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for pairs of %zu experts",
                           all->count);
    for (size_t i = 0; status == CLV_OK && i < all->count; i++)
        if (strcmp(all->names[i], "gate") != 0)
            p.names[p.count++] = shown(all->names[i]);
    if (status == CLV_OK) {
        clvi_page_heading(page, "Pairs of experts");
        clvi_page_plots_begin(page, false);
        for (size_t k = 0; k < MEASURES; k++)
            draw_measure(v, &measures[k], clvi_page_plot(page, measures[k].title, "epoch"));
        clvi_page_plots_end(page);
        clvi_page_note(page, "Yule’s Q is 1 where two experts err on the same images, below 0 "
                             "where they err on different ones. A positive cosine proves nothing: "
                             "all experts learn the same labels. Distance 0: copies, 1.4: nothing "
                             "in common. In the last epoch:");
        clvi_text_append(&page->body, "<div class=\"matrices\">\n");
        for (size_t k = 0; k < MEASURES; k++)
            draw_matrix(v, &p, &measures[k], values, page);
        clvi_text_append(&page->body, "</div>\n");
        status = list_pairs(v, page, error);
    }
    clvi_free(p.names);
    clvi_free(values);
    return status;
}

clv_status clvi_run_show_signals(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    parts p = {0};
    if (v->signals.rows == 0)
        return CLV_OK;
    CLV_TRY(distinct(&v->signals, "part", &p, error));
    bool *named = clvi_calloc(p.count, sizeof *named);
    if (!named) {
        clvi_free(p.names);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the signals of %zu networks", p.count);
    }
    clvi_page_section(page, "Signals in training");
    clvi_page_plots_begin(page, false);
    for (size_t k = 0; k < SIGNALS; k++)
        draw_signal(v, &p, &signals[k], named, clvi_page_plot(page, signals[k].title, "epoch"));
    clvi_page_plots_end(page);
    clvi_free(named);
    clvi_page_note(page, "Of the steps as they ran. Gradients are root mean squares: of the loss "
                         "with respect to an expert’s logits, and to its parameters.");
    clv_status status = list_signals(v, page, error);
    if (status == CLV_OK && v->pairs.rows > 0)
        status = show_pairs(v, &p, page, error);
    clvi_free(p.names);
    return status;
}
