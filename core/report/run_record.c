/* See run_record.h. */
#include "report/run_record.h"

#include "base/csv.h"
#include "mixture/initial_weights.h"
#include "train/run_dir.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

enum { METRICS_BYTES = 256 << 20 };

void clvi_run_record_fini(clvi_run_record *r)
{
    clvi_free(r->path);
    json_decref(r->summary);
    clvi_free(r->history);
    clvi_predictions_fini(&r->predictions);
    *r = (clvi_run_record){0};
}

/* ---- summary.json ---- */

static double real_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int64_t integer_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static clvi_score_summary score_of(const json_t *o)
{
    const int64_t count = integer_of(o, "count");
    return (clvi_score_summary){.count = count > 0 ? count : 0,
                                .top1 = real_of(o, "top1"),
                                .top1_low = real_of(o, "top1_low"),
                                .top1_high = real_of(o, "top1_high"),
                                .top5 = real_of(o, "top5"),
                                .nll = real_of(o, "nll"),
                                .brier = real_of(o, "brier"),
                                .ece = real_of(o, "ece"),
                                .nll_calibrated = real_of(o, "nll_calibrated"),
                                .ece_calibrated = real_of(o, "ece_calibrated"),
                                .precision = real_of(o, "precision"),
                                .recall = real_of(o, "recall"),
                                .f1 = real_of(o, "f1")};
}

static clv_status read_summary(const char *path, clvi_run_record *r, clv_error *error)
{
    json_error_t problem;
    if (!clvi_is_file(path))
        CLV_FAIL(error, CLV_E_DATA, "%s is missing: this run has not ended", path);
    r->summary = json_load_file(path, 0, &problem);
    if (!json_is_object(r->summary))
        CLV_FAIL(error, CLV_E_FORMAT, "%s: %s", path, r->summary ? "not an object" : problem.text);
    const json_t *s = r->summary;
    r->epochs = integer_of(s, "epochs");
    r->best_epoch = integer_of(s, "best_epoch");
    r->parameters = integer_of(s, "parameters");
    r->trainable = integer_of(s, "trainable");
    r->multiply_adds = integer_of(s, "multiply_adds");
    r->active = integer_of(s, "active_multiply_adds");
    if (r->active < 0)
        r->active = r->multiply_adds;
    r->peak_bytes = integer_of(s, "peak_device_bytes");
    for (int k = 0; k < CLVI_SPLIT_COUNT; k++)
        r->scores[k] = score_of(json_object_get(s, clvi_split_name((clvi_split)k)));
    r->judged = r->scores[CLVI_TEST].count > 0 ? CLVI_TEST : CLVI_VAL;
    return CLV_OK;
}

/* ---- metrics.csv ---- */

static double number(const char *text)
{
    double value;
    return clvi_parse_real(text, &value) ? value : NAN;
}

static clv_status add_epoch(clvi_run_record *r, size_t *capacity, clvi_epoch_record epoch,
                            clv_error *error)
{
    void *history = r->history;
    CLV_TRY(clvi_grow(&history, capacity, r->history_count + 1, sizeof *r->history, error));
    r->history = history;
    r->history[r->history_count++] = epoch;
    return CLV_OK;
}

/* Rows are epoch,step,split,loss,top1,top5,lr,seconds,images_per_second,trainable; what comes
 * behind the speed is not read. */
static clv_status take_rows(char *text, clvi_run_record *r, clv_error *error)
{
    enum { EPOCH, STEP, SPLIT, LOSS, TOP1, TOP5, LR, SECONDS, SPEED, FIELDS };
    char *fields[FIELDS], *cursor = text;
    size_t capacity = 0;
    double images = 0, training = 0, train_loss = NAN, train_top1 = NAN;
    for (size_t count; (count = clvi_csv_next(&cursor, fields, FIELDS)) > 0;) {
        int64_t epoch;
        if (count < FIELDS || !clvi_parse_int(fields[EPOCH], &epoch))
            continue; /* the header, or a row that was cut */
        const double seconds = number(fields[SECONDS]), speed = number(fields[SPEED]);
        r->seconds += isfinite(seconds) ? seconds : 0;
        if (strcmp(fields[SPLIT], "train") == 0) {
            train_loss = number(fields[LOSS]);
            train_top1 = number(fields[TOP1]);
        }
        if (strcmp(fields[SPLIT], "train") == 0 && isfinite(seconds * speed)) {
            images += seconds * speed;
            training += seconds;
        }
        if (strcmp(fields[SPLIT], "val") == 0)
            CLV_TRY(add_epoch(r, &capacity,
                              (clvi_epoch_record){.epoch = epoch,
                                                  .seconds = r->seconds,
                                                  .train_loss = train_loss,
                                                  .train_top1 = train_top1,
                                                  .lr = number(fields[LR]),
                                                  .val_loss = number(fields[LOSS]),
                                                  .val_top1 = number(fields[TOP1])},
                              error));
    }
    r->images_per_second = training > 0 ? images / training : NAN;
    return CLV_OK;
}

