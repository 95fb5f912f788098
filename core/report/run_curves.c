/* The curves of a run: what each epoch brought. See run_view.h. */
#include "report/run_view.h"

#include <math.h>

enum { TRAINING, VALIDATION }; /* things of the plots */

static double train_loss(const clvi_epoch_record *e)
{
    return e->train_loss;
}

static double val_loss(const clvi_epoch_record *e)
{
    return e->val_loss;
}

static double train_top1(const clvi_epoch_record *e)
{
    return 100 * e->train_top1;
}

static double val_top1(const clvi_epoch_record *e)
{
    return 100 * e->val_top1;
}

static double rate(const clvi_epoch_record *e)
{
    return e->lr;
}

static void line(const clvi_run_record *r, clvi_plot *plot, size_t thing, const char *name,
                 double (*of)(const clvi_epoch_record *epoch))
{
    clvi_plot_series(plot, CLVI_PLOT_LINE, thing, name);
    for (size_t i = 0; i < r->history_count; i++)
        clvi_plot_point(plot, (double)r->history[i].epoch, of(&r->history[i]));
}

/* A dot where the best epoch is. */
static void best(const clvi_run_record *r, clvi_plot *plot, double (*of)(const clvi_epoch_record *))
{
    clvi_plot_series(plot, CLVI_PLOT_DOTS, VALIDATION, NULL);
    for (size_t i = 0; i < r->history_count; i++)
        if (r->history[i].epoch == r->best_epoch)
            clvi_plot_point(plot, (double)r->history[i].epoch, of(&r->history[i]));
}

static void draw(const clvi_run_record *r, clvi_page *page)
{
    clvi_page_plots_begin(page, false);
    clvi_plot *plot = clvi_page_plot(page, "Loss (NLL)", "epoch");
    line(r, plot, TRAINING, "training", train_loss);
    line(r, plot, VALIDATION, "validation", val_loss);
    best(r, plot, val_loss);
    plot->whole_x = true;
    plot->log_y = true;
    plot = clvi_page_plot(page, "Accuracy, %", "epoch");
    line(r, plot, TRAINING, "training", train_top1);
    line(r, plot, VALIDATION, "validation", val_top1);
    best(r, plot, val_top1);
    plot->whole_x = true;
    plot = clvi_page_plot(page, "Learning rate", "epoch");
    line(r, plot, 2, NULL, rate);
    plot->whole_x = true;
    clvi_page_plots_end(page);
}

clv_status clvi_run_show_curves(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {
        {"epoch", true, false},        {"time", true, false},  {"train NLL", true, false},
        {"val NLL", true, false},      {"train", true, false}, {"val", true, false},
        {"learning rate", true, false}};
    const clvi_run_record *r = &v->record;
    clvi_report_table t;
    if (r->history_count == 0)
        return CLV_OK;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    for (size_t i = 0; i < r->history_count; i++) {
        const clvi_epoch_record *e = &r->history[i];
        clvi_report_count(&t, (double)e->epoch);
        clvi_report_seconds(&t, e->seconds);
        clvi_report_figure(&t, e->train_loss);
        clvi_report_figure(&t, e->val_loss);
        clvi_report_percent(&t, e->train_top1);
        clvi_report_percent(&t, e->val_top1);
        clvi_report_cell(&t, isfinite(e->lr) ? "%.4g" : "–", e->lr);
    }
    clvi_page_section(page, "Curves");
    draw(r, page);
    clvi_page_details(page, "The curves as a table", &t);
    clvi_page_note(page, "Training: as its steps ran, on augmented images and with weights that "
                         "change. The large dot is the best epoch, whose weights the figures of "
                         "this page are of.");
    clvi_report_table_fini(&t);
    return CLV_OK;
}
