/* What of an expert trains: frozen layers, from which epoch on they train, what it costs. Argument:
 * the folder of plugins. Exit 77 where there is no OpenCL device. */
#include "trainings.h"

#include "../unit/image_files.h"
#include "../unit/test_device.h"
#include "base/process.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Tensors of the two blocks and of the head. */
#define CONV(i) "expert.small.features." #i ".0.conv.weight"
#define NORM(i) "expert.small.features." #i ".0.norm."
static const char head_weight[] = "expert.small.classifier.weight";

enum { MOST = 4096 };

static int random_warnings; /* of frozen layers with random values: nearly all trainings here */

static void listen(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    if (strstr(line, "keep random values") != NULL)
        random_warnings++;
    else if (level <= CLVI_LOG_WARN)
        fprintf(stderr, "# %s\n", line);
}

static clv_status train(const char *config, const char *run, clv_error *error)
{
    training t = {.config = config, .run = run};
    const clv_status status = training_run(&t);
    *error = t.error;
    return status;
}

static void train_well(const char *config, const char *run)
{
    clv_error error;
    if (train(config, run, &error) != CLV_OK)
        fail_msg("%s: %s", run, error.message);
}

/* Reads a tensor of RUN/last.safetensors; returns its elements. */
static int64_t read_last(const char *run, const char *name, float *out)
{
    char path[128];
    clvi_safetensors *file;
    snprintf(path, sizeof path, "%s/last.safetensors", run);
    OK(clvi_safetensors_open(path, &file, error));
    const int64_t index = clvi_safetensors_find(file, name);
    if (index < 0)
        fail_msg("%s has no %s", path, name);
    const int64_t elements = clvi_safetensors_at(file, (size_t)index)->elements;
    assert_true(elements <= MOST);
    OK(clvi_safetensors_read_f32(file, (size_t)index, out, error));
    clvi_safetensors_close(file);
    return elements;
}

static bool has_tensor(const char *run, const char *name)
{
    char path[128];
    clvi_safetensors *file;
    snprintf(path, sizeof path, "%s/last.safetensors", run);
    OK(clvi_safetensors_open(path, &file, error));
    const bool found = clvi_safetensors_find(file, name) >= 0;
    clvi_safetensors_close(file);
    return found;
}

static void expect_moved(const char *before, const char *after, const char *name, bool moved)
{
    static float a[MOST], b[MOST];
    double most = 0;
    const int64_t elements = read_last(before, name, a);
    assert_int_equal(read_last(after, name, b), elements);
    for (int64_t k = 0; k < elements; k++)
        most = fmax(most, fabs((double)a[k] - (double)b[k]));
    if ((most > 1e-9) != moved) /* the rate that stands for none is below that */
        fail_msg("%s of %s moves by %g", name, after, most);
}

/* The first values: a step with a rate of next to nothing. */
#define STILL "[optimizer]\nlr = 1e-12\nweight_decay = 0\n[train]\nepochs = 1\nbatch = 24\n"
#define MOVES "[optimizer]\nlr = 0.01\n[train]\nepochs = 2\nbatch = 7\n"

/* ---- What stays and what moves ---- */

typedef struct freezing {
    const char *keys;
    bool conv0, norm0, statistics0, conv1, norm1, statistics1, head;
} freezing;

static const freezing freezings[] = {
    {"", true, true, true, true, true, true, true},
    {"trainable = head\n", false, false, false, false, false, false, true},
    {"trainable = last:0\n", false, false, false, false, false, false, true},
    {"trainable = last:1\n", false, false, false, true, true, true, true},
    {"trainable = last:2\n", true, true, true, true, true, true, true},
    {"trainable = features.1\n", false, false, false, true, true, true, false},
    {"trainable = head, features.1.0.conv\n", false, false, false, true, false, false, true},
    {"trainable = features.0\n", true, true, true, false, false, false, false},
    {"trainable = *.conv.weight\n", true, false, false, true, false, false, false},
    {"trainable = head\nbn = train\n", false, false, true, false, false, true, true},
    {"trainable = all\nbn = frozen\n", true, true, false, true, true, false, true},
    {"trainable = last:1\nbn = frozen\n", false, false, false, true, true, false, true},
};

