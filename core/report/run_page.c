/* See run_page.h. */
#include "report/run_page.h"

#include "base/files.h"
#include "report/run_mistakes.h"
#include "report/run_view.h"

#include <math.h>
#include <stdio.h>

/* ---- What it came to ---- */

static void tile(clvi_page *page, const char *name, const char *value, const char *more)
{
    clvi_text_append(&page->body, "<div><dt>");
    clvi_report_escape(&page->body, name);
    clvi_text_append(&page->body, "</dt><dd>");
    clvi_report_escape(&page->body, value);
    if (more && *more) {
        clvi_text_append(&page->body, "<small>");
        clvi_report_escape(&page->body, more);
        clvi_text_append(&page->body, "</small>");
    }
    clvi_text_append(&page->body, "</dd></div>\n");
}

static const char *last_cell(const clvi_report_table *t)
{
    return t->failed || t->count == 0 ? "–" : t->cells[t->count - 1];
}

static void show_tiles(const clvi_run_view *v, clvi_report_table *t, clvi_page *page)
{
    const clvi_run_record *r = &v->record;
    const clvi_score_summary *s = &r->scores[r->judged];
    char more[96];
    clvi_text_append(&page->body, "<dl class=\"tiles\">\n");
    if (s->count > 0) {
        clvi_report_percent(t, s->top1);
        snprintf(more, sizeof more, "%.2f–%.2f (95 %%)", 100 * s->top1_low, 100 * s->top1_high);
        tile(page, r->judged == CLVI_TEST ? "Test accuracy" : "Validation accuracy", last_cell(t),
             more);
        clvi_report_figure(t, s->nll);
        tile(page, "NLL", last_cell(t), "");
    }
    if (r->best_epoch >= 0) {
        clvi_report_count(t, (double)r->best_epoch);
        snprintf(more, sizeof more, "of %lld", (long long)r->epochs);
        tile(page, "Best epoch", last_cell(t), more);
    }
    clvi_report_seconds(t, r->seconds);
    tile(page, "Training", last_cell(t), "");
    if (r->parameters >= 0) {
        clvi_report_short(t, (double)r->parameters);
        tile(page, "Parameters", last_cell(t), "");
    }
    if (r->active >= 0) {
        clvi_report_short(t, (double)r->active);
        tile(page, "Multiply–adds", last_cell(t), "of an image");
    }
    clvi_text_append(&page->body, "</dl>\n");
}

static void show_state(const clvi_run_view *v, clvi_page *page)
{
    const clvi_run_record *r = &v->record;
    clvi_text note = {0};
    if (!r->summary) {
        clvi_text_printf(&note,
                         "This run has not ended: it has %zu epochs. `conclave train "
                         "--resume ",
                         r->history_count);
        clvi_text_append_word(&note, v->run);
        clvi_text_append(&note, "` goes on.");
    } else if (json_is_true(json_object_get(r->summary, "stopped_early"))) {
        const char *by = json_string_value(json_object_get(r->summary, "stopped_by"));
        clvi_text_printf(&note, "Training was ended early%s%s.", by ? " by " : "", by ? by : "");
    }
    clvi_page_note(page, clvi_text_get(&note));
    clvi_text_fini(&note);
}

static clv_status show_result(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {
        {"images", false, false},    {"count", true, false},   {"accuracy", true, false},
        {"95 %", true, false},       {"top-5", true, false},   {"NLL", true, false},
        {"calibrated", true, false}, {"ECE", true, false},     {"calibrated", true, false},
        {"Brier", true, false},      {"macro F1", true, false}};
    static const char *const names[] = {"training", "validation", "test"};
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    show_state(v, page);
    show_tiles(v, &t, page);
    t.count = 0;
    for (int k = 0; k < CLVI_SPLIT_COUNT; k++) {
        const clvi_score_summary *s = &v->record.scores[k];
        if (s->count == 0)
            continue;
        clvi_report_cell(&t, "%s", names[k]);
        clvi_report_count(&t, (double)s->count);
        clvi_report_percent(&t, s->top1);
        clvi_report_cell(&t, "%.2f–%.2f", 100 * s->top1_low, 100 * s->top1_high);
        clvi_report_percent(&t, s->top5);
        clvi_report_figure(&t, s->nll);
        clvi_report_figure(&t, s->nll_calibrated);
        clvi_report_figure(&t, s->ece);
        clvi_report_figure(&t, s->ece_calibrated);
        clvi_report_figure(&t, s->brier);
        clvi_report_figure(&t, s->f1);
    }
    if (t.count > 0) {
        clvi_page_section(page, "Result");
        clvi_page_table(page, &t);
        clvi_page_note(page, "By the best epoch’s weights, without augmentation. Calibrated: with "
                             "the temperature that was fitted on validation images.");
    }
    clvi_report_table_fini(&t);
    return CLV_OK;
}

