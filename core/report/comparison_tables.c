/* The tables of a comparison, as cells, CSV and Markdown; see comparison.h. */
#include "base/csv.h"
#include "report/comparison.h"
#include "report/experts.h"
#include "report/sources.h"

#include <math.h>
#include <stdio.h>

/* Runs that ended. */
static size_t ended(const clvi_contestant *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->run_count; i++)
        count += c->runs[i].record.path != NULL;
    return count;
}

/* Over the runs that ended; NAN below two of them. *failed: there is no memory. */
static double deviation(const clvi_contestant *c, const char *figure, bool *failed)
{
    double mean, result = NAN;
    double *values = clvi_malloc((c->run_count + 1) * sizeof *values);
    size_t count = 0;
    for (size_t i = 0; values && i < c->run_count; i++)
        if (c->runs[i].record.path)
            values[count++] = clvi_figure(&c->runs[i].record, figure);
    if (values)
        clvi_mean_deviation(values, count, &mean, &result);
    *failed |= !values;
    clvi_free(values);
    return result;
}

/* ---- Accuracy ---- */

static const clvi_report_column accuracy_columns[] = {
    {"model", false, false},       {"runs", true, true},      {"test", true, false},
    {"95 % or ±sd", true, false},  {"top-5", true, true},     {"NLL", true, false},
    {"ECE", true, false},          {"macro F1", true, false}, {"precision", true, true},
    {"recall", true, true},        {"Brier", true, true},     {"NLL calibrated", true, true},
    {"ECE calibrated", true, true}};

static void accuracy_row(const clvi_contestant *c, clvi_report_table *t)
{
    const size_t runs = ended(c);
    clvi_report_cell(t, "%s", c->name);
    clvi_report_cell(t, "%zu/%zu", runs, c->run_count);
    if (runs == 0)
        clvi_report_cell(t, "failed");
    else
        clvi_report_percent(t, clvi_contestant_mean(c, "test_top1"));
    const double low = clvi_contestant_mean(c, "test_top1_low");
    const double spread = deviation(c, "test_top1", &t->failed);
    if (isfinite(spread))
        clvi_report_cell(t, "± %.2f", 100 * spread);
    else if (isfinite(low))
        clvi_report_cell(t, "%.2f-%.2f", 100 * low,
                         100 * clvi_contestant_mean(c, "test_top1_high"));
    else
        clvi_report_cell(t, "–");
    clvi_report_percent(t, clvi_contestant_mean(c, "test_top5"));
    clvi_report_figure(t, clvi_contestant_mean(c, "test_nll"));
    clvi_report_figure(t, clvi_contestant_mean(c, "test_ece"));
    clvi_report_figure(t, clvi_contestant_mean(c, "test_f1"));
    clvi_report_percent(t, clvi_contestant_mean(c, "test_precision"));
    clvi_report_percent(t, clvi_contestant_mean(c, "test_recall"));
    clvi_report_figure(t, clvi_contestant_mean(c, "test_brier"));
    clvi_report_figure(t, clvi_contestant_mean(c, "test_nll_calibrated"));
    clvi_report_figure(t, clvi_contestant_mean(c, "test_ece_calibrated"));
}

/* "NAME, seed 2: why. …" for every run that failed; NULL without any. */
static const char *faults(const clvi_comparison *c, clvi_report_table *t)
{
    const char *all = NULL;
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++) {
            const clvi_contest_run *run = &c->contestants[i].runs[k];
            if (run->record.path)
                continue;
            all = clvi_arena_printf(t->arena, "%s%sFailed: %s, seed %lld: %s.", all ? all : "",
                                    all ? " " : "", c->contestants[i].name, (long long)run->seed,
                                    run->fault ? run->fault : "no reason is known");
            t->failed = t->failed || !all;
        }
    return all;
}

static clv_status accuracy_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Accuracy on test images", accuracy_columns,
                                   sizeof accuracy_columns / sizeof *accuracy_columns, error));
    for (size_t i = 0; i < c->count; i++)
        accuracy_row(&c->contestants[i], t);
    t->note = faults(c, t);
    return CLV_OK;
}

/* ---- Against the reference ---- */

static const clvi_report_column test_columns[] = {
    {"model", false, false},
    {"difference", true, false},
    {"95 % interval", true, false},
    {"p", true, false},
    {"", false, false},
    {"pairs", true, true},
    {"only it / only the reference right", false, true}};