static void check_freezing(const freezing *f, int index)
{
    char config[512], run[32];
    const struct {
        const char *name;
        bool moved, trains;
    } tensors[] = {
        {CONV(0), f->conv0, true},
        {NORM(0) "weight", f->norm0, true},
        {NORM(0) "bias", f->norm0, true},
        {NORM(0) "running_mean", f->statistics0, false},
        {NORM(0) "running_var", f->statistics0, false},
        {CONV(1), f->conv1, true},
        {NORM(1) "weight", f->norm1, true},
        {NORM(1) "bias", f->norm1, true},
        {NORM(1) "running_mean", f->statistics1, false},
        {NORM(1) "running_var", f->statistics1, false},
        {head_weight, f->head, true},
    };
    snprintf(config, sizeof config, "[expert.small]\n%s" MOVES, f->keys);
    snprintf(run, sizeof run, "frozen%d", index);
    random_warnings = 0;
    train_well(config, run);
    const bool whole = f->conv0 && f->norm0 && f->conv1 && f->norm1 && f->head;
    assert_int_equal(random_warnings, whole ? 0 : 1);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char moment[128];
        expect_moved("first", run, tensors[i].name, tensors[i].moved);
        snprintf(moment, sizeof moment, "optimizer.m.%s", tensors[i].name);
        if (has_tensor(run, moment) != (tensors[i].moved && tensors[i].trains))
            fail_msg("%s of %s: moments", tensors[i].name, run);
    }
}

static void test_what_moves(void **state)
{
    (void)state;
    /* With frozen statistics and next to no rate, what stays is what training begins with. */
    train_well("[expert.small]\nbn = frozen\n" STILL, "first");
    for (size_t i = 0; i < sizeof freezings / sizeof *freezings; i++)
        check_freezing(&freezings[i], (int)i);
}

