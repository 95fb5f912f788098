/* Experts that start from runs: found or trained first, fused as they are; what does not fit is
 * refused before anything is trained; interrupted, resumed, compared. Argument: the command. Exit
 * 77 where there is no OpenCL device. */
#define _XOPEN_SOURCE 700
#include "../unit/image_files.h"
#include "calls.h"

#include "train/predictions.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA  "[data]\nimage_size = 16\n"
#define TRAIN "[optimizer]\nlr = 0.01\n[train]\nepochs = 2\nbatch = 10\n"
#define PAIR  DATA "[mixture]\nexperts = a, b\ncombine = mean\n"
#define EXPERT(name, widths, init)                                                                 \
    "[expert." name "]\nplugin = cnn\nwidths = " widths "\ninit = " init "\ntrainable = none\n"

/* Training that changes nothing. */
#define HELD "expert.small.trainable=head optimizer.lr=1e-12"

static const struct {
    const char *name, *text;
} files[] = {
    {"tiny.ini", DATA "[mixture]\nexperts = small\n[expert.small]\nplugin = cnn\nwidths = 8, 16\n"
                      "batch_norm = yes\n" TRAIN},
    {"late.ini", PAIR EXPERT("a", "8,16", "tiny.ini") "batch_norm = yes\n" EXPERT(
                     "b", "8, 16", "tiny.ini") "batch_norm = yes\n" TRAIN},
    {"wider.ini", "[run]\nbase = late.ini\n[expert.b]\nwidths = 8, 24\n"},
    {"unlike.ini", "[run]\nbase = late.ini\n[expert.a]\npreprocess = torchvision\n"},
    {"short.ini", "[run]\nbase = late.ini\n[mixture]\ninit_epochs = 4\n"},
    {"layer.ini", "[run]\nbase = late.ini\n[mixture]\ncombine = concat\n"},
    /* Fine-tuned, then once more started from. */
    {"fine.ini", "[run]\nbase = tiny.ini\n[expert.small]\ninit = tiny.ini\n"},
    {"chain.ini", "[run]\nbase = tiny.ini\n[expert.small]\ninit = fine.ini\n"
                  "trainable = head\n[optimizer]\nlr = 1e-12\n"},
    /* One of two is a mixture. */
    {"team.ini", "[run]\nbase = late.ini\n[mixture]\nexperts = team, b\n[expert.team]\n"
                 "mixture = short.ini\ntrainable = none\n"},
    {"broken.ini", "[run]\nbase = tiny.ini\n[optimizer]\nname = sgd\nlr = 1000\nmomentum = 0.99\n"},
    {"weak.ini", "[run]\nbase = late.ini\n[expert.b]\ninit = broken.ini\n"},
    {"a.ini", "[run]\nbase = tiny.ini\n[expert.small]\ninit = b.ini\n"},
    {"b.ini", "[run]\nbase = tiny.ini\n[expert.small]\ninit = a.ini\n"},
    {"self.ini", "[run]\nbase = tiny.ini\n[expert.small]\ninit = ./self.ini\n"},
    {"both.ini", "[run]\nbase = late.ini\n[expert.b]\nweights = runs/tiny/best.safetensors\n"},
};

static int set_up(void **state)
{
    if (calls_enter(state) != 0)
        return -1;
    draw_set("data/train", 16);
    draw_set("data/test", 6);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(files[i].name, files[i].text);
    return 0;
}

/* Trainings of runs that others start from, or that a comparison wants. */
static int trainings(void)
{
    int times = 0;
    for (const char *at = call_err; (at = strstr(at, ": training\n")) != NULL; at++)
        times++;
    return times;
}

static void same(const char *a, const char *b)
{
    char line[512];
    snprintf(line, sizeof line, "cmp %s %s", a, b);
    if (system(line) != 0)
        fail_msg("%s and %s differ", a, b);
}

/* Answers of a run to the images of a split. */
static void read_answers(const char *run, clvi_split split, clvi_predictions *out)
{
    char path[256];
    clv_error error = CLV_ERROR_INIT;
    snprintf(path, sizeof path, "%s/predictions.csv", run);
    if (clvi_predictions_read(path, split, out, &error) != CLV_OK)
        fail_msg("%s", error.message);
}

