/* Models beside each other: what is compared with what. Runs are made up here; what tests compute
 * is checked in test_statistics.c, files and tables in e2e/test_comparison.c. */
#include "base/process.h"
#include "report/experts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST_RUNS = 3, IMAGES = 4 };

/* What a made-up run is. */
typedef struct facts {
    int64_t trainable, epochs;
    double seconds;
    const char *first_image; /* NULL: "a" */
} facts;

/* A run that was right about every image but the first. */
static clvi_run_record record(const facts *f)
{
    static const char *const names[IMAGES] = {"a", "b", "c", "d"};
    clvi_run_record r = {.path = clvi_strdup("run"),
                         .epochs = f->epochs,
                         .best_epoch = f->epochs,
                         .trainable = f->trainable,
                         .seconds = f->seconds,
                         .judged = CLVI_TEST};
    r.scores[CLVI_VAL] = (clvi_score_summary){.count = IMAGES, .top1 = 0.75};
    r.history = clvi_calloc(1, sizeof *r.history);
    r.predictions.items = clvi_calloc(IMAGES, sizeof *r.predictions.items);
    assert_true(r.path && r.history && r.predictions.items);
    r.history_count = 1;
    r.history[0] = (clvi_epoch_record){.epoch = f->epochs, .seconds = f->seconds, .val_top1 = 0.75};
    r.predictions.count = IMAGES;
    for (int i = 0; i < IMAGES; i++)
        r.predictions.items[i] =
            (clvi_prediction){.image = names[i], .label = 0, .predicted = i == 0};
    if (f->first_image)
        r.predictions.items[0].image = f->first_image;
    return r;
}

static clvi_contestant contestant(const char *name, size_t experts, const facts *runs, size_t count)
{
    clvi_contestant c = {.name = clvi_strdup(name), .experts = experts, .run_count = count};
    c.runs = clvi_calloc(count, sizeof *c.runs);
    assert_true(c.name && c.runs);
    for (size_t i = 0; i < count; i++)
        c.runs[i] = (clvi_contest_run){.seed = (int64_t)i + 1, .record = record(&runs[i])};
    return c;
}

static clvi_comparison compare(clvi_contestant first, clvi_contestant second)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_comparison c = {.title = "test", .count = 2};
    c.contestants = clvi_calloc(2, sizeof *c.contestants);
    assert_non_null(c.contestants);
    c.contestants[0] = first;
    c.contestants[1] = second;
    assert_int_equal(clvi_comparison_judge(&c, first.name, &error), CLV_OK);
    return c;
}

/* A fusion that trains nothing is done at once: that is no time to compare others at. */
static void test_equal(void **state)
{
    (void)state;
    static const facts trained = {.trainable = 100, .epochs = 8, .seconds = 60},
                       fused = {.trainable = 0, .epochs = 1, .seconds = 0.5};
    clvi_comparison c =
        compare(contestant("single", 1, &trained, 1), contestant("late", 2, &fused, 1));
    assert_true(c.equal_seconds == 60 && c.equal_epochs == 8);
    clvi_text csv = {0};
    clvi_comparison_csv(&c, &csv);
    const char *late = strstr(clvi_text_get(&csv), "\nlate,");
    /* its own, at no part of its time, as it has one epoch */
    assert_non_null(strstr(clvi_text_get(&csv), ",0.75,,,0.75,0.75,60,60,8,single,"));
    assert_non_null(late);
    assert_non_null(strstr(late, ",,,,,,60,60,8,single,"));
    clvi_text_fini(&csv);
    clvi_comparison_fini(&c);

    c = compare(contestant("one", 2, &fused, 1), contestant("other", 2, &fused, 1));
    assert_true(isnan(c.equal_seconds) && c.equal_epochs == 0);
    clvi_comparison_fini(&c);
}

/* Replaces the history of a contestant's only run: epochs of `length` seconds each. */
static void set_history(clvi_contestant *c, double length, const clvi_epoch_record *epochs,
                        size_t count)
{
    clvi_run_record *r = &c->runs[0].record;
    clvi_free(r->history);
    r->history = clvi_calloc(count, sizeof *r->history);
    assert_non_null(r->history);
    r->history_count = count;
    for (size_t i = 0; i < count; i++) {
        r->history[i] = epochs[i];
        r->history[i].epoch = (int64_t)i + 1;
        r->history[i].seconds = length * (double)(i + 1);
    }
    r->epochs = (int64_t)count;
    r->seconds = length * (double)count;
}