static void expect_refused(const char *keys, const char *const *parts, size_t count)
{
    char config[512];
    clv_error error;
    snprintf(config, sizeof config, "[expert.small]\n%s[train]\nepochs = 1\n", keys);
    assert_int_equal(train(config, "refused", &error), CLV_E_CONFIG);
    for (size_t i = 0; i < count; i++)
        if (strstr(error.message, parts[i]) == NULL)
            fail_msg("\"%s\" is not in: %s", parts[i], error.message);
}
#define REFUSED(keys, ...)                                                                         \
    expect_refused((keys), (const char *const[]){__VA_ARGS__},                                     \
                   sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_refusals(void **state)
{
    (void)state;
    REFUSED("trainable = featurs.1\n", "test.ini:4", "[expert.small] trainable", "'featurs.1'",
            "nearest: features.1");
    REFUSED("trainable = head, classifier.wieght\n", "'classifier.wieght'", "classifier.weight");
    REFUSED("trainable = conv9*\n", "'conv9*' fits the name of no parameter");
    REFUSED("trainable = last:3\n", "'last:3' asks for more than the 2 blocks");
    REFUSED("trainable = last:x\n", "'last:x' fits the name of no parameter");
    REFUSED("trainable = none, head\n", "`none` stands alone");
    REFUSED("trainable = ,\n", "it is empty");
    REFUSED("trainable = none\n", "test.ini:4", "nothing trains in the first epoch");
    REFUSED("unfreeze = head\n", "no effect without unfreeze_at_epoch");
    REFUSED("trainable = head\nunfreeze_at_epoch = 1\n", "1 is the first epoch");
    REFUSED("unfreeze_at_epoch = 2\n", "all that `unfreeze` names trains from the beginning");
    REFUSED("trainable = head\nunfreeze_at_epoch = 2\nunfreeze = feature.0\n",
            "[expert.small] unfreeze: 'feature.0'", "nearest: features.0");
}

/* A factor on the rate counts for what trains, and a frozen parameter may have one. */
static void test_multipliers(void **state)
{
    (void)state;
    static const char keys[] = "[expert.small]\ntrainable = last:1\n[optimizer]\nlr = 0.01\n";
    char config[512];
    snprintf(config, sizeof config, "%s[train]\nepochs = 1\nbatch = 24\n", keys);
    train_well(config, "alike");
    snprintf(config, sizeof config,
             "%slr_multiplier = *features*=0.25, *features.0*=9\n"
             "[train]\nepochs = 1\nbatch = 24\n",
             keys);
    train_well(config, "slower");
    train_well("[expert.small]\nbn = frozen\n" STILL, "start");
    static float start[MOST], full[MOST], slow[MOST];
    const int64_t elements = read_last("start", CONV(1), start);
    (void)read_last("alike", CONV(1), full);
    (void)read_last("slower", CONV(1), slow);
    double worst = 0, largest = 0;
    for (int64_t k = 0; k < elements; k++) {
        const double moved = (double)full[k] - (double)start[k];
        worst = fmax(worst, fabs((double)slow[k] - (double)start[k] - 0.25 * moved));
        largest = fmax(largest, fabs(moved));
    }
    if (!(largest > 0.005 && worst < 1e-6))
        fail_msg("moved %g, a quarter misses by %g", largest, worst);
    expect_moved("alike", "slower", CONV(0), false);
    expect_moved("alike", "slower", head_weight, false);
}

/* ---- What it costs ---- */

typedef struct cost {
    uint64_t bytes, store_bytes, launches;
    float bias[TRAINING_CLASSES]; /* gradient of the head's bias */
} cost;

/* Of a step of 12 pictures of noise. */
static cost measure(const char *keys)
{
    enum { BATCH = 12, PIXELS = TRAINING_SIDE * TRAINING_SIDE };
    static uint8_t pixels[BATCH * PIXELS];
    int32_t labels[BATCH];
    char text[512];
    cost c = {0};
    clvi_mixture *m = NULL;
    clvi_device_counters before, after;
    snprintf(text, sizeof text, "[expert.small]\n%s", keys);
    clvi_config *config = trainings_config(text);
    clvi_mixture_desc desc = trainings_mixture(config, BATCH, true);
    desc.keep_features = clvi_config_bool(config, "train", "cache_features");
    for (int i = 0; i < BATCH; i++)
        labels[i] = i % TRAINING_CLASSES;
    for (size_t k = 0; k < sizeof pixels; k++)
        pixels[k] = (uint8_t)((unsigned)k * 2654435761u >> 24);
    OK(clvi_mixture_create(&desc, &m, error));
    OK(clvi_mixture_warm(m, error));
    static const float features[MOST];
    const int64_t kept = clvi_mixture_kept(m).used;
    assert_true(kept * BATCH <= MOST);
    const clvi_mixture_batch batch = {
        .n = BATCH, .pixels = pixels, .labels = labels, .features = kept > 0 ? features : NULL};
    clvi_device_get_counters(trainings_device(), &before);
    OK(clvi_mixture_step(m, &batch, error));
    clvi_device_get_counters(trainings_device(), &after);
    const clvi_store *store = clvi_mixture_store(m);
    const int64_t bias = clvi_store_find(store, "expert.small.classifier.bias");
    OK(clvi_store_read(store, (size_t)bias, CLVI_STORE_GRADIENT, c.bias, error));
    c.bytes = clvi_mixture_bytes(m);
    c.store_bytes = clvi_store_bytes(store);
    c.launches = after.launches - before.launches;
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
    return c;
}

/* The lower backward stops, the less memory and the fewer kernels. */
static void test_cost(void **state)
{
    (void)state;
    const cost all = measure("trainable = all\n"), last = measure("trainable = last:1\n"),
               head = measure("trainable = head\n");
    assert_true(head.launches < last.launches && last.launches < all.launches);
    assert_true(head.store_bytes < last.store_bytes && last.store_bytes < all.store_bytes);
    assert_true(head.bytes - head.store_bytes < last.bytes - last.store_bytes);
    assert_true(last.bytes - last.store_bytes < all.bytes - all.store_bytes);
    /* The two plans of a training that unfreezes lie in the memory of the larger one, where plans
     * share memory at all. */
    const char *arena = getenv("CONCLAVE_ARENA");
    const cost later = measure("trainable = head\nunfreeze_at_epoch = 5\n");
    assert_int_equal(later.launches, head.launches);
    if (!arena || strcmp(arena, "0") != 0)
        assert_true(later.bytes - later.store_bytes <= all.bytes - all.store_bytes);
    assert_int_equal(later.store_bytes, all.store_bytes);
}

/* Where forward is the same, so are the gradients. */
static void test_same_gradient(void **state)
{
    (void)state;
    const cost all = measure("trainable = all\ndropout = 0\n"),
               head = measure("trainable = head\nbn = train\ndropout = 0\n"),
               other = measure("trainable = head\ndropout = 0\n");
    assert_memory_equal(all.bias, head.bias, sizeof all.bias);
    assert_true(memcmp(all.bias, other.bias, sizeof all.bias) != 0);
}

/* ---- More trains later ---- */

#define LATER                                                                                      \
    "[data]\naugment = characters\n"                                                               \
    "[expert.small]\ntrainable = head\nunfreeze_at_epoch = 3\nunfreeze = features.1\n"             \
    "[optimizer]\nlr = 0.01\nweight_decay = 0\nclip_norm = 0.5\n"
#define COURSE(epochs, batch) "[train]\nepochs = " epochs "\nbatch = " batch "\nema = 0.9\n"

static void test_unfreeze(void **state)
{
    (void)state;
    static float before[MOST], after[MOST];
    train_well(LATER COURSE("2", "24"), "two");
    train_well("[data]\naugment = characters\n[expert.small]\ntrainable = head\n"
               "[optimizer]\nlr = 0.01\nweight_decay = 0\nclip_norm = 0.5\n" COURSE("2", "24"),
               "plain");
    assert_true(weights_apart("two/last.safetensors", "plain/last.safetensors") == 0);
    train_well(LATER COURSE("3", "24"), "three");
    expect_moved("two", "three", "training." CONV(0), false);
    expect_moved("two", "three", "training." CONV(1), true);
    expect_moved("two", "three", "training." NORM(0) "running_mean", false);
    expect_moved("two", "three", "training." NORM(1) "running_mean", true);
    /* The first step with fresh moments moves each number by the rate, whatever its gradient;
     * moments counted from the beginning of training would move it by 0.64 of that. */
    const int64_t elements = read_last("two", "training." CONV(1), before);
    (void)read_last("three", "training." CONV(1), after);
    int64_t whole = 0;
    for (int64_t k = 0; k < elements; k++)
        whole += fabs(fabs((double)after[k] - (double)before[k]) - 0.01) < 1e-4;
    if (whole < elements * 9 / 10)
        fail_msg("%d of %d numbers moved by the rate", (int)whole, (int)elements);
}

/* Goes on to the end. */
static void go_on(training *t)
{
    t->resume = true;
    t->stop_at = 0;
    if (training_run(t) != CLV_OK)
        fail_msg("%s: %s", t->run, t->error.message);
}

/* Stopped at every call of progress and resumed, it ends with the bytes of the unbroken one. */
static void stop_everywhere(const char *config, const char *name)
{
    training whole = {.config = config, .run = name};
    if (training_run(&whole) != CLV_OK)
        fail_msg("%s", whole.error.message);
    int64_t stopped = 0;
    for (int64_t at = 1; at <= whole.calls; at++) {
        char run[64], a[128], b[128];
        snprintf(run, sizeof run, "%s-%lld", name, (long long)at);
        training t = {.config = config, .run = run, .stop_at = at};
        if (training_run(&t) == CLV_OK)
            continue;
        stopped++;
        go_on(&t);
        static const char *const files[] = {"last.safetensors", "best.safetensors"};
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            snprintf(a, sizeof a, "%s/%s", name, files[i]);
            snprintf(b, sizeof b, "%s/%s", run, files[i]);
            if (!same_file(a, b))
                fail_msg("%s is another after a stop at call %lld", files[i], (long long)at);
        }
        assert_true(same_metrics(name, run));
    }
    assert_true(stopped > 10);
}

