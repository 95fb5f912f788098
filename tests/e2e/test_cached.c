/* conclave compare --on-cached: trained experts, frozen, in every gate, fusion and loss that is
 * asked for; what they make of the images is computed once. Argument: the command. Exit 77 where
 * there is no OpenCL device. */
#define _XOPEN_SOURCE 700
#include "../unit/image_files.h"
#include "calls.h"

#include "base/files.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

static const char tiny[] = "[data]\nimage_size = 16\n"
                           "[mixture]\nexperts = small\n"
                           "[expert.small]\nplugin = cnn\nwidths = 8, 16\n"
                           "[optimizer]\nlr = 0.01\n"
                           "[train]\nepochs = 2\nbatch = 10\n";
static const char wide[] = "[run]\nbase = tiny.ini\n[expert.small]\nwidths = 8, 24\n";
/* A mixture's own experts have no part in it. */
static const char fuse[] = "[run]\nbase = tiny.ini\n[mixture]\nexperts = a, b\n"
                           "[expert.a]\nplugin = cnn\nwidths = 4, 5\n"
                           "[expert.b]\nplugin = cnn\nwidths = 4, 6\n"
                           "[data]\naugment = characters\nimage_size = 24\n"
                           "[gate]\nplugin = linear\n[train]\nepochs = 3\n";

static int set_up(void **state)
{
    if (calls_enter(state) != 0)
        return -1;
    draw_set("data/train", 16);
    draw_set("data/test", 6);
    put("tiny.ini", tiny);
    put("wide.ini", wide);
    put("fuse.ini", fuse);
    expect("train tiny.ini --data data run.name=one -q", 0);
    expect("train tiny.ini --data data --seed 2 run.name=two.2 -q", 0);
    expect("train wide.ini --data data run.name=wide -q", 0);
    return 0;
}

static size_t count_files(const char *folder)
{
    char **names = NULL;
    size_t number = 0;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_dir_list(folder, &names, &number, &error), CLV_OK);
    clvi_names_free(names, number);
    return number;
}

/* The figures of a run, taken from what was kept, are those from the pixels. */
static void expect_same_from_pixels(const char *run)
{
    char call[256], path[256];
    json_error_t problem;
    snprintf(path, sizeof path, "%s/summary.json", run);
    json_t *summary = json_load_file(path, 0, &problem);
    assert_non_null(summary);
    const char *const splits[] = {"test", "val"};
    for (int k = 0; k < 2; k++) {
        snprintf(call, sizeof call, "eval %s --split %s --json -q", run, splits[k]);
        expect(call, 0);
        json_t *eval = parse(call_out);
        const json_t *kept = json_object_get(summary, splits[k]);
        if (!(fabs(number(eval, "nll") - number(kept, "nll")) <= 1e-5) ||
            number(eval, "top1") != number(kept, "top1"))
            fail_msg("%s, %s: %.9g from pixels, %.9g from what was kept", run, splits[k],
                     number(eval, "nll"), number(kept, "nll"));
        json_decref(eval);
    }
    json_decref(summary);
}

static void test_grid(void **state)
{
    (void)state;
    static char text[1 << 17];
    static const char call[] = "compare --on-cached one,runs/two.2,runs/wide fuse.ini --grid "
                               "mixture.combine=weighted,concat --grid "
                               "gate.plugin=average,cnn,noisy_topk --grid loss.terms=ce,jacobs_mse";
    expect(call, 0);
    assert_int_equal(count(call_err, "computed (of 3 of 3 experts)"), 1);
    assert_int_equal(count(call_err, ": training\n"), 12);
    contains(call_err, "warning: 3 combinations are left out that cannot be: fuse concat average "
                       "jacobs_mse: command line: [loss] terms: 'jacobs_mse' cannot teach ");
    assert_null(strstr(call_err, "failed"));
    assert_null(strstr(call_err, "the same files"));
    assert_int_equal(count_files("runs/.features"), 6);
    /* The runs by themselves, then the rest, the best on validation first. */
    const char *one = strstr(call_out, "\none "), *best = strstr(call_out, "\nfuse ");
    assert_non_null(one);
    assert_true(best > one && strstr(call_out, "\ntwo.2 ") < best &&
                strstr(call_out, "\nwide ") < best);
    contains(call_out, "\nfuse weighted cnn jacobs_mse ");
    assert_null(strstr(call_out, "\nfuse concat cnn jacobs_mse "));
    read_whole("runs/comparison-runs.csv", text, sizeof text);
    contains(text, "\none,1,runs/one,");
    contains(text, "\ntwo.2,2,runs/two.2,");
    read_whole("runs/comparison.csv", text, sizeof text);
    double before = 2;
    for (const char *line = strstr(text, "\nfuse "); line != NULL; line = strstr(line, "\nfuse ")) {
        char name[128], path[256];
        line++;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(line, ","), line);
        for (char *c = name; *c != '\0'; c++)
            *c = *c == ' ' ? '-' : *c;
        snprintf(path, sizeof path, "runs/%s", name);
        expect_same_from_pixels(path);
        snprintf(path, sizeof path, "runs/%s/summary.json", name);
        json_error_t problem;
        json_t *summary = json_load_file(path, 0, &problem);
        const double val = number(json_object_get(summary, "val"), "top1");
        assert_true(val <= before);
        before = val;
        json_decref(summary);
    }
    assert_true(before < 2);

    /* Once more: everything is there but what cannot be. */
    expect(call, 0);
    assert_int_equal(count(call_err, "features of"), 0);
    assert_int_equal(count(call_err, ": training\n"), 3);
}

