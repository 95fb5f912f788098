/* See experts.h. */
#include "report/experts.h"

#include "base/csv.h"

#include <math.h>

/* What is told of an expert, in the order of the columns. */
typedef enum figure { SHARE, OVER_IDEAL, WEIGHT, FIRST, ALONE, WITHOUT, FIGURES } figure;

static const json_t *usage_of(const clvi_run_record *r)
{
    return json_object_get(r->summary, "usage");
}

/* Experts of a run; 0: it has one, or did not end. */
static size_t expert_count(const clvi_run_record *r)
{
    return json_array_size(json_object_get(usage_of(r), "experts"));
}

static const char *expert_name(const clvi_run_record *r, size_t expert)
{
    const json_t *names = json_object_get(usage_of(r), "experts");
    const char *name = json_string_value(json_array_get(names, expert));
    return name ? name : "?";
}

static double entry(const json_t *usage, const char *key, size_t expert)
{
    const json_t *value = json_array_get(json_object_get(usage, key), expert);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* NAN where it is not known, such as `without` on training images. */
static double figure_of(const clvi_run_record *r, clvi_split split, size_t expert, figure what)
{
    const json_t *usage = json_object_get(usage_of(r), clvi_split_name(split));
    switch (what) {
    case SHARE:
        return entry(usage, "share", expert);
    case OVER_IDEAL:
        return entry(usage, "share", expert) * (double)expert_count(r);
    case WEIGHT:
        return entry(usage, "weight_share", expert);
    case FIRST: /* a share of the images */
        return entry(usage, "first_choice", expert) /
               json_number_value(json_object_get(usage, "images"));
    case ALONE:
        return entry(usage, "alone", expert);
    default:
        return entry(usage, "without", expert);
    }
}

/* ---- Table ---- */

static const clvi_report_column columns[] = {{"model", false, false}, {"expert", false, false},
                                             {"share", true, false},  {"/ ideal", true, false},
                                             {"weight", true, false}, {"first", true, false},
                                             {"alone", true, false},  {"without it", true, false}};

/* Over the runs that ended. */
static double mean(const clvi_contestant *model, size_t expert, figure what)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < model->run_count; i++) {
        const clvi_run_record *r = &model->runs[i].record;
        if (r->path)
            sum += figure_of(r, r->judged, expert, what), count++;
    }
    return count > 0 ? sum / (double)count : NAN;
}

static void rows(const clvi_contestant *model, clvi_report_table *t)
{
    const clvi_run_record *first = NULL;
    for (size_t i = 0; i < model->run_count && !first; i++)
        first = model->runs[i].record.path ? &model->runs[i].record : NULL;
    for (size_t i = 0; first && i < expert_count(first); i++) {
        clvi_report_cell(t, "%s", i == 0 ? model->name : "");
        clvi_report_cell(t, "%s", expert_name(first, i));
        for (figure f = SHARE; f < FIGURES; f++)
            if (f == OVER_IDEAL)
                clvi_report_decimal(t, 2, mean(model, i, f));
            else
                clvi_report_percent(t, mean(model, i, f));
    }
}

clv_status clvi_experts_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Experts", columns, sizeof columns / sizeof *columns, error));
    bool several = false;
    for (size_t i = 0; i < c->count; i++) {
        rows(&c->contestants[i], t);
        several = several || c->contestants[i].run_count > 1;
    }
    t->note = clvi_arena_printf(
        t->arena,
        "On %s images%s. share: of all assignments of images to experts; / ideal: over that of "
        "equal ones. first: images of which its weight is the largest. alone: accuracy of its own "
        "answer. without it: accuracy of the mixture, its weight given to the others.",
        clvi_comparison_tested(c) ? "test" : "validation",
        several ? ", means over the runs: experts that are alike may change places from seed to "
                  "seed, the CSV of the experts has each run"
                : "");
    t->failed = t->failed || !t->note;
    return CLV_OK;
}

/* ---- CSV ---- */

static void csv_lines(const clvi_contestant *model, const clvi_contest_run *run, clvi_split split,
                      clvi_text *out)
{
    const clvi_run_record *r = &run->record;
    const json_t *usage = json_object_get(usage_of(r), clvi_split_name(split));
    const json_int_t images = json_integer_value(json_object_get(usage, "images"));
    for (size_t i = 0; usage && i < expert_count(r); i++) {
        clvi_csv_append(out, model->name);
        clvi_csv_append_int(out, run->seed);
        clvi_csv_append(out, r->path);
        clvi_csv_append(out, clvi_split_name(split));
        clvi_csv_append(out, expert_name(r, i));
        clvi_csv_append_int(out, (int64_t)images);
        for (figure f = SHARE; f < FIGURES; f++)
            clvi_csv_append_real(out, figure_of(r, split, i, f), 9);
        clvi_csv_end_line(out);
    }
}

void clvi_experts_csv(const clvi_comparison *c, clvi_text *out)
{
    clvi_text_append(out, "model,seed,run,split,expert,images,share,share_over_ideal,weight_share,"
                          "first_choice_share,alone,without\n");
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++)
            for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
                if (c->contestants[i].runs[k].record.path)
                    csv_lines(&c->contestants[i], &c->contestants[i].runs[k], (clvi_split)s, out);
}
