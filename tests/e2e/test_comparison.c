/* conclave compare: trains what is missing and nothing else, goes on with what was interrupted,
 * shows a failed training as a row, pairs runs that were trained before. Argument: the command.
 * Exit 77 where there is no OpenCL device. */
#define _XOPEN_SOURCE 700
#include "../unit/image_files.h"
#include "calls.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char tiny[] = "# For the tests\n"
                           "[data]\nimage_size = 16\n"
                           "[mixture]\nexperts = small\n"
                           "[expert.small]\nplugin = cnn\nwidths = 8, 16\n"
                           "[optimizer]\nlr = 0.01\n"
                           "[train]\nepochs = 2\nbatch = 10\n";
static const char wide[] = "[run]\nbase = tiny.ini\n[expert.small]\nwidths = 8, 24\n";
static const char broken[] = "[run]\nbase = tiny.ini\n[optimizer]\nname = sgd\nlr = 1000\n"
                             "momentum = 0.99\n";
static const char suite[] = "# A suite\n[suite]\nconfigs = tiny.ini, wide.ini\n";

static int set_up(void **state)
{
    if (calls_enter(state) != 0)
        return -1;
    draw_set("data/train", 16);
    draw_set("data/test", 6);
    put("tiny.ini", tiny);
    put("wide.ini", wide);
    put("broken.ini", broken);
    put("both.ini", suite);
    return 0;
}

/* Columns of the longest line. */
static int widest(const char *text)
{
    int most = 0, width = 0;
    for (; *text != '\0'; text++) {
        width = *text == '\n' ? 0 : width + (((unsigned char)*text & 0xC0) != 0x80);
        most = width > most ? width : most;
    }
    return most;
}

static void test_suite(void **state)
{
    (void)state;
    static char text[1 << 17];
    expect("compare both.ini --data data", 0);
    assert_int_equal(count(call_err, ": training\n"), 2);
    assert_true(widest(call_out) <= 100);
    contains(call_out, "Accuracy on test images\n\nmodel ");
    contains(call_out, "\ntiny ");
    contains(call_out, "\nwide ");
    contains(call_out, "\nAgainst ");
    contains(call_out, "reference\n");
    contains(call_out, "Equal time, equal epochs\n\nmodel  fastest ");
    contains(call_out, "  ½ time\n");
    contains(call_out, "Parts of a training step\n");
    contains(call_out, "expert.small backward ");
    contains(call_out, "page   runs/both.html\n");
    assert_true(exists("runs/tiny/summary.json") && exists("runs/wide/summary.json"));
    read_whole("runs/both.html", text, sizeof text);
    contains(text, "<!DOCTYPE html>");
    contains(text, "prefers-color-scheme:dark");
    contains(text, "name=\"viewport\"");
    contains(text, "<svg ");
    contains(text, "</html>\n");
    assert_null(strstr(text, "http"));
    assert_null(strstr(text, "nan"));
    read_whole("runs/both.md", text, sizeof text);
    contains(text, "\n## Cost\n\n| model | params |");
    contains(text, " | train NLL | train top-5 | train ECE | train macro F1 | train Brier | ");
    read_whole("runs/both.csv", text, sizeof text);
    contains(text, "model,runs,ended,parameters,trainable,multiply_adds,");
    contains(text, "\ntiny,1,1,");
    read_whole("runs/both-runs.csv", text, sizeof text);
    contains(text, "\nwide,1,runs/wide,,");

    /* Once more: there is nothing to train, also where the images are named otherwise. */
    expect("compare tiny.ini wide.ini --data ./data -q", 0);
    assert_string_equal(call_err, "");
    contains(call_out, "page   runs/comparison.html\n");
    assert_false(exists("runs/tiny-2"));
    expect("compare runs/tiny wide", 0);
    assert_null(strstr(call_err, "training"));
    expect("compare both.ini --data data --reference WIDE", 0);
    contains(call_out, "\nAgainst wide\n");
}

