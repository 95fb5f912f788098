/* conclave profile: where the time of a step goes, by operation, by step of the network and by
 * kernel, and a trace file. */
#include "bench.h"
#include "config_args.h"
#include "profile_input.h"
#include "session.h"
#include "show.h"

#include "base/clock.h"
#include "base/files.h"
#include "runtime/peak.h"
#include "runtime/profile.h"
#include "train/settings.h"

#include <errno.h>
#include <stdlib.h>

static const cli_option options[] = {
    {"mode", "train|infer", "train: with loss, backward and AdamW; or infer (train)", 0, false},
    {"classes", "N", "classes to tell apart (46)", 0, false},
    {"channels", "N", "of the pictures: 1 or 3 (3)", 0, false},
    {"repeat", "N", "steps that count, after three that do not (5)", 0, false},
    {"top", "N", "rows of each table (15)", 0, false},
    {"trace", "FILE", "write the launches as a trace that ui.perfetto.dev opens", 0, false},
    {"input", NULL,
     "instead: training on the images of --data against training on pictures in memory, in turn", 0,
     false},
    {"json", NULL, "one JSON object", 0, false},
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* Launches that are counted together. */
typedef struct row {
    const char *name[3]; /* "" where there are fewer */
    double seconds, macs, bytes;
    int64_t launches;
    unsigned long call; /* the last one seen: its work is counted once */
} row;

typedef struct rows {
    row *items;
    size_t count, capacity;
} rows;

/* One call of the command. */
typedef struct job {
    const cli_args *args;
    cli_session session;
    clvi_config *config;
    bench_model_desc desc;
    int64_t top;
    const clvi_profile_launch *launches;
    size_t launch_count;
    double step_ms;      /* median of a step without recording */
    double processor_ms; /* processor time of such a step, all threads, mean */
    double busy, span;   /* seconds of launches, from the first to the end of the last */
    double gflops, gbs;  /* the device's measured peaks */
    rows ops, steps, kernels;
} job;

/* ---- Adding up ---- */

static clv_status add(rows *table, const char *const name[3], const clvi_profile_launch *launch,
                      clv_error *error)
{
    row *r = NULL;
    for (size_t i = 0; i < table->count && r == NULL; i++) {
        bool same = true;
        for (int k = 0; k < 3 && same; k++)
            same = strcmp(table->items[i].name[k], name[k]) == 0;
        if (same)
            r = &table->items[i];
    }
    if (r == NULL) {
        CLV_TRY(clvi_grow((void **)&table->items, &table->capacity, table->count + 1,
                          sizeof *table->items, error));
        r = &table->items[table->count++];
        *r = (row){.name = {name[0], name[1], name[2]}};
    }
    r->seconds += launch->end - launch->begin;
    r->launches++;
    if (launch->call != r->call || launch->call == 0) {
        r->macs += launch->scope.macs;
        r->bytes += launch->scope.bytes;
        r->call = launch->call;
    }
    return CLV_OK;
}

static clv_status add_up(job *j, clv_error *error)
{
    double last = 0;
    for (size_t i = 0; i < j->launch_count; i++) {
        const clvi_profile_launch *l = &j->launches[i];
        const clvi_profile_scope *s = &l->scope;
        const bool node = s->kind[0] != '\0';
        CLV_TRY(
            add(&j->ops, (const char *const[3]){node ? s->kind : s->part, s->pass, ""}, l, error));
        CLV_TRY(add(&j->steps, (const char *const[3]){s->part, s->step, s->pass}, l, error));
        CLV_TRY(add(&j->kernels, (const char *const[3]){l->program, l->kernel, ""}, l, error));
        j->busy += l->end - l->begin;
        last = l->end > last ? l->end : last;
    }
    j->span = last;
    return CLV_OK;
}

static int by_time(const void *a, const void *b)
{
    const double x = ((const row *)a)->seconds, y = ((const row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* ---- Showing ---- */

/* GFLOP/s and GB/s of a row; share: of whichever peak it comes closer to. */
static void rates(const job *j, const row *r, double *gflops, double *gbs, double *share)
{
    *gflops = 2e-9 * r->macs / r->seconds;
    *gbs = 1e-9 * r->bytes / r->seconds;
    const double a = *gflops / j->gflops, b = *gbs / j->gbs;
    *share = a > b ? a : b;
}

/* The rate of what there is none of stays empty. */
static void rate_cell(cli_table *table, double amount, double rate, int digits, const char *unit)
{
    if (amount > 0)
        cli_table_cell(table, "%.*f%s", digits, rate, unit);
    else
        cli_table_cell(table, "%s", "");
}

static clv_status print_rows(const job *j, rows *table, const char *const heading[3], bool kernels,
                             clv_error *error)
{
    const cli_column columns[] = {
        {heading[0], false, false}, {heading[1], false, true}, {heading[2], false, false},
        {"launches", true, false},  {"ms", true, false},       {"time", true, false},
        {"GFLOP/s", true, false},   {"GB/s", true, false},     {"of peak", true, false},
    };
    cli_table t;
    CLV_TRY(cli_table_init(&t, columns, kernels ? 6 : 9, error));
    const double steps = (double)j->desc.repeat;
    qsort(table->items, table->count, sizeof *table->items, by_time);
    for (size_t i = 0; i < table->count && i < (size_t)j->top; i++) {
        const row *r = &table->items[i];
        double gflops, gbs, share;
        rates(j, r, &gflops, &gbs, &share);
        for (int k = 0; k < 3; k++)
            cli_table_cell(&t, "%s", r->name[k]);
        cli_table_cell(&t, "%.4g", (double)r->launches / steps);
        cli_table_cell(&t, "%.3f", r->seconds / steps * 1e3);
        cli_table_cell(&t, "%.1f %%", 100 * r->seconds / j->busy);
        if (kernels)
            continue;
        rate_cell(&t, r->macs, gflops, 1, "");
        rate_cell(&t, r->bytes, gbs, 1, "");
        rate_cell(&t, r->bytes, 100 * share, 0, " %");
    }
    CLV_TRY(cli_table_print(&t, stdout, error));
    if (table->count > (size_t)j->top)
        printf("and %zu more\n", table->count - (size_t)j->top);
    printf("\n");
    return CLV_OK;
}

static clv_status print_text(job *j, clv_error *error)
{
    const double steps = (double)j->desc.repeat;
    printf("%s, %dx%d, batch %lld: %.2f ms a step, %.1f images/s; %.2f ms of processor time\n",
           j->desc.train ? "training" : "inference", j->desc.height, j->desc.width,
           (long long)j->desc.batch, j->step_ms, 1e3 * (double)j->desc.batch / j->step_ms,
           j->processor_ms);
    printf("recorded: %.2f ms a step, of which kernels ran %.2f ms (%.1f %%) in %zu launches\n",
           j->span / steps * 1e3, j->busy / steps * 1e3, 100 * j->busy / j->span,
           j->launch_count / (size_t)j->desc.repeat);
    printf("peaks of the device: %.1f GFLOP/s, copy %.1f GB/s; GB/s below count what must at least "
           "be moved\n\n",
           j->gflops, j->gbs);
    CLV_TRY(print_rows(j, &j->ops, (const char *const[3]){"op", "pass", ""}, false, error));
    CLV_TRY(
        print_rows(j, &j->steps, (const char *const[3]){"network", "step", "pass"}, false, error));
    return print_rows(j, &j->kernels, (const char *const[3]){"program", "kernel", ""}, true, error);
}

static json_t *rows_json(const job *j, const rows *table, const char *const key[3])
{
    json_t *list = json_array();
    for (size_t i = 0; i < table->count; i++) {
        const row *r = &table->items[i];
        json_t *item = json_object();
        for (int k = 0; k < 3; k++)
            if (key[k][0] != '\0')
                json_object_set_new(item, key[k], json_string(r->name[k]));
        const double steps = (double)j->desc.repeat;
        json_object_set_new(item, "launches", json_real((double)r->launches / steps));
        json_object_set_new(item, "ms", json_real(1e3 * r->seconds / steps));
        json_object_set_new(item, "macs", json_real(r->macs / steps));
        json_object_set_new(item, "bytes", json_real(r->bytes / steps));
        json_array_append_new(list, item);
    }
    return list;
}

static clv_status print_json(const job *j, clv_error *error)
{
    const double steps = (double)j->desc.repeat;
    json_t *ops = rows_json(j, &j->ops, (const char *const[3]){"op", "pass", ""});
    json_t *parts = rows_json(j, &j->steps, (const char *const[3]){"network", "step", "pass"});
    json_t *kernels = rows_json(j, &j->kernels, (const char *const[3]){"program", "kernel", ""});
    return cli_show_json(
        json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "mode",
                  j->desc.train ? "train" : "infer", "batch", (json_int_t)j->desc.batch, "step_ms",
                  j->step_ms, "processor_ms", j->processor_ms, "recorded_ms", 1e3 * j->span / steps,
                  "kernel_ms", 1e3 * j->busy / steps, "peak_gflops", j->gflops, "copy_gbs", j->gbs,
                  "ops", ops, "steps", parts, "kernels", kernels),
        0, error);
}

/* The trace event format that Perfetto and Chrome read: complete events in microseconds. */
static clv_status write_trace(const job *j, const char *path, clv_error *error)
{
    json_t *events = json_array();
    for (size_t i = 0; i < j->launch_count; i++) {
        const clvi_profile_launch *l = &j->launches[i];
        const clvi_profile_scope *s = &l->scope;
        json_t *event =
            json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:s, s:s, s:s}}", "name", l->kernel,
                      "cat", s->kind[0] ? s->kind : s->part, "ph", "X", "pid", 1, "tid", 1, "ts",
                      1e6 * l->begin, "dur", 1e6 * (l->end - l->begin), "args", "network", s->part,
                      "step", s->step, "pass", s->pass);
        json_array_append_new(events, event);
    }
    json_t *file = json_pack("{s:o, s:s}", "traceEvents", events, "displayTimeUnit", "ms");
    errno = 0;
    const int failed = file ? json_dump_file(file, path, JSON_COMPACT) : -1;
    const int code = errno;
    json_decref(file);
    if (failed)
        return clvi_fail_open(error, code != 0 ? code : EIO, CLV_HERE, path,
                              "the trace cannot be written");
    return CLV_OK;
}