static void test_row(const clvi_comparison *c, size_t index, clvi_report_table *t)
{
    const clvi_contest_test *r = &c->tests[index];
    clvi_report_cell(t, "%s", c->contestants[index].name);
    if (isfinite(r->difference))
        clvi_report_cell(t, "%+.2f %%", 100 * r->difference);
    else
        clvi_report_cell(t, "–");
    if (isfinite(r->low))
        clvi_report_cell(t, "%+.2f to %+.2f", 100 * r->low, 100 * r->high);
    else
        clvi_report_cell(t, "–");
    if (isfinite(r->p))
        clvi_report_cell(t, r->p < 0.001 ? "<0.001" : "%.3f", r->p);
    else
        clvi_report_cell(t, "–");
    clvi_report_cell(t, "%s", r->verdict);
    clvi_report_cell(t, "%zu", r->pairs);
    clvi_report_cell(t, "%s", r->counts);
}

/* Why models were not compared, behind what the columns mean. */
static const char *test_note(const clvi_comparison *c, clvi_report_table *t)
{
    bool few = false;
    for (size_t i = 0; i < c->count; i++)
        few = few || (i != c->reference && c->tests[i].pairs > 0 && c->tests[i].pairs < 3);
    const char *note = clvi_arena_printf(
        t->arena,
        "%sPaired by seed and image. From three seeds on: interval and p by a bootstrap over seeds "
        "and images, p corrected by Holm over this table.%s",
        clvi_comparison_tested(c)
            ? ""
            : "There are no test images: these are validation's, which also chose the "
              "epochs. ",
        few ? " Below three seeds p is that of the exact McNemar test between the two runs, "
              "corrected likewise, and there is no claim about the method."
            : "");
    for (size_t i = 0; i < c->count && note; i++)
        if (i != c->reference && c->tests[i].pairs == 0 && c->tests[i].fault[0] != '\0')
            note = clvi_arena_printf(t->arena, "%s %s is not compared: %s.", note,
                                     c->contestants[i].name, c->tests[i].fault);
    t->failed = t->failed || !note;
    return note;
}

static clv_status test_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "", test_columns, sizeof test_columns / sizeof *test_columns,
                                   error));
    if (c->reference >= c->count || c->count < 2)
        return CLV_OK;
    t->title = clvi_arena_printf(t->arena, "Against %s", c->contestants[c->reference].name);
    if (!t->title)
        t->title = "", t->failed = true;
    for (size_t i = 0; i < c->count; i++)
        test_row(c, i, t);
    t->note = test_note(c, t);
    return CLV_OK;
}

/* ---- Training ---- */

/* Mean over the runs of the best validation accuracy within a time or a number of epochs; NAN where
 * nothing was trained. */
static double within(const clvi_contestant *c, double seconds, int64_t epochs)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < c->run_count; i++) {
        const clvi_run_record *r = &c->runs[i].record;
        if (!r->path || !clvi_contestant_trains(c))
            continue;
        sum += epochs > 0 ? clvi_run_record_within_epochs(r, epochs)
                          : clvi_run_record_within_seconds(r, seconds);
        count++;
    }
    return count > 0 ? sum / (double)count : NAN;
}

/* A cell of a model's row: one of its figures, and how it is written. */
typedef struct figure_cell {
    const char *figure;
    void (*put)(clvi_report_table *table, double value);
} figure_cell;

static void figure_row(const clvi_contestant *model, const figure_cell *cells, size_t count,
                       clvi_report_table *t)
{
    clvi_report_cell(t, "%s", model->name);
    for (size_t i = 0; i < count; i++)
        cells[i].put(t, clvi_contestant_mean(model, cells[i].figure));
}

static void put_mean_epoch(clvi_report_table *t, double epoch)
{
    if (isfinite(epoch))
        clvi_report_cell(t, "%.4g", epoch);
    else
        clvi_report_cell(t, "–");
}

static const clvi_report_column training_columns[] = {
    {"model", false, false},     {"train", true, false},     {"val", true, false},
    {"epochs", true, false},     {"time", true, false},      {"½ after", true, false},
    {"½ time", true, false},     {"best epoch", true, true}, {"train NLL", true, true},
    {"train top-5", true, true}, {"train ECE", true, true},  {"train macro F1", true, true},
    {"train Brier", true, true}, {"val NLL", true, true},    {"temperature", true, true}};

