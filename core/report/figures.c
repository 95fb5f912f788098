/* The figures of a run that a comparison shows; see comparison.h. */
#include "report/comparison.h"

#include "mixture/usage.h"

#include <math.h>

#define SCORE(split, name, field)                                                                  \
    static double name(const clvi_run_record *r)                                                   \
    {                                                                                              \
        return r->scores[split].count > 0 ? r->scores[split].field : NAN;                          \
    }
SCORE(CLVI_TRAIN, train_top1, top1)
SCORE(CLVI_TRAIN, train_low, top1_low)
SCORE(CLVI_TRAIN, train_high, top1_high)
SCORE(CLVI_TRAIN, train_top5, top5)
SCORE(CLVI_TRAIN, train_nll, nll)
SCORE(CLVI_TRAIN, train_brier, brier)
SCORE(CLVI_TRAIN, train_ece, ece)
SCORE(CLVI_TRAIN, train_precision, precision)
SCORE(CLVI_TRAIN, train_recall, recall)
SCORE(CLVI_TRAIN, train_f1, f1)
SCORE(CLVI_VAL, val_top1, top1)
SCORE(CLVI_VAL, val_nll, nll)
SCORE(CLVI_TEST, test_top1, top1)
SCORE(CLVI_TEST, test_low, top1_low)
SCORE(CLVI_TEST, test_high, top1_high)
SCORE(CLVI_TEST, test_top5, top5)
SCORE(CLVI_TEST, test_nll, nll)
SCORE(CLVI_TEST, test_nll_calibrated, nll_calibrated)
SCORE(CLVI_TEST, test_brier, brier)
SCORE(CLVI_TEST, test_ece, ece)
SCORE(CLVI_TEST, test_ece_calibrated, ece_calibrated)
SCORE(CLVI_TEST, test_precision, precision)
SCORE(CLVI_TEST, test_recall, recall)
SCORE(CLVI_TEST, test_f1, f1)
#undef SCORE

static double known(int64_t value)
{
    return value >= 0 ? (double)value : NAN;
}

#define INTEGER(name, field)                                                                       \
    static double name(const clvi_run_record *r)                                                   \
    {                                                                                              \
        return known(r->field);                                                                    \
    }
INTEGER(parameters, parameters)
INTEGER(trainable, trainable)
INTEGER(multiply_adds, multiply_adds)
INTEGER(active, active)
INTEGER(start_epochs, start_epochs)
INTEGER(best_epoch, best_epoch)
INTEGER(peak_bytes, peak_bytes)
#undef INTEGER

static double epochs(const clvi_run_record *r)
{
    return known(clvi_run_record_epochs(r));
}

static double seconds(const clvi_run_record *r)
{
    return r->seconds + r->start_seconds;
}

static double start_seconds(const clvi_run_record *r)
{
    return r->start_seconds;
}

static double images_per_second(const clvi_run_record *r)
{
    return r->images_per_second;
}

static double half_way_epochs(const clvi_run_record *r)
{
    const clvi_epoch_record *e = clvi_run_record_half_way(r);
    return e && r->start_epochs >= 0 ? (double)e->epoch : NAN;
}

static double half_way_seconds(const clvi_run_record *r)
{
    const clvi_epoch_record *e = clvi_run_record_half_way(r);
    return e ? e->seconds : NAN;
}