/* The probability of each image's class is the mean of what both runs give it. */
static void expect_mean(const char *fused, const char *first, const char *second, clvi_split split)
{
    const char *const runs[] = {fused, first, second};
    clvi_predictions p[3] = {0};
    double apart = 0;
    for (int i = 0; i < 3; i++)
        read_answers(runs[i], split, &p[i]);
    assert_true(p[0].count > 0 && p[0].count == p[1].count && p[0].count == p[2].count);
    for (size_t i = 0; i < p[0].count; i++) {
        const double a = exp(p[1].items[i].log_probability), b = exp(p[2].items[i].log_probability);
        assert_string_equal(p[0].items[i].image, p[1].items[i].image);
        assert_true(fabs(exp(p[0].items[i].log_probability) - (a + b) / 2) < 2e-6);
        apart = fmax(apart, fabs(a - b));
    }
    assert_true(apart > 0.01); /* they are two */
    for (int i = 0; i < 3; i++)
        clvi_predictions_fini(&p[i]);
}

static void test_mean(void **state)
{
    (void)state;
    static char text[1 << 16];
    expect("train late.ini --data data --dry-run", 0);
    contains(call_out, "first   tiny, seed 1, 2 epochs, for expert a: to be trained\n");
    contains(call_out, "first   tiny, seed 101, 2 epochs, for expert b: to be trained\n");
    contains(call_out, "all     nothing is left to train; ");
    assert_false(exists("runs"));
    expect("train late.ini --data data", 0);
    assert_int_equal(trainings(), 2);
    contains(call_err, "for expert b: tiny, seed 101: training\n");
    expect_mean("runs/late", "runs/tiny", "runs/tiny-seed101", CLVI_TEST);
    expect_mean("runs/late", "runs/tiny", "runs/tiny-seed101", CLVI_VAL);
    read_whole("runs/late/config.ini", text, sizeof text);
    contains(text, "\ninit = runs/tiny/best.safetensors:small\n");
    contains(text, "\ninit = runs/tiny-seed101/best.safetensors:small\n");

    /* The runs are there now. */
    expect("train late.ini --data ./data -q", 0);
    assert_string_equal(call_err, "");
    assert_false(exists("runs/tiny-2"));
    same("runs/late/predictions.csv", "runs/late-2/predictions.csv");
    expect("train late.ini --data data --dry-run", 0);
    contains(call_out, "for expert b: as in runs/tiny-seed101\n");
    /* However they are written, two that start from the same are no copies. */
    expect("train late.ini --data data --dry-run expert.b.init=./tiny.ini", 0);
    contains(call_out, "for expert b: as in runs/tiny-seed101\n");
    expect("train late.ini --data data --dry-run expert.a.init=tiny.ini:small", 0);
    contains(call_out, "for expert b: as in runs/tiny-seed101\n");
    expect("compare tiny.ini late.ini --data data", 0);
    assert_int_equal(trainings(), 0);
    contains(call_err, "late, seed 1: runs/late\n");
}

/* Runs that are named, and one expert of several. */
static void test_named(void **state)
{
    (void)state;
    static char text[1 << 16];
    expect("train late.ini --data data expert.a.init=tiny expert.b.init=runs/tiny-seed101 "
           "run.name=named",
           0);
    assert_int_equal(trainings(), 0);
    same("runs/named/predictions.csv", "runs/late/predictions.csv");
    expect("train tiny.ini --data data expert.small.init=late:b " HELD " run.name=one", 0);
    same("runs/one/predictions.csv", "runs/tiny-seed101/predictions.csv");
    expect("train tiny.ini --data data expert.small.init=runs/late/last.safetensors:a " HELD
           " run.name=other",
           0);
    same("runs/other/predictions.csv", "runs/tiny/predictions.csv");
    read_whole("runs/other/config.ini", text, sizeof text);
    contains(text, "\ninit = runs/late/last.safetensors:a\n");
    expect_refusal("train tiny.ini --data data expert.small.init=late", 2,
                   "command line: [expert.small] init: late has no expert small but a, b; write "
                   "init = late:EXPERT");
    expect_refusal("train tiny.ini --data data expert.small.init=late:c", 2,
                   "no expert c but a, b");
    expect_refusal("train tiny.ini --data data expert.small.init=runs/nothing", 2, "runs/nothing");
    expect_refusal("train tiny.ini --data data expert.small.init=nothing", 2,
                   "no configuration is called \"nothing\"");
    expect_refusal("train tiny.ini --data data expert.small.init=late.ini.txt", 2, "late.ini.txt");
    expect_refusal("train tiny.ini --data data expert.small.init=lost.ini", 2, "no file lost.ini");
    expect_refusal("train tiny.ini --data data expert.small.init=late.ini", 2,
                   "late has no expert small");
    expect_refusal("train tiny.ini --data data expert.small.init=data/test/disc/0.png", 2,
                   "is no checkpoint");
}

