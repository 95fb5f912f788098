/* A comparison as one HTML page: its tables, and every run's curves. See comparison.h. */
#include "report/comparison.h"
#include "report/page.h"

#include <math.h>
#include <stdio.h>

/* ---- Accuracy, a dot and its interval per run ---- */

static void draw_accuracy(const clvi_comparison *c, clvi_page *page)
{
    enum { ROW = 40, AXIS = 32 };
    const double label = 0.3, first = 0.66, last = 0.92; /* places within a row */
    clvi_page_plots_begin(page, false);
    clvi_plot *plot = clvi_page_plot(page, "Test accuracy, %", "");
    plot->rows = true;
    plot->height = AXIS + ROW * (int)c->count;
    for (size_t i = 0; i < c->count; i++) {
        const clvi_contestant *model = &c->contestants[i];
        clvi_plot_label(plot, (double)i + label, model->name);
        for (size_t k = 0; k < model->run_count; k++) {
            const clvi_run_record *r = &model->runs[k].record;
            const double y =
                (double)i + first + (last - first) * (double)k / (double)(model->run_count);
            if (!r->path)
                continue;
            clvi_plot_series(plot, CLVI_PLOT_INTERVAL, i, NULL);
            clvi_plot_point(plot, 100 * clvi_figure(r, "test_top1_low"), y);
            clvi_plot_point(plot, 100 * clvi_figure(r, "test_top1_high"), y);
            clvi_plot_series(plot, CLVI_PLOT_DOTS, i, NULL);
            clvi_plot_point(plot, 100 * clvi_figure(r, "test_top1"), y);
        }
    }
    clvi_page_plots_end(page);
    clvi_page_note(page, "A dot per run, with Wilson’s 95 % interval over the test images.");
}

/* ---- Curves ---- */

/* Units of time in which a number is short. */
typedef struct clock_unit {
    const char *name;
    double seconds;
} clock_unit;

static clock_unit unit_of(double most)
{
    return most > 3 * 3600 ? (clock_unit){"hours of training and validation", 3600}
           : most > 3 * 60 ? (clock_unit){"minutes of training and validation", 60}
                           : (clock_unit){"seconds of training and validation", 1};
}

static double val_top1(const clvi_epoch_record *e)
{
    return 100 * e->val_top1;
}

static double train_top1(const clvi_epoch_record *e)
{
    return 100 * e->train_top1;
}

static double val_loss(const clvi_epoch_record *e)
{
    return e->val_loss;
}

static double train_loss(const clvi_epoch_record *e)
{
    return e->train_loss;
}

static double rate(const clvi_epoch_record *e)
{
    return e->lr;
}

static const struct measure {
    const char *title;
    double (*of)(const clvi_epoch_record *epoch);
    bool log;
} measures[] = {{"Validation accuracy, %", val_top1, false},
                {"Training accuracy, %", train_top1, false},
                {"Validation loss (NLL)", val_loss, true},
                {"Training loss (NLL)", train_loss, true},
                {"Learning rate", rate, false}};

/* Epochs that are not known, where an experts' start is gone, stand nowhere. */
static double epoch_of(const clvi_epoch_record *e)
{
    return e->epoch == INT64_MAX ? NAN : (double)e->epoch;
}

static void draw_measure(const clvi_comparison *c, const struct measure *what, double unit,
                         clvi_plot *plot)
{
    for (size_t i = 0; i < c->count; i++) {
        bool named = false;
        for (size_t k = 0; k < c->contestants[i].run_count; k++) {
            const clvi_run_record *r = &c->contestants[i].runs[k].record;
            if (!r->path || r->history_count == 0)
                continue;
            clvi_plot_series(plot, CLVI_PLOT_LINE, i, named ? NULL : c->contestants[i].name);
            named = true;
            for (size_t e = 0; e < r->history_count; e++)
                clvi_plot_point(plot,
                                unit > 0 ? r->history[e].seconds / unit : epoch_of(&r->history[e]),
                                what->of(&r->history[e]));
        }
    }
    plot->whole_x = !(unit > 0);
    plot->log_y = what->log;
}

