/* What experts' answers rest on, inside the test program: which map of a network is taken, and
 * Grad-CAM of networks and mixtures for which it can be written down: where the last map goes
 * through global average pooling and a dense layer, it is the class activation map. Argument: the
 * folder of plugins. Exit 77 where there is no OpenCL device. */
#include "rigs.h"

#include "../unit/short_memory.h"
#include "../unit/test_device.h"
#include "mixture/expert.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MOST = 1024 };

#define CNN(name, widths) "[expert." name "]\nplugin = cnn\nwidths = " widths "\ndropout = 0.4\n"
#define LINEAR            "plugin = linear\ngrid = 4\n"
#define FEATURES          "fusion = feature\ndropout = 0.5\n"

/* ---- Which map ---- */

/* The map of a plugin's network for pictures of side × side: "NAME [N, H, W, C]", and how many
 * sizes of maps there are. */
static void expect_map(const char *plugin, int side, const char *wanted, size_t sizes)
{
    char text[128], got[256], shape[64];
    clvi_maps maps = {0};
    clvi_expert expert = {0};
    snprintf(text, sizeof text, "[expert.small]\nplugin = %s\n", plugin);
    clvi_config *config = trainings_config(text);
    const clv_build_input input = {.struct_size = (uint32_t)sizeof input,
                                   .classes = TRAINING_CLASSES,
                                   .experts = 1,
                                   .image_height = side,
                                   .image_width = side,
                                   .image_channels = 3,
                                   .mode = CLV_MODE_INFER};
    OK(clvi_expert_build(config, trainings_plugins(), "expert.small", &input, &expert, error));
    const clv_graph *g = expert.graph;
    OK(clvi_maps_find(g, clvi_graph_find_output(g, "logits"), &maps, error));
    snprintf(got, sizeof got, "%s %s", g->tensors[maps.last].name,
             clvi_shape_text(&g->tensors[maps.last].shape, shape, sizeof shape));
    assert_string_equal(got, wanted);
    size_t with = 0;
    for (size_t i = 0; i < maps.count; i++) {
        assert_int_equal(maps.stages[i].first, i > 0 ? maps.stages[i - 1].end : 0);
        with += maps.stages[i].last != CLV_NO_TENSOR;
    }
    assert_int_equal(maps.stages[maps.count - 1].end, g->node_count);
    assert_int_equal(with, sizes);
    clvi_maps_fini(&maps);
    clvi_expert_fini(&expert);
    clvi_config_destroy(config);
}

static void test_maps(void **state)
{
    (void)state;
    expect_map("cnn\nwidths = 4, 6\nconvs_per_block = 2", 8, "features.1.1.conv [N, 4, 4, 6]", 2);
    expect_map("efficientnet_b0", 224, "features.8.0 [N, 7, 7, 1280]", 5);
    /* The maps behind are 1×1. */
    expect_map("efficientnet_b0", 32, "features.6.0.block.0.0 [N, 2, 2, 672]", 4);
    expect_map("vgg16", 224, "features.28 [N, 14, 14, 512]", 6);
    expect_map("vgg16\ntop = gap\nbatch_norm = yes", 64, "features.40 [N, 4, 4, 512]", 6);
}

/* ---- Mixtures ---- */

/* A mixture that has seen one picture, and what explains it. */
typedef struct scene {
    rig r;
    clvi_explainer *explainer;
    float prediction[TRAINING_CLASSES];
} scene;

static void scene_open(scene *s, const char *config, int label)
{
    rig_init(&s->r, config, false);
    rig_stir(&s->r);
    const clvi_mixture_batch one = {.n = 1, .pixels = s->r.pixels};
    OK(clvi_mixture_explainer(s->r.mixture, true, &s->explainer, error));
    OK(clvi_mixture_infer(s->r.mixture, &one, error));
    OK(clvi_mixture_logits(s->r.mixture, s->prediction, error));
    OK(clvi_explainer_run(s->explainer, label, error));
}

static void scene_close(scene *s)
{
    clvi_explainer_destroy(s->explainer);
    rig_fini(&s->r);
}

static const clvi_explained *of(const scene *s, const char *section)
{
    for (size_t i = 0; i < clvi_explainer_count(s->explainer); i++)
        if (strcmp(clvi_explainer_at(s->explainer, i)->section, section) == 0)
            return clvi_explainer_at(s->explainer, i);
    fail_msg("there is no %s", section);
    return NULL;
}