/* The figures are those of the run, the test is of the same images. */
static void test_figures(void **state)
{
    (void)state;
    static char text[1 << 17];
    json_error_t problem;
    expect("compare runs/wide runs/tiny --reference wide", 0);
    read_whole("runs/comparison.csv", text, sizeof text);
    json_t *summary = json_load_file("runs/tiny/summary.json", 0, &problem);
    assert_non_null(summary);
    const json_t *test = json_object_get(summary, "test");
    char line[256];
    snprintf(line, sizeof line, ",%.9g,%.9g,%.9g,,%.9g,", number(test, "top1"),
             number(test, "top1_low"), number(test, "top1_high"), number(test, "nll"));
    contains(strstr(text, "\ntiny,"), line);
    const json_t *train = json_object_get(summary, "train");
    snprintf(line, sizeof line, ",%.9g,%.9g,%.9g,,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,",
             number(train, "top1"), number(train, "top1_low"), number(train, "top1_high"),
             number(train, "nll"), number(train, "brier"), number(train, "ece"),
             number(train, "precision"), number(train, "recall"), number(train, "f1"));
    contains(strstr(text, "\ntiny,"), line);
    json_decref(summary);
    contains(strstr(text, "\nwide,"), ",reference\n");
    contains(strstr(text, "\ntiny,"), ",wide,1,");
}

/* The epoch is the first whose training NLL is below ln(4) / 2 = 0.693. */
static void test_half_way(void **state)
{
    (void)state;
    static char text[1 << 17];
    assert_int_equal(system("mkdir -p half && cp -r runs/tiny half/way && sed -E "
                            "'s/^1,([0-9]+),train,[^,]*/1,\\1,train,0.7/; "
                            "s/^2,([0-9]+),train,[^,]*/2,\\1,train,0.69/' "
                            "runs/tiny/metrics.csv >half/way/metrics.csv"),
                     0);
    expect("compare half/way -o half", 0);
    read_whole("half/comparison-runs.csv", text, sizeof text);
    contains(text, ",seconds,start_epochs,start_seconds,half_way_epochs,half_way_seconds,");
    contains(text, ",0,0,2,");
}

/* Without one of two experts the other one is alone. */
static void test_mixture(void **state)
{
    (void)state;
    static char text[1 << 17];
    json_error_t problem;
    put("pair.ini", "[run]\nbase = tiny.ini\n[mixture]\nexperts = a, b\ncombine = weighted\n"
                    "[expert.a]\nplugin = cnn\nwidths = 8, 16\n"
                    "[expert.b]\nplugin = cnn\nwidths = 8, 12\n[gate]\nplugin = cnn\n");
    expect("compare pair.ini tiny.ini --data data", 0);
    contains(call_out, "\nExperts\n\nmodel ");
    contains(call_out, "\nGates\n\nmodel ");
    contains(call_out, "share  / ideal  ");
    contains(call_out, " 1.00  ");
    contains(call_out, "dead  entropy  ");
    contains(call_out, "\nAgainst tiny\n"); /* the single model is the reference */
    contains(call_out, "gate backward ");
    assert_true(widest(call_out) <= 100);

    json_t *summary = json_load_file("runs/pair/summary.json", 0, &problem);
    assert_non_null(summary);
    const json_t *usage = json_object_get(json_object_get(summary, "usage"), "test");
    const json_t *alone = json_object_get(usage, "alone");
    const json_t *without = json_object_get(usage, "without");
    const json_t *weight = json_object_get(usage, "weight_share");
    double sum = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_true(json_number_value(json_array_get(alone, i)) ==
                    json_number_value(json_array_get(without, 1 - i)));
        sum += json_number_value(json_array_get(weight, i));
        assert_true(number(usage, "oracle") >= json_number_value(json_array_get(alone, i)));
    }
    assert_true(fabs(sum - 1) < 1e-6);
    assert_true(number(usage, "images") == 24);
    assert_true(number(usage, "uniform") >= 0 && number(usage, "shuffled") >= 0);
    assert_true(number(summary, "active_multiply_adds") == number(summary, "multiply_adds"));
    json_decref(summary);
    read_whole("runs/pair/usage.csv", text, sizeof text);
    contains(text, "split,by,group,expert,images,assigned,first_choice,share,");
    contains(text, "\ntest,all,,b,24,24,");
    contains(text, "\ntrain,class,rows,a,14,14,");
    assert_false(exists("runs/tiny/usage.csv"));
    /* Each of the 24 test images stands in one line of each expert. */
    read_whole("runs/pair/gate_weights.csv", text, sizeof text);
    contains(text, "split,expert,from,to,images\n");
    contains(text, "\ntest,b,0,0,0\n"); /* all are asked about everything */
    int images = 0, lines = 0, of_line;
    for (const char *at = text; (at = strstr(at, "\ntest,b,")) != NULL; at++, lines++) {
        assert_int_equal(sscanf(at, "\ntest,b,%*[^,],%*[^,],%d", &of_line), 1);
        images += of_line;
    }
    assert_int_equal(images, 24);
    assert_int_equal(lines, 21);
    assert_false(exists("runs/tiny/gate_weights.csv"));
    read_whole("runs/comparison-experts.csv", text, sizeof text);
    contains(text, "\npair,1,runs/pair,train,a,56,");
    contains(text, "\npair,1,runs/pair,test,b,24,");
    assert_null(strstr(text, "tiny"));
}