static void test_unfreeze_resumed(void **state)
{
    (void)state;
    stop_everywhere(LATER COURSE("4", "9"), "later");
}

/* Each expert of a mixture by its own keys; here a frozen one, one that joins later, and a gate. */
static void test_mixture(void **state)
{
    (void)state;
#define TWO                                                                                        \
    "[mixture]\nexperts = small, other\n"                                                          \
    "[expert.small]\ntrainable = none\n"                                                           \
    "[expert.other]\nplugin = cnn\nwidths = 5\ntrainable = head\nunfreeze_at_epoch = 2\n"          \
    "[gate]\nplugin = cnn\n[optimizer]\nlr = 0.01\n"
    static const char weight[] = "expert.other.features.0.0.conv.weight";
    train_well(TWO COURSE("1", "9"), "early");
    train_well(TWO COURSE("2", "9"), "late");
    expect_moved("early", "late", "training." CONV(0), false);
    expect_moved("early", "late", "training.expert.small.classifier.weight", false);
    expect_moved("early", "late", "training.expert.other.classifier.weight", true);
    char name[128];
    snprintf(name, sizeof name, "training.%s", weight);
    expect_moved("early", "late", name, true);
    snprintf(name, sizeof name, "optimizer.m.%s", weight);
    expect_moved("early", "late", name, true);
    assert_false(has_tensor("late", "optimizer.m." CONV(0)));
    stop_everywhere(TWO COURSE("3", "9"), "two-experts");
}

/* ---- Features that are kept ---- */

#define KEEP                                                                                       \
    "[expert.small]\ntrainable = last:1\n[optimizer]\nlr = 0.01\n"                                 \
    "[train]\nepochs = 3\nbatch = 7\nlog_every = 2\n"

