/* conclave verify: what two devices make of the same batch. One is the measure of the other. */
#include "config_args.h"
#include "session.h"
#include "show.h"

#include "base/philox.h"
#include "data/dataset.h"
#include "train/model.h"
#include "train/settings.h"

#include <math.h>

/* Largest difference allowed, relative to the largest number of a tensor. Rounding alone makes
 * about 1e-5; an input of relu or max pooling near its kink moves single gradients further. */
static const double default_tolerance = 1e-3;
/* Gradients that would be 0 but for rounding (of a bias before batch normalisation) are measured
 * against this share of the largest gradient of their group. */
static const double least_share = 1e-3;

enum { DEFAULT_CLASSES = 46, DEFAULT_CHANNELS = 3, DEFAULT_BATCH = 8, SIDES = 2 };

static const cli_option options[] = {
    {"against", "DEVICE", "the device to compare with", 0, false},
    {"tolerance", "T", "largest relative difference allowed; 0.001 if not given", 0, false},
    {"layers", NULL, "a row for each parameter instead of each expert and gate", 0, false},
    {"classes", "N", "classes where there are no images; 46 if not given", 0, false},
    {"checkpoint", "best|last", "of a run: best or last; best if not given", 0, false},
    {"json", NULL, "one JSON object instead of text", 0, false},
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* What one device made of the batch. */
typedef struct side {
    clvi_device *device;
    clvi_mixture *mixture;
    float *logits; /* [n, classes] */
    float loss;    /* of the training step */
} side;

/* One call of the command. */
typedef struct job {
    const cli_args *args;
    cli_session session; /* holds the first side's device */
    clvi_config *config; /* NULL for a run */
    char *run;
    clvi_model *model;
    clvi_dataset *data;  /* NULL: made-up pictures */
    clvi_loader *loader; /* holds the batch from data */
    uint8_t *pixels;     /* the made-up ones */
    int32_t *labels;
    uint32_t *ids;
    clvi_mixture_batch batch;
    clvi_mixture_desc desc;
    side sides[SIDES];
    double tolerance;
} job;

static clvi_config *config_of(const job *j)
{
    return j->model != NULL ? clvi_model_config(j->model) : j->config;
}

/* ---- What is meant ---- */

static clv_status open_run(job *j, clv_error *error)
{
    CLV_TRY(cli_open_unchanged(j->args, NULL, &j->run, &j->model, error));
    j->desc.classes = (int)clvi_model_class_count(j->model);
    clvi_model_image(j->model, &j->desc.height, &j->desc.width, &j->desc.channels);
    return CLV_OK;
}

static clv_status open_config(job *j, clv_error *error)
{
    CLV_TRY(cli_load_config(j->args, 0, &j->config, error));
    const clvi_data_options data = clvi_train_data_options(j->config);
    int64_t classes = DEFAULT_CLASSES;
    CLV_TRY(cli_option_int(j->args, "classes", 2, 1000000, &classes, error));
    j->desc.height = data.height;
    j->desc.width = data.width;
    j->desc.channels = data.channels > 0 ? data.channels : DEFAULT_CHANNELS;
    j->desc.classes = (int)classes;
    return CLV_OK;
}

static clv_status read_tolerance(job *j, clv_error *error)
{
    const char *text = cli_option_value(j->args, "tolerance");
    j->tolerance = default_tolerance;
    if (text != NULL && (!clvi_parse_real(text, &j->tolerance) || j->tolerance <= 0))
        CLV_FAIL(error, CLV_E_USAGE, "--tolerance %s: give a number above 0, such as 0.001", text);
    return CLV_OK;
}

/* ---- The batch ---- */

/* Pictures of coloured squares, with noise on them: no two alike, all labels in turn. */
static clv_status make_batch(job *j, int64_t n, clv_error *error)
{
    const clvi_mixture_desc *d = &j->desc;
    const int64_t picture = (int64_t)d->height * d->width * d->channels;
    const clvi_philox_key key = clvi_philox_stream(0, "verify");
    j->pixels = clvi_malloc((size_t)(n * picture));
    j->labels = clvi_malloc((size_t)n * sizeof *j->labels);
    j->ids = clvi_malloc((size_t)n * sizeof *j->ids);
    if (j->pixels == NULL || j->labels == NULL || j->ids == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %lld pictures", (long long)n);
    for (int64_t at = 0; at < n * picture; at++) {
        const int64_t pixel = at % picture / d->channels;
        const uint32_t square = (uint32_t)(pixel / d->width / 5 * 64 + pixel % d->width / 5);
        const uint32_t who = (uint32_t)(at / picture * d->channels + at % d->channels);
        uint32_t colour[4], noise[4];
        clvi_philox(key, square, who, 0, 0, colour);
        clvi_philox(key, (uint32_t)at, 0, 1, 0, noise);
        j->pixels[at] = (uint8_t)((colour[0] >> 24) * 3 / 4 + (noise[0] >> 26));
    }
    for (int64_t i = 0; i < n; i++) {
        j->labels[i] = (int32_t)(i % d->classes);
        j->ids[i] = (uint32_t)i;
    }
    j->batch =
        (clvi_mixture_batch){.n = n, .pixels = j->pixels, .labels = j->labels, .ids = j->ids};
    return CLV_OK;
}

/* Training images from all over the list, so that classes differ. */
static clv_status load_batch(job *j, int64_t n, clv_error *error)
{
    const size_t count = clvi_dataset_count(j->data, CLVI_TRAIN);
    const size_t take = (size_t)n < count ? (size_t)n : count;
    uint32_t *order = clvi_malloc((take + 1) * sizeof *order);
    clvi_batch batch = {0};
    if (order == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %zu pictures", take);
    for (size_t i = 0; i < take; i++)
        order[i] = (uint32_t)(i * count / take);
    clv_status status = clvi_loader_create(j->data, CLVI_TRAIN, take, &j->loader, error);
    if (status == CLV_OK)
        status = clvi_loader_start(j->loader, order, take, error);
    if (status == CLV_OK)
        status = clvi_loader_next(j->loader, &batch, error);
    clvi_free(order);
    CLV_TRY(status);
    if (batch.count == 0)
        CLV_FAIL(error, CLV_E_DATA, "%s: there is no training image", clvi_dataset_path(j->data));
    j->batch = (clvi_mixture_batch){.n = (int64_t)batch.count,
                                    .pixels = batch.pixels,
                                    .labels = batch.labels,
                                    .ids = batch.ids};
    return CLV_OK;
}

static clv_status open_data(job *j, clv_error *error)
{
    clvi_data_options data = clvi_train_data_options(config_of(j));
    const char *other = cli_option_value(j->args, "data");
    int64_t n = clvi_config_int(config_of(j), "train", "batch");
    if (n > DEFAULT_BATCH)
        n = DEFAULT_BATCH;
    CLV_TRY(cli_option_int(j->args, "batch", 1, 65536, &n, error));
    if (j->model != NULL) { /* the run's own images may be gone */
        clvi_model_image(j->model, &data.height, &data.width, &data.channels);
        data.path = other != NULL ? other : "";
        data.source_count = 0;
    }
    bool given = other != NULL;
    if (j->model == NULL)
        CLV_TRY(clvi_train_has_images(config_of(j), false, &given, error));
    if (!given)
        return make_batch(j, n, error);
    CLV_TRY(clvi_dataset_open(&data, &j->data, error));
    const int classes = (int)clvi_dataset_class_count(j->data);
    if (j->model != NULL && classes != j->desc.classes)
        CLV_FAIL(error, CLV_E_DATA, "%s has %d classes, the run %d", clvi_dataset_path(j->data),
                 classes, j->desc.classes);
    j->desc.classes = classes;
    j->desc.channels = clvi_dataset_channels(j->data);
    clvi_log(CLVI_LOG_INFO, "data: %s", clvi_dataset_summary(j->data));
    return load_batch(j, n, error);
}

/* ---- Running ---- */

static clv_status put_weights(const job *j, clvi_mixture *mixture, clv_error *error)
{
    clvi_checkpoint *checkpoint = NULL;
    if (j->model == NULL)
        return CLV_OK; /* warming up has started them as training does */
    CLV_TRY(clvi_checkpoint_open(clvi_model_path(j->model), &checkpoint, error));
    const clv_status status = clvi_checkpoint_load(checkpoint, clvi_mixture_store(mixture), error);
    clvi_checkpoint_close(checkpoint);
    return status;
}

static clv_status run_side(const job *j, side *s, clv_error *error)
{
    clvi_mixture_desc desc = j->desc;
    clvi_mixture_metrics metrics;
    desc.device = s->device;
    CLV_TRY(clvi_mixture_create(&desc, &s->mixture, error));
    CLV_TRY(clvi_mixture_warm(s->mixture, error));
    CLV_TRY(put_weights(j, s->mixture, error));
    s->logits = clvi_malloc((size_t)(j->batch.n * desc.classes) * sizeof *s->logits);
    if (s->logits == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: logits");
    CLV_TRY(clvi_mixture_infer(s->mixture, &j->batch, error));
    CLV_TRY(clvi_mixture_logits(s->mixture, s->logits, error));
    CLV_TRY(clvi_mixture_read_metrics(s->mixture, &metrics, error));
    CLV_TRY(clvi_mixture_step(s->mixture, &j->batch, error));
    CLV_TRY(clvi_mixture_read_metrics(s->mixture, &metrics, error));
    s->loss = (float)metrics.loss;
    clvi_device_save_programs(s->device);
    return CLV_OK;
}

static clv_status run_sides(job *j, clv_error *error)
{
    const char *const selects[SIDES] = {cli_option_value(j->args, "device"),
                                        cli_option_value(j->args, "against")};
    if (selects[1] == NULL)
        CLV_FAIL(error, CLV_E_USAGE,
                 "which two devices? give --device A --against B; `conclave "
                 "devices` lists them");
    CLV_TRY(cli_session_open_device(&j->session, config_of(j), selects[0], error));
    CLV_TRY(cli_session_open_another(&j->session, config_of(j), selects[1], &j->sides[1].device,
                                     error));
    j->sides[0].device = j->session.device;
    j->desc.config = config_of(j);
    j->desc.plugins = j->session.plugins;
    j->desc.max_batch = j->batch.n;
    j->desc.train = true;
    j->desc.store_kinds = 1u << CLVI_STORE_VALUE | 1u << CLVI_STORE_GRADIENT;
    for (int i = 0; i < SIDES; i++) {
        const clv_status status = run_side(j, &j->sides[i], error);
        if (status != CLV_OK) {
            clvi_prepend(error, "device %s", clvi_device_get_info(j->sides[i].device)->selector);
            return status;
        }
    }
    return CLV_OK;
}

/* ---- Comparing ---- */

/* How far tensors lie apart: one, or the worst of a group. */
typedef struct difference {
    char name[160];
    const char *what; /* "output", "gradient", "state" */
    char worst[160];  /* the tensor of `relative` */
    int64_t elements;
    double absolute, largest, relative; /* largest: number of the second device */
} difference;

typedef struct comparison {
    difference *rows;
    size_t count, capacity;
} comparison;

static void compare(const float *a, const float *b, int64_t count, difference *out)
{
    out->elements = count;
    for (int64_t i = 0; i < count; i++) {
        const double apart = fabs((double)a[i] - (double)b[i]);
        if (!(apart <= out->absolute)) /* NaN stays */
            out->absolute = isnan(out->absolute) ? out->absolute : apart;
        out->largest = fmax(out->largest, fabs((double)b[i]));
    }
}

static clv_status add_row(comparison *c, const difference *row, clv_error *error)
{
    CLV_TRY(clvi_grow((void **)&c->rows, &c->capacity, c->count + 1, sizeof *c->rows, error));
    c->rows[c->count++] = *row;
    return CLV_OK;
}

/* One variable's gradients, or its values where it is a state. */
static clv_status add_segment(const job *j, size_t index, comparison *c, clv_error *error)
{
    const clvi_segment *segment =
        clvi_store_segment(clvi_mixture_store(j->sides[0].mixture), index);
    if (!segment->is_state && !segment->trainable)
        return CLV_OK;
    difference row = {.what = segment->is_state ? "state" : "gradient"};
    const clvi_store_kind kind = segment->is_state ? CLVI_STORE_VALUE : CLVI_STORE_GRADIENT;
    float *values[SIDES] = {NULL, NULL};
    clv_status status = CLV_OK;
    for (int i = 0; i < SIDES && status == CLV_OK; i++) {
        values[i] = clvi_malloc((size_t)segment->elements * sizeof(float));
        if (values[i] == NULL)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: %s", segment->name);
        else
            status = clvi_store_read(clvi_mixture_store(j->sides[i].mixture), index, kind,
                                     values[i], error);
    }
    if (status == CLV_OK) {
        compare(values[0], values[1], segment->elements, &row);
        snprintf(row.name, sizeof row.name, "%s", segment->name);
        status = add_row(c, &row, error);
    }
    for (int i = 0; i < SIDES; i++)
        clvi_free(values[i]);
    return status;
}

/* Bytes of a variable's name that name its expert or gate: "expert.a" of "expert.a.conv.weight". */
static size_t group_length(const char *name)
{
    const size_t first = strcspn(name, ".");
    if (strncmp(name, "expert.", 7) != 0)
        return first;
    return 7 + strcspn(name + 7, ".");
}

static bool same_group(const difference *a, const difference *b)
{
    const size_t length = group_length(a->name);
    return strcmp(a->what, b->what) == 0 && length == group_length(b->name) &&
           memcmp(a->name, b->name, length) == 0;
}

/* Relative differences, which need the largest number of the group. */
static void relate(comparison *c)
{
    for (size_t i = 0; i < c->count; i++) {
        difference *row = &c->rows[i];
        double group = 0;
        for (size_t k = 0; k < c->count; k++)
            if (same_group(&c->rows[k], row))
                group = fmax(group, c->rows[k].largest);
        const double scale = fmax(row->largest, least_share * group);
        row->relative = row->absolute > 0 ? row->absolute / scale : row->absolute;
        snprintf(row->worst, sizeof row->worst, "%s", row->name);
    }
}

/* One row for each group, in the place of its first. */
static void gather(comparison *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        const difference row = c->rows[i];
        size_t at = 0;
        while (at < kept && !same_group(&c->rows[at], &row))
            at++;
        if (at == kept) {
            c->rows[kept++] = row;
            continue;
        }
        difference *into = &c->rows[at];
        into->elements += row.elements;
        into->largest = fmax(into->largest, row.largest);
        if (!(row.absolute <= into->absolute) && !isnan(into->absolute))
            into->absolute = row.absolute;
        if (!(row.relative <= into->relative) && !isnan(into->relative)) {
            into->relative = row.relative;
            memcpy(into->worst, row.worst, sizeof into->worst);
        }
    }
    c->count = kept;
    for (size_t i = 0; i < kept; i++)
        if (strcmp(c->rows[i].what, "output") != 0)
            c->rows[i].name[group_length(c->rows[i].name)] = '\0';
}

static clv_status compare_sides(const job *j, comparison *c, clv_error *error)
{
    const side *a = &j->sides[0], *b = &j->sides[1];
    difference logits = {.name = "logits", .what = "output"};
    difference loss = {.name = "loss", .what = "output"};
    compare(a->logits, b->logits, j->batch.n * j->desc.classes, &logits);
    compare(&a->loss, &b->loss, 1, &loss);
    CLV_TRY(add_row(c, &logits, error));
    CLV_TRY(add_row(c, &loss, error));
    const size_t count = clvi_store_count(clvi_mixture_store(a->mixture));
    for (size_t i = 0; i < count; i++)
        CLV_TRY(add_segment(j, i, c, error));
    relate(c);
    if (!cli_flag(j->args, "layers"))
        gather(c);
    return CLV_OK;
}

/* ---- Showing ---- */

static bool is_good(const job *j, const difference *row)
{
    return row->relative <= j->tolerance; /* NaN is not */
}

static clv_status print_table(const job *j, const comparison *c, clv_error *error)
{
    static const cli_column columns[] = {
        {"of", false, false},     {"name", false, false},    {"numbers", true, false},
        {"largest", true, false}, {"apart", true, false},    {"relative", true, false},
        {"", false, false},       {"worst in", false, true},
    };
    cli_table table;
    char number[CLI_NUMBER_BYTES];
    printf("device   %s\nagainst  %s\n%lld pictures, %d×%d, %s\n\n",
           clvi_device_banner(j->sides[0].device), clvi_device_banner(j->sides[1].device),
           (long long)j->batch.n, j->desc.height, j->desc.width,
           j->data != NULL ? clvi_dataset_path(j->data) : "made up");
    CLV_TRY(cli_table_init(&table, columns, sizeof columns / sizeof *columns, error));
    for (size_t i = 0; i < c->count; i++) {
        const difference *row = &c->rows[i];
        cli_table_cell(&table, "%s", row->what);
        cli_table_cell(&table, "%s", row->name);
        cli_table_cell(&table, "%s", cli_show_count(row->elements, number));
        cli_table_cell(&table, "%.3g", row->largest);
        cli_table_cell(&table, "%.2e", row->absolute);
        cli_table_cell(&table, "%.2e", row->relative);
        cli_table_cell(&table, "%s", is_good(j, row) ? "ok" : "WRONG");
        cli_table_cell(&table, "%s", strcmp(row->worst, row->name) != 0 ? row->worst : "");
    }
    CLV_TRY(cli_table_print(&table, stdout, error));
    return CLV_OK;
}

/* A number that JSON has, or null. */
static json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static clv_status print_json(const job *j, const comparison *c, bool good, clv_error *error)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < c->count; i++) {
        const difference *row = &c->rows[i];
        json_array_append_new(
            rows,
            json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:b, s:s}", "of", row->what, "name",
                      row->name, "numbers", (json_int_t)row->elements, "largest",
                      json_number(row->largest), "absolute", json_number(row->absolute), "relative",
                      json_number(row->relative), "good", is_good(j, row), "worst", row->worst));
    }
    return cli_show_json(json_pack("{s:s, s:s, s:f, s:b, s:[o, o], s:o}", "device",
                                   clvi_device_banner(j->sides[0].device), "against",
                                   clvi_device_banner(j->sides[1].device), "tolerance",
                                   j->tolerance, "good", good, "loss",
                                   json_number((double)j->sides[0].loss),
                                   json_number((double)j->sides[1].loss), "rows", rows),
                         2, error);
}