static const figure_cell training_cells[] = {
    {"train_top1", clvi_report_percent}, {"val_top1", clvi_report_percent},
    {"epochs", clvi_report_count},       {"seconds", clvi_report_seconds},
    {"half_way_epochs", put_mean_epoch}, {"half_way_seconds", clvi_report_seconds},
    {"best_epoch", put_mean_epoch},      {"train_nll", clvi_report_figure},
    {"train_top5", clvi_report_percent}, {"train_ece", clvi_report_figure},
    {"train_f1", clvi_report_figure},    {"train_brier", clvi_report_figure},
    {"val_nll", clvi_report_figure},     {"temperature", clvi_report_figure}};

static clv_status training_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Training", training_columns,
                                   sizeof training_columns / sizeof *training_columns, error));
    t->note =
        "train: the training images without augmentation, by the best epoch's weights. time: "
        "of training and validation, of the runs that experts start from as well; epochs: "
        "with those of the longest of these. ½: the epochs, and the time, after which the NLL "
        "of training, as the steps ran, was below half of that of guessing, ln(classes); "
        "–: not every run got there.";
    for (size_t i = 0; i < c->count; i++)
        figure_row(&c->contestants[i], training_cells,
                   sizeof training_cells / sizeof *training_cells, t);
    return CLV_OK;
}

/* Times at which models are compared: that of the fastest one, and parts of that of the slowest.
 * The headings of the terminal and the names of the columns of CSV. */
enum { EQUAL_TIMES = 4 };
static const char *const equal_names[EQUAL_TIMES] = {
    "val_top1_equal_seconds", "val_top1_quarter_time", "val_top1_half_time", "val_top1_all_time"};
static const clvi_report_column equal_columns[] = {
    {"model", false, false}, {"fastest", true, false}, {"1/4", true, false},
    {"1/2", true, false},    {"slowest", true, false}, {"equal epochs", true, false}};

static double equal_time(const clvi_comparison *c, size_t index)
{
    static const double parts[EQUAL_TIMES] = {0, 0.25, 0.5, 1};
    return index == 0 ? c->equal_seconds : parts[index] * c->most_seconds;
}

static clv_status equal_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Equal time, equal epochs", equal_columns,
                                   sizeof equal_columns / sizeof *equal_columns, error));
    if (!isfinite(c->equal_seconds) || c->count < 2)
        return CLV_OK;
    t->note = clvi_arena_printf(
        t->arena,
        "The best validation accuracy of the epochs that had ended after %.1f s, the time of the "
        "fastest model, after a quarter, half and all of %.1f s, that of the slowest (a model that "
        "was done earlier keeps its best; –: not every run had ended an epoch), and of the first "
        "%lld epochs.",
        c->equal_seconds, c->most_seconds, (long long)c->equal_epochs);
    t->failed = t->failed || !t->note;
    for (size_t i = 0; i < c->count; i++) {
        clvi_report_cell(t, "%s", c->contestants[i].name);
        for (size_t k = 0; k < EQUAL_TIMES; k++)
            clvi_report_percent(t, within(&c->contestants[i], equal_time(c, k), 0));
        clvi_report_percent(t, within(&c->contestants[i], 0, c->equal_epochs));
    }
    return CLV_OK;
}

/* ---- Cost ---- */

static const clvi_report_column cost_columns[] = {
    {"model", false, false},      {"params", true, false}, {"trained", true, false},
    {"mult-adds", true, false},   {"img/s", true, false},  {"memory", true, false},
    {"all mult-adds", true, true}};

static const figure_cell cost_cells[] = {
    {"parameters", clvi_report_short},           {"trainable", clvi_report_short},
    {"active_multiply_adds", clvi_report_short}, {"images_per_second", clvi_report_short},
    {"peak_device_bytes", clvi_report_bytes},    {"multiply_adds", clvi_report_short}};

static clv_status cost_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Cost", cost_columns,
                                   sizeof cost_columns / sizeof *cost_columns, error));
    t->note = "mult-adds: of an image, forward, in the parts that run for it. img/s: of training. "
              "memory: the most that was in use on the device.";
    for (size_t i = 0; i < c->count; i++)
        figure_row(&c->contestants[i], cost_cells, sizeof cost_cells / sizeof *cost_cells, t);
    return CLV_OK;
}

/* ---- Gates ---- */

static const clvi_report_column gate_columns[] = {
    {"model", false, false},        {"dead", true, false},     {"entropy", true, false},
    {"of mean", true, false},       {"bits", true, false},     {"by chance", true, false},
    {"uniform", true, false},       {"shuffled", true, false}, {"oracle", true, false},
    {"bits of source", true, true}, {"by chance", true, true}};

