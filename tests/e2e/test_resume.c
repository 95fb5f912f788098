/* A training that is stopped and resumed ends where an unbroken one ends, bit for bit. Here it is
 * stopped at every single step, inside one process; test_kill.c kills the command. Argument: the
 * folder of plugins. Exit 77 where there is no OpenCL device. */
#include "trainings.h"

#include "../unit/image_files.h"
#include "../unit/test_device.h"
#include "base/csv.h"
#include "train/elapsed.h"
#include "train/resume.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* 24 images in batches of 7: the fourth has 3. After the third epoch the rate is lowered. */
static const char adamw[] =
    "[data]\naugment = characters\n"
    "[optimizer]\nlr = 0.01\nclip_norm = 0.5\nlr_multiplier = *.classifier.*=0.5\n"
    "[schedule]\nkind = plateau\npatience = 2\nwarmup_epochs = 1\n"
    "[train]\nepochs = 4\nbatch = 7\nlog_every = 2\nema = 0.9\n"
    "monitor = val_accuracy\nmin_delta = 0.9\n";
/* Two batches to a step, the last step has two of 5 and 4 images; momentum, no second moment. */
static const char sgd[] =
    "[data]\naugment = photos\nsampler = balanced\n"
    "[expert.small]\nplugin = cnn\nbatch_norm = no\n"
    "[loss]\nlabel_smoothing = 0.1\nclass_weights = 1, 2, 3, 0.5\n"
    "[optimizer]\nname = sgd\nnesterov = yes\nlr = 0.05\n"
    "[schedule]\nkind = step\nmilestones = 0.5, 2\n"
    "[train]\nepochs = 3\nbatch = 5\naccumulate = 2\nlog_every = 3\ncheckpoint_every = 2\n";

static void expect_same(const char *unbroken, const char *run, int64_t stop_at)
{
    static const char *const files[] = {"last.safetensors", "best.safetensors", "config.ini"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char a[128], b[128];
        snprintf(a, sizeof a, "%s/%s", unbroken, files[i]);
        snprintf(b, sizeof b, "%s/%s", run, files[i]);
        if (!same_file(a, b))
            fail_msg("%s is another after a stop at call %lld", files[i], (long long)stop_at);
    }
    assert_true(same_metrics(unbroken, run));
}

/* Goes on, until the end or call `stop_at`. */
static clv_status go_on(training *t, int64_t stop_at)
{
    clvi_resume r;
    OK(clvi_resume_open(t->run, NULL, 0, NULL, &r, error));
    clvi_resume_close(&r);
    t->resume = true;
    t->stop_at = stop_at;
    return training_run(t);
}

static void stop_everywhere(const char *config, const char *name)
{
    training whole = {.config = config, .run = name};
    if (training_run(&whole) != CLV_OK)
        fail_msg("%s", whole.error.message);
    /* Progress is told of steps, validation batches, epochs and the final scores. */
    assert_in_range(whole.calls, 20, 80);
    int64_t stopped = 0;
    for (int64_t at = 1; at <= whole.calls; at++) {
        char run[64];
        snprintf(run, sizeof run, "%s-%lld", name, (long long)at);
        training t = {.config = config, .run = run, .stop_at = at};
        const clv_status status = training_run(&t);
        if (status == CLV_OK)
            continue; /* during the last call there was nothing left to stop */
        assert_int_equal(status, CLV_E_INTERRUPTED);
        assert_non_null(strstr(t.error.message, "conclave train --resume"));
        stopped++;
        if (go_on(&t, 0) != CLV_OK)
            fail_msg("stop at %lld: %s", (long long)at, t.error.message);
        expect_same(name, run, at);
        assert_int_equal(t.result.best_epoch, whole.result.best_epoch);
        assert_true(t.result.val.nll == whole.result.val.nll);
    }
    assert_true(stopped >= whole.calls - 2);
}

static void test_adamw(void **state)
{
    (void)state;
    stop_everywhere(adamw, "adamw");
}

static void test_sgd(void **state)
{
    (void)state;
    stop_everywhere(sgd, "sgd");
}

/* Stopped again and again, after three calls each. */
static void test_many_stops(void **state)
{
    (void)state;
    training t = {.config = adamw, .run = "pieces", .stop_at = 3};
    int pieces = 1;
    clv_status status = training_run(&t);
    for (; status == CLV_E_INTERRUPTED && pieces < 100; pieces++)
        status = go_on(&t, 3);
    /* The final scores take more than three calls: they are never reached in this way. */
    assert_int_equal(status, CLV_E_INTERRUPTED);
    assert_int_equal(go_on(&t, 0), CLV_OK);
    expect_same("adamw", "pieces", 3);
}

/* A row of a run's metrics.csv. */
typedef struct row {
    double loss, top1, seconds, speed; /* NaN: left empty */
} row;