/* ---- Measuring ---- */

static clv_status time_steps(job *j, const bench_steps *steps, clv_error *error)
{
    double *ms = clvi_malloc((size_t)j->desc.repeat * sizeof *ms);
    if (ms == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %lld times", (long long)j->desc.repeat);
    clv_status status = CLV_OK;
    double processor = 0;
    for (int64_t i = -3; i < j->desc.repeat && status == CLV_OK; i++) {
        const double from = clvi_now();
        if (i == 0)
            processor = clvi_processor_now();
        status = bench_steps_run(steps, error);
        if (status == CLV_OK)
            status = clvi_wait(steps->device, error);
        if (i >= 0)
            ms[i] = 1e3 * (clvi_now() - from);
    }
    if (status == CLV_OK) {
        j->step_ms = bench_median(ms, (size_t)j->desc.repeat);
        j->processor_ms = 1e3 * (clvi_processor_now() - processor) / (double)j->desc.repeat;
    }
    clvi_free(ms);
    return status;
}

static clv_status record_steps(job *j, const bench_steps *steps, int64_t count, clv_error *error)
{
    clvi_device *device = j->session.device;
    CLV_TRY(clvi_profile_begin(device, error));
    for (int64_t i = 0; i < count; i++)
        CLV_TRY(bench_steps_run(steps, error));
    return clvi_profile_end(device, &j->launches, &j->launch_count, error);
}

static clv_status record(job *j, const bench_steps *steps, clv_error *error)
{
    clvi_device *device = j->session.device;
    CLV_TRY(time_steps(j, steps, error));
    /* What runs in chains otherwise is compiled by the first step that is recorded. */
    CLV_TRY(record_steps(j, steps, 1, error));
    clvi_device_save_programs(device);
    CLV_TRY(record_steps(j, steps, j->desc.repeat, error));
    CLV_TRY(clvi_device_measure_peak(device, &j->gflops, &j->gbs, error));
    CLV_TRY(add_up(j, error));
    const char *trace = cli_option_value(j->args, "trace");
    if (trace != NULL)
        CLV_TRY(write_trace(j, trace, error));
    return cli_flag(j->args, "json") ? print_json(j, error) : print_text(j, error);
}

static clv_status read_options(job *j, clv_error *error)
{
    int64_t classes = 46, channels = 3;
    const cli_args *args = j->args;
    size_t mode = 0;
    CLV_TRY(cli_option_choice(args, "mode", "train | infer", &mode, error));
    j->desc.train = mode == 0;
    j->desc.repeat = 5;
    j->top = 15;
    CLV_TRY(cli_option_int(args, "classes", 2, 1 << 20, &classes, error));
    CLV_TRY(cli_option_int(args, "channels", 1, 3, &channels, error));
    if (channels == 2)
        CLV_FAIL(error, CLV_E_USAGE, "--channels 2: it is 1 or 3");
    CLV_TRY(cli_option_int(args, "repeat", 1, 1000, &j->desc.repeat, error));
    CLV_TRY(cli_option_int(args, "top", 1, 10000, &j->top, error));
    clvi_config_size(j->config, "data", "image_size", &j->desc.height, &j->desc.width);
    j->desc.classes = (int)classes;
    j->desc.channels = (int)channels;
    j->desc.batch = clvi_config_int(j->config, "train", "batch");
    return CLV_OK;
}

/* --input: training with and without files. */
static clv_status compare_input(job *j, clvi_dataset *data, bool kept, clv_error *error)
{
    j->desc.classes = (int)clvi_dataset_class_count(data);
    j->desc.channels = clvi_dataset_channels(data);
    clvi_dataset_size(data, &j->desc.height, &j->desc.width);
    bench_steps steps;
    CLV_TRY(bench_steps_open(j->session.device, j->session.plugins, j->config, &j->desc, &steps,
                             error));
    const clv_status status = profile_input(&steps, data, kept, cli_flag(j->args, "json"), error);
    clvi_device_save_programs(j->session.device);
    bench_steps_close(&steps);
    return status;
}

static clv_status profile_with_images(job *j, clv_error *error)
{
    bool given;
    CLV_TRY(clvi_train_has_images(j->config, true, &given, error));
    if (!j->desc.train)
        CLV_FAIL(error, CLV_E_USAGE, "--input measures training, not --mode infer");
    const clvi_data_options images = clvi_train_data_options(j->config);
    clvi_dataset *data;
    CLV_TRY(clvi_dataset_open(&images, &data, error));
    const clv_status status = compare_input(j, data, !images.no_cache, error);
    clvi_dataset_close(data);
    return status;
}

static clv_status profile(job *j, clv_error *error)
{
    CLV_TRY(cli_load_config(j->args, 0, &j->config, error));
    CLV_TRY(read_options(j, error));
    CLV_TRY(cli_session_open_device(&j->session, j->config, NULL, error));
    if (cli_flag(j->args, "input"))
        return profile_with_images(j, error);
    bench_steps steps;
    CLV_TRY(bench_steps_open(j->session.device, j->session.plugins, j->config, &j->desc, &steps,
                             error));
    const clv_status status = record(j, &steps, error);
    bench_steps_close(&steps);
    return status;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    CLV_TRY(cli_session_open(&j.session, args, error));
    const clv_status status = profile(&j, error);
    clvi_free(j.ops.items);
    clvi_free(j.steps.items);
    clvi_free(j.kernels.items);
    clvi_config_destroy(j.config);
    cli_session_close(&j.session);
    return status;
}

const cli_command cmd_profile = {
    .name = "profile",
    .summary = "Show where the time of a step goes",
    .usage = "CONFIG [SECTION.KEY=VALUE]... [--mode train|infer] [--trace FILE] [options]",
    .example = "conclave profile cnn-custom-only\n"
               "conclave profile efficientnet-b0-only --batch 64 --trace trace.json\n"
               "conclave profile cnn-custom-only --input --data images.tar data.cache=none",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