static void put_mean_count(clvi_report_table *t, double count)
{
    clvi_report_decimal(t, 1, count);
}

static const figure_cell gate_cells[] = {{"dead_experts", put_mean_count},
                                         {"gate_mean_entropy", clvi_report_figure},
                                         {"gate_entropy_of_mean", clvi_report_figure},
                                         {"class_information_bits", clvi_report_figure},
                                         {"class_information_bits_shuffled", clvi_report_figure},
                                         {"uniform_gate_top1", clvi_report_percent},
                                         {"shuffled_gate_top1", clvi_report_percent},
                                         {"oracle_top1", clvi_report_percent},
                                         {"source_information_bits", clvi_report_figure},
                                         {"source_information_bits_shuffled", clvi_report_figure}};

static clv_status gates_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Gates", gate_columns,
                                   sizeof gate_columns / sizeof *gate_columns, error));
    t->note = "dead: experts with less than a tenth of an equal share, or of its weight, on the "
              "training images. entropy: of the gate, mean over the images; of mean: of the mean "
              "gate; both over ln K. "
              "bits: mutual information of the first expert and the class (Miller and Madow), and "
              "what shuffled labels give; of source: of that and the source of the image. uniform, "
              "shuffled: accuracy with all experts alike, with "
              "another image's gate, put in after training. oracle: some expert is right.";
    for (size_t i = 0; i < c->count; i++)
        if (isfinite(clvi_contestant_mean(&c->contestants[i], "gate_mean_entropy")))
            figure_row(&c->contestants[i], gate_cells, sizeof gate_cells / sizeof *gate_cells, t);
    return CLV_OK;
}

/* ---- Parts of a step ---- */

static const clvi_report_column step_columns[] = {
    {"model", false, false}, {"part", false, false}, {"ms", true, false}, {"share", true, false}};

/* One part of the first of a model's runs that measured them. */
static void step_row(clvi_report_table *t, const char *model, const char *part, double ms,
                     double all)
{
    clvi_report_cell(t, "%s", model);
    clvi_report_cell(t, "%s", part);
    clvi_report_cell(t, ms < 9.995 ? "%.2f" : "%.1f", ms);
    if (all > 0)
        clvi_report_cell(t, "%.1f %%", 100 * ms / all);
    else
        clvi_report_cell(t, " ");
}

static void step_rows(const clvi_contestant *model, clvi_report_table *t)
{
    static const struct {
        const char *key, *name;
    } host[] = {{"read", "reading, of one thread"},
                {"decode", "decoding, of one thread"},
                {"wait", "waiting for images"},
                {"upload", "upload"}};
    const json_t *times = NULL;
    for (size_t i = 0; i < model->run_count && !times; i++)
        times = json_object_get(model->runs[i].record.summary, "step_ms");
    if (!times)
        return;
    const char *part;
    json_t *ms, *parts = json_object_get(times, "device");
    double kernels = 0;
    json_object_foreach(parts, part, ms)
    {
        kernels += json_number_value(ms);
    }
    char head[64];
    snprintf(head, sizeof head, "a step of %.0f images",
             json_number_value(json_object_get(times, "images")));
    step_row(t, model->name, head, json_number_value(json_object_get(times, "wall")), 0);
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        step_row(t, "", host[i].name, json_number_value(json_object_get(times, host[i].key)), 0);
    json_object_foreach(parts, part, ms)
    {
        step_row(t, "", part, json_number_value(ms), kernels);
    }
}

static clv_status step_table(const clvi_comparison *c, clvi_report_table *t, clv_error *error)
{
    CLV_TRY(clvi_report_table_init(t, "Parts of a training step", step_columns,
                                   sizeof step_columns / sizeof *step_columns, error));
    for (size_t i = 0; i < c->count; i++)
        step_rows(&c->contestants[i], t);
    t->note =
        "Of up to five steps after the training. Reading and decoding go on in other threads, "
        "ahead of the steps; what they do not hide is waiting. The parts below upload are times "
        "of kernels on the device, in steps of their own; share: of their sum.";
    return CLV_OK;
}

/* ---- All ---- */

