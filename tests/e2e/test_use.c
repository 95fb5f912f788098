/* Conclave as it is used: train on a small set of drawn pictures, then runs, eval, predict and
 * summary with what was learnt, and everything that is commonly typed wrong. Argument: the command.
 * Exit 77 where there is no OpenCL device. */
#define _XOPEN_SOURCE 700
#include "../unit/image_files.h"
#include "base/files.h"
#include "calls.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

enum { TRAIN_IMAGES = 24, TEST_IMAGES = 6 };

static const char config[] = "# For the tests\n"
                             "[data]\nimage_size = 16\n"
                             "[mixture]\nexperts = small\n"
                             "[expert.small]\nplugin = cnn\nwidths = 8, 16\ndropout = 0.1\n"
                             "[optimizer]\nlr = 0.01\n"
                             "[train]\nepochs = 8\nbatch = 10\n";

static int set_up(void **state)
{
    if (calls_enter(state) != 0)
        return -1;
    draw_set("data/train", TRAIN_IMAGES);
    draw_set("data/Test", TEST_IMAGES);
    put("tiny.ini", config);
    expect("train tiny.ini --data data", 0);
    return 0;
}

/* ---- train ---- */

/* Reads what set_up's training printed and wrote. */
static void test_training(void **state)
{
    (void)state;
    char text[1 << 16];
    contains(call_out, "best epoch ");
    contains(call_out, " of 8, trained in ");
    contains(call_out, "validation");
    contains(call_out, "\nrun   runs/tiny\n");
    contains(call_out, "conclave eval runs/tiny\n");
    contains(call_out, "conclave predict runs/tiny IMAGE\n");
    contains(call_err, "data: 4 classes; 88 train, 8 val (drawn from train), 24 test images");
    contains(call_err, "device: ");
    contains(call_err, "epoch 8/8");
    assert_null(strchr(call_err, '\r'));
    assert_null(strchr(call_err, '\033'));

    read_whole("runs/tiny/config.ini", text, sizeof text);
    contains(text, "\nwidths = 8, 16\n");
    contains(text, "\nkernel = 3\n"); /* a default of the plugin */
    contains(text, "\nname = tiny\n");
    read_whole("runs/tiny/log.txt", text, sizeof text);
    contains(text, "data: 4 classes");
    contains(text, "device: ");
    contains(text, "test: top-1 ");
    read_whole("runs/tiny/metrics.csv", text, sizeof text);
    int lines = 0;
    for (const char *c = text; *c != '\0'; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 1 + 8 * 2);
    assert_true(exists("runs/tiny/best.safetensors"));
    assert_true(exists("runs/tiny/last.safetensors"));
    assert_true(exists("runs/tiny/summary.json"));
    assert_true(exists("runs/last/config.ini"));
}

static bool same_bytes(const char *a, const char *b)
{
    static char first[1 << 20], second[1 << 20];
    size_t lengths[2];
    FILE *files[2] = {fopen(a, "rb"), fopen(b, "rb")};
    assert_true(files[0] != NULL && files[1] != NULL);
    lengths[0] = fread(first, 1, sizeof first, files[0]);
    lengths[1] = fread(second, 1, sizeof second, files[1]);
    fclose(files[0]);
    fclose(files[1]);
    assert_true(lengths[0] > 0 && lengths[0] < sizeof first);
    return lengths[0] == lengths[1] && memcmp(first, second, lengths[0]) == 0;
}

static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    expect("train tiny.ini --data data --quiet data.workers=3", 0);
    assert_string_equal(call_err, "");
    assert_true(exists("runs/tiny-2/best.safetensors"));
    expect("train tiny.ini --data data --quiet data.workers=3", 0);
    assert_true(same_bytes("runs/tiny-2/best.safetensors", "runs/tiny-3/best.safetensors"));
    assert_true(same_bytes("runs/tiny-2/last.safetensors", "runs/tiny-3/last.safetensors"));
    expect("train runs/tiny-2/config.ini --quiet -o again --seed 2", 0);
    assert_true(exists("again/tiny/best.safetensors"));
    assert_false(same_bytes("runs/tiny-2/best.safetensors", "again/tiny/best.safetensors"));
}

/* ---- TensorBoard ---- */