static row read_row(const char *run, int64_t epoch, const char *split)
{
    enum {
        EPOCH,
        STEP,
        SPLIT,
        LOSS,
        TOP1,
        TOP5,
        LR,
        SECONDS,
        SPEED,
        TRAINABLE,
        DROPPED,
        UNROUTED,
        FIELDS
    };
    char path[128], *text, *fields[FIELDS];
    size_t bytes;
    row found = {NAN, NAN, NAN, NAN};
    bool any = false;
    snprintf(path, sizeof path, "%s/metrics.csv", run);
    OK(clvi_file_read(path, 1 << 20, &text, &bytes, error));
    for (char *cursor = text; clvi_csv_next(&cursor, fields, FIELDS) == FIELDS;) {
        if (strtoll(fields[EPOCH], NULL, 10) != epoch || strcmp(fields[SPLIT], split) != 0)
            continue;
        any = true;
        (void)clvi_parse_real(fields[LOSS], &found.loss);
        (void)clvi_parse_real(fields[TOP1], &found.top1);
        (void)clvi_parse_real(fields[SECONDS], &found.seconds);
        (void)clvi_parse_real(fields[SPEED], &found.speed);
    }
    clvi_free(text);
    assert_true(any);
    return found;
}

/* A time limit ends training in the middle of the first epoch, with a result and rows of metrics;
 * going on without it ends as if it had never been. */
static void test_time_limit(void **state)
{
    (void)state;
    char limited[1024];
    snprintf(limited, sizeof limited, "%smax_seconds = 0.001\n", adamw);
    training t = {.config = limited, .run = "late"};
    if (training_run(&t) != CLV_OK)
        fail_msg("%s", t.error.message);
    assert_true(t.result.stopped_by && strcmp(t.result.stopped_by, "time") == 0 &&
                t.result.best_epoch == 1 && t.result.epochs == 1);
    assert_true(clvi_is_file("late/summary.json"));
    const row seen = read_row("late", 1, "train"), val = read_row("late", 1, "val");
    assert_true(isfinite(seen.loss) && seen.seconds > 0);
    assert_true(fabs(seen.speed * seen.seconds - 7) < 0.01); /* one step */
    assert_true(fabs(val.loss - t.result.val.nll) < 1e-5 && val.top1 == t.result.val.top1);
    const char *const overrides[] = {"train.max_seconds=0"};
    clvi_resume r;
    OK(clvi_resume_open("late", overrides, 1, NULL, &r, error));
    assert_false(r.finished);
    assert_int_equal(r.state.epoch, 0);
    assert_int_equal(r.state.running.steps, 1);
    clvi_resume_close(&r);
    t = (training){.config = adamw, .run = "late", .resume = true};
    assert_int_equal(training_run(&t), CLV_OK);
    expect_same("adamw", "late", 0);
}

/* ---- Time ---- */

/* The time before a stop counts: of the epoch that was running, and of the run. */
static void test_elapsed(void **state)
{
    (void)state;
    training t = {.config = adamw, .run = "timed", .stop_at = 8}; /* in the second epoch */
    assert_int_equal(training_run(&t), CLV_E_INTERRUPTED);
    clvi_resume r;
    clvi_elapsed e;
    OK(clvi_resume_open("timed", NULL, 0, NULL, &r, error));
    OK(clvi_elapsed_read("timed", &r.state, &e, error));
    assert_true(r.state.epoch == 1 && r.state.running.steps > 0);
    assert_true(e.epoch == 1 && e.step == r.state.step);
    assert_true(e.epoch_seconds > 0 && e.seconds > e.epoch_seconds);
    clvi_resume_close(&r);
    /* As if it had taken that long; a checkpoint that was never written is told apart. */
    clvi_elapsed never = e;
    never.step++;
    never.seconds = 1e6;
    e.epoch_seconds = 1000, e.seconds = 5000;
    OK(clvi_elapsed_write("timed", &e, &never, error));
    assert_int_equal(go_on(&t, 3), CLV_E_INTERRUPTED);
    assert_int_equal(go_on(&t, 0), CLV_OK);
    assert_in_range((int64_t)t.result.seconds, 5000, 5999);
    const row first = read_row("timed", 1, "train"), second = read_row("timed", 2, "train"),
              third = read_row("timed", 3, "train"), val = read_row("timed", 2, "val");
    assert_true(second.seconds >= 1000 && second.seconds < 2000);
    assert_true(fabs(second.speed * second.seconds - 24) < 0.01);
    assert_true(first.seconds < 1000 && third.seconds < 1000 && val.seconds < 1000);
    expect_same("adamw", "timed", 8);
}

/* ---- What may change ---- */