clv_status clvi_comparison_tables(const clvi_comparison *c, clvi_report_table *tables,
                                  clv_error *error)
{
    static clv_status (*const make[CLVI_COMPARISON_TABLES])(
        const clvi_comparison *c, clvi_report_table *t, clv_error *error) = {
        accuracy_table,     test_table,         training_table, equal_table, cost_table,
        clvi_sources_table, clvi_experts_table, gates_table,    step_table};
    memset(tables, 0, CLVI_COMPARISON_TABLES * sizeof *tables);
    clv_status status = CLV_OK;
    for (size_t i = 0; i < CLVI_COMPARISON_TABLES && status == CLV_OK; i++) {
        status = make[i](c, &tables[i], error);
        if (status == CLV_OK && tables[i].failed)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the tables");
    }
    for (size_t i = 0; status != CLV_OK && i < CLVI_COMPARISON_TABLES; i++)
        clvi_report_table_fini(&tables[i]);
    return status;
}

/* ---- CSV ---- */

void clvi_comparison_csv(const clvi_comparison *c, clvi_text *out)
{
    clvi_text_append(out, "model,runs,ended");
    for (size_t f = 0; clvi_figure_name(f); f++)
        clvi_csv_append(out, clvi_figure_name(f));
    clvi_csv_append(out, "test_top1_deviation");
    for (size_t k = 0; k < EQUAL_TIMES; k++)
        clvi_csv_append(out, equal_names[k]);
    clvi_text_append(out, ",val_top1_equal_epochs,equal_seconds,slowest_seconds,equal_epochs,"
                          "reference,pairs,difference,difference_low,difference_high,p,verdict\n");
    for (size_t i = 0; i < c->count; i++) {
        const clvi_contestant *model = &c->contestants[i];
        const clvi_contest_test *test = &c->tests[i];
        clvi_csv_append(out, model->name);
        clvi_csv_append_int(out, (int64_t)model->run_count);
        clvi_csv_append_int(out, (int64_t)ended(model));
        for (size_t f = 0; clvi_figure_name(f); f++)
            clvi_csv_append_real(out, clvi_contestant_mean(model, clvi_figure_name(f)), 9);
        clvi_csv_append_real(out, deviation(model, "test_top1", &out->failed), 9);
        for (size_t k = 0; k < EQUAL_TIMES; k++)
            clvi_csv_append_real(out, within(model, equal_time(c, k), 0), 9);
        clvi_csv_append_real(out, within(model, 0, c->equal_epochs), 9);
        clvi_csv_append_real(out, c->equal_seconds, 9);
        clvi_csv_append_real(out, c->most_seconds, 9);
        clvi_csv_append_int(out, c->equal_epochs);
        clvi_csv_append(out, c->reference < c->count ? c->contestants[c->reference].name : "");
        clvi_csv_append_int(out, (int64_t)test->pairs);
        clvi_csv_append_real(out, test->difference, 9);
        clvi_csv_append_real(out, test->low, 9);
        clvi_csv_append_real(out, test->high, 9);
        clvi_csv_append_real(out, test->p, 9);
        clvi_csv_append(out, test->verdict);
        clvi_csv_end_line(out);
    }
}

void clvi_comparison_runs_csv(const clvi_comparison *c, clvi_text *out)
{
    clvi_text_append(out, "model,seed,run,fault");
    for (size_t f = 0; clvi_figure_name(f); f++)
        clvi_csv_append(out, clvi_figure_name(f));
    clvi_csv_end_line(out);
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->contestants[i].run_count; k++) {
            const clvi_contest_run *run = &c->contestants[i].runs[k];
            clvi_csv_append(out, c->contestants[i].name);
            clvi_csv_append_int(out, run->seed);
            clvi_csv_append(out, run->record.path ? run->record.path : "");
            clvi_csv_append(out, run->fault ? run->fault : "");
            for (size_t f = 0; clvi_figure_name(f); f++)
                clvi_csv_append_real(
                    out, run->record.path ? clvi_figure(&run->record, clvi_figure_name(f)) : NAN,
                    9);
            clvi_csv_end_line(out);
        }
}

/* ---- Markdown ---- */

clv_status clvi_comparison_markdown(const clvi_comparison *c, clvi_text *out, clv_error *error)
{
    clvi_report_table tables[CLVI_COMPARISON_TABLES];
    CLV_TRY(clvi_comparison_tables(c, tables, error));
    clvi_text_printf(out, "# %s\n\n", c->title);
    if (c->command)
        clvi_text_printf(out, "    %s\n\n", c->command);
    for (size_t i = 0; i < CLVI_COMPARISON_TABLES; i++) {
        clvi_report_markdown(&tables[i], out);
        clvi_report_table_fini(&tables[i]);
    }
    if (out->failed)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the tables");
    return CLV_OK;
}