static void read_variable(const scene *s, const char *name, float *out)
{
    clvi_store *store = clvi_mixture_store(s->r.mixture);
    const int64_t i = clvi_store_find(store, name);
    if (i < 0)
        fail_msg("there is no %s", name);
    assert_true(clvi_store_segment(store, (size_t)i)->elements <= MOST);
    OK(clvi_store_read(store, (size_t)i, CLVI_STORE_VALUE, out, error));
}

/* The gradient is alpha[k] at each place, and CAM what follows from it. */
static void expect_cam(const clvi_explained *x, const double *alpha)
{
    const int64_t places = x->height * x->width;
    bool some = false;
    assert_true(x->asked && x->values && x->gradient && x->cam);
    for (int64_t p = 0; p < places; p++) {
        double cam = 0;
        for (int64_t k = 0; k < x->channels; k++) {
            const double got = (double)x->gradient[p * x->channels + k];
            if (!(fabs(got - alpha[k]) <= 1e-6 + 1e-4 * fabs(alpha[k])))
                fail_msg("%s: gradient %lld at %lld is %g, wanted %g", x->section, (long long)k,
                         (long long)p, got, alpha[k]);
            cam += alpha[k] * (double)x->values[p * x->channels + k];
            some |= x->values[p * x->channels + k] != 0;
        }
        cam = cam > 0 ? cam : 0;
        if (!(fabs((double)x->cam[p] - cam) <= 1e-6 + 1e-4 * cam))
            fail_msg("%s: %g at place %lld, wanted %g", x->section, (double)x->cam[p], (long long)p,
                     cam);
    }
    assert_true(some);
}

/* Of an expert's own logit: α_k = W[k, label]/(H·W). And the logits are the mean map's. */
static void expect_own(const scene *s, const char *section, int label)
{
    const clvi_explained *x = of(s, section);
    const int64_t places = x->height * x->width;
    float weight[MOST], bias[MOST];
    double alpha[MOST];
    char name[128];
    snprintf(name, sizeof name, "%s.classifier.weight", section);
    read_variable(s, name, weight);
    snprintf(name, sizeof name, "%s.classifier.bias", section);
    read_variable(s, name, bias);
    for (int64_t k = 0; k < x->channels; k++)
        alpha[k] = (double)weight[k * TRAINING_CLASSES + label] / (double)places;
    expect_cam(x, alpha);
    assert_true(x->answers && x->logits);
    for (int c = 0; c < TRAINING_CLASSES; c++) {
        double y = (double)bias[c];
        for (int64_t i = 0; i < places * x->channels; i++)
            y += (double)x->values[i] * (double)weight[i % x->channels * TRAINING_CLASSES + c] /
                 (double)places;
        assert_true(fabs((double)x->logits[c] - y) <= 1e-4);
    }
}

static void test_alone(void **state)
{
    (void)state;
    for (int label = 0; label < TRAINING_CLASSES; label++) {
        scene s;
        scene_open(&s, "", label);
        assert_int_equal(clvi_explainer_count(s.explainer), 1);
        const clvi_explained *x = of(&s, "expert.small");
        expect_own(&s, "expert.small", label);
        assert_true(x->height == 4 && x->width == 4 && x->channels == 6);
        assert_true(isnan(x->weight));
        for (int c = 0; c < TRAINING_CLASSES; c++)
            assert_true(fabsf(x->logits[c] - s.prediction[c]) <= 1e-4f);
        /* Of the 8×8 maps too, and of the last ones again. */
        assert_int_equal(x->stages->count, 3);
        assert_non_null(x->maps[0]);
        assert_memory_equal(x->maps[1], x->values, 4 * 4 * 6 * sizeof(float));
        assert_null(x->maps[2]);
        scene_close(&s);
    }
}

/* Behind the mean map f a layer that bends: y = W₂ silu(W₁ f + b₁) + b₂, so that
 * α_k = Σ_h W₂[h, label] silu'(z_h) W₁[k, h]/(H·W). */
