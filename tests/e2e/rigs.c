#include "rigs.h"

#include "../unit/test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MOST_SEGMENTS = 64, MOST_ELEMENTS = 1024 };

clv_status rig_try(rig *r, const char *text, bool train, clv_error *error)
{
    *r = (rig){.config = trainings_config(text)};
    const clvi_mixture_desc desc = trainings_mixture(r->config, RIG_BATCH, train);
    for (int i = 0; i < RIG_BATCH; i++) {
        r->labels[i] = i % TRAINING_CLASSES;
        r->ids[i] = (uint32_t)(100 - i);
        for (int k = 0; k < RIG_PIXELS; k++)
            r->pixels[i * RIG_PIXELS + k] =
                (uint8_t)((unsigned)(i * RIG_PIXELS + k) * 2654435761u >> 24);
    }
    return clvi_mixture_create(&desc, &r->mixture, error);
}

void rig_fini(rig *r)
{
    clvi_mixture_destroy(r->mixture);
    clvi_config_destroy(r->config);
}

void rig_init(rig *r, const char *text, bool train)
{
    OK(rig_try(r, text, train, error));
    OK(clvi_mixture_warm(r->mixture, error));
}

void rig_stir(rig *r)
{
    clvi_store *store = clvi_mixture_store(r->mixture);
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        float values[MOST_ELEMENTS];
        bool zero = !s->is_state && s->elements <= MOST_ELEMENTS;
        if (!zero)
            continue;
        OK(clvi_store_read(store, i, CLVI_STORE_VALUE, values, error));
        for (int64_t k = 0; k < s->elements; k++) {
            zero &= values[k] == 0;
            values[k] = 0.05f * (float)((7 * (k + (int64_t)i)) % 11 - 5);
        }
        if (zero)
            OK(clvi_store_write(store, i, CLVI_STORE_VALUE, values, error));
    }
}

clvi_mixture_batch rig_batch(const rig *r)
{
    return (clvi_mixture_batch){
        .n = RIG_BATCH, .pixels = r->pixels, .labels = r->labels, .ids = r->ids};
}

void rig_predict(rig *r, double *out)
{
    float logits[RIG_BATCH * TRAINING_CLASSES];
    const clvi_mixture_batch batch = rig_batch(r);
    OK(clvi_mixture_infer(r->mixture, &batch, error));
    OK(clvi_mixture_logits(r->mixture, logits, error));
    for (int i = 0; i < RIG_BATCH; i++)
        clvi_softmax_row(logits + i * TRAINING_CLASSES, TRAINING_CLASSES, 1,
                         out + i * TRAINING_CLASSES);
}

static double mean_nll(rig *r)
{
    const clvi_mixture_batch batch = rig_batch(r);
    clvi_mixture_metrics metrics;
    OK(clvi_mixture_step(r->mixture, &batch, error));
    OK(clvi_mixture_read_metrics(r->mixture, &metrics, error));
    return metrics.loss;
}

/* Of one network, the variables whose names begin with `prefix`; false: none of them trains. */
static bool slope_of(rig *r, const char *prefix, rig_loss *of, double *slope, double *square)
{
    static float values[MOST_SEGMENTS][MOST_ELEMENTS], grads[MOST_SEGMENTS][MOST_ELEMENTS];
    clvi_store *store = clvi_mixture_store(r->mixture);
    size_t segments[MOST_SEGMENTS], count = 0;
    double loss[2];
    (void)mean_nll(r);
    *square = 0;
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const clvi_segment *s = clvi_store_segment(store, i);
        if (!s->trainable || strncmp(s->name, prefix, strlen(prefix)) != 0)
            continue;
        assert_true(count < MOST_SEGMENTS && s->elements <= MOST_ELEMENTS);
        OK(clvi_store_read(store, i, CLVI_STORE_VALUE, values[count], error));
        OK(clvi_store_read(store, i, CLVI_STORE_GRADIENT, grads[count], error));
        for (int64_t k = 0; k < s->elements; k++)
            *square += pow((double)grads[count][k], 2);
        segments[count++] = i;
    }
    if (count == 0)
        return false;
    /* The layer of a nested mixture whose features are fused is read by nobody. */
    if (*square == 0 && strncmp(prefix, "head.", 5) == 0)
        return false;
    if (!(*square > 0))
        fail_msg("nothing reaches %s", prefix);
    const double step = 2e-3 / sqrt(*square);
    for (int side = 0; side < 3; side++) { /* up, down, back */
        for (size_t i = 0; i < count; i++) {
            float moved[MOST_ELEMENTS];
            const double by = side == 2 ? 0 : side == 0 ? step : -step;
            for (int64_t k = 0; k < clvi_store_segment(store, segments[i])->elements; k++)
                moved[k] = (float)((double)values[i][k] + by * (double)grads[i][k]);
            OK(clvi_store_write(store, segments[i], CLVI_STORE_VALUE, moved, error));
        }
        if (side < 2)
            loss[side] = of(r);
    }
    *slope = (loss[0] - loss[1]) / (2 * step);
    return true;
}

void expect_slopes(const char *config, const char *name)
{
    expect_slopes_of(config, name, mean_nll);
}

void expect_slopes_of(const char *config, const char *name, rig_loss *loss)
{
    rig r;
    int networks = 0;
    rig_init(&r, config, true);
    rig_stir(&r);
    for (size_t i = 0; i < clvi_mixture_leaf_count(r.mixture); i++) {
        char prefix[128];
        double slope, square;
        snprintf(prefix, sizeof prefix, "%s.", clvi_mixture_leaf_at(r.mixture, i).section);
        if (!slope_of(&r, prefix, loss, &slope, &square))
            continue;
        networks++;
        /* The second: what rounding of the loss makes of so short a way. */
        if (!(fabs(slope - square) <= 0.02 * square + 4e-5 * sqrt(square)))
            fail_msg("%s, %s: the slope is %g, the gradient says %g", name, prefix, slope, square);
    }
    assert_true(networks > 1);
    rig_fini(&r);
}
