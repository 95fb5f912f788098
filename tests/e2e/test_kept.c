/* Experts that are frozen as a whole: what they make of the images is computed once, and kept in
 * files for others (train.cache_features, train.feature_folder). Argument: the folder of plugins.
 * Exit 77 where there is no OpenCL device. */
#define _XOPEN_SOURCE 700
#include "trainings.h"

#include "../unit/image_files.h"
#include "../unit/test_device.h"
#include "base/process.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Three frozen experts, of other features each. */
#define EXPERTS                                                                                    \
    "[mixture]\nexperts = small, other, third\n%s"                                                 \
    "[expert.small]\ntrainable = none\n"                                                           \
    "[expert.other]\nplugin = cnn\nwidths = 5\ntrainable = none\nseed = 7\n"                       \
    "[expert.third]\nplugin = cnn\nwidths = 3, 4\ntrainable = none\npreprocess = plugin\n"         \
    "[optimizer]\nlr = 0.02\n[train]\nepochs = 3\nbatch = 7\nlog_every = 2\n"
#define KEEP   "cache_features = yes\n"
#define FOLDER KEEP "feature_folder = features\n"

static char *plugin_folder;
static char told[4096]; /* what was logged of features since it was cleared */

static void listen(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    const size_t length = strlen(told);
    if (strstr(line, "features of ") != NULL || strstr(line, "made anew") != NULL)
        snprintf(told + length, sizeof told - length, "%s\n", line);
    else if (level <= CLVI_LOG_WARN && strstr(line, "keep random values") == NULL &&
             strstr(line, "hardly used") == NULL && strstr(line, "the same answer") == NULL)
        fprintf(stderr, "# %s\n", line);
}

/* A configuration of these experts: lines for [mixture] and more, lines for [train]. */
static const char *fused(const char *mixture, const char *train)
{
    static char text[2][4096];
    static int turn;
    char *to = text[turn ^= 1];
    const int length = snprintf(to, sizeof text[0], EXPERTS, mixture);
    snprintf(to + length, sizeof text[0] - (size_t)length, "%s", train);
    return to;
}

static training run_well(const char *config, const char *run)
{
    training t = {.config = config, .run = run};
    told[0] = '\0';
    if (training_run(&t) != CLV_OK)
        fail_msg("%s: %s", run, t.error.message);
    return t;
}

static bool same_checkpoint(const char *run_a, const char *run_b)
{
    char a[128], b[128];
    snprintf(a, sizeof a, "%s/last.safetensors", run_a);
    snprintf(b, sizeof b, "%s/last.safetensors", run_b);
    return weights_apart(a, b) == 0;
}

static size_t count_files(const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    OK(clvi_dir_list(folder, &names, &count, error));
    clvi_names_free(names, count);
    return count;
}

/* ---- Kernels ---- */

/* Programs that were loaded and kernels that were made since the device was opened. */
static uint64_t prepared(void)
{
    clvi_device_counters c;
    clvi_device_get_counters(trainings_device(), &c);
    return c.programs_built + c.programs_cached + c.kernels_compiled;
}

/* Warming up prepares all that a step launches. The first test: no other has prepared anything. */
static void test_warm(void **state)
{
    (void)state;
    enum { BATCH = 7 };
    static uint8_t pixels[BATCH * TRAINING_SIDE * TRAINING_SIDE];
    static const int32_t labels[BATCH];
    static float features[BATCH * 1024];
    clvi_config *config = trainings_config(
        fused("scores = logits\n[gate]\nplugin = switch\nbalance_bias = 0.1\n", KEEP));
    clvi_mixture *m = NULL;
    clvi_mixture_desc desc = trainings_mixture(config, BATCH, true);
    desc.keep_features = true;
    OK(clvi_mixture_create(&desc, &m, error));
    assert_true(clvi_mixture_kept(m).used > 0 && clvi_mixture_kept(m).used <= 1024);
    OK(clvi_mixture_warm(m, error));
    const clvi_mixture_batch batch = {
        .n = BATCH, .pixels = pixels, .labels = labels, .features = features};
    const uint64_t before = prepared();
    OK(clvi_mixture_begin_step(m, error));
    OK(clvi_mixture_step(m, &batch, error));
    OK(clvi_mixture_look_at_gradients(m, CLVI_STORE_GRADIENT, 1, 0, error));
    OK(clvi_mixture_end_step(m, error));
    OK(clvi_mixture_infer(m, &batch, error));
    assert_int_equal(prepared() - before, 0);
    clvi_mixture_destroy(m);
    clvi_config_destroy(config);
}