static void list_run(const clvi_contestant *model, const clvi_contest_run *run,
                     clvi_report_table *t)
{
    const clvi_run_record *r = &run->record;
    for (size_t i = 0; r->path && i < r->history_count; i++) {
        const clvi_epoch_record *e = &r->history[i];
        clvi_report_cell(t, "%s", model->name);
        clvi_report_cell(t, "%lld", (long long)run->seed);
        clvi_report_count(t, epoch_of(e));
        clvi_report_decimal(t, 1, e->seconds);
        clvi_report_figure(t, e->train_loss);
        clvi_report_figure(t, e->val_loss);
        clvi_report_percent(t, e->train_top1);
        clvi_report_percent(t, e->val_top1);
        clvi_report_cell(t, isfinite(e->lr) ? "%.4g" : "–", e->lr);
    }
}

static clv_status list_curves(const clvi_comparison *c, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {
        {"model", false, false},  {"seed", true, false},      {"epoch", true, false},
        {"seconds", true, false}, {"train NLL", true, false}, {"val NLL", true, false},
        {"train", true, false},   {"val", true, false},       {"learning rate", true, false}};
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    t.sortable = true;
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++)
            list_run(&c->contestants[i], &c->contestants[i].runs[k], &t);
    clvi_page_details(page, "The curves as a table", &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

static clv_status show_curves(const clvi_comparison *c, clvi_page *page, clv_error *error)
{
    double most = 0;
    bool any = false;
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++) {
            const clvi_run_record *r = &c->contestants[i].runs[k].record;
            for (size_t e = 0; r->path && e < r->history_count; e++) {
                any = true;
                if (r->history[e].seconds > most)
                    most = r->history[e].seconds;
            }
        }
    if (!any)
        return CLV_OK;
    const clock_unit unit = unit_of(most);
    clvi_page_section(page, "Curves");
    clvi_page_plots_begin(page, true);
    for (size_t m = 0; m < sizeof measures / sizeof *measures; m++) {
        draw_measure(c, &measures[m], 0, clvi_page_plot(page, measures[m].title, "epoch"));
        draw_measure(c, &measures[m], unit.seconds,
                     clvi_page_plot(page, measures[m].title, unit.name));
    }
    clvi_page_plots_end(page);
    clvi_page_note(page, "A line per run. What experts start from counts as trained before. "
                         "Training: as its steps ran, on augmented images.");
    return list_curves(c, page, error);
}

/* ---- The whole ---- */

static clv_status write_page(const clvi_comparison *c, clvi_page *page, clvi_text *out,
                             clv_error *error)
{
    clvi_report_table tables[CLVI_COMPARISON_TABLES];
    CLV_TRY(clvi_comparison_tables(c, tables, error));
    clv_status status = CLV_OK;
    clvi_page_command(page, c->command);
    for (size_t i = 0; i < CLVI_COMPARISON_TABLES; i++) {
        if (tables[i].count > 0) {
            clvi_page_section(page, tables[i].title);
            tables[i].title = NULL;
            clvi_page_table(page, &tables[i]);
        }
        if (i == 0)
            draw_accuracy(c, page);
        if (i == 1 && status == CLV_OK) /* behind the verdict, before the details */
            status = show_curves(c, page, error);
        clvi_report_table_fini(&tables[i]);
    }
    CLV_TRY(status);
    return clvi_page_finish(page, out, error);
}

clv_status clvi_comparison_html(const clvi_comparison *c, clvi_text *out, clv_error *error)
{
    clvi_page page;
    clvi_page_begin(&page, c->title, c->command ? c->command : "the same command");
    const clv_status status = write_page(c, &page, out, error);
    clvi_page_fini(&page);
    return status;
}