/* What is fused is what was trained: an expert alone is as good as its run. */
static void test_experts(void **state)
{
    (void)state;
    json_error_t problem;
    expect("compare --on-cached one,two.2 fuse.ini -o runs", 0);
    json_t *fused = json_load_file("runs/fuse/summary.json", 0, &problem);
    json_t *one = json_load_file("runs/one/summary.json", 0, &problem);
    json_t *two = json_load_file("runs/two.2/summary.json", 0, &problem);
    const json_t *alone =
        json_object_get(json_object_get(json_object_get(fused, "usage"), "test"), "alone");
    assert_true(fabs(json_number_value(json_array_get(alone, 0)) -
                     number(json_object_get(one, "test"), "top1")) < 1e-9);
    assert_true(fabs(json_number_value(json_array_get(alone, 1)) -
                     number(json_object_get(two, "test"), "top1")) < 1e-9);
    json_decref(fused);
    json_decref(one);
    json_decref(two);
    static char text[1 << 16];
    read_whole("runs/fuse/config.ini", text, sizeof text);
    contains(text, "\nexperts = one, two_2\n");
    contains(text, "\ninit = runs/two.2/best.safetensors:small\n");
    contains(text, "\nimage_size = 16\n");
    contains(text, "\naugment = none\n");
    /* Without what is kept it is the same. */
    expect("train runs/fuse/config.ini run.name=plain train.cache_features=no -q", 0);
    fused = json_load_file("runs/fuse/summary.json", 0, &problem);
    json_t *plain = json_load_file("runs/plain/summary.json", 0, &problem);
    assert_true(fabs(number(json_object_get(fused, "test"), "nll") -
                     number(json_object_get(plain, "test"), "nll")) < 1e-5);
    json_decref(fused);
    json_decref(plain);
}

/* The run of an expert stands beside every seed of what is fused. */
static void test_seeds(void **state)
{
    (void)state;
    static char text[1 << 17];
    expect("compare --on-cached one,wide --seeds 3 --epochs 1 --grid gate.plugin=linear -o seeds",
           2);
    contains(call_err, "no run 'one'");
    expect("compare --on-cached runs/one,runs/wide --seeds 3 --epochs 1 --grid gate.plugin=linear "
           "--reference one -o seeds",
           0);
    read_whole("seeds/comparison.csv", text, sizeof text);
    contains(strstr(text, "\nlinear,"), ",one,3,");
    contains(strstr(text, "\nwide,"), ",one,1,");
    assert_true(exists("seeds/fused-linear-seed3/summary.json"));
    assert_int_equal(count_files("seeds/.features"), 4);
}

/* Another process trains in a run: that is no refusal of its configuration, so its model stays. */
static void test_held(void **state)
{
    (void)state;
    static const char call[] = "compare --on-cached runs/one,runs/wide --seeds 2 --epochs 1 --grid "
                               "gate.plugin=linear,average --grid loss.terms=ce,jacobs_mse "
                               "mixture.combine=concat -o held";
    static const char *const runs[] = {"held/fused-linear-ce-seed2", "held/fused-linear-ce-seed1"};
    expect(call, 0);
    for (int i = 0; i < 2; i++) {
        char summary[128];
        snprintf(summary, sizeof summary, "%s/summary.json", runs[i]);
        assert_int_equal(unlink(summary), 0);
        const int lock = open(runs[i], O_RDONLY | O_CLOEXEC);
        assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
        expect(call, 1);
        close(lock);
        contains(call_err, " is being trained by another process");
        contains(call_err, "1 of 6 runs failed"); /* without those that cannot be */
        contains(call_out, "\nlinear ce ");
    }
    expect(call, 0);
    contains(call_out, "\nlinear ce ");
}