/* ---- The same as without ---- */

static void expect_same(const char *mixture, const char *name)
{
    char kept_run[64], a[128], b[128];
    const training plain = run_well(fused(mixture, ""), name);
    assert_string_equal(told, "");
    snprintf(kept_run, sizeof kept_run, "%s-kept", name);
    const training kept = run_well(fused(mixture, KEEP), kept_run);
    assert_non_null(strstr(told, "computed in"));
    snprintf(a, sizeof a, "%s/last.safetensors", name);
    snprintf(b, sizeof b, "%s/last.safetensors", kept_run);
    const double apart = weights_apart(a, b);
    if (!(apart <= 1e-5))
        fail_msg("%s: weights are %g apart", name, apart);
    assert_int_equal(plain.result.best_epoch, kept.result.best_epoch);
    /* Without, these were taken from the pixels. */
    if (!(fabs(plain.result.val.nll - kept.result.val.nll) <= 1e-5) ||
        !(fabs(plain.result.train.nll - kept.result.train.nll) <= 1e-5))
        fail_msg("%s: %.9g %.9g, kept %.9g %.9g", name, plain.result.val.nll,
                 plain.result.train.nll, kept.result.val.nll, kept.result.train.nll);
    assert_true(plain.result.val.top1 == kept.result.val.top1);
}

static void test_same(void **state)
{
    (void)state;
    expect_same("fusion = feature\n[gate]\nplugin = cnn\nwidths = 6\n", "feature");
    expect_same("combine = concat\nscores = logits\n[gate]\nplugin = linear\ninput = features\n",
                "concat");
    expect_same("[gate]\nplugin = linear\n[loss]\nterms = jacobs_mse, importance:0.1\n", "jacobs");
    expect_same(
        "combine = product\n[gate]\nplugin = cnn\nwidths = 6\n[loss]\nterms = ce, expert_ce:0.5\n",
        "product");
    expect_same("combine = median\n[gate]\nplugin = average\n", "median");
}

/* The weights of a sparse gate are a mask on what all experts say. */
static void test_sparse(void **state)
{
    (void)state;
    expect_same(
        "[gate]\nplugin = noisy_topk\nk = 2\n[loss]\nterms = ce, importance:0.1, load:0.1\n",
        "topk");
    expect_same("scores = logits\n[gate]\nplugin = switch\n[loss]\nterms = ce, switch:0.1\n",
                "switch");
    expect_same("scores = logits\n[gate]\nplugin = expert_choice\n", "choice");
    expect_same("fusion = feature\n[gate]\nplugin = noisy_topk\nk = 1\n", "sparse-feature");
    expect_same("combine = max\n[gate]\nplugin = noisy_topk\nk = 2\n"
                "[loss]\nterms = ce, importance:0.1\n",
                "sparse-max");
}

static void test_resumed(void **state)
{
    (void)state;
    static const char mixture[] =
        "combine = concat\n[gate]\nplugin = cnn\nwidths = 6\ndropout = 0.2\n";
    const training whole = run_well(fused(mixture, FOLDER "ema = 0.9\n"), "whole");
    for (int64_t at = 1; at <= whole.calls; at += 5) {
        char run[64];
        snprintf(run, sizeof run, "stopped-%lld", (long long)at);
        training t = {.config = fused(mixture, FOLDER "ema = 0.9\n"), .run = run, .stop_at = at};
        if (training_run(&t) == CLV_OK)
            continue;
        training rest = {.config = t.config, .run = run, .resume = true};
        if (training_run(&rest) != CLV_OK)
            fail_msg("%s", rest.error.message);
        if (!same_checkpoint("whole", run))
            fail_msg("another checkpoint after a stop at call %lld", (long long)at);
    }
}

/* ---- Files ---- */