static void test_bent(void **state)
{
    (void)state;
    enum { HIDDEN = 5, CHANNELS = 6, LABEL = 2 };
    scene s;
    float first[MOST], bias[MOST], second[MOST];
    double alpha[CHANNELS] = {0};
    scene_open(&s, "[expert.small]\nhidden = 5\nactivation = silu\n", LABEL);
    const clvi_explained *x = of(&s, "expert.small");
    const int64_t places = x->height * x->width;
    assert_int_equal(x->channels, CHANNELS);
    read_variable(&s, "expert.small.hidden.weight", first);
    read_variable(&s, "expert.small.hidden.bias", bias);
    read_variable(&s, "expert.small.classifier.weight", second);
    for (int h = 0; h < HIDDEN; h++) {
        double z = (double)bias[h];
        for (int64_t i = 0; i < places * CHANNELS; i++)
            z += (double)x->values[i] * (double)first[i % CHANNELS * HIDDEN + h] / (double)places;
        const double sigmoid = 1 / (1 + exp(-z));
        const double back =
            (double)second[h * TRAINING_CLASSES + LABEL] * sigmoid * (1 + z * (1 - sigmoid));
        for (int k = 0; k < CHANNELS; k++)
            alpha[k] += back * (double)first[k * HIDDEN + h] / (double)places;
    }
    expect_cam(x, alpha);
    scene_close(&s);
}

/* Each expert answers; the gate's weights are told. */
static void test_scores(void **state)
{
    (void)state;
    scene s;
    float route[2];
    scene_open(&s, CNN("a", "4, 6") CNN("b", "5") "[mixture]\nexperts = a, b\n[gate]\n" LINEAR, 2);
    OK(clvi_mixture_route(s.r.mixture, route, error));
    expect_own(&s, "expert.a", 2);
    expect_own(&s, "expert.b", 2);
    assert_true(route[0] != route[1]);
    expect_close(of(&s, "expert.a")->weight, (double)route[0]);
    expect_close(of(&s, "expert.b")->share, (double)route[1]);
    scene_close(&s);
}

/* α of a network's features that count `factor` times row `first` … of a layer. */
static void expect_through(const scene *s, const char *section, const char *layer, int64_t first,
                           double factor, int label)
{
    const clvi_explained *x = of(s, section);
    float weight[MOST];
    double alpha[MOST];
    read_variable(s, layer, weight);
    for (int64_t k = 0; k < x->channels; k++)
        alpha[k] = factor * (double)weight[(first + k) * TRAINING_CLASSES + label] /
                   (double)(x->height * x->width);
    assert_true(!x->answers && !x->logits);
    expect_cam(x, alpha);
}

/* Features side by side, each K·G times, into a layer. */
static void test_features(void **state)
{
    (void)state;
    static const char layer[] = "head.classifier.weight";
    scene s;
    scene_open(
        &s, CNN("a", "4, 6") CNN("b", "5") "[mixture]\nexperts = a, b\n" FEATURES "[gate]\n" LINEAR,
        1);
    expect_through(&s, "expert.a", layer, 0, 2 * of(&s, "expert.a")->weight, 1);
    expect_through(&s, "expert.b", layer, 6, 2 * of(&s, "expert.b")->weight, 1);
    scene_close(&s);
    /* Their own losses make their logits answers. */
    scene_open(&s,
               CNN("a", "4, 6") CNN("b", "5") "[mixture]\nexperts = a, b\n" FEATURES
                                              "[gate]\n" LINEAR "[loss]\nterms = ce, expert_ce\n",
               1);
    expect_own(&s, "expert.b", 1);
    scene_close(&s);
}

static void test_nested(void **state)
{
    (void)state;
    scene s;
    scene_open(&s,
               CNN("a/x", "4, 6") CNN("a/y", "5") CNN("b", "3") /**/
               "[mixture.a]\nexperts = x, y\n" FEATURES "[gate.a]\n" LINEAR
               "[mixture]\nexperts = a, b\n" FEATURES "[gate]\n" LINEAR,
               3);
    assert_int_equal(clvi_explainer_count(s.explainer), 3);
    const clvi_explained *x = of(&s, "expert.a/x"), *y = of(&s, "expert.a/y");
    const double outer = 1 - of(&s, "expert.b")->weight;
    expect_close(x->weight + y->weight, 1);
    expect_close(x->share, outer * x->weight);
    expect_through(&s, "expert.a/x", "head.classifier.weight", 0, 4 * x->share, 3);
    expect_through(&s, "expert.a/y", "head.classifier.weight", 6, 4 * y->share, 3);
    expect_through(&s, "expert.b", "head.classifier.weight", 11, 2 * (1 - outer), 3);
    scene_close(&s);
    /* Inside, features are fused; the prediction that they make is an answer outside. */
    scene_open(&s,
               CNN("a/x", "4, 6") CNN("a/y", "5") CNN("b", "3") /**/
               "[mixture.a]\nexperts = x, y\n" FEATURES "[gate.a]\n" LINEAR
               "[mixture]\nexperts = a, b\n[gate]\n" LINEAR,
               0);
    expect_through(&s, "expert.a/y", "head.a.classifier.weight", 6,
                   2 * of(&s, "expert.a/y")->weight, 0);
    expect_own(&s, "expert.b", 0);
    scene_close(&s);
}