/* The fastest model is done before the slow one's first epoch: later times compare them. */
static void test_times(void **state)
{
    (void)state;
    static const facts plain = {.trainable = 1, .epochs = 1};
    static const clvi_epoch_record quick[] = {{.val_top1 = 0.5}, {.val_top1 = 0.25}},
                                   slow[] = {{.val_top1 = 0.125},
                                             {.val_top1 = 0.75},
                                             {.val_top1 = 0.625},
                                             {.val_top1 = 0.875}};
    clv_error error = CLV_ERROR_INIT;
    clvi_comparison c =
        compare(contestant("quick", 1, &plain, 1), contestant("slow", 1, &plain, 1));
    set_history(&c.contestants[0], 1, quick, 2);
    set_history(&c.contestants[1], 10, slow, 4);
    assert_int_equal(clvi_comparison_judge(&c, "quick", &error), CLV_OK);
    assert_true(c.equal_seconds == 2 && c.most_seconds == 40 && c.equal_epochs == 2);
    clvi_text csv = {0};
    clvi_comparison_csv(&c, &csv);
    assert_non_null(strstr(clvi_text_get(&csv), ",val_top1_equal_seconds,val_top1_quarter_time,"
                                                "val_top1_half_time,val_top1_all_time,"
                                                "val_top1_equal_epochs,equal_seconds,"
                                                "slowest_seconds,equal_epochs,reference,"));
    assert_non_null(strstr(clvi_text_get(&csv), ",0.5,0.5,0.5,0.5,0.5,2,40,2,quick,"));
    assert_non_null(strstr(clvi_text_get(&csv), ",,0.125,0.75,0.875,0.75,2,40,2,quick,"));
    clvi_text_fini(&csv);
    clvi_comparison_fini(&c);
}

/* The first epoch with a training NLL below half of ln(classes). */
static void test_half_way(void **state)
{
    (void)state;
    const facts plain = {.trainable = 1, .epochs = 1};
    const clvi_epoch_record epochs[] = {
        {.train_loss = NAN}, {.train_loss = 1.2}, {.train_loss = 1.1}, {.train_loss = 1.2}};
    clvi_contestant one = contestant("one", 1, &plain, 1);
    set_history(&one, 10, epochs, 4);
    clvi_run_record *r = &one.runs[0].record;
    assert_true(isnan(clvi_figure(r, "half_way_epochs"))); /* of how many classes? */
    r->classes = 10;                                       /* ln 10 / 2 = 1.151 */
    assert_true(clvi_figure(r, "half_way_epochs") == 3);
    assert_true(clvi_figure(r, "half_way_seconds") == 30);
    r->classes = 9; /* 1.0986 */
    assert_true(isnan(clvi_figure(r, "half_way_seconds")));
    r->classes = 12; /* 1.242 */
    assert_true(clvi_figure(r, "half_way_epochs") == 2);
    r->trainable = 0;
    assert_true(isnan(clvi_figure(r, "half_way_epochs")));
    clvi_contestant_fini(&one);
}

/* An image must be the same one for every seed: the bootstrap draws it for all. */
static void test_images(void **state)
{
    (void)state;
    facts runs[MOST_RUNS] = {{.trainable = 1, .epochs = 1}};
    for (int i = 1; i < MOST_RUNS; i++)
        runs[i] = runs[0];
    clvi_comparison c =
        compare(contestant("one", 1, runs, MOST_RUNS), contestant("other", 1, runs, MOST_RUNS));
    assert_int_equal(c.tests[1].pairs, MOST_RUNS);
    assert_true(c.tests[1].difference == 0 && c.tests[1].fault[0] == '\0');
    clvi_comparison_fini(&c);

    runs[2].first_image = "e"; /* as many, in both runs of the pair */
    c = compare(contestant("one", 1, runs, MOST_RUNS), contestant("other", 1, runs, MOST_RUNS));
    assert_true(isnan(c.tests[1].difference));
    assert_string_equal(c.tests[1].verdict, "not compared");
    assert_non_null(strstr(c.tests[1].fault, "different images"));
    clvi_comparison_fini(&c);
}