/* Images of a source in a split of predictions.csv, those that were right, and the sum of their
 * negative log-probabilities. */
static int add_up(const char *predictions, const char *head, int *right, double *nll)
{
    int images = 0;
    *right = 0, *nll = 0;
    for (const char *at = predictions; (at = strstr(at, head)) != NULL; images++) {
        int label, predicted;
        double log_probability;
        at = strchr(at + strlen(head), ',');
        assert_non_null(at);
        assert_int_equal(sscanf(at, ",%d,%d,%lf", &label, &predicted, &log_probability), 3);
        *right += label == predicted;
        *nll -= log_probability;
    }
    return images;
}

/* What a mixture makes of each of two sources, by its predictions. */
static void test_sources(void **state)
{
    (void)state;
    static char text[1 << 17], line[256];
    json_error_t problem;
    draw_set("more/train", 10);
    draw_set("more/test", 3);
    put("two.ini", "[run]\nbase = tiny.ini\n[data.first]\npath = data\n[data.second]\npath = more\n"
                   "[mixture]\nexperts = a, b\ncombine = weighted\n"
                   "[expert.a]\nplugin = cnn\nwidths = 8, 16\n"
                   "[expert.b]\nplugin = cnn\nwidths = 8, 12\n[gate]\nplugin = cnn\n");
    expect("compare two.ini -o sources", 0);
    contains(call_out, "\nSources of the images\n\nmodel  source ");
    assert_true(widest(call_out) <= 100);
    json_t *summary = json_load_file("sources/two/summary.json", 0, &problem);
    assert_non_null(summary);
    read_whole("sources/two/predictions.csv", text, sizeof text);
    const json_t *sources = json_object_get(summary, "sources");
    static const char *const names[] = {"first", "second"}, *const splits[] = {"val", "test"};
    static char csv[1 << 14];
    read_whole("sources/comparison-sources.csv", csv, sizeof csv);
    for (int i = 0; i < 4; i++) {
        const json_t *scores =
            json_object_get(json_object_get(sources, names[i / 2]), splits[i % 2]);
        int right;
        double nll;
        snprintf(line, sizeof line, "\n%s,%s:", splits[i % 2], names[i / 2]);
        const int images = add_up(text, line, &right, &nll);
        assert_true(images > 0 && number(scores, "count") == images);
        assert_true(fabs(number(scores, "top1") - (double)right / images) < 1e-6);
        assert_true(fabs(number(scores, "nll") - nll / images) < 1e-5);
        snprintf(line, sizeof line, "\ntwo,1,sources/two,%s,%s,%d,", splits[i % 2], names[i / 2],
                 images);
        contains(csv, line);
    }
    const double learned =
        number(json_object_get(json_object_get(sources, "first"), "train"), "count");
    assert_true(learned > 0);
    const json_t *usage = json_object_get(json_object_get(summary, "usage"), "test");
    assert_true(fabs(number(usage, "source_information_bits")) <= 1);
    assert_true(fabs(number(usage, "source_information_bits_shuffled")) <= 1);
    json_decref(summary);
    expect("compare runs/tiny -o sources", 0); /* one source: the table is empty again */
    assert_null(strstr(call_out, "Sources of"));
    read_whole("sources/comparison-sources.csv", csv, sizeof csv);
    assert_string_equal(csv, "model,seed,run,split,source,images,top1,top1_low,top1_high,nll\n");
}

