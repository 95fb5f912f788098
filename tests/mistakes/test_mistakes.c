/* The experts with a mistake on purpose answer as the mistake says, with the shipped one's
 * variables. Arguments: the folders of plugins and of the mistaken ones. Exit 77 where there is no
 * OpenCL device. */
#include "rigs.h"

#include "../unit/test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ANSWERS = RIG_BATCH * TRAINING_CLASSES };

/* Gives the head values that tell pictures and classes apart. */
static void set_head(clvi_store *store)
{
    enum { FEATURES = 1280 };
    static const float bias[TRAINING_CLASSES] = {2, 0, -1, 1};
    static float weight[FEATURES * TRAINING_CLASSES];
    const int64_t w = clvi_store_find(store, "expert.a.classifier.1.weight"),
                  b = clvi_store_find(store, "expert.a.classifier.1.bias");
    assert_true(w >= 0 && b >= 0);
    for (size_t i = 0; i < sizeof weight / sizeof *weight; i++)
        weight[i] = 100 * ((float)((7 * i) % 11) - 5);
    OK(clvi_store_write(store, (size_t)w, CLVI_STORE_VALUE, weight, error));
    OK(clvi_store_write(store, (size_t)b, CLVI_STORE_VALUE, bias, error));
}

/* Logits and, where asked for, predictions of an expert for pictures of 0 and `white`. */
static void answer(const char *plugin, uint8_t white, float *logits, double *predicted)
{
    char text[256];
    rig r;
    snprintf(text, sizeof text,
             "[mixture]\nexperts = a\n[expert.a]\nplugin = %s\nstrides = 1, 1, 2, 2, 2, 1, 1, 1\n",
             plugin);
    rig_init(&r, text, false);
    set_head(clvi_mixture_store(r.mixture));
    for (int i = 0; i < RIG_BATCH * RIG_PIXELS; i++)
        r.pixels[i] = r.pixels[i] < 128 ? 0 : white;
    if (predicted != NULL)
        rig_predict(&r, predicted);
    const clvi_mixture_batch batch = rig_batch(&r);
    OK(clvi_mixture_infer(r.mixture, &batch, error));
    OK(clvi_mixture_expert_logits(r.mixture, logits, error));
    rig_fini(&r);
}

static double apart(const float *a, const float *b)
{
    double most = 0;
    for (int i = 0; i < ANSWERS; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* What it hands on as logits are the shipped one's probabilities: the softmax that follows leaves
 * no class more than e/(e + C - 1). */
static void test_softmax_twice(void **state)
{
    (void)state;
    float right[ANSWERS], wrong[ANSWERS];
    double right_predicted[ANSWERS], wrong_predicted[ANSWERS];
    answer("efficientnet_b0", 255, right, right_predicted);
    answer("efficientnet_b0_softmax_twice", 255, wrong, wrong_predicted);
    for (int i = 0; i < ANSWERS; i += TRAINING_CLASSES) {
        double sum = 0;
        for (int c = 0; c < TRAINING_CLASSES; c++)
            sum += exp(right_predicted[i + c]);
        for (int c = 0; c < TRAINING_CLASSES; c++) {
            assert_true(fabs((double)wrong[i + c] - right_predicted[i + c]) <= 1e-5);
            assert_true(fabs(wrong_predicted[i + c] - exp(right_predicted[i + c]) / sum) <= 1e-5);
        }
    }
    assert_true(apart(right, wrong) > 0.01);
}

/* White of 255 is what 1 is to the shipped one; black is black. */
static void test_pixels_twice(void **state)
{
    (void)state;
    float right[ANSWERS], dark[ANSWERS], wrong[ANSWERS];
    answer("efficientnet_b0", 255, right, NULL);
    answer("efficientnet_b0", 1, dark, NULL);
    answer("efficientnet_b0_pixels_twice", 255, wrong, NULL);
    assert_true(apart(dark, wrong) <= 1e-4);
    assert_true(apart(right, wrong) > 0.1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_softmax_twice),
                                       cmocka_unit_test(test_pixels_twice)};
    char path[4096];
    if (argc != 3)
        return 2;
    snprintf(path, sizeof path, "%s:%s", argv[1], argv[2]);
    const int status = trainings_begin(path);
    const int failed = status == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
    const int ended = status == 0 ? trainings_end() : 0;
    return status != 0 ? status : failed != 0 || ended != 0;
}