/* Configurations that would train their experts themselves, and for how long. */
static void test_apart(void **state)
{
    (void)state;
    put("apart.ini", "[run]\nbase = fuse.ini\n[mixture]\ninit_epochs = 7\n[expert.a]\ninit = tiny\n"
                     "[expert.b]\ninit = tiny\n");
    expect("compare --on-cached runs/one,runs/wide apart.ini --epochs 1 -o apart", 0);
    assert_int_equal(count(call_err, ": training\n"), 1);
    contains(call_out, "\napart ");
    assert_null(strstr(call_err, "left out"));
}

/* What was fused of a run that was trained further is made anew. */
static void test_newer(void **state)
{
    (void)state;
    static const char call[] =
        "compare --on-cached runs/more,runs/wide fuse.ini --epochs 1 -o newer";
    assert_int_equal(system("cp -r runs/one runs/more"), 0);
    expect(call, 0);
    expect(call, 0);
    assert_int_equal(count(call_err, ": training\n"), 0);
    expect("train --resume runs/more --epochs 8 -q", 0);
    assert_int_not_equal(system("cmp -s runs/one/best.safetensors runs/more/best.safetensors"), 0);
    expect(call, 0);
    assert_int_equal(count(call_err, ": training\n"), 1);
    assert_true(exists("newer/fuse-2/summary.json"));
    expect(call, 0);
    contains(call_err, "newer/fuse-2\n");
    assert_int_equal(count(call_err, ": training\n"), 0);
}

/* A gate that leaves most experts aside: its log says so, the comparison has a table. */
static void test_unused(void **state)
{
    (void)state;
    static char text[1 << 16];
    expect("train tiny.ini --data data --epochs 1 optimizer.lr=1e-9 run.name=raw -q", 0);
    expect("train tiny.ini --data data --epochs 8 run.name=good -q", 0);
    expect("compare --on-cached runs/raw,runs/raw,runs/raw,runs/raw,runs/raw,runs/good fuse.ini "
           "--epochs 20 "
           "optimizer.lr=0.1 -o unused",
           0);
    read_whole("unused/fuse/log.txt", text, sizeof text);
    contains(text, " of 6 experts are hardly used, each ");
    assert_null(strstr(call_err, "hardly used"));
}

/* Names of runs of a grid can stand in the list. */
static void test_names(void **state)
{
    (void)state;
    expect("compare tiny.ini --data data --epochs 1 --grid \"expert.small.widths=4,4;4, 6\" "
           "-o names",
           0);
    expect("compare --on-cached tiny-widths=4_4,tiny-widths=4__6 --epochs 1 "
           "--grid gate.plugin=average -o names",
           0);
}

/* What cannot be any more, but was trained from another seed before, stays with that. */
static void test_half(void **state)
{
    (void)state;
    static const char call[] = "compare --on-cached runs/odd,runs/wide --seeds 2 --epochs 1 --grid "
                               "gate.plugin=linear -o half";
    assert_int_equal(system("cp -r runs/one runs/odd"), 0);
    expect(call, 0);
    assert_int_equal(system("rm -r half/fused-linear-seed1 && "
                            "cp -p runs/wide/best.safetensors runs/odd/best.safetensors"),
                     0);
    expect(call, 1);
    contains(call_err, "warning: linear, not from every seed: ");
    contains(call_err, "1 of 4 runs failed");
    contains(call_out, "\nlinear ");
    assert_null(strstr(call_err, "left out"));
}