static clv_status show(const job *j, const comparison *c, clv_error *error)
{
    const difference *worst = &c->rows[0];
    for (size_t i = 1; i < c->count; i++)
        if (!(c->rows[i].relative <= worst->relative) && !isnan(worst->relative))
            worst = &c->rows[i];
    const bool good = is_good(j, worst);
    if (cli_flag(j->args, "json"))
        CLV_TRY(print_json(j, c, good, error));
    else
        CLV_TRY(print_table(j, c, error));
    if (!good)
        CLV_FAIL(error, CLV_E_NUMERIC,
                 "the devices differ: %s of %s by %.2g of the largest number, where %g is allowed "
                 "(--tolerance)",
                 worst->what, worst->worst, worst->relative, j->tolerance);
    return CLV_OK;
}

/* ---- The course ---- */

static clv_status verify(job *j, clv_error *error)
{
    const char *output = cli_option_value(j->args, "output");
    comparison c = {0};
    CLV_TRY(read_tolerance(j, error));
    if (cli_count(j->args) > 0 && cli_means_run(cli_at(j->args, 0), output))
        CLV_TRY(open_run(j, error));
    else
        CLV_TRY(open_config(j, error));
    CLV_TRY(open_data(j, error));
    CLV_TRY(run_sides(j, error));
    clv_status status = compare_sides(j, &c, error);
    if (status == CLV_OK)
        status = show(j, &c, error);
    clvi_free(c.rows);
    return status;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    CLV_TRY(cli_session_open(&j.session, args, error));
    const clv_status status = verify(&j, error);
    for (int i = 0; i < SIDES; i++) {
        clvi_mixture_destroy(j.sides[i].mixture);
        clvi_free(j.sides[i].logits);
    }
    clvi_device_close(j.sides[1].device);
    clvi_loader_destroy(j.loader);
    clvi_dataset_close(j.data);
    clvi_model_close(j.model);
    clvi_config_destroy(j.config);
    cli_session_close(&j.session);
    clvi_free(j.run);
    clvi_free(j.pixels);
    clvi_free(j.labels);
    clvi_free(j.ids);
    return status;
}

const cli_command cmd_verify = {
    .name = "verify",
    .summary = "Compare logits and gradients of one batch on two devices",
    .usage = "CONFIG|RUN [SECTION.KEY=VALUE]... --device A --against B [options]",
    .example = "conclave verify cnn-custom-only --device 0:0 --against gpu\n"
               "conclave verify last --data pictures --against llvmpipe --layers",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