/* A configuration's own earlier run, where the command line says so. */
static void test_again(void **state)
{
    (void)state;
    expect("train tiny.ini --data data expert.small.init=tiny.ini optimizer.weight_decay=0.1 "
           "-o again",
           0);
    assert_int_equal(trainings(), 1);
    assert_true(exists("again/tiny-2/summary.json"));
    contains(call_err, "expert.small: 12 tensors of again/tiny/best.safetensors\n");
}

/* What the command line says of training counts for all, seeds are told apart. */
static void test_epochs(void **state)
{
    (void)state;
    static char text[1 << 16];
    expect("train late.ini --data data --dry-run --epochs 3 --seed 4", 0);
    contains(call_out, "tiny, seed 4, 3 epochs, for expert a: to be trained");
    contains(call_out, "tiny, seed 104, 3 epochs");
    expect("train late.ini --data data --dry-run mixture.init_epochs=5 expert.a.seed=7", 0);
    contains(call_out, "tiny, seed 7, 5 epochs, for expert a: to be trained");
    contains(call_out, "tiny, seed 1, 5 epochs, for expert b: to be trained");
    expect("train short.ini --data data --dry-run", 0);
    contains(call_out, "tiny, seed 1, 4 epochs, for expert a: to be trained");
    expect("train short.ini --data data --dry-run --epochs 3", 0);
    contains(call_out, "tiny, seed 1, 3 epochs, for expert a: to be trained");
    expect("train layer.ini --data data mixture.init_epochs=1 --epochs 3", 0);
    assert_int_equal(trainings(), 2);
    contains(call_err, " epoch 1/1 ");
    contains(call_err, "\nepoch 3/3 ");
    read_whole("runs/layer/config.ini", text, sizeof text);
    contains(text, "\ninit_epochs = 0\n");
    expect_refusal("train tiny.ini --data data mixture.init_epochs=5", 2,
                   "command line: [mixture] init_epochs: no expert has an `init`");
}

static void test_chain(void **state)
{
    (void)state;
    expect("train chain.ini --data data -o chain --dry-run", 0);
    contains(call_out, "first   tiny, seed 1, 2 epochs, for expert small: to be trained\n"
                       "first   fine, seed 1, 2 epochs, for expert small: to be trained\n");
    expect("train chain.ini --data data -o chain", 0);
    assert_int_equal(trainings(), 2);
    same("chain/chain/predictions.csv", "chain/fine/predictions.csv");
    same("chain/tiny/predictions.csv", "runs/tiny/predictions.csv");
    expect("compare tiny.ini fine.ini chain.ini --data data -o chain", 0);
    assert_int_equal(trainings(), 0);
}

/* Experts of an expert that is a mixture. */
static void test_nested(void **state)
{
    (void)state;
    static char text[1 << 16];
    expect("train team.ini --data data -o team --dry-run", 0);
    contains(call_out, "tiny, seed 1, 4 epochs, for expert team/a: to be trained\n");
    contains(call_out, "tiny, seed 101, 4 epochs, for expert team/b: to be trained\n");
    contains(call_out, "tiny, seed 201, 2 epochs, for expert b: to be trained\n");
    expect("train team.ini --data data -o team mixture.team.init_epochs=1 --epochs 3", 0);
    assert_int_equal(trainings(), 3);
    read_whole("team/team/config.ini", text, sizeof text);
    contains(text, "\ninit = team/tiny-seed101/best.safetensors:small\n");
    assert_null(strstr(text, "init_epochs = 1"));
    expect("train tiny.ini --data data -o team expert.small.init=team/team:team/b " HELD, 0);
    same("team/tiny-2/predictions.csv", "team/tiny-seed101/predictions.csv");
    expect_refusal("train team.ini --data data -o team expert.team.init=late", 2, "expert.team");
}