static void test_seeds(void **state)
{
    (void)state;
    static char text[1 << 17];
    expect("compare tiny.ini --data data --epochs 1 --seeds 3 --grid optimizer.lr=0.01,0.003 "
           "-o seeds",
           0);
    assert_int_equal(count(call_err, ": training\n"), 6);
    assert_true(exists("seeds/tiny-lr=0.003-seed3/summary.json"));
    contains(call_out, "\ntiny lr=0.01 ");
    contains(call_out, "± ");
    assert_true(widest(call_out) <= 100);
    read_whole("seeds/comparison.csv", text, sizeof text);
    contains(text, "\ntiny lr=0.003,3,3,");
    contains(text, ",3,"); /* pairs */
    read_whole("seeds/comparison.md", text, sizeof text);
    contains(text, "# Comparison of 2 models\n\n"
                   "    conclave compare tiny.ini --data data --epochs 1 --seeds 3 --grid "
                   "optimizer.lr=0.01,0.003 -o seeds\n\n## ");
    /* As a shell takes it, and as HTML does. */
    expect("compare runs/tiny \"run.name=it's <b>\" -o 'quoted out'", 0);
    read_whole("quoted out/comparison.md", text, sizeof text);
    contains(text, "\n    conclave compare runs/tiny 'run.name=it'\\''s <b>' -o 'quoted out'\n");
    read_whole("quoted out/comparison.html", text, sizeof text);
    contains(text, "s &lt;b&gt;' -o 'quoted out'</code>");
    /* A time limit changes nothing for what ended before it; another seed is another run. */
    expect("compare tiny.ini --data data --epochs 1 --seed 2 optimizer.lr=0.003 -o seeds "
           "--max-time 1h",
           0);
    assert_null(strstr(call_err, "training"));
    expect("compare tiny.ini --data data --epochs 1 --seed 4 optimizer.lr=0.003 -o seeds", 0);
    assert_int_equal(count(call_err, ": training\n"), 1);
}

static void test_failure(void **state)
{
    (void)state;
    static char text[1 << 17];
    expect_refusal("compare broken.ini tiny.ini --data data", 1, "1 of 2 runs failed");
    contains(call_err, "warning: broken, seed 1, failed: ");
    contains(call_out, "\nbroken  ");
    contains(call_out, "failed ");
    contains(call_out, "\nFailed: broken, seed 1: ");
    read_whole("runs/comparison-runs.csv", text, sizeof text);
    contains(text, "\nbroken,1,,\"epoch 1");
    assert_false(exists("runs/broken"));
}

/* A run that stopped before its end is taken up again, not begun anew. */
static void test_interrupted(void **state)
{
    (void)state;
    assert_int_equal(system("cp -r runs/tiny kept && rm runs/tiny/summary.json && "
                            "rm runs/tiny/predictions.csv"),
                     0);
    expect("compare tiny.ini wide.ini --data data", 0);
    contains(call_err, "seed 1: going on with runs/tiny\n");
    assert_int_equal(count(call_err, ": training\n"), 0);
    assert_int_equal(system("cmp runs/tiny/predictions.csv kept/predictions.csv"), 0);
    assert_false(exists("runs/tiny-2"));
    expect_refusal("compare runs/tiny tiny.ini both.ini nothing --data data", 2, "nothing");
    /* Also one with a limit, of which it has used some. */
    expect("compare tiny.ini --data data --epochs 1 --max-time 1h -o limited", 0);
    assert_int_equal(system("rm limited/tiny/summary.json"), 0);
    expect("compare tiny.ini --data data --epochs 1 --max-time 1h -o limited", 0);
    contains(call_err, "seed 1: going on with limited/tiny\n");
    assert_false(exists("limited/tiny-2"));
}