static void test_files(void **state)
{
    (void)state;
    const char *score = "combine = concat\n[gate]\nplugin = linear\n";
    assert_int_equal(system("rm -rf features"), 0);
    run_well(fused(score, FOLDER), "first");
    assert_non_null(strstr(told, "computed (of 3 of 3 experts) in"));
    assert_int_equal(count_files("features"), 6); /* logits and features of each */
    run_well(fused(score, FOLDER), "second");
    assert_non_null(strstr(told, " read in"));
    assert_true(same_checkpoint("first", "second"));
    /* What was computed for another fusion serves this one. */
    run_well(fused("fusion = feature\n[gate]\nplugin = average\n", FOLDER), "other-fusion");
    assert_non_null(strstr(told, " read in"));
    run_well(fused("fusion = feature\n[gate]\nplugin = average\n", ""), "other-plain");
    assert_true(weights_apart("other-fusion/last.safetensors", "other-plain/last.safetensors") <=
                1e-5);
    /* Another expert of the three: only it is run. */
    char text[4096];
    snprintf(text, sizeof text, "%s[expert.third]\nseed = 3\n", fused(score, FOLDER));
    run_well(text, "third");
    assert_non_null(strstr(told, "computed (of 1 of 3 experts) in"));
    assert_int_equal(count_files("features"), 8);
    assert_false(same_checkpoint("first", "third"));
    /* Other pixels, other images. */
    snprintf(text, sizeof text, "%s[data]\nimage_size = 10\n", fused(score, FOLDER));
    run_well(text, "larger");
    assert_non_null(strstr(told, "computed (of 3 of 3 experts) in"));
    snprintf(text, sizeof text, "%s[data]\nlimit_per_class = 4\n", fused(score, FOLDER));
    run_well(text, "fewer");
    assert_non_null(strstr(told, "computed (of 3 of 3 experts) in"));
    assert_int_equal(count_files("features"), 20);
    /* Other batches, which other kernels may compute. */
    snprintf(text, sizeof text, "%s", fused(score, FOLDER));
    char *batch = strstr(text, "batch = 7");
    assert_non_null(batch);
    batch[8] = '6';
    run_well(text, "batches");
    assert_non_null(strstr(told, "computed (of 3 of 3 experts) in"));
}

/* Another file of a plugin is other code, whatever it is called. */
static void test_plugin_file(void **state)
{
    (void)state;
    char command[3 * PATH_MAX];
    const char *config = fused("[gate]\nplugin = linear\n", FOLDER);
    assert_int_equal(system("rm -rf features"), 0);
    run_well(config, "plugin");
    run_well(config, "plugin-again");
    assert_non_null(strstr(told, " read in"));
    snprintf(command, sizeof command, "printf x >>'%s'/expert_cnn.so", plugin_folder);
    assert_int_equal(system(command), 0);
    run_well(config, "plugin-other");
    assert_non_null(strstr(told, "computed (of 3 of 3 experts) in"));
}

/* What a killed process left goes; what may be in use stays. */
static void test_leftovers(void **state)
{
    (void)state;
    assert_int_equal(system("rm -rf features && mkdir features && cd features && "
                            "touch -d '2 hours ago' a.safetensors.tmp-999999999-0 b.tmp-1-0 && "
                            "touch -d '2 hours ago' c.tmp-x-0 d.safetensors && "
                            "touch e.safetensors.tmp-999999999-1"),
                     0);
    run_well(fused("[gate]\nplugin = linear\n", FOLDER), "swept");
    assert_false(clvi_is_file("features/a.safetensors.tmp-999999999-0"));
    assert_int_equal(count_files("features"), 4 + 6);
}

/* A file that was cut or is another's is made anew. */
static void test_damaged(void **state)
{
    (void)state;
    const char *score = "combine = concat\n[gate]\nplugin = linear\n";
    assert_int_equal(system("rm -rf features"), 0);
    run_well(fused(score, FOLDER), "good");
    char **names = NULL, path[512], *bytes = NULL;
    size_t count = 0, length = 0;
    OK(clvi_dir_list("features", &names, &count, error));
    assert_int_equal(count, 6);
    size_t cut = count;
    for (size_t i = 0; i < count; i++)
        cut = cut == count && strstr(names[i], "logits") != NULL ? i : cut;
    snprintf(path, sizeof path, "features/%s", names[cut]);
    OK(clvi_file_read(path, 1 << 20, &bytes, &length, error));
    OK(clvi_file_write(path, bytes, length / 2, error));
    clvi_free(bytes);
    clvi_names_free(names, count);
    run_well(fused(score, FOLDER), "mended");
    assert_non_null(strstr(told, "made anew"));
    assert_non_null(strstr(told, "computed (of 1 of 3 experts) in"));
    assert_true(same_checkpoint("good", "mended"));
    run_well(fused(score, FOLDER), "again");
    assert_non_null(strstr(told, " read in"));
    assert_null(strstr(told, "made anew"));
}