/* Probabilities into a layer: y = Σ_j 2·G·W_j p_j, p the softmax of the expert's logits. */
static void test_concat(void **state)
{
    (void)state;
    enum { C = TRAINING_CLASSES };
    scene s;
    float layer[MOST], weight[MOST], bias[C], logits[C] = {0};
    double p[C], back[C], alpha[MOST], mean = 0;
    scene_open(&s,
               CNN("a", "4, 6") CNN("b", "5") "[mixture]\nexperts = a, b\ncombine = concat\n"
                                              "scores = probabilities\n[gate]\n" LINEAR,
               1);
    const clvi_explained *x = of(&s, "expert.b");
    const double places = (double)(x->height * x->width);
    assert_true(!x->answers && !x->logits);
    read_variable(&s, "head.classifier.weight", layer);
    read_variable(&s, "expert.b.classifier.weight", weight);
    read_variable(&s, "expert.b.classifier.bias", bias);
    for (int64_t i = 0; i < x->height * x->width * x->channels; i++)
        for (int c = 0; c < C; c++)
            logits[c] += x->values[i] * weight[i % x->channels * C + c] / (float)places;
    for (int c = 0; c < C; c++)
        logits[c] += bias[c];
    clvi_softmax_row(logits, C, 1, p);
    for (int c = 0; c < C; c++)
        mean += p[c] * (double)layer[(C + c) * C + 1];
    for (int c = 0; c < C; c++)
        back[c] = 2 * x->weight * p[c] * ((double)layer[(C + c) * C + 1] - mean);
    for (int64_t k = 0; k < x->channels; k++) {
        alpha[k] = 0;
        for (int c = 0; c < C; c++)
            alpha[k] += back[c] * (double)weight[k * C + c] / places;
    }
    expect_cam(x, alpha);
    scene_close(&s);
}

/* Who is not asked is not run. */
static void test_sparse(void **state)
{
    (void)state;
    scene s;
    scene_open(&s,
               CNN("a", "4, 6") CNN("b/x", "5") CNN("b/y", "3") /**/
               "[mixture.b]\nexperts = x, y\n[gate.b]\nplugin = average\n"
               "[mixture]\nexperts = a, b\n"
               "[gate]\nplugin = noisy_topk\nk = 1\nnoise = no\ngrid = 4\n",
               2);
    const clvi_explained *a = of(&s, "expert.a"), *x = of(&s, "expert.b/x");
    assert_true(a->asked != x->asked);
    assert_int_equal(of(&s, "expert.b/y")->asked, x->asked);
    expect_own(&s, a->asked ? "expert.a" : "expert.b/x", 2);
    const clvi_explained *other = a->asked ? x : a;
    assert_true(!other->logits && !other->values && !other->gradient && !other->cam);
    expect_close(other->share, 0);
    scene_close(&s);
}

/* ---- Without memory ---- */

static clv_status explain_again(void *context, clv_error *error)
{
    scene *s = context;
    clvi_explainer *explainer = NULL;
    CLV_TRY(clvi_mixture_explainer(s->r.mixture, true, &explainer, error));
    const clv_status status = clvi_explainer_run(explainer, 1, error);
    clvi_explainer_destroy(explainer);
    return status;
}

static void test_no_memory(void **state)
{
    (void)state;
    scene s;
    scene_open(&s,
               CNN("a/x", "4, 6") CNN("a/y", "5") CNN("b", "3") /**/
               "[mixture.a]\nexperts = x, y\n" FEATURES "[gate.a]\n" LINEAR
               "[mixture]\nexperts = a, b\n" FEATURES "[gate]\n" LINEAR,
               3);
    fail_each_allocation(explain_again, &s);
    scene_close(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps),      cmocka_unit_test(test_alone),
        cmocka_unit_test(test_bent),      cmocka_unit_test(test_scores),
        cmocka_unit_test(test_features),  cmocka_unit_test(test_nested),
        cmocka_unit_test(test_concat),    cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_no_memory),
    };
    return trainings_run(argc, argv, tests, sizeof tests / sizeof *tests);
}
