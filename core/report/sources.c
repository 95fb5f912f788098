/* See sources.h. */
#include "report/sources.h"

#include "base/csv.h"

#include <math.h>

static const clvi_report_column columns[] = {
    {"model", false, false},    {"source", false, false},  {"train", true, false},
    {"val", true, false},       {"test", true, false},     {"95 %", true, true},
    {"test NLL", true, false},  {"train NLL", true, true}, {"val NLL", true, true},
    {"test images", true, true}};

/* {SOURCE: {SPLIT: {…}}}; NULL: one source. */
static const json_t *sources_of(const clvi_run_record *r)
{
    return json_object_get(r->summary, "sources");
}

static double real(const json_t *scores, const char *figure)
{
    const json_t *value = json_object_get(scores, figure);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Over the runs that ended. */
static double mean(const clvi_contestant *model, const char *source, clvi_split split,
                   const char *figure)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < model->run_count; i++) {
        const clvi_run_record *r = &model->runs[i].record;
        const json_t *splits = json_object_get(sources_of(r), source);
        if (r->path)
            sum += real(json_object_get(splits, clvi_split_name(split)), figure), count++;
    }
    return count > 0 ? sum / (double)count : NAN;
}

static void rows(const clvi_contestant *model, clvi_report_table *t)
{
    json_t *sources = NULL, *splits;
    const char *source;
    bool first = true;
    for (size_t i = 0; i < model->run_count && !sources; i++)
        sources = json_object_get(model->runs[i].record.summary, "sources");
    json_object_foreach(sources, source, splits)
    {
        clvi_report_cell(t, "%s", first ? model->name : "");
        clvi_report_cell(t, "%s", source);
        clvi_report_percent(t, mean(model, source, CLVI_TRAIN, "top1"));
        clvi_report_percent(t, mean(model, source, CLVI_VAL, "top1"));
        clvi_report_percent(t, mean(model, source, CLVI_TEST, "top1"));
        const double low = mean(model, source, CLVI_TEST, "top1_low");
        if (isfinite(low))
            clvi_report_cell(t, "%.2f-%.2f", 100 * low,
                             100 * mean(model, source, CLVI_TEST, "top1_high"));
        else
            clvi_report_cell(t, "–");
        clvi_report_figure(t, mean(model, source, CLVI_TEST, "nll"));
        clvi_report_figure(t, mean(model, source, CLVI_TRAIN, "nll"));
        clvi_report_figure(t, mean(model, source, CLVI_VAL, "nll"));
        clvi_report_count(t, mean(model, source, CLVI_TEST, "count"));
        first = false;
    }
}

clv_status clvi_sources_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Sources of the images", columns,
                                   sizeof columns / sizeof *columns, error));
    t->note = "Accuracy on the images of each source; train: unaugmented, by the best epoch's "
              "weights. Means over the runs.";
    for (size_t i = 0; i < c->count; i++)
        rows(&c->contestants[i], t);
    return CLV_OK;
}

static void csv_lines(const clvi_contestant *model, const clvi_contest_run *run, clvi_text *out)
{
    static const char *const figures[] = {"top1", "top1_low", "top1_high", "nll"};
    json_t *splits, *sources = json_object_get(run->record.summary, "sources");
    const char *source;
    json_object_foreach(sources, source, splits)
    {
        for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
            const json_t *scores = json_object_get(splits, clvi_split_name((clvi_split)s));
            if (!scores)
                continue;
            clvi_csv_append(out, model->name);
            clvi_csv_append_int(out, run->seed);
            clvi_csv_append(out, run->record.path);
            clvi_csv_append(out, clvi_split_name((clvi_split)s));
            clvi_csv_append(out, source);
            clvi_csv_append_int(out, json_integer_value(json_object_get(scores, "count")));
            for (size_t f = 0; f < sizeof figures / sizeof *figures; f++)
                clvi_csv_append_real(out, real(scores, figures[f]), 9);
            clvi_csv_end_line(out);
        }
    }
}

void clvi_sources_csv(const clvi_comparison *c, clvi_text *out)
{
    clvi_text_append(out, "model,seed,run,split,source,images,top1,top1_low,top1_high,nll\n");
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++)
            csv_lines(&c->contestants[i], &c->contestants[i].runs[k], out);
}