static void expect_kept(const char *config, const char *name)
{
    char with[1024], run[64], a[128], b[128];
    training plain = {.config = config, .run = name};
    snprintf(run, sizeof run, "%s-kept", name);
    snprintf(with, sizeof with, "%scache_features = yes\n", config);
    training kept = {.config = with, .run = run};
    if (training_run(&plain) != CLV_OK || training_run(&kept) != CLV_OK)
        fail_msg("%s %s", plain.error.message, kept.error.message);
    snprintf(a, sizeof a, "%s/last.safetensors", name);
    snprintf(b, sizeof b, "%s/last.safetensors", run);
    const double apart = weights_apart(a, b);
    if (!(apart <= 1e-6))
        fail_msg("%s: weights are %g apart", name, apart);
    assert_int_equal(plain.result.best_epoch, kept.result.best_epoch);
    assert_true(fabs(plain.result.val.nll - kept.result.val.nll) <= 1e-6);
    assert_true(fabs(plain.result.train.nll - kept.result.train.nll) <= 1e-6);
    assert_int_equal(plain.calls, kept.calls);
}

static void test_features(void **state)
{
    (void)state;
    expect_kept(KEEP, "block");
    expect_kept("[expert.small]\ntrainable = head\nhidden = 5\n"
                "[data]\nsampler = balanced\n"
                "[train]\nepochs = 3\nbatch = 5\naccumulate = 2\nema = 0.9\n",
                "heads");
    expect_kept("[expert.small]\ntrainable = hidden, head\nhidden = 5\n"
                "[train]\nepochs = 2\nbatch = 24\n",
                "hidden");
}

static void test_features_resumed(void **state)
{
    (void)state;
    stop_everywhere(KEEP "cache_features = yes\n", "keeping");
}

/* Steps from features launch fewer kernels; the memory is what was planned. */
static void test_features_cost(void **state)
{
    (void)state;
    const cost plain = measure("trainable = last:1\n"),
               kept = measure("trainable = last:1\n[train]\ncache_features = yes\n");
    assert_true(kept.launches < plain.launches);
    assert_int_equal(kept.store_bytes, plain.store_bytes);
    clvi_config *config = trainings_config(KEEP "cache_features = yes\n");
    clvi_dataset *data = trainings_data(config);
    const clvi_train_desc desc = {.config = config,
                                  .data = data,
                                  .plugins = trainings_plugins(),
                                  .device = trainings_device()};
    clvi_trial trial;
    OK(clvi_train_try(&desc, &trial, error));
    assert_int_equal(trial.planned_bytes, trial.device_bytes);
    clvi_dataset_close(data);
    clvi_config_destroy(config);
}

/* A picture that cannot be read is left out in each epoch, as without. */
static void test_features_bad(void **state)
{
    (void)state;
    static const char damaged[] = "data/train/class1/1.png";
    char *text;
    size_t bytes;
    OK(clvi_file_read(damaged, 1 << 20, &text, &bytes, error));
    file_put(".", damaged, text, bytes / 2);
    expect_kept("[data]\non_bad = skip\nval_fraction = 0.3\n" KEEP, "bad");
    file_put(".", damaged, text, bytes);
    clvi_free(text);
}

static void test_features_refused(void **state)
{
    (void)state;
    static const char *const parts[] = {"[train] cache_features: "};
#define KEPT_REFUSED(keys, why)                                                                    \
    expect_refused(keys "[train]\ncache_features = yes\n", (const char *const[]){parts[0], why}, 2)
    KEPT_REFUSED("trainable = head\n[data]\naugment = characters\n", "data.augment");
    KEPT_REFUSED("trainable = head\nbn = train\n", "bn = train");
    KEPT_REFUSED("trainable = head\nunfreeze_at_epoch = 2\n", "unfreeze_at_epoch");
    KEPT_REFUSED("trainable = all\n", "no layer is frozen below");
    KEPT_REFUSED("trainable = features.0\n", "no layer is frozen below");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_moves),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_multipliers),      cmocka_unit_test(test_cost),
        cmocka_unit_test(test_same_gradient),    cmocka_unit_test(test_unfreeze),
        cmocka_unit_test(test_unfreeze_resumed), cmocka_unit_test(test_mixture),
        cmocka_unit_test(test_features),         cmocka_unit_test(test_features_resumed),
        cmocka_unit_test(test_features_cost),    cmocka_unit_test(test_features_bad),
        cmocka_unit_test(test_features_refused),
    };
    if (argc != 2)
        return 2;
    const int status = trainings_begin(argv[1]);
    if (status != 0)
        return status;
    clvi_set_log_sink(listen, NULL);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() | (failed != 0);
}