static void test_suite(void **state)
{
    (void)state;
    put("ways.ini", "[suite]\nconfigs = fuse.ini\n"
                    "[grid.layer]\nmixture.fusion = feature\ngate.plugin = average, linear\n"
                    "[grid.untrained]\nmixture.combine = median, vote\ngate.plugin = average\n");
    /* tiny.ini has no gate, and so fuses nothing. */
    expect("compare --on-cached runs/one,runs/wide ways.ini tiny.ini --epochs 1 -o ways", 0);
    contains(call_err, "warning: 1 combination is left out that cannot be: tiny.ini: ");
    assert_int_equal(count(call_err, ": training\n"), 4);
    expect("compare --on-cached runs/one,runs/wide ways.ini --epochs 1 -o ways", 0);
    contains(call_out, "page   ways/ways.html\n");
    contains(call_out, "\nfuse feature linear ");
    contains(call_out, "\nfuse vote average ");
    assert_int_equal(count(call_err, ": training\n"), 0);
    expect_same_from_pixels("ways/fuse-feature-linear");
    expect_same_from_pixels("ways/fuse-vote-average");
    put("bad-ways.ini", "[suite]\nconfigs = fuse.ini\n[grid.a]\nfusion = feature\n");
    expect_refusal("compare --on-cached runs/one,runs/wide bad-ways.ini", 2,
                   "bad-ways.ini:4: a grid has lines SECTION.KEY");
}

/* Of a mixture every expert; and what was trained together beside it. */
static void test_mixture(void **state)
{
    (void)state;
    expect("train fuse.ini --data data run.name=joint data.augment=none data.image_size=16 -q", 0);
    expect("compare --on-cached joint,one joint --grid gate.plugin=average -o runs", 0);
    contains(call_out, "\njoint ");
    expect_same_from_pixels("runs/fused-average");
    static char text[1 << 16];
    read_whole("runs/fused-average/config.ini", text, sizeof text);
    contains(text, "\nexperts = a, b, one\n");
}

static void test_refused(void **state)
{
    (void)state;
    expect_refusal("compare --on-cached one", 2, "there is one expert");
    expect_refusal("compare --on-cached ,", 2, "give runs");
    expect_refusal("compare --on-cached one,nothing", 2, "nothing");
    assert_int_equal(system("cp -r runs/one runs/cut && rm runs/cut/summary.json"), 0);
    expect_refusal("compare --on-cached one,cut", 2,
                   "runs/cut was not finished; `conclave train --resume runs/cut` goes on");
    expect("train tiny.ini --data data --image-size 12 --epochs 1 run.name=less -q", 0);
    expect_refusal("compare --on-cached one,less", 2,
                   "runs/one was trained on pictures of 16x16x1 and runs/less on 12x12x1");
    expect("train tiny.ini --data data --epochs 1 data.split_seed=5 run.name=split -q", 0);
    expect_refusal("compare --on-cached one,split", 2, "were judged by other val images");
    assert_int_equal(system("cp -r data others && rm others/test/*/5.png && cp -r data fewer && "
                            "rm -r fewer/*/rows"),
                     0);
    expect("train tiny.ini --data others --epochs 1 run.name=others -q", 0);
    expect_refusal("compare --on-cached one,others", 2, "were judged by other test images");
    expect("train tiny.ini --data fewer --epochs 1 run.name=fewer -q", 0);
    expect_refusal("compare --on-cached one,fewer", 2, "tells 4 classes apart and runs/fewer 3");
    /* The same names, but not the same files. */
    assert_int_equal(system("cp -r data changed && printf x >> changed/test/disc/0.png"), 0);
    expect("train tiny.ini --data changed --epochs 1 run.name=changed -q", 0);
    expect("compare --on-cached one,changed --epochs 1 --grid gate.plugin=average", 0);
    contains(call_err, "warning: --on-cached: runs/one and runs/changed were not trained on the "
                       "same files");
    /* Nothing of what is asked for can be. */
    expect_refusal("compare --on-cached one,wide --grid gate.plugin=average --grid "
                   "mixture.fusion=feature --grid loss.terms=competitive",
                   2, "nothing is left to compare: average feature competitive: ");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid),    cmocka_unit_test(test_experts),
        cmocka_unit_test(test_seeds),   cmocka_unit_test(test_held),
        cmocka_unit_test(test_half),    cmocka_unit_test(test_apart),
        cmocka_unit_test(test_newer),   cmocka_unit_test(test_unused),
        cmocka_unit_test(test_names),   cmocka_unit_test(test_suite),
        cmocka_unit_test(test_mixture), cmocka_unit_test(test_refused),
    };
    const int status = calls_begin(argc, argv);
    return status != 0 ? status : cmocka_run_group_tests(tests, set_up, calls_leave);
}
