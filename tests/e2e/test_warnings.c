/* What a user is warned of, word for word: experts that are hardly used, that answer alike, that
 * start alike, and gates that only learn balance. Argument: the folder of plugins. Exit 77 where
 * there is no OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"
#include "base/process.h"
#include "train/dead_experts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char told[1 << 14]; /* the warnings since it was cleared, a line each */

static void listen(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    const size_t length = strlen(told);
    if (level == CLVI_LOG_WARN)
        snprintf(told + length, sizeof told - length, "%s\n", line);
}

/* How many warnings hold `part`. */
static int times(const char *part)
{
    int count = 0;
    for (const char *at = told; (at = strstr(at, part)) != NULL; at = strchr(at, '\n'))
        count++;
    return count;
}

static void expect_times(const char *part, int wanted)
{
    if (times(part) != wanted)
        fail_msg("\"%s\" stands %d times, not %d, in:\n%s", part, times(part), wanted, told);
}

static void train(const char *config, const char *run)
{
    char text[2048];
    training t = {.run = run, .config = text};
    snprintf(text, sizeof text, "%s[train]\nepochs = 1\nbatch = 8\n", config);
    told[0] = '\0';
    if (training_run(&t) != CLV_OK)
        fail_msg("%s: %s", run, t.error.message);
}

#define EXPERT(name, width) "[expert." name "]\nplugin = cnn\nwidths = " width "\n"

/* ---- Dead experts ---- */

/* Chosen by probabilities, which stay equal at so small a step: all samples go to the first. */
#define FIRST_ONLY                                                                                 \
    "scores = logits\n[gate]\nplugin = switch\nbalance_bias = 1e-12\n[optimizer]\nlr = 1e-12\n"

static void test_dead(void **state)
{
    (void)state;
    train(EXPERT("a", "4") EXPERT("b", "5")
              EXPERT("c", "6") "[mixture]\nexperts = a, b, c\n" FIRST_ONLY,
          "dead");
    expect_times("hardly used", 4);
    expect_times("expert b is hardly used: 0.00 % of the assignments and 0.00 % of the weight on "
                 "the training images of epoch 1\n",
                 1);
    expect_times("expert c is hardly used: 0.00 % of the assignments and 0.00 % of the weight on "
                 "the training images of epoch 1\n",
                 1);
    expect_times("expert b is hardly used: 0.00 % of the assignments and 0.00 % of the weight on "
                 "the train images\n",
                 1);
    expect_times("expert a is", 0);
}

/* Many are one warning. */
static void test_many_dead(void **state)
{
    (void)state;
    train(EXPERT("a", "4") EXPERT("b", "5") EXPERT("c", "6") EXPERT("d", "4")
              EXPERT("e", "4") "[mixture]\nexperts = a, b, c, d, e\n" FIRST_ONLY,
          "many-dead");
    expect_times("4 of 5 experts are hardly used, each with less than a tenth of an even share on "
                 "the training images of epoch 1: b, c, d, e\n",
                 1);
    expect_times("hardly used", 2);
}

/* Of a dense gate; once where it is remembered; at a tenth of an even share no more. */
static void test_hardly_weighed(void **state)
{
    (void)state;
    static const clvi_usage_expert each[] = {{.share = 0.5, .weight_share = 0.951},
                                             {.share = 0.049, .weight_share = 0.049}};
    static const clvi_usage_expert enough[] = {{.share = 0.95, .weight_share = 0.95},
                                               {.share = 0.05, .weight_share = 0.05}};
    bool said[2] = {false, false};
    clvi_config *config = trainings_config(
        EXPERT("a", "4") EXPERT("b", "5") "[mixture]\nexperts = a, b\n[gate]\nplugin = average\n");
    told[0] = '\0';
    clvi_dead_experts_warn(config, each, said, false, "some images");
    clvi_dead_experts_warn(config, each, said, false, "some images");
    assert_string_equal(told, "expert b is hardly used: it has 4.90 % of the weight on "
                              "some images\n");
    clvi_dead_experts_warn(config, enough, NULL, false, "some images");
    expect_times("hardly used", 1);
    clvi_config_destroy(config);
}

/* ---- Copies ---- */

#define COPY(name) EXPERT(name, "4") "weights = first/best.safetensors\n"

/* Two that start from one file and see the same stay the same; a third does not. */
static void test_copies(void **state)
{
    (void)state;
    train(EXPERT("a", "4") "[mixture]\nexperts = a\n", "first");
    assert_string_equal(told, "");
    train(COPY("a") COPY("b") EXPERT("c", "4") "[mixture]\nexperts = a, b, c\ncombine = mean\n",
          "copies");
    expect_times("experts a and b start with the same weights: what sees the same stays the same; "
                 "give one other weights, or train heads of their own\n",
                 1);
    expect_times("start with the same weights", 1);
    expect_times("experts a and b give the same answer to each of the 24 train images: one may be "
                 "a copy of the other\n",
                 1);
}

/* ---- Gates that the task does not reach ---- */

static void expect_balance_only(const char *config, const char *why)
{
    char wanted[256];
    clv_error error = CLV_ERROR_INIT;
    rig r;
    told[0] = '\0';
    if (rig_try(&r, config, true, &error) != CLV_OK)
        fail_msg("%s", error.message);
    rig_fini(&r);
    snprintf(wanted, sizeof wanted, "the gate learns balance, not the task: %s\n", why);
    if (why[0] != '\0')
        expect_times(wanted, 1);
    expect_times("the gate learns balance", why[0] != '\0');
}

#define PAIR EXPERT("a", "4") EXPERT("b", "5") "[mixture]\nexperts = a, b\n"
#define ONE_OF_TWO(how)                                                                            \
    PAIR "scores = logits\n[gate]\nplugin = noisy_topk\nk = 1\nnormalise = " how                   \
         "\n[loss]\nterms = ce, load:0.1\n"

static void test_balance_only(void **state)
{
    (void)state;
    expect_balance_only(ONE_OF_TWO("after"),
                        "with one expert per sample and weights that sum to 1, all weights are 1");
    expect_balance_only(ONE_OF_TWO("before"), "");
    expect_balance_only(PAIR "combine = product_rule\n[gate]\nplugin = linear\n[loss]\n"
                             "terms = ce, importance:0.1\n",
                        "mixture.combine = product_rule does not weigh the experts");
    expect_balance_only(PAIR "combine = max\n[gate]\nplugin = linear\n[loss]\n"
                             "terms = ce, importance:0.1\n",
                        "mixture.combine = max does not weigh the experts");
    expect_balance_only(PAIR "[gate]\nplugin = linear\n[loss]\nterms = ce, importance:0.1\n", "");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead), cmocka_unit_test(test_many_dead),
        cmocka_unit_test(test_hardly_weighed), cmocka_unit_test(test_copies),
        cmocka_unit_test(test_balance_only)};
    if (argc != 2) {
        fprintf(stderr, "usage: test_warnings PLUGINS\n");
        return 2;
    }
    const int status = trainings_begin(argv[1]);
    if (status != 0)
        return status;
    clvi_set_log_sink(listen, NULL);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}
