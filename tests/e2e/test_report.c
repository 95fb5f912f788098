/* The page of a run: whole, well-formed, with what the run has, and without what it lacks.
 * Argument: the command. */
#include "calls.h"
#include "pages.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* With a space, letters beyond ASCII and what HTML and shells give a meaning. */
#define FOLDER "runs ä"
#define NAME   "m&m <b> it's"
#define QUOTED "'" FOLDER "/m&m <b> it'\\''s'" /* for the shell */

static const char mixture[] = "[run]\nname = " NAME "\noutput = " FOLDER "\n"
                              "[data]\nimage_size = 16\n"
                              "[mixture]\nexperts = first, second\n"
                              "[expert.first]\nplugin = cnn\nwidths = 4, 8\n"
                              "[expert.second]\nplugin = cnn\nwidths = 4\n"
                              "[gate]\nplugin = cnn\nwidths = 4\n"
                              "[train]\nepochs = 3\nbatch = 16\n";
static const char single[] = "[run]\nname = single\n[data]\nimage_size = 16\n"
                             "[mixture]\nexperts = only\n[expert.only]\nplugin = cnn\nwidths = 4\n"
                             "[train]\nepochs = 1\nbatch = 16\n";

static void has_sections(const char *const *titles)
{
    char heading[64];
    for (; *titles != NULL; titles++) {
        snprintf(heading, sizeof heading, "\n<h2>%s</h2>\n", *titles);
        has(heading);
    }
}

/* ---- Pages ---- */

static int set_up(void **state)
{
    if (calls_enter(state) != 0)
        return -1;
    draw_set("my pictures/train", 12);
    draw_set("my pictures/test", 5);
    put("mixture.ini", mixture);
    put("single.ini", single);
    return 0;
}

static void test_mixture(void **state)
{
    (void)state;
    static const char *const sections[] = {
        "Result",  "Curves",         "Experts",         "Signals in training",
        "Classes", "Worst mistakes", "How it was made", NULL};
    expect("train mixture.ini --data 'my pictures' --step-times", 0);
    contains(call_out, "\npage  " FOLDER "/" NAME "/report.html\n");
    look(FOLDER "/" NAME "/report.html");
    has("<title>m&amp;m &lt;b&gt; it's</title>");
    has_sections(sections);
    has("<h3>The gate</h3>");
    has("<h3>Which expert for which class</h3>");
    has("<h3>How the weights are distributed</h3>");
    has("<h3>Pairs of experts</h3>");
    has("<h3>Confusion matrix</h3>");
    has(">drop it: points</th>");
    has("conclave train 'runs ä/m&amp;m &lt;b&gt; it'\\''s/config.ini'</code>");
    has("[expert.second]\nplugin = cnn\n");
    has("<th scope=\"row\">device</th><td>");
    /* 3 curves, 7 signals and 4 of pairs of which some may say nothing, 1 of weights. */
    assert_in_range(times("<svg "), 12, 15);
    assert_true(times("<img ") > 0); /* four classes after three epochs: there are mistakes */
    assert_true(times("--v:") > 2 * CLASSES);
    /* Each expert is a part of the work, and of the time. */
    assert_int_equal(times("<th scope=\"row\">first</th>"), 1 + 3 + 2 + 21);
    const char *row = strstr(page, "<th scope=\"row\">second</th>");
    int adds, time;
    assert_non_null(row);
    for (int i = 0; i < 6 && row != NULL; i++)
        row = strstr(row + 1, "<td class=\"n\">");
    assert_non_null(row);
    assert_int_equal(
        sscanf(row, "<td class=\"n\">−%d %%</td><td class=\"n\">−%d %%</td>", &adds, &time), 2);
    assert_in_range(adds, 1, 99);
    assert_in_range(time, 1, 99);
}

static void test_single(void **state)
{
    (void)state;
    static const char *const sections[] = {"Result", "Curves", "Classes", "How it was made", NULL};
    expect("train single.ini --data 'my pictures'", 0);
    look("runs/single/report.html");
    has_sections(sections);
    lacks("<h2>Experts</h2>");
    lacks("gate");
    assert_int_equal(times("<svg "), 3);
    /* Written again, it is the same. */
    static char first[sizeof page];
    memcpy(first, page, sizeof page);
    assert_int_equal(unlink("runs/single/report.html"), 0);
    expect("report", 0);
    assert_string_equal(call_out, "page   runs/single/report.html\n");
    look("runs/single/report.html");
    assert_true(strcmp(first, page) == 0);
}