static void expect_refused(const char *run, const char *override, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_resume r;
    if (clvi_resume_open(run, &override, 1, NULL, &r, &error) == CLV_OK) {
        clvi_resume_close(&r);
        fail_msg("%s was taken", override);
    }
    if (strstr(error.message, part) == NULL || strstr(error.message, "command line") == NULL)
        fail_msg("\"%s\" is not in: %s", part, error.message);
}

static void test_changes(void **state)
{
    (void)state;
    expect_refused("adamw", "optimizer.lr=0.02", "[optimizer] lr: '0.02' would change");
    expect_refused("adamw", "run.seed=2", "[run] seed");
    expect_refused("adamw", "train.batch=8", "[train] batch");
    expect_refused("adamw", "data.augment=none", "[data] augment");
    expect_refused("adamw", "expert.small.dropout=0", "[expert.small] dropout");
    expect_refused("adamw", "train.epochs=2", "4 epochs are behind already");
    const char *const allowed[] = {"train.epochs=5", "data.workers=3", "data.cache=none",
                                   "device.select=cpu", "train.max_seconds=60"};
    clvi_resume r;
    OK(clvi_resume_open("adamw", allowed, 5, NULL, &r, error));
    assert_false(r.finished);
    assert_int_equal(clvi_config_int(r.config, "train", "epochs"), 5);
    clvi_resume_close(&r);
    OK(clvi_resume_open("adamw", NULL, 0, NULL, &r, error));
    assert_true(r.finished);
    clvi_resume_close(&r);
}

/* With more or fewer epochs than the warm-up has, its rates would be others. */
static void test_warmup_has_fixed_epochs(void **state)
{
    (void)state;
    training t = {.config = "[schedule]\nkind = constant\nwarmup_epochs = 3\n"
                            "[train]\nepochs = 4\nbatch = 7\n",
                  .run = "warm",
                  .stop_at = 2};
    assert_int_equal(training_run(&t), CLV_E_INTERRUPTED);
    expect_refused("warm", "train.epochs=2", "warmup_epochs = 3 is longer than 2 epochs");
    const char *const allowed[] = {"train.epochs=3"};
    clvi_resume r;
    OK(clvi_resume_open("warm", allowed, 1, NULL, &r, error));
    clvi_resume_close(&r);
    t = (training){.config = "[schedule]\nkind = constant\nwarmup_epochs = 3\n"
                             "[train]\nepochs = 2\nbatch = 7\n",
                   .run = "cold",
                   .stop_at = 2};
    assert_int_equal(training_run(&t), CLV_E_INTERRUPTED);
    expect_refused("cold", "train.epochs=4", "warmup_epochs = 3 is longer than 2 epochs");
}

static void test_cosine_has_fixed_epochs(void **state)
{
    (void)state;
    training t = {.config = "[schedule]\nkind = cosine\n[train]\nepochs = 2\n", .run = "cosine"};
    assert_int_equal(training_run(&t), CLV_OK);
    expect_refused("cosine", "train.epochs=3", "with schedule.kind = cosine");
}

/* Four epochs and one more are five. */
static void test_more_epochs(void **state)
{
    (void)state;
    char five[1024];
    snprintf(five, sizeof five, "%s[run]\nname = x\n", adamw);
    char *epochs = strstr(five, "epochs = 4");
    epochs[9] = '5';
    training whole = {.config = five, .run = "five"};
    assert_int_equal(training_run(&whole), CLV_OK);
    assert_int_equal(system("cp -r adamw grown"), 0);
    training t = {.config = five, .run = "grown", .resume = true};
    assert_int_equal(training_run(&t), CLV_OK);
    assert_true(same_file("five/last.safetensors", "grown/last.safetensors"));
    /* The best one is of an epoch before, whose configuration said 4. */
    assert_true(weights_apart("five/best.safetensors", "grown/best.safetensors") == 0);
    assert_true(same_metrics("five", "grown"));
}

static void test_other_images(void **state)
{
    (void)state;
    assert_int_equal(system("cp -r adamw moved"), 0);
    png_put(".", "data/train/class1/more.png", TRAINING_SIDE, 999);
    training t = {.config = adamw, .run = "moved", .resume = true};
    assert_int_equal(training_run(&t), CLV_E_DATA);
    assert_non_null(strstr(t.error.message, "other images"));
    assert_true(clvi_is_file("moved/summary.json") && clvi_is_file("moved/predictions.csv"));
    assert_true(same_file("moved/config.ini", "adamw/config.ini"));
    assert_int_equal(unlink("data/train/class1/more.png"), 0);
}