/* An image that cannot be read has no features: nothing is written for others. */
static void test_bad_image(void **state)
{
    (void)state;
    static const char damaged[] = "data/train/class1/1.png";
    char *text, config[4096], plain[4096];
    size_t bytes;
    assert_int_equal(system("rm -rf features"), 0);
    OK(clvi_file_read(damaged, 1 << 20, &text, &bytes, error));
    file_put(".", damaged, text, bytes / 2);
    const char *score = "combine = concat\n[gate]\nplugin = average\n";
    snprintf(config, sizeof config, "%s[data]\non_bad = skip\n", fused(score, FOLDER));
    snprintf(plain, sizeof plain, "%s[data]\non_bad = skip\n", fused(score, ""));
    run_well(config, "bad-kept");
    run_well(plain, "bad");
    assert_true(weights_apart("bad/last.safetensors", "bad-kept/last.safetensors") <= 1e-5);
    assert_false(clvi_is_dir("features"));
    file_put(".", damaged, text, bytes);
    clvi_free(text);
}

/* ---- Cost and refusals ---- */

static clvi_trial try_out(const char *config_text)
{
    clvi_config *config = trainings_config(config_text);
    clvi_dataset *data = trainings_data(config);
    const clvi_train_desc desc = {.config = config,
                                  .data = data,
                                  .plugins = trainings_plugins(),
                                  .device = trainings_device()};
    clvi_trial trial;
    OK(clvi_train_try(&desc, &trial, error));
    clvi_dataset_close(data);
    clvi_config_destroy(config);
    return trial;
}

static void test_memory(void **state)
{
    (void)state;
    const clvi_trial trial =
        try_out(fused("[gate]\nplugin = noisy_topk\n[loss]\nterms = ce\n", FOLDER));
    assert_int_equal(trial.planned_bytes, trial.device_bytes);
}

/* What is not trained is validated once, 8 images, whatever train.epochs says; then come all 32. */
static void test_judged(void **state)
{
    (void)state;
    const clvi_trial trial = try_out(fused("combine = median\n[gate]\nplugin = average\n", ""));
    assert_int_equal(trial.trainable, 0);
    assert_true(trial.epoch_seconds > 0);
    assert_true(fabs(trial.seconds / trial.epoch_seconds - 5) < 1e-6);
}

/* `was` of the experts' configuration becomes `is`. */
static void expect_refused(const char *was, const char *is, const char *why)
{
    char text[4096];
    const char *whole = fused("[gate]\nplugin = linear\n", KEEP), *at = strstr(whole, was);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, is, at + strlen(was));
    training t = {.config = text, .run = "refused"};
    assert_int_equal(training_run(&t), CLV_E_CONFIG);
    if (strstr(t.error.message, "[train] cache_features: ") == NULL ||
        strstr(t.error.message, why) == NULL)
        fail_msg("%s", t.error.message);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused("[train]\n", "[data]\naugment = characters\n[train]\n", "data.augment");
    expect_refused("trainable = none\nseed", "trainable = head\nseed",
                   "something in [expert.other] trains");
    expect_refused("seed = 7", "unfreeze_at_epoch = 2", "something in [expert.other] trains");
    expect_refused("preprocess = plugin", "bn = train", "bn = train in [expert.third]");
    training t = {.config = "[mixture]\nexperts = a\n[mixture.a]\nexperts = u, v\n"
                            "[expert.a/u]\nplugin = cnn\ntrainable = none\n"
                            "[expert.a/v]\nplugin = cnn\ntrainable = none\n"
                            "[gate.a]\nplugin = linear\n[train]\n" KEEP,
                  .run = "refused"};
    assert_int_equal(training_run(&t), CLV_E_CONFIG);
    assert_non_null(strstr(t.error.message, "[expert.a] is a mixture"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm),      cmocka_unit_test(test_same),
        cmocka_unit_test(test_sparse),    cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_files),     cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_bad_image), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_judged),    cmocka_unit_test(test_plugin_file),
        cmocka_unit_test(test_leftovers), cmocka_unit_test(test_refused),
    };
    if (argc != 2)
        return 2;
    char command[3 * PATH_MAX];
    plugin_folder = folder_make(); /* a test changes a file there */
    snprintf(command, sizeof command, "cp '%s'/*.so '%s'", argv[1], plugin_folder);
    const int status = system(command) == 0 ? trainings_begin(plugin_folder) : 1;
    if (status != 0) {
        folder_remove(plugin_folder);
        return status;
    }
    clvi_set_log_sink(listen, NULL);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    const int left = trainings_end();
    folder_remove(plugin_folder);
    return left | (failed != 0);
}