static void test_without_gnuplot(void **state)
{
    (void)state;
    setenv("CONCLAVE_GNUPLOT", "/nowhere/gnuplot", 1);
    expect("report -o '" FOLDER "' last single", 2); /* that is in another folder */
    expect("report runs/single", 0);
    unsetenv("CONCLAVE_GNUPLOT");
    look("runs/single/report.html");
    lacks("<svg ");
    has("because gnuplot was not found");
    has("<code>conclave report runs/single</code> draws them.");
    has("<summary>The curves as a table</summary>");
    /* One that draws nothing is a failure, and the page stays. */
    setenv("CONCLAVE_GNUPLOT", "/bin/true", 1);
    expect_refusal("report runs/single", 1, "/bin/true has not drawn the plots: ");
    unsetenv("CONCLAVE_GNUPLOT");
    look("runs/single/report.html");
}

/* Of files that are gone the page says nothing; of pictures, why. */
static void test_missing(void **state)
{
    (void)state;
    static const char *const files[] = {"usage.csv",        "signals.csv",     "signal_pairs.csv",
                                        "gate_weights.csv", "summary.json",    "per_class.csv",
                                        "confusion.csv",    "predictions.csv", "log.txt"};
    char path[256];
    assert_int_equal(rename("my pictures", "elsewhere"), 0);
    expect("report " QUOTED, 0);
    look(FOLDER "/" NAME "/report.html");
    has("without a picture: my pictures");
    lacks("<img ");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, FOLDER "/" NAME "/%s", files[i]);
        assert_int_equal(unlink(path), 0);
        expect("report " QUOTED, 0);
        look(FOLDER "/" NAME "/report.html");
        has("<h2>Curves</h2>");
    }
    has("This run has not ended: it has 3 epochs. `conclave train --resume 'runs ä/");
    lacks("<h2>Experts</h2>");
    lacks("<h2>Result</h2>");
    assert_int_equal(rename("elsewhere", "my pictures"), 0);
}

/* A thousand classes: the largest confusions, no matrix. */
static void test_many_classes(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    assert_int_equal(system("mkdir runs/many && cp runs/single/config.ini runs/single/metrics.csv "
                            "runs/single/summary.json runs/many"),
                     0);
    FILE *classes = fopen("runs/many/per_class.csv", "w");
    FILE *confusion = fopen("runs/many/confusion.csv", "w");
    assert_true(classes != NULL && confusion != NULL);
    fputs("split,class,images,predicted,correct,precision,recall,f1\n", classes);
    fputs("split,class,predicted,images\n", confusion);
    for (int i = 0; i < MANY; i++) {
        fprintf(classes, "test,class %d,50,50,%d,,,\n", i, 50 - i % 49);
        fprintf(confusion, "test,class %d,class %d,%d\n", i, i, 50 - i % 49);
        fprintf(confusion, "test,class %d,class %d,%d\n", i, (i + 1) % MANY, i % 49);
    }
    fclose(classes);
    fclose(confusion);
    expect("report runs/many", 0);
    look("runs/many/report.html");
    lacks("<h3>Confusion matrix</h3>");
    has("<h3>The largest confusions</h3>");
    has("<th scope=\"row\">class 48</th><td>class 49</td><td class=\"n\">48</td>"
        "<td class=\"n\">96.00 %</td>");
    has("975 more pairs of classes");
    assert_int_equal(times("<th scope=\"row\">class "), MANY + 25);
}

int main(int argc, char **argv)
{
    const int status = calls_begin(argc, argv);
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixture),         cmocka_unit_test(test_single),
        cmocka_unit_test(test_without_gnuplot), cmocka_unit_test(test_missing),
        cmocka_unit_test(test_many_classes),
    };
    return cmocka_run_group_tests(tests, set_up, calls_leave);
}