/* Experts of every seed in the CSV, means over the seeds in the table. */
static void test_experts(void **state)
{
    (void)state;
    clv_error error = CLV_ERROR_INIT;
    const facts runs[2] = {{.trainable = 1, .epochs = 1}, {.trainable = 1, .epochs = 1}};
    static const double shares[2] = {0.25, 0.35};
    clvi_comparison c = compare(contestant("single", 1, runs, 1), contestant("pair", 2, runs, 2));
    for (int k = 0; k < 2; k++) {
        const double s = shares[k];
        c.contestants[1].runs[k].record.summary = json_pack(
            "{s:{s:[s,s], s:{s:i, s:[f,f], s:[f,f], s:[i,i], s:[f,f], s:[f,f]}, s:{s:i, s:[f,f]}}}",
            "usage", "experts", "a", "b", "test", "images", 40, "share", s, 1 - s, "weight_share",
            0.5, 0.5, "first_choice", 10, 30, "alone", 0.5, 0.25, "without", 0.125, 0.75, "train",
            "images", 80, "share", 0.5, 0.5);
        assert_non_null(c.contestants[1].runs[k].record.summary);
    }
    clvi_text csv = {0};
    clvi_experts_csv(&c, &csv);
    assert_string_equal(clvi_text_get(&csv),
                        "model,seed,run,split,expert,images,share,share_over_ideal,weight_share,"
                        "first_choice_share,alone,without\n"
                        "pair,1,run,train,a,80,0.5,1,,,,\npair,1,run,train,b,80,0.5,1,,,,\n"
                        "pair,1,run,test,a,40,0.25,0.5,0.5,0.25,0.5,0.125\n"
                        "pair,1,run,test,b,40,0.75,1.5,0.5,0.75,0.25,0.75\n"
                        "pair,2,run,train,a,80,0.5,1,,,,\npair,2,run,train,b,80,0.5,1,,,,\n"
                        "pair,2,run,test,a,40,0.35,0.7,0.5,0.25,0.5,0.125\n"
                        "pair,2,run,test,b,40,0.65,1.3,0.5,0.75,0.25,0.75\n");
    clvi_text_fini(&csv);
    clvi_report_table table;
    assert_int_equal(clvi_experts_table(&c, &table, &error), CLV_OK);
    assert_int_equal(table.count, 2 * table.column_count);
    assert_string_equal(table.cells[0], "pair");
    assert_string_equal(table.cells[2], "30.00 %");
    assert_string_equal(table.cells[3], "0.60");
    assert_string_equal(table.cells[table.column_count + 2], "70.00 %");
    clvi_report_table_fini(&table);
    clvi_comparison_fini(&c);
}

/* A fixed model's one run stands beside every seed of the other, whichever is the reference. */
static void test_fixed(void **state)
{
    (void)state;
    facts runs[MOST_RUNS] = {{.trainable = 1, .epochs = 1}};
    for (int i = 1; i < MOST_RUNS; i++)
        runs[i] = runs[0];
    for (int turned = 0; turned < 2; turned++) {
        clvi_contestant fixed = contestant("given", 1, runs, 1),
                        other = contestant("fused", 2, runs, MOST_RUNS);
        fixed.fixed = true;
        fixed.runs[0].seed = 7;
        /* Right about the first image too. */
        fixed.runs[0].record.predictions.items[0].predicted = 0;
        clvi_comparison c = turned ? compare(other, fixed) : compare(fixed, other);
        assert_int_equal(c.tests[1].pairs, MOST_RUNS);
        assert_true(fabs(c.tests[1].difference - (turned ? 0.25 : -0.25)) < 1e-9);
        assert_non_null(strstr(c.tests[1].counts, turned ? "1/0 " : "0/1 "));
        clvi_comparison_fini(&c);
    }
    clvi_contestant fixed = contestant("given", 1, runs, 1),
                    lost = contestant("fused", 2, runs, MOST_RUNS);
    fixed.fixed = true;
    clvi_run_record_fini(&lost.runs[1].record); /* one of them failed */
    clvi_comparison c = compare(lost, fixed);
    assert_int_equal(c.tests[1].pairs, MOST_RUNS - 1);
    clvi_comparison_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),   cmocka_unit_test(test_images),
        cmocka_unit_test(test_times),   cmocka_unit_test(test_half_way),
        cmocka_unit_test(test_experts), cmocka_unit_test(test_fixed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