static clv_status read_metrics(const char *path, clvi_run_record *r, clv_error *error)
{
    char *text = NULL;
    size_t bytes;
    CLV_TRY(clvi_file_read(path, METRICS_BYTES, &text, &bytes, error));
    const clv_status status = take_rows(text, r, error);
    clvi_free(text);
    return status;
}

/* ---- per_class.csv ---- */

/* A row per split and class; every split has all classes. */
static clv_status read_classes(const char *path, clvi_run_record *r, clv_error *error)
{
    char *text = NULL, *field;
    size_t bytes;
    if (!clvi_is_file(path))
        return CLV_OK;
    CLV_TRY(clvi_file_read(path, METRICS_BYTES, &text, &bytes, error));
    for (char *cursor = text; clvi_csv_next(&cursor, &field, 1) > 0;)
        r->classes += strcmp(field, clvi_split_name(CLVI_VAL)) == 0;
    clvi_free(text);
    return CLV_OK;
}

/* ---- What its experts start from ---- */

enum { MOST_STARTS = 8 }; /* one behind the other */

/* Runs whose time was added already, on whatever way they were met. */
typedef struct way {
    char **runs;
    size_t count, capacity;
    int depth;
} way;

static void way_fini(way *w)
{
    for (size_t i = 0; i < w->count; i++)
        clvi_free(w->runs[i]);
    clvi_free(w->runs);
}

/* *first: the run was not met before. */
static clv_status meet(way *w, const char *run, bool *first, clv_error *error)
{
    char path[PATH_MAX];
    const char *real = realpath(run, path) ? path : run;
    void *runs = w->runs;
    *first = true;
    for (size_t i = 0; i < w->count && *first; i++)
        *first = strcmp(w->runs[i], real) != 0;
    if (!*first)
        return CLV_OK;
    CLV_TRY(clvi_grow(&runs, &w->capacity, w->count + 1, sizeof *w->runs, error));
    w->runs = runs;
    w->runs[w->count] = clvi_strdup(real);
    if (!w->runs[w->count])
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to read %s", run);
    w->count++;
    return CLV_OK;
}

static clv_status read_starts(const char *run, way *w, clvi_run_record *r, clv_error *error);

/* All that a run took: its own, and what it starts from. */
static clv_status add_start(const char *run, way *w, clvi_run_record *r, clv_error *error)
{
    bool first;
    CLV_TRY(meet(w, run, &first, error));
    clvi_run_record other = {0};
    char *summary = clvi_path_join(run, CLVI_RUN_SUMMARY);
    char *metrics = clvi_path_join(run, CLVI_RUN_METRICS);
    clv_status status = CLV_E_MEMORY;
    clv_error cause = CLV_ERROR_INIT; /* a run that is gone is no fault of this one */
    if (summary && metrics)
        status = w->depth < MOST_STARTS ? read_summary(summary, &other, &cause) : CLV_E_DATA;
    if (status == CLV_OK)
        status = read_metrics(metrics, &other, &cause);
    w->depth++;
    if (status == CLV_OK)
        status = read_starts(run, w, &other, &cause);
    w->depth--;
    clvi_free(summary);
    clvi_free(metrics);
    if (status == CLV_E_MEMORY)
        (void)clvi_fail(error, status, CLV_HERE, "no memory to read %s", run);
    const int64_t epochs = clvi_run_record_epochs(&other);
    if (status != CLV_OK || epochs < 0)
        r->start_epochs = -1;
    else if (r->start_epochs >= 0 && r->start_epochs < epochs)
        r->start_epochs = epochs;
    r->start_seconds += status == CLV_OK ? (first ? other.seconds : 0) + other.start_seconds : NAN;
    clvi_run_record_fini(&other);
    return status == CLV_E_MEMORY ? status : CLV_OK;
}

/* Length of the folder in a settled `init`; 0: there is none. */
static size_t folder_length(const char *init)
{
    size_t length = (size_t)(clvi_init_colon(init) - init);
    while (length > 0 && init[length - 1] != '/')
        length--;
    return length > 1 ? length - 1 : 0;
}

static const char *init_of(const clvi_config *config, size_t expert)
{
    return clvi_config_text(config, clvi_config_leaf_section(config, expert), "init");
}

/* Whether an expert before this one starts from the same folder. */
static bool is_again(const clvi_config *config, size_t expert, size_t length)
{
    bool again = false;
    for (size_t i = 0; i < expert && !again; i++) {
        const char *other = init_of(config, i);
        again = clvi_init_is_settled(other) && folder_length(other) == length &&
                strncmp(init_of(config, expert), other, length) == 0;
    }
    return again;
}