/* A limit changes nothing for what ended by patience before it; what it ended is another run. */
static void test_limit(void **state)
{
    (void)state;
    static const char patient[] = "compare tiny.ini --data data --epochs 9 train.patience=1 "
                                  "train.min_delta=50 -o patient";
    static char text[1 << 16], words[256];
    expect(patient, 0);
    read_whole("patient/tiny/summary.json", text, sizeof text);
    contains(text, "\"epochs\": 2,");
    contains(text, "\"stopped_by\": \"patience\"");
    snprintf(words, sizeof words, "%s --max-time 1h", patient);
    expect(words, 0);
    assert_int_equal(count(call_err, ": training\n"), 0);
    expect("compare tiny.ini --data data --epochs 9 --max-time 0.001s -o short", 0);
    read_whole("short/tiny/summary.json", text, sizeof text);
    contains(text, "\"stopped_by\": \"time\"");
    expect("compare tiny.ini --data data --epochs 9 -o short", 0);
    assert_int_equal(count(call_err, ": training\n"), 1);
    read_whole("short/tiny-2/summary.json", text, sizeof text);
    contains(text, "\"stopped_by\": null");
}

/* SIGTERM reaches the training, which leaves a checkpoint. */
static void test_signal(void **state)
{
    (void)state;
    expect("compare tiny.ini --data data --epochs 4000 train.checkpoint_every=4000 -o cut "
           "2>cut.txt & p=$!; for i in $(seq 600); do "
           "[ -s cut/tiny/metrics.csv ] && [ $(wc -l <cut/tiny/metrics.csv) -ge 4 ] && break; "
           "sleep 0.05; done; kill $p; wait $p",
           1);
    read_whole("cut.txt", call_err, sizeof call_err);
    contains(call_err, "conclave: stopped; the same command goes on where it was\n");
    assert_true(exists("cut/tiny/last.safetensors"));
    assert_false(exists("cut/tiny/summary.json"));
    assert_false(exists("cut/comparison.html"));
}

static void test_refused(void **state)
{
    (void)state;
    expect_refusal("compare", 2, "what is to be compared?");
    expect_refusal("compare tiny.ini", 2, "which images?");
    expect_refusal("compare demoo --data data", 2, "did you mean demo?");
    expect_refusal("compare demo", 2, "demo-small-cnn has to be trained; which images?");
    expect_refusal("compare Models", 2, "has to be trained; which images?");
    expect_refusal("compare no-such-model --data data", 2, "no-such-model");
    expect_refusal("compare tiny.ini --data data --grid optimizer.lr", 2, "--grid optimizer.lr");
    expect_refusal("compare tiny.ini --data data --grid optimizer.rl=1,2", 2, "rl");
    expect_refusal("compare tiny.ini --data data --reference other", 2, "--reference other");
    expect_refusal("compare tiny.ini --data data --seeds 0", 2, "--seeds");
    expect_refusal("compare tiny.ini --data data --max-time soon", 2, "--max-time");
    put("empty.ini", "[suite]\nconfigs = ,\n");
    expect_refusal("compare empty.ini --data data", 2, "empty.ini");
    put("odd.ini", "[suite]\nconfigs = tiny.ini\nmodels = a\n");
    expect_refusal("compare odd.ini --data data", 2, "odd.ini:3: [suite] has one key");
    put("lost.ini", "[suite]\nconfigs = missing\n");
    expect_refusal("compare lost.ini --data data", 2, "suite lost.ini: ");
    /* Runs on other images are shown, and not tested against each other. */
    assert_int_equal(system("cp -r data less && rm less/test/*/5.png"), 0);
    expect("train wide.ini --data less --epochs 1 run.name=less", 0);
    expect("compare runs/tiny runs/less", 0);
    contains(call_out, "one was tested on 2");
    contains(call_out, "not compared");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),   cmocka_unit_test(test_figures),
        cmocka_unit_test(test_mixture), cmocka_unit_test(test_half_way),
        cmocka_unit_test(test_sources), cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_failure), cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_limit),   cmocka_unit_test(test_signal),
        cmocka_unit_test(test_refused),
    };
    const int status = calls_begin(argc, argv);
    return status != 0 ? status : cmocka_run_group_tests(tests, set_up, calls_leave);
}