static void test_refused(void **state)
{
    (void)state;
    expect_refusal("train wider.ini --data data -o no", 2,
                   "init: widths is 8, 24 here, but 8, 16 in [expert.small] of tiny");
    contains(call_err, "conclave: late.ini:15: [expert.b] init: ");
    expect_refusal("train unlike.ini --data data -o no", 2,
                   "init: preprocess is torchvision here, but plugin in [expert.small] of tiny");
    expect_refusal("train late.ini --data data -o no expert.a.plugin=vgg16", 2, "");
    expect_refusal(
        "train a.ini --data data -o no", 2,
        "init: b.ini would start from a.ini, which is a circle, from which b.ini starts");
    expect_refusal("train self.ini --data data -o no", 2, "circle");
    expect_refusal("compare a.ini --data data -o no", 2, "circle");
    expect_refusal("train both.ini --data data -o no", 2,
                   "[expert.b] init = tiny.ini stands beside weights = runs/tiny/best.safetensors "
                   "(both.ini:4)");
    assert_false(exists("no"));

    /* Runs of other images. */
    expect_refusal("train late.ini --data data -o no --image-size 24 expert.a.init=runs/tiny", 2,
                   "runs/tiny was trained on images of 16x16; here data.image_size is 24x24");
    assert_int_equal(system("cp -r data less && rm -r less/*/disc"), 0);
    expect_refusal("train late.ini --data less -o no expert.b.init=runs/tiny", 2,
                   "tells 4 classes apart, the images here have 3");
    assert_int_equal(system("cp -r data other && mv other/train/disc other/train/dish && "
                            "mv other/test/disc other/test/dish"),
                     0);
    expect_refusal("train late.ini --data other -o no expert.b.init=runs/tiny", 2,
                   "number 3 is disc; of the images here dish");
    assert_int_equal(trainings(), 0);
    expect("train late.ini --data data data.split_seed=3 -o split expert.a.init=runs/tiny "
           "expert.b.init=runs/tiny-seed101",
           0);
    contains(call_err, "was trained on other images or another split");
    assert_false(exists("no"));
}

/* Resuming trains nothing, and needs the runs only where nothing was saved yet. */
static void test_resume(void **state)
{
    (void)state;
    assert_int_equal(system("cp -r runs/late kept && cd runs/late && rm *.safetensors summary.json "
                            "predictions.csv metrics.csv"),
                     0);
    expect("train --resume runs/late", 0);
    assert_int_equal(trainings(), 0);
    same("runs/late/predictions.csv", "kept/predictions.csv");
    assert_int_equal(system("mv runs/tiny away && rm runs/late/summary.json"), 0);
    expect("train --resume runs/late", 0);
    same("runs/late/predictions.csv", "kept/predictions.csv");
    assert_int_equal(system("rm runs/late/*.safetensors runs/late/summary.json"), 0);
    expect_refusal("train --resume runs/late", 1, "runs/tiny/best.safetensors");
    assert_int_equal(system("mv away runs/tiny && rm -r runs/late && mv kept runs/late"), 0);
}

/* Ended within the training of a part, the same call goes on there. */
static void test_interrupted(void **state)
{
    (void)state;
    const char *const call = "train late.ini --data data --epochs 150 -o cut "
                             "train.checkpoint_every=100";
    char line[512];
    snprintf(line, sizeof line,
             "%s 2>cut.txt & p=$!; for i in $(seq 1000); do [ -s cut/tiny/metrics.csv ] && "
             "[ $(wc -l <cut/tiny/metrics.csv) -ge 4 ] && break; sleep 0.01; done; kill $p; "
             "wait $p",
             call);
    expect(line, 1);
    read_whole("cut.txt", call_err, sizeof call_err);
    contains(call_err, "conclave: stopped; the same command goes on where it was\n");
    assert_true(exists("cut/tiny/last.safetensors"));
    assert_false(exists("cut/tiny/summary.json") || exists("cut/late"));
    expect(call, 0);
    contains(call_err, "for expert a: tiny, seed 1: going on with cut/tiny\n");
    assert_int_equal(trainings(), 1);
    assert_false(exists("cut/tiny-2"));
    expect("train late.ini --data data --epochs 150 -o whole train.checkpoint_every=100", 0);
    same("cut/late/predictions.csv", "whole/late/predictions.csv");
    same("cut/tiny/predictions.csv", "whole/tiny/predictions.csv");
}