static bool has_events(const char *run)
{
    char folder[128], **names = NULL;
    size_t count = 0;
    clv_error error = CLV_ERROR_INIT;
    snprintf(folder, sizeof folder, "%s/tensorboard", run);
    if (!clvi_is_dir(folder))
        return false;
    assert_int_equal(clvi_dir_list(folder, &names, &count, &error), CLV_OK);
    const bool one = count == 1 && strncmp(names[0], "events.out.tfevents.", 20) == 0;
    clvi_names_free(names, count);
    return one;
}

static void test_events(void **state)
{
    (void)state;
    const char *train = "train tiny.ini --data data --epochs 2 run.name=board run.tensorboard=yes";
    if (conclave(train) != 0) { /* a build without it says so before it trains */
        contains(call_err, "libprotobuf-c-dev");
        assert_false(exists("runs/board"));
        return;
    }
    assert_true(has_events("runs/board"));
    assert_false(has_events("runs/tiny"));
    expect("report tiny --tensorboard", 0);
    contains(call_out, "runs/tiny/tensorboard");
    assert_true(has_events("runs/tiny"));
    put("runs/plain", "a file, and no folder of runs");
    expect_refusal("report plain --tensorboard", 2, "no run");
}

static void test_training_refused(void **state)
{
    (void)state;
    expect("train tiny.ini --data data --epochs 1 --quiet -o kept", 0);
    expect_refusal("train tiny.ini", 2, "--data PATH");
    expect_refusal("train tiny.ini --data nowhere -o kept", 1, "nowhere");
    expect_refusal("train tiny.ini --data data --epoch 3", 2, "did you mean --epochs?");
    expect_refusal("train tiny.ini --data data train.epoch=3", 2, "did you mean epochs");
    expect_refusal("train tiny.ini --data data expert.small.width=3", 2, "widths");
    expect_refusal("train tiny.ini --data data --device no-such-device -o kept", 1,
                   "no-such-device");
    expect_refusal("train tiny.ini --data data --plugin-path /nowhere expert.small.plugin=cnm", 1,
                   "did you mean");
    expect_refusal("train none-such --data data", 2, "none-such");
    expect_refusal("train tiny.ini --data data -o tiny.ini/runs", 1, "-o FOLDER names another");
    expect("train tiny.ini --data data --epochs 1 --quiet run.name='a run' -o kept", 0);
    contains(call_out, "try   conclave eval 'kept/a run'\n");
    expect("train --resume 'kept/a run'", 0);
    contains(call_out, "is finished after 1 epoch;");
    assert_false(exists("kept/tiny-2"));

    /* A picture that cannot be decoded is met in the first epoch, when the folder exists. */
    draw_set("broken/train", 4);
    file_put(".", "broken/train/disc/0.png", "\x89PNG\r\n\x1a\nrubbish", 15);
    expect_refusal("train tiny.ini --data broken -o kept", 1, "disc/0.png");
    assert_false(exists("kept/tiny-2"));
    assert_true(exists("kept/last/best.safetensors"));
    expect_refusal("train tiny.ini --data broken -o new", 1, "disc/0.png");
    assert_int_equal(system("test \"$(ls -A new)\" = ''"), 0);
    expect("train tiny.ini --data broken --epochs 1 data.on_bad=skip -o new", 0);
    contains(call_err, "disc/0.png");
}

/* ---- runs ---- */

static void test_runs(void **state)
{
    (void)state;
    expect("train tiny.ini --data data --epochs 1 --quiet -o listed", 0);
    assert_int_equal(system("cp -r listed/tiny listed/cut && rm listed/cut/summary.json"), 0);
    expect("runs -o listed", 0);
    contains(call_out, "run ");
    contains(call_out, "unfinished\n");
    contains(call_out, "1/1");
    expect("runs -o listed --json", 0);
    json_t *list = parse(call_out);
    assert_int_equal(json_array_size(list), 2);
    const json_t *cut = json_array_get(list, 0), *whole = json_array_get(list, 1);
    assert_string_equal(word(cut, "name"), "cut");
    assert_string_equal(word(whole, "name"), "tiny");
    assert_string_equal(word(whole, "plugins"), "cnn");
    assert_true(json_is_false(json_object_get(cut, "finished")));
    assert_true(json_is_true(json_object_get(whole, "finished")));
    assert_true(json_is_null(json_object_get(cut, "test_top1")));
    assert_true(number(whole, "test_top1") >= 0);
    assert_true(number(cut, "val_top1") >= 0 && number(cut, "epochs") == 1);
    json_decref(list);
    expect("runs -o nothing-here", 0);
    assert_string_equal(call_out, "");
    expect_refusal("runs tiny", 2, "takes no argument");
}