static double temperature(const clvi_run_record *r)
{
    const json_t *value = json_object_get(r->summary, "temperature");
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const json_t *clvi_usage_of(const clvi_run_record *r)
{
    const json_t *usage = json_object_get(r->summary, "usage");
    return json_object_get(usage, clvi_split_name(r->judged));
}

#define USAGE(name, key)                                                                           \
    static double name(const clvi_run_record *r)                                                   \
    {                                                                                              \
        const json_t *value = json_object_get(clvi_usage_of(r), key);                              \
        return json_is_number(value) ? json_number_value(value) : NAN;                             \
    }
USAGE(entropy_of_mean, "entropy_of_mean")
USAGE(mean_entropy, "mean_entropy")
USAGE(information, "class_information_bits")
USAGE(information_shuffled, "class_information_bits_shuffled")
USAGE(source_information, "source_information_bits")
USAGE(source_information_shuffled, "source_information_bits_shuffled")
USAGE(uniform, "uniform")
USAGE(shuffled, "shuffled")
USAGE(oracle, "oracle")
#undef USAGE

/* Experts that were hardly used on the training images. */
static double dead_experts(const clvi_run_record *r)
{
    const json_t *usage = json_object_get(r->summary, "usage");
    const json_t *train = json_object_get(usage, clvi_split_name(CLVI_TRAIN));
    const json_t *share = json_object_get(train, "share");
    const json_t *weight = json_object_get(train, "weight_share");
    const size_t experts = json_array_size(share);
    double dead = 0;
    for (size_t i = 0; i < experts; i++) {
        const clvi_usage_expert use = {.share = json_number_value(json_array_get(share, i)),
                                       .weight_share =
                                           json_number_value(json_array_get(weight, i))};
        dead += clvi_usage_dead(&use, (int)experts);
    }
    return experts > 0 ? dead : NAN;
}

static const struct {
    const char *name;
    double (*of)(const clvi_run_record *record);
} figures[] = {
    {"parameters", parameters},
    {"trainable", trainable},
    {"multiply_adds", multiply_adds},
    {"active_multiply_adds", active},
    {"epochs", epochs},
    {"best_epoch", best_epoch},
    {"seconds", seconds},
    {"start_epochs", start_epochs},
    {"start_seconds", start_seconds},
    {"half_way_epochs", half_way_epochs},
    {"half_way_seconds", half_way_seconds},
    {"images_per_second", images_per_second},
    {"peak_device_bytes", peak_bytes},
    {"train_top1", train_top1},
    {"train_top1_low", train_low},
    {"train_top1_high", train_high},
    {"train_top5", train_top5},
    {"train_nll", train_nll},
    {"train_brier", train_brier},
    {"train_ece", train_ece},
    {"train_precision", train_precision},
    {"train_recall", train_recall},
    {"train_f1", train_f1},
    {"val_top1", val_top1},
    {"val_nll", val_nll},
    {"test_top1", test_top1},
    {"test_top1_low", test_low},
    {"test_top1_high", test_high},
    {"test_top5", test_top5},
    {"test_nll", test_nll},
    {"test_nll_calibrated", test_nll_calibrated},
    {"test_brier", test_brier},
    {"test_ece", test_ece},
    {"test_ece_calibrated", test_ece_calibrated},
    {"test_precision", test_precision},
    {"test_recall", test_recall},
    {"test_f1", test_f1},
    {"temperature", temperature},
    {"gate_entropy_of_mean", entropy_of_mean},
    {"gate_mean_entropy", mean_entropy},
    {"class_information_bits", information},
    {"class_information_bits_shuffled", information_shuffled},
    {"source_information_bits", source_information},
    {"source_information_bits_shuffled", source_information_shuffled},
    {"uniform_gate_top1", uniform},
    {"shuffled_gate_top1", shuffled},
    {"oracle_top1", oracle},
    {"dead_experts", dead_experts},
};

const char *clvi_figure_name(size_t index)
{
    return index < sizeof figures / sizeof *figures ? figures[index].name : NULL;
}

double clvi_figure(const clvi_run_record *record, const char *name)
{
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        if (strcmp(figures[i].name, name) == 0)
            return figures[i].of(record);
    CLV_ASSERT(false);
    return NAN;
}

double clvi_contestant_mean(const clvi_contestant *c, const char *figure)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < c->run_count; i++)
        if (c->runs[i].record.path)
            sum += clvi_figure(&c->runs[i].record, figure), count++;
    return count > 0 ? sum / (double)count : NAN;
}

bool clvi_comparison_tested(const clvi_comparison *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (isfinite(clvi_contestant_mean(&c->contestants[i], "test_top1")))
            return true;
    return false;
}