/* Text files of a killed process: rows and lines behind the checkpoint go. */
static void test_cut(void **state)
{
    (void)state;
    assert_int_equal(system("cp -r adamw cut && printf '5,20,train,1' >>cut/metrics.csv && "
                            "printf 'a  checkpoint: epoch 4, step 16\nb\n' >cut/log.txt && "
                            "printf 'epoch,a\n1,x\n4,x\n5,x\n' >cut/signals.csv && "
                            "printf 'epoch,b\n1,x\n4,x\n4,y\n4' >cut/signal_pairs.csv && "
                            "touch cut/last.safetensors.tmp-1-0 cut/config.ini.tmp-22-1"),
                     0);
    const clvi_train_state at = {.epoch = 4, .step = 16};
    OK(clvi_resume_cut("cut", &at, error));
    OK(clvi_resume_cut_log("cut", &at, error));
    assert_true(same_metrics("adamw", "cut"));
    char *text;
    size_t bytes;
    OK(clvi_file_read("cut/log.txt", 1000, &text, &bytes, error));
    assert_string_equal(text, "a  checkpoint: epoch 4, step 16\n");
    clvi_free(text);
    OK(clvi_file_read("cut/signals.csv", 1000, &text, &bytes, error));
    assert_string_equal(text, "epoch,a\n1,x\n4,x\n");
    clvi_free(text);
    OK(clvi_file_read("cut/signal_pairs.csv", 1000, &text, &bytes, error));
    assert_string_equal(text, "epoch,b\n1,x\n4,x\n4,y\n");
    clvi_free(text);
    assert_int_equal(system("test \"$(ls cut)\" = \"$(ls adamw | grep -v summary; echo log.txt)\" "
                            "-o \"$(ls cut | grep -c tmp)\" = 0"),
                     0);
    const clvi_train_state earlier = {.epoch = 1, .step = 4};
    OK(clvi_resume_cut("cut", &earlier, error));
    OK(clvi_file_read("cut/metrics.csv", 10000, &text, &bytes, error));
    int lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 3);
    clvi_free(text);
}

/* Replaces the last columns of all rows of a table, as builds from before they came wrote it. */
static void drop_columns(const char *path, const char *first_dropped)
{
    char command[512];
    snprintf(command, sizeof command,
             "awk -F, -v OFS=, 'NR==1 {for (n=1; $n!=\"%s\"; n++); n--} {NF=n} 1' %s >cut.csv && "
             "mv cut.csv %s",
             first_dropped, path, path);
    assert_int_equal(system(command), 0);
}

/* A run of a build whose tables had fewer columns goes on. */
static void test_older_columns(void **state)
{
    (void)state;
    training t = {.config = adamw, .run = "older", .stop_at = 12};
    assert_int_equal(training_run(&t), CLV_E_INTERRUPTED);
    drop_columns("older/metrics.csv", "dropped");
    if (go_on(&t, 0) != CLV_OK)
        fail_msg("%s", t.error.message);
    expect_same("adamw", "older", 12);
}

/* What cannot go on leaves its results. */
static void test_failed(void **state)
{
    (void)state;
    static const char *const kept[] = {"config.ini", "summary.json", "predictions.csv",
                                       "metrics.csv", "last.safetensors"};
    assert_int_equal(system("cp -r adamw other && sed -i s/lr/rate/ other/metrics.csv && "
                            "rm -rf other-kept && cp -r other other-kept"),
                     0);
    char five[1024];
    snprintf(five, sizeof five, "%s[run]\nname = x\n", adamw);
    strstr(five, "epochs = 4")[9] = '5';
    training t = {.config = five, .run = "other", .resume = true};
    assert_int_equal(training_run(&t), CLV_E_FORMAT);
    assert_non_null(strstr(t.error.message, "other/metrics.csv: its columns are not epoch,"));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        char a[128], b[128];
        snprintf(a, sizeof a, "other/%s", kept[i]);
        snprintf(b, sizeof b, "other-kept/%s", kept[i]);
        assert_true(same_file(a, b));
    }
}

static void test_lock(void **state)
{
    (void)state;
    int first = -2, second = -2;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_run_lock("adamw", &first, &error), CLV_OK);
    if (first < 0)
        return; /* a file system without locks */
    assert_int_equal(clvi_run_lock("adamw", &second, &error), CLV_E_USAGE);
    assert_non_null(strstr(error.message, "another process"));
    clvi_run_unlock(first);
    assert_int_equal(clvi_run_lock("adamw", &second, &error), CLV_OK);
    clvi_run_unlock(second);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),       cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_many_stops),  cmocka_unit_test(test_time_limit),
        cmocka_unit_test(test_changes),     cmocka_unit_test(test_cosine_has_fixed_epochs),
        cmocka_unit_test(test_more_epochs), cmocka_unit_test(test_other_images),
        cmocka_unit_test(test_cut),         cmocka_unit_test(test_lock),
        cmocka_unit_test(test_elapsed),     cmocka_unit_test(test_warmup_has_fixed_epochs),
        cmocka_unit_test(test_failed),      cmocka_unit_test(test_older_columns),
    };
    const int status = trainings_begin(argc > 1 ? argv[1] : "");
    if (status != 0)
        return status;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