/* A figure of a model; both names occur once. */
static double csv_number(const char *text, const char *model, const char *figure)
{
    char line[64];
    int column = 0;
    const char *heading = strstr(text, figure);
    snprintf(line, sizeof line, "\n%s,", model);
    const char *at = strstr(text, line);
    assert_true(heading != NULL && at != NULL);
    for (heading += *heading == ','; heading > text; heading--)
        column += *heading == ',';
    for (at++; column > 0; at++)
        column -= *at == ',';
    char *end;
    const double value = strtod(at, &end);
    if (end == at) /* an empty cell is no 0 */
        fail_msg("%s of %s: nothing in %s", figure, model, text);
    return value;
}

/* A run's time counts once, on however many ways others start from it. */
static void test_time(void **state)
{
    (void)state;
    static char text[1 << 17];
    expect("train fine.ini --data data --epochs 1 -o twice -q", 0);
    expect("train late.ini --data data expert.a.init=twice/fine expert.b.init=twice/tiny "
           "run.name=both -o twice -q",
           0);
    expect("compare twice/both twice/fine -o twice", 0);
    read_whole("twice/comparison.csv", text, sizeof text);
    const double fine = csv_number(text, "fine", ",seconds");
    assert_true(csv_number(text, "fine", "start_seconds") > 0);
    assert_true(fabs(csv_number(text, "both", "start_seconds") - fine) < 1e-5 * fine);
    assert_true(csv_number(text, "both", "start_epochs") == 2);
}

/* A part is trained once, whoever wants it first; one that fails is told of everywhere, and not
 * tried again. */
static void test_compare(void **state)
{
    (void)state;
    static char text[1 << 17];
    expect("compare late.ini tiny.ini --data data --seeds 2 -o list", 0);
    assert_int_equal(trainings(), 6); /* of tiny 1, 101, 2, 102, and two of late */
    contains(call_err, "[1/4] for expert a: tiny, seed 1: training\n");
    contains(call_err, "[2/4] tiny, seed 1: list/tiny\n");
    read_whole("list/comparison.csv", text, sizeof text);
    /* The epochs of the longest part, and the time of both. */
    assert_true(csv_number(text, "late", ",epochs") == 2);
    assert_true(csv_number(text, "late", "start_epochs") == 2);
    assert_true(csv_number(text, "late", ",seconds") > csv_number(text, "tiny", ",seconds"));
    assert_true(csv_number(text, "late", ",seconds") > csv_number(text, "late", "start_seconds"));
    assert_true(csv_number(text, "tiny", "start_epochs") == 0);
    assert_true(csv_number(text, "tiny", "val_top1_equal_epochs") > 0);
    expect_mean("list/late-seed2", "list/tiny-seed2", "list/tiny-seed102", CLVI_TEST);
    expect_refusal("compare weak.ini broken.ini tiny.ini --data data -o list", 1,
                   "2 of 3 runs failed");
    assert_int_equal(trainings(), 1);
    contains(call_err, "warning: weak, seed 1, failed: broken, seed 1, which");
    read_whole("list/comparison-runs.csv", text, sizeof text);
    contains(text, "\nweak,1,,\"broken, seed 1, which expert b starts from, failed: epoch 1");
    contains(text, "\nbroken,1,,\"epoch 1");
    expect_refusal("train weak.ini --data data -o list", 1, "which expert b starts from, failed: ");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mean),        cmocka_unit_test(test_named),
        cmocka_unit_test(test_again),       cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_chain),       cmocka_unit_test(test_nested),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_resume),
        cmocka_unit_test(test_interrupted), cmocka_unit_test(test_time),
        cmocka_unit_test(test_compare),
    };
    const int status = calls_begin(argc, argv);
    return status != 0 ? status : cmocka_run_group_tests(tests, set_up, calls_leave);
}