/* ---- How it was made ---- */

static void show_warnings(const clvi_run_view *v, clvi_page *page)
{
    static const char mark[] = "  warning: ";
    clvi_text lines = {0};
    for (const char *at = v->log ? v->log : ""; *at;) {
        const size_t length = strcspn(at, "\n");
        const char *warning = strstr(at, mark);
        if (warning && warning < at + length) {
            warning += sizeof mark - 1;
            clvi_text_append_n(&lines, warning, (size_t)(at + length - warning));
            clvi_text_append(&lines, "\n");
        }
        at += length + (at[length] == '\n');
    }
    if (lines.length > 0)
        clvi_page_listing(page, "Warnings of the training", clvi_text_get(&lines));
    page->failed = page->failed || lines.failed;
    clvi_text_fini(&lines);
}

/* The device as the run's log has it, where it has not ended. */
static void device_row(const clvi_run_view *v, clvi_report_table *t)
{
    static const char mark[] = "  device: ";
    const char *device = json_string_value(json_object_get(v->record.summary, "device"));
    const char *line = v->log ? strstr(v->log, mark) : NULL;
    if (!device && !line)
        return;
    clvi_report_cell(t, "device");
    if (device)
        clvi_report_cell(t, "%s", device);
    else
        clvi_report_cell(t, "%.*s", (int)strcspn(line + sizeof mark - 1, "\n"),
                         line + sizeof mark - 1);
}

static clv_status show_machine(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {{"what", false, false}, {"value", false, false}};
    const clvi_run_record *r = &v->record;
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, 2, error));
    t.wraps = true;
    device_row(v, &t);
    if (r->peak_bytes >= 0) {
        clvi_report_cell(&t, "memory on the device");
        clvi_report_bytes(&t, (double)r->peak_bytes);
    }
    if (isfinite(r->images_per_second)) {
        clvi_report_cell(&t, "images per second of training");
        clvi_report_count(&t, r->images_per_second);
    }
    if (r->trainable >= 0) {
        clvi_report_cell(&t, "parameters that trained");
        clvi_report_count(&t, (double)r->trainable);
    }
    clvi_report_cell(&t, "folder");
    clvi_report_cell(&t, "%s", v->run);
    clvi_page_table(page, &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

static clv_status show_making(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    clvi_page_section(page, "How it was made");
    if (v->config) {
        clvi_text command = {0};
        clvi_text_append(&command, "conclave train ");
        clvi_text path = {0};
        clvi_text_printf(&path, "%s/config.ini", v->run);
        clvi_text_append_word(&command, clvi_text_get(&path));
        clvi_page_note(page, "The same training once more, in a folder of its own:");
        clvi_page_command(page, clvi_text_get(&command));
        page->failed = page->failed || path.failed || command.failed;
        clvi_text_fini(&path);
        clvi_text_fini(&command);
    }
    CLV_TRY(show_machine(v, page, error));
    show_warnings(v, page);
    if (v->config)
        clvi_page_listing(page, "The resolved configuration", v->config);
    return CLV_OK;
}

/* ---- The whole ---- */

static clv_status write_page(const clvi_run_view *v, const clvi_run_page_desc *desc,
                             clvi_page *page, clvi_text *out, clv_error *error)
{
    CLV_TRY(show_result(v, page, error));
    CLV_TRY(clvi_run_show_curves(v, page, error));
    CLV_TRY(clvi_run_show_experts(v, page, error));
    CLV_TRY(clvi_run_show_signals(v, page, error));
    CLV_TRY(clvi_run_show_classes(v, page, error));
    CLV_TRY(clvi_run_show_mistakes(v, desc, page, error));
    CLV_TRY(show_making(v, page, error));
    return clvi_page_finish(page, out, error);
}

clv_status clvi_run_page(const clvi_run_page_desc *desc, clvi_text *out, clv_error *error)
{
    clvi_run_view v;
    clvi_page page;
    clvi_text again = {0};
    CLV_TRY(clvi_run_view_read(desc->run, &v, error));
    clvi_text_append(&again, "conclave report ");
    clvi_text_append_word(&again, desc->run);
    clvi_page_begin(&page, clvi_path_name(desc->run), clvi_text_get(&again));
    page.failed = again.failed;
    const clv_status status = write_page(&v, desc, &page, out, error);
    clvi_page_fini(&page);
    clvi_text_fini(&again);
    clvi_run_view_fini(&v);
    return status;
}