/* Each folder once. */
static clv_status add_starts(const clvi_config *config, way *w, clvi_run_record *r,
                             clv_error *error)
{
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++) {
        const char *init = init_of(config, i);
        if (!clvi_init_is_settled(init))
            continue;
        const size_t length = folder_length(init);
        if (length == 0) { /* a checkpoint by itself: nobody knows how it was trained */
            r->start_epochs = -1;
            r->start_seconds = NAN;
            continue;
        }
        if (is_again(config, i, length))
            continue;
        char *folder = clvi_calloc(length + 1, 1);
        if (!folder)
            CLV_FAIL(error, CLV_E_MEMORY, "no memory to read %s", init);
        memcpy(folder, init, length);
        const clv_status status = add_start(folder, w, r, error);
        clvi_free(folder);
        CLV_TRY(status);
    }
    return CLV_OK;
}

static clv_status read_starts(const char *run, way *w, clvi_run_record *r, clv_error *error)
{
    clv_error none = CLV_ERROR_INIT; /* of another version: it is compared all the same */
    clvi_config *config = NULL;
    clv_status status = clvi_run_config(run, &config, &none);
    if (status == CLV_E_MEMORY)
        CLV_FAIL(error, status, "no memory to read %s", run);
    if (status != CLV_OK)
        return CLV_OK;
    status = add_starts(config, w, r, error);
    clvi_config_destroy(config);
    CLV_TRY(status);
    for (size_t i = 0; i < r->history_count; i++) {
        clvi_epoch_record *e = &r->history[i];
        e->seconds += r->start_seconds;
        e->epoch =
            r->start_epochs < 0 ? INT64_MAX : r->start_epochs + (r->trainable == 0 ? 0 : e->epoch);
    }
    return CLV_OK;
}

int64_t clvi_run_record_epochs(const clvi_run_record *r)
{
    if (r->start_epochs < 0 || r->epochs < 0)
        return -1;
    return r->start_epochs + (r->trainable == 0 ? 0 : r->epochs);
}

/* ---- The whole ---- */

static clv_status read_predictions(const char *path, clvi_run_record *r, clv_error *error)
{
    return clvi_predictions_read(path, r->judged, &r->predictions, error);
}

/* lenient: files may be missing, and what the experts start from is left out. */
static clv_status read_record(const char *run, bool lenient, clvi_run_record *r, clv_error *error)
{
    static const struct {
        const char *name;
        clv_status (*read)(const char *path, clvi_run_record *r, clv_error *error);
    } files[] = {{CLVI_RUN_SUMMARY, read_summary},
                 {CLVI_RUN_METRICS, read_metrics},
                 {CLVI_RUN_CLASSES, read_classes},
                 {CLVI_RUN_PREDICTIONS, read_predictions}};
    clv_status status = CLV_OK;
    way w = {0};
    for (size_t i = 0; i < sizeof files / sizeof *files && status == CLV_OK; i++) {
        char *path = r->path ? clvi_path_join(run, files[i].name) : NULL;
        if (!path)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to read %s", run);
        else if (!lenient || clvi_is_file(path))
            status = files[i].read(path, r, error);
        clvi_free(path);
    }
    if (status == CLV_OK && !lenient)
        status = read_starts(run, &w, r, error);
    way_fini(&w);
    return status;
}

static clv_status read_whole(const char *run, bool lenient, clvi_run_record *out, clv_error *error)
{
    clvi_run_record r = {.path = clvi_strdup(run),
                         .epochs = -1,
                         .best_epoch = -1,
                         .parameters = -1,
                         .trainable = -1,
                         .multiply_adds = -1,
                         .active = -1,
                         .peak_bytes = -1,
                         .images_per_second = NAN,
                         .judged = CLVI_VAL};
    const clv_status status = read_record(run, lenient, &r, error);
    if (status != CLV_OK) {
        clvi_run_record_fini(&r);
        return status;
    }
    *out = r;
    return CLV_OK;
}

clv_status clvi_run_record_read(const char *run, clvi_run_record *out, clv_error *error)
{
    return read_whole(run, false, out, error);
}

clv_status clvi_run_record_read_some(const char *run, clvi_run_record *out, clv_error *error)
{
    return read_whole(run, true, out, error);
}

/* ---- Equal conditions ---- */

double clvi_run_record_within_seconds(const clvi_run_record *r, double seconds)
{
    double best = NAN;
    for (size_t i = 0; i < r->history_count && r->history[i].seconds <= seconds; i++)
        if (!(best >= r->history[i].val_top1))
            best = r->history[i].val_top1;
    return best;
}

double clvi_run_record_within_epochs(const clvi_run_record *r, int64_t epochs)
{
    double best = NAN;
    for (size_t i = 0; i < r->history_count && r->history[i].epoch <= epochs; i++)
        if (!(best >= r->history[i].val_top1))
            best = r->history[i].val_top1;
    return best;
}

const clvi_epoch_record *clvi_run_record_half_way(const clvi_run_record *r)
{
    const double enough = r->classes > 1 ? log((double)r->classes) / 2 : NAN;
    for (size_t i = 0; r->trainable != 0 && i < r->history_count; i++)
        if (r->history[i].train_loss < enough)
            return &r->history[i];
    return NULL;
}