/* ---- eval ---- */

static void test_eval(void **state)
{
    (void)state;
    expect("eval runs/tiny --json --quiet", 0);
    assert_string_equal(call_err, "");
    json_t *result = parse(call_out);
    assert_true(number(result, "count") == CLASSES * TEST_IMAGES);
    const double top1 = number(result, "top1");
    assert_true(top1 >= 0.9 && top1 <= 1);
    assert_true(number(result, "top1_low") < top1 && number(result, "top1_high") >= top1);
    assert_true(json_is_null(json_object_get(result, "top5")));
    static const char *const others[] = {"nll",    "brier", "ece",     "precision",
                                         "recall", "f1",    "seconds", "images_per_second"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(number(result, others[i]) >= 0);
    assert_string_equal(word(result, "split"), "test");
    assert_string_equal(word(result, "run"), "runs/tiny");
    json_decref(result);

    expect("eval tiny --split TEST --per-class", 0);
    contains(call_out, "images/s");
    contains(call_out, "most often taken for");
    contains(call_out, "columns");
    expect("eval tiny --split validation --json", 0);
    result = parse(call_out);
    assert_true(number(result, "count") == 8);
    json_decref(result);
    expect("eval runs/tiny/last.safetensors --json", 0);
    expect("eval tiny --checkpoint last --json --split train", 0);
    result = parse(call_out);
    assert_true(number(result, "epoch") == 8 && number(result, "count") == 88);
    json_decref(result);
}

/* What the end of a training wrote, what eval finds and what predict says are one. */
static void test_calibration(void **state)
{
    (void)state;
    json_error_t problem;
    json_t *summary = json_load_file("runs/tiny/summary.json", 0, &problem);
    assert_non_null(summary);
    const json_t *test = json_object_get(summary, "test");
    const double temperature = number(summary, "temperature");
    assert_true(temperature >= 0.05 && temperature <= 20 && temperature != 1);
    assert_true(number(summary, "multiply_adds") > 0);

    expect("eval runs/tiny --json --per-class", 0);
    json_t *result = parse(call_out);
    static const char *const same[] = {"top1", "nll", "nll_calibrated", "ece_calibrated", "f1"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_true(fabs(number(result, same[i]) - number(test, same[i])) < 1e-6);
    assert_true(fabs(number(result, "temperature") - temperature) < 1e-6);
    int64_t images = 0, right = 0;
    for (size_t r = 0; r < CLASSES; r++) {
        const json_t *row = json_array_get(json_object_get(result, "confusion"), r);
        for (size_t c = 0; c < CLASSES; c++) {
            const int64_t n = json_integer_value(json_array_get(row, c));
            images += n;
            right += r == c ? n : 0;
        }
    }
    assert_int_equal(images, CLASSES * TEST_IMAGES);
    assert_true(fabs((double)right / (double)images - number(test, "top1")) < 1e-6);
    json_decref(result);
    json_decref(summary);

    static char text[1 << 16];
    read_whole("runs/tiny/per_class.csv", text, sizeof text);
    contains(text, "split,class,images,predicted,correct,precision,recall,f1\ntrain,checks,22,");
    contains(text, "\ntest,rows,6,");
    read_whole("runs/tiny/confusion.csv", text, sizeof text);
    contains(text, "\ntest,rows,rows,");
    read_whole("runs/tiny/predictions.csv", text, sizeof text);
    contains(text, "split,image,label,predicted,log_probability,confidence,gate_entropy\nval,");
    contains(text, "\ntest,Test/rows/5.png,3,");

    /* softmax(logits / t)_1 / softmax(logits / t)_2 = exp((o_1 - o_2) / t) */
    double chances[2][2];
    for (int i = 0; i < 2; i++) {
        expect(i == 0 ? "predict runs/tiny data/Test/disc/2.png --json"
                      : "predict moved.safetensors data/Test/disc/2.png --json",
               0);
        json_t *line = parse(call_out);
        for (size_t k = 0; k < 2; k++)
            chances[i][k] =
                number(json_array_get(json_object_get(line, "predictions"), k), "probability");
        json_decref(line);
        assert_int_equal(system("cp runs/tiny/best.safetensors moved.safetensors"), 0);
    }
    contains(call_err, "not calibrated");
    const double ratio = log(chances[1][0] / chances[1][1]) / log(chances[0][0] / chances[0][1]);
    assert_true(fabs(ratio / temperature - 1) < 1e-3);
}

/* ---- Images unlike those of training ---- */

static const char gated[] = "# A pair\n[run]\nbase = tiny.ini\n[data]\nval_fraction = 0.5\n"
                            "[mixture]\nexperts = x, y\n[expert.x]\nplugin = cnn\nwidths = 4\n"
                            "[expert.y]\nplugin = cnn\nwidths = 6\n[gate]\nplugin = linear\n";

/* Noise under the names of the classes. */
static void put_noise(const char *folder, unsigned pictures)
{
    char path[64];
    for (unsigned c = 0; c < CLASSES; c++)
        for (unsigned i = 0; i < pictures; i++) {
            snprintf(path, sizeof path, "%s/%s/%u.png", folder, class_names[c], i);
            png_put(".", path, 16, 1000 * c + i);
        }
}

/* What eval says of how alike the images are to those of validation. */
static json_t *likeness(const char *arguments)
{
    expect(arguments, 0);
    json_t *all = parse(call_out), *part = json_incref(json_object_get(all, "likeness"));
    assert_non_null(part);
    json_decref(all);
    return part;
}

static void test_unlike(void **state)
{
    (void)state;
    put("gated.ini", gated);
    draw_set("many/train", 100);
    draw_set("many/test", 50);
    draw_set("alike", 60);
    put_noise("noise", 60);
    expect("train gated.ini --data many --quiet", 0);

    json_t *test = likeness("eval gated --json --quiet");
    const json_t *one = json_object_get(test, "confidence");
    assert_true(number(one, "images") == 200 && number(one, "validation_images") == 200);
    assert_true(json_is_false(json_object_get(test, "unlike")));
    assert_true(number(one, "difference") >= 0 && number(one, "difference") < 0.1);
    /* sqrt(ln(2/0.0005)/2 * 2/200) */
    assert_true(fabs(number(one, "threshold") - 0.20364) < 1e-4);
    assert_true(number(json_object_get(test, "gate_entropy"), "images") == 200);
    assert_string_equal(call_err, "");
    json_decref(test);
    json_t *alike = likeness("eval gated --data alike --json --quiet");
    assert_true(json_is_false(json_object_get(alike, "unlike")));
    assert_string_equal(call_err, "");
    json_decref(alike);

    json_t *noise = likeness("eval gated --data noise --json --quiet");
    assert_true(json_is_true(json_object_get(noise, "unlike")));
    contains(call_err, "conclave: warning: these images are unlike what the run was trained on");
    expect("export gated --bundle gated.bundle", 0);
    json_t *bundled = likeness("eval gated.bundle --data noise --json --quiet");
    assert_true(json_equal(noise, bundled));
    json_decref(bundled);
    json_decref(noise);
    expect("eval gated --data noise", 0);
    contains(call_out, "\nconfidence ");
    contains(call_out, "\ngate entropy ");
    contains(call_out, "  unlike\n");

    /* What it was trained and validated with is nothing new; a checkpoint alone knows nothing. */
    json_decref(likeness("eval gated --split train --json"));
    contains(call_out, "\"likeness\": null");
    json_decref(likeness("eval gated --split val --data many --json"));
    contains(call_out, "\"likeness\": null");
    json_decref(likeness("eval gated --checkpoint last --data noise --json"));
    contains(call_out, "\"likeness\": null");
    /* Too few images to tell. */
    expect("eval tiny", 0);
    contains(call_out, "\nconfidence ");
    assert_null(strstr(call_out, "gate entropy"));
}

/* The run's own names of its split folders are looked for, and need not be there. */
static void test_eval_other_names(void **state)
{
    (void)state;
    assert_int_equal(system("mkdir named && cp -r data/train named/Learn && cp -r data/Test "
                            "named/Judge && cp -r named half && mv half/Learn half/train"),
                     0);
    draw_set("bare", 3);
    expect("train tiny.ini --data named data.train=Learn data.test=Judge --epochs 1 --quiet "
           "-o named-runs",
           0);
    expect("eval named-runs/tiny", 0);
    contains(call_out, "named, test");
    expect("eval named-runs/tiny --data bare", 0);
    contains(call_out, "bare, all images");
    expect("eval named-runs/tiny --data data", 0);
    contains(call_out, "data, test");
    expect("eval named-runs/tiny --data half", 0);
    contains(call_out, "half, test");
}

static void test_eval_other_data(void **state)
{
    (void)state;
    draw_set("flat", 3);
    expect("eval tiny --data flat --json", 0);
    json_t *result = parse(call_out);
    assert_true(number(result, "count") == 3 * CLASSES);
    assert_string_equal(word(result, "split"), "all");
    json_decref(result);
    assert_int_equal(system("cp -r flat renamed && mv renamed/disc renamed/dish"), 0);
    expect_refusal("eval tiny --data renamed", 1, "class 3 is dish, that of the run is disc");
    assert_int_equal(system("cp -r flat fewer && rm -r fewer/rows"), 0);
    expect_refusal("eval tiny --data fewer", 1, "class rows of the run is missing");
    assert_int_equal(system("cp -r flat more && cp -r more/rows more/stars"), 0);
    expect_refusal("eval tiny --data more data", 2, "one too many");
    expect_refusal("eval tiny --data more", 1, "class stars is none of the 4 classes");
    expect_refusal("eval tiny --data flat --split test", 2, "choose another --split");
    assert_int_equal(system("mkdir parts && cp -r data/train parts && cp -r data/Test parts/val"),
                     0);
    expect_refusal("eval tiny --data parts", 2,
                   "no test images (train 96, val 24); say which to take");
    expect("eval tiny --data parts --split val --json", 0);
    expect_refusal("eval tiny --split upper", 2, "--split upper");
    expect_refusal("eval tiny --split tset", 2, "did you mean test?");
    expect_refusal("eval tiny --data flta", 1, "did you mean flat?");
    assert_int_equal(rename("data", "elsewhere"), 0);
    expect_refusal("eval tiny", 1, "--data PATH says where the run's images lie now");
    assert_int_equal(rename("elsewhere", "data"), 0);
    expect_refusal("eval tiny --device cpuu", 1, "did you mean cpu?");
    expect_refusal("eval runs/tiny/lsat.safetensors", 2,
                   "did you mean runs/tiny/last.safetensors?");
    expect_refusal("eval lats", 2, "did you mean 'last'?");
    expect_refusal("eval tiny --checkpoint first", 2, "expected best | last");
    expect_refusal("eval tiny --checkpoint lats", 2, "did you mean last?");
    expect_refusal("eval tinny", 2, "did you mean 'tiny'?");
    expect_refusal("eval", 2, "which run?");
    file_put(".", "no.safetensors", "rubbish", 7);
    expect_refusal("eval no.safetensors", 1, "no.safetensors");
}

/* ---- predict ---- */

static void test_predict(void **state)
{
    (void)state;
    expect("predict last data/Test/rows/1.png data/Test/disc", 0);
    contains(call_out, "data/Test/rows/1.png\n");
    contains(call_out, " %  rows\n");
    contains(call_out, "data/Test/disc/5.png\n");
    expect("predict runs/tiny data/Test/columns/0.png --top 1 --quiet", 0);
    contains(call_out, " %  columns  data/Test/columns/0.png\n");
    assert_string_equal(call_err, "");

    expect("predict runs/tiny data/Test/columns/0.png --json --top 9", 0);
    json_t *line = parse(call_out);
    const json_t *list = json_object_get(line, "predictions");
    double sum = 0, before = 1;
    assert_int_equal(json_array_size(list), CLASSES);
    for (size_t i = 0; i < CLASSES; i++) {
        const double p = number(json_array_get(list, i), "probability");
        assert_true(p <= before);
        sum += before = p;
    }
    assert_true(fabs(sum - 1) < 1e-6);
    assert_string_equal(word(json_array_get(list, 0), "class"), "columns");
    json_decref(line);

    expect("predict last data/Test/rows/1.png --min-confidence 1", 0);
    contains(call_out, "unsure; at best ");
    contains(call_err, "unsure of 1 of 1 pictures");
    expect("predict last data/Test/rows/1.png --min-confidence 1 --top 1", 0);
    contains(call_out, " %  unsure  data/Test/rows/1.png\n");
    expect("predict last data/Test/rows/1.png data/Test/disc/1.png --min-confidence 1 --json", 0);
    assert_int_equal(count(call_out, "\"unsure\": true"), 2);
    assert_int_equal(count(call_out, "\"predictions\": []"), 2);
    expect("predict last data/Test/rows/1.png --min-confidence 0.01 --json", 0);
    line = parse(call_out);
    list = json_object_get(line, "predictions");
    assert_true(json_is_false(json_object_get(line, "unsure")));
    assert_true(number(line, "confidence") == number(json_array_get(list, 0), "probability"));
    json_decref(line);
}

/* Probability of the best class of the picture, in JSON lines. */
static double best_chance(const char *lines, const char *picture)
{
    for (const char *line = lines; *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        json_error_t problem;
        json_t *object = json_loadb(line, length, 0, &problem);
        assert_non_null(object);
        const bool found = strcmp(word(object, "path"), picture) == 0;
        const json_t *best = json_array_get(json_object_get(object, "predictions"), 0);
        const double value = number(best, "probability");
        json_decref(object);
        if (found)
            return value;
        line += length + (line[length] == '\n');
    }
    fail_msg("no %s in: %s", picture, lines);
    return 0;
}

/* What comes out for a picture does not depend on those beside it, but for rounding. */
static void test_predict_in_batches(void **state)
{
    (void)state;
    static const char *const pictures[] = {"data/Test/checks/0.png", "data/Test/disc/3.png",
                                           "data/Test/rows/5.png"};
    double together[3];
    expect("predict runs/tiny data/Test --json", 0);
    for (int i = 0; i < 3; i++)
        together[i] = best_chance(call_out, pictures[i]);
    for (int i = 0; i < 3; i++) {
        char arguments[128];
        snprintf(arguments, sizeof arguments, "predict runs/tiny %s --json", pictures[i]);
        expect(arguments, 0);
        assert_true(fabs(best_chance(call_out, pictures[i]) - together[i]) < 1e-4);
    }
}

static void test_predict_goes_on(void **state)
{
    (void)state;
    file_put(".", "bad.png", "rubbish", 7);
    expect_refusal("predict last bad.png data/Test/rows/1.png none.png", 1,
                   "2 of 3 pictures could not be read");
    contains(call_err, "conclave: bad.png: ");
    contains(call_err, "conclave: none.png: ");
    contains(call_out, "data/Test/rows/1.png\n");
    assert_null(strstr(call_out, "bad.png"));
    expect_refusal("predict last", 2, "which pictures?");
    expect_refusal("predict last runs", 1, "no .png, .jpg or .jpeg");
    expect_refusal("predict last bad.png --top 0", 2, "--top");
    expect_refusal("predict last bad.png --min-confidence 2", 2, "from 0 to 1");
}

/* ---- export ---- */

/* Formats of others; which numbers are in them is tested in tests/export. */
static void test_formats(void **state)
{
    (void)state;
    expect("export runs/tiny --bundle formats.bundle --safetensors tiny.safetensors", 0);
    contains(call_out, "bundle  formats.bundle  ");
    contains(call_out, "safetensors  tiny.safetensors  ");
    contains(call_err, "names");
    expect("inspect tiny.safetensors", 0);
    contains(call_out, "num_batches_tracked");
    expect_refusal("export runs/tiny --safetensors x --expert nobody", 2, "there are ");
    expect_refusal("export runs/tiny --bundle x --expert nobody", 2, "--expert is for");
#ifdef WITH_ONNX
    expect("export runs/tiny --onnx tiny.onnx", 0);
    contains(call_out, "onnx  tiny.onnx  ");
    expect("export formats.bundle --onnx again.onnx", 0);
    assert_true(same_bytes("tiny.onnx", "again.onnx"));
    expect_refusal("export runs/tiny --onnx tiny.onnx", 2, "exists");
#else
    expect_refusal("export runs/tiny --onnx x", 2, "built without ONNX");
#endif
    assert_false(exists("x"));
}

/* A bundle gives the same bits as its run, and does without it. */
static void test_bundle(void **state)
{
    (void)state;
    static char wanted[CALL_BYTES];
    static const char *const same[] = {"top1", "nll", "nll_calibrated", "temperature", "epoch"};
    expect("predict runs/tiny data/Test --json --top 9 --quiet", 0);
    memcpy(wanted, call_out, sizeof wanted);
    expect("eval runs/tiny --json", 0);
    json_t *run = parse(call_out);
    expect("export runs/tiny --bundle tiny.bundle --quiet", 0);
    contains(call_out, "bundle  tiny.bundle  ");
    assert_string_equal(call_err, "");
    assert_int_equal(rename("runs/tiny", "elsewhere"), 0);
    expect("predict tiny.bundle data/Test --json --top 9 --quiet", 0);
    assert_string_equal(call_out, wanted);
    expect("eval tiny.bundle --data data --json", 0);
    json_t *bundle = parse(call_out);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_true(number(run, same[i]) == number(bundle, same[i]));
    json_decref(run);
    json_decref(bundle);
    expect("export tiny.bundle --bundle again.bundle", 0);
    assert_true(same_bytes("tiny.bundle", "again.bundle"));
    assert_int_equal(rename("elsewhere", "runs/tiny"), 0);
    expect("bench --bundle tiny.bundle --repeat 20 --json --quiet", 0);
    json_t *times = parse(call_out);
    assert_true(number(times, "p50_ms") > 0 && number(times, "p50_ms") <= number(times, "p99_ms"));
    assert_true(number(times, "batch") == 1 && number(times, "count") == 20);
    json_decref(times);
    expect("bench --bundle runs/tiny data/Test/disc/0.png --repeat 5 --batch 3", 0);
    contains(call_out, "3 pictures, from their bytes to probabilities; 5 calls that count\np50  ");
    expect_refusal("bench --bundle tiny.bundle tiny.ini", 1, "neither a PNG nor a JPEG");
    expect_refusal("bench --bundle tiny.bundle --peak", 2, "give one of");

    expect_refusal("export runs/tiny --bundle tiny.bundle", 2, "exists");
    expect("export runs/tiny --checkpoint last --bundle tiny.bundle --force", 0);
    contains(call_err, "not calibrated");
    assert_false(same_bytes("tiny.bundle", "again.bundle"));
    expect_refusal("export runs/tiny --bundle runs --force", 2, "is a folder");
    expect_refusal("export runs/tiny --bundle runs/tiny/best.safetensors --force", 2,
                   "is what is exported");
    assert_int_equal(system("cp runs/tiny/metrics.csv kept.csv && mkdir -p runs/tiny/more && "
                            "cp kept.csv runs/tiny/more/x && cp -r runs/tiny other-run"),
                     0);
    static const char *const files[] = {"runs/tiny/metrics.csv", "runs/tiny/last.safetensors",
                                        "./runs/../runs/last/config.ini", "runs/tiny/more/x",
                                        "other-run/last.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char call[128];
        snprintf(call, sizeof call, "export runs/tiny --bundle %s --force", files[i]);
        expect_refusal(call, 2, "lies in the folder of a run; take another name");
    }
    assert_true(same_bytes("runs/tiny/metrics.csv", "kept.csv"));
    expect("export runs/tiny --bundle runs/tiny/new.bundle", 0);
    assert_int_equal(system("rm -r runs/tiny/new.bundle runs/tiny/more other-run kept.csv"), 0);
    expect_refusal("export runs/tiny --bundle nowhere/tiny.bundle", 1, "nowhere/tiny.bundle");
    expect_refusal("export runs/tiny --bundle x --onnx x", 2, "name the same file, x");
    expect_refusal("export runs/tiny --bundle ./x --onnx runs/../x", 2, "name the same file");
    assert_int_equal(system("cp again.bundle one.file && ln one.file two.file"), 0);
    expect_refusal("export runs/tiny --bundle one.file --onnx two.file --force", 2,
                   "--bundle and --onnx name the same file, two.file");
    assert_true(same_bytes("one.file", "again.bundle"));
    expect_refusal("export runs/tiny", 2, "--bundle FILE");
    expect_refusal("export runs/tiny again.bundle --bundle x", 2, "one too many");
    assert_false(exists("x"));
}

/* ---- summary ---- */

/* Two 3×3 convolutions of 8 and 16 filters with the halving between, over 16×16 grey pictures. */
static void test_summary(void **state)
{
    (void)state;
    expect("summary tiny.ini data.channels=1 --classes 4", 0);
    contains(call_out, "[N, 16, 16, 8]");
    contains(call_out, "18,432"); /* 16·16·8·9 multiply-adds */
    contains(call_out, "73,728"); /* 8·8·16·72 */
    contains(call_out, "conv2d_bn");
    contains(call_out, "1,340"); /* 72+16 + 1152+32 + 68 parameters */
    expect("summary tiny.ini data.channels=1 --classes 4 --stages", 0);
    contains(call_out, "16×16  features.0.0.conv ");
    contains(call_out, "           88    6.6 %         18,432   20.0 %\n");
    contains(call_out, "8×8    features.0.pool … features.1.0.conv ");
    contains(call_out, "none   pool … classifier ");
    contains(call_out, "        1,340  100.0 %         92,224  100.0 %\n");
    contains(call_out, "training in batches of 10: ");
    contains(call_out, "inference in batches of 10: ");
    expect("summary tiny.ini --data data", 0);
    contains(call_out, "1,340");
    expect("summary runs/tiny --batch 3", 0);
    contains(call_out, "run    runs/tiny, epoch ");
    contains(call_out, "1,340");
    contains(call_out, "training in batches of 3: ");
    expect_refusal("summary runs/tiny --epochs 3", 2, "cannot change");
    expect_refusal("summary", 2, "which configuration?");
}

/* ---- A mixture of mixtures ---- */

static const char pair[] = "# A pair\n[run]\nbase = tiny.ini\n[mixture]\nexperts = x, y\n"
                           "[expert.x]\nplugin = cnn\nwidths = 4\n"
                           "[expert.y]\nplugin = cnn\nwidths = 6\n[gate]\nplugin = linear\n";
static const char pairs[] = "[run]\nbase = tiny.ini\n[mixture]\nexperts = p, q\n"
                            "[expert.p]\nmixture = pair\n[expert.q]\nmixture = pair.ini\n"
                            "[gate]\nplugin = average\n[train]\nepochs = 2\n";

/* Trained from three files, used without them. `mixture = pair` is found as shipped ones are, and
 * so it is by compare. */
static void test_nested(void **state)
{
    (void)state;
    json_error_t problem;
    assert_int_equal(setenv("CONCLAVE_CONFIG_PATH", home, 1), 0);
    put("pair.ini", pair);
    put("pairs.ini", pairs);
    expect("train pairs --data data --set gate.q.grid=4", 0);
    contains(call_err, "expert p is a mixture: its [data], [optimizer], [train] mean nothing here");
    contains(call_err, "experts p/x, p/y, q/x, q/y: plugin cnn");
    contains(call_err, "gate.q: plugin linear");
    expect("compare pairs.ini --data data --set gate.q.grid=4", 0);
    contains(call_out, "\nGates\n\nmodel "); /* of the run that there is */
    assert_false(exists("runs/pairs-2"));
    assert_int_equal(remove("pair.ini"), 0);
    assert_int_equal(rename("runs/pairs/best.safetensors", "pairs.safetensors"), 0);
    assert_int_equal(unsetenv("CONCLAVE_CONFIG_PATH"), 0);

    expect("predict pairs.safetensors data/Test/rows/1.png", 0);
    contains(call_out, "gate: p 0.500, q 0.500");
    expect("eval pairs.safetensors --data data --json", 0);
    json_t *eval = parse(call_out),
           *summary = json_load_file("runs/pairs/summary.json", 0, &problem);
    assert_non_null(summary);
    const json_t *then = json_object_get(summary, "test");
    assert_true(fabs(number(eval, "nll") - number(then, "nll")) < 1e-6);
    json_decref(eval);
    json_decref(summary);
    expect("summary pairs.safetensors", 0);
    contains(call_out, "expert q/y, plugin cnn, 4 classes");
    contains(call_out, "gate of p, plugin linear, 2 experts");
    expect("runs", 0);
    contains(call_out, "cnn, cnn, cnn, cnn");
    expect_refusal("train pairs.ini --data data", 2, "pairs.ini:6: [expert.p] mixture: ");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_eval),
        cmocka_unit_test(test_predict),
        cmocka_unit_test(test_predict_in_batches),
        cmocka_unit_test(test_predict_goes_on),
        cmocka_unit_test(test_bundle),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_eval_other_data),
        cmocka_unit_test(test_unlike),
        cmocka_unit_test(test_eval_other_names),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_training_refused),
        cmocka_unit_test(test_nested),
    };
    const int status = calls_begin(argc, argv);
    return status != 0 ? status : cmocka_run_group_tests(tests, set_up, calls_leave);
}
