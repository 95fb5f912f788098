#include "check/probe.h"

#include <math.h>

enum { STEPS = 5, TRIES = 4 };
/* In units of the values' root mean square; the middle first. */
static const double steps[STEPS] = {0.01, 0.03, 0.003, 0.1, 0.001};
/* Of the slope: what f32 and curvature may cost where steps are neither too long nor too short. */
static const double tolerance = 0.02;

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: gradients");
}

static clv_status loss(probe *p, double *out, clv_error *error)
{
    double sum = 0;
    CLV_TRY(rig_forward(p->r, p->n, error));
    for (size_t o = 0; o < p->r->output_count; o++) {
        if (!p->r->output_grad[o])
            continue;
        CLV_TRY(rig_output(p->r, o, p->out, error));
        for (int64_t k = 0; k < rig_output_elements(p->r, o); k++)
            sum += (double)p->seeds[o][k] * (double)p->out[k];
    }
    *out = sum;
    return CLV_OK;
}

static clv_status open_room(probe *p, clv_error *error)
{
    rig_dice dice = {50000};
    int64_t most = 1, most_out = 1;
    for (size_t o = 0; o < p->r->output_count; o++) {
        const int64_t elements = rig_output_elements(p->r, o);
        most_out = elements > most_out ? elements : most_out;
        p->seeds[o] = rig_floats(elements);
        if (p->seeds[o] == NULL)
            return no_memory(error);
        for (int64_t k = 0; k < elements; k++)
            p->seeds[o][k] = (float)rig_normal(&dice);
    }
    for (size_t place = 0; place < rig_count(p->r); place++) {
        const int64_t elements = rig_elements(p->r, place, p->r->desc.batch);
        most = elements > most ? elements : most;
    }
    p->out = rig_floats(most_out);
    p->moved = rig_floats(most);
    p->grads = clvi_calloc(rig_count(p->r) + 1, sizeof(*p->grads));
    return p->out != NULL && p->moved != NULL && p->grads != NULL ? CLV_OK : no_memory(error);
}

clv_status probe_open(probe *p, rig *r, int64_t n, clv_error *error)
{
    *p = (probe){.r = r, .n = n};
    CLV_TRY(rig_forward(r, n, error)); /* from here on the rig knows its batch */
    CLV_TRY(open_room(p, error));
    CLV_TRY(rig_backward(r, p->seeds, error));
    for (size_t place = 0; place < rig_count(r); place++) {
        if (!rig_has_grad(r, place))
            continue;
        p->grads[place] = rig_floats(rig_elements(r, place, n));
        if (p->grads[place] == NULL)
            return no_memory(error);
        CLV_TRY(rig_grad(r, place, p->grads[place], error));
    }
    return CLV_OK;
}

void probe_close(probe *p)
{
    for (int o = 0; o < CHECK_MOST_OUTPUTS; o++)
        clvi_free(p->seeds[o]);
    for (size_t place = 0; p->grads != NULL && place < rig_count(p->r); place++)
        clvi_free(p->grads[place]);
    clvi_free(p->grads);
    clvi_free(p->out);
    clvi_free(p->moved);
    *p = (probe){.r = NULL};
}

/* ---- One direction -------------------------------------------------------------------------- */

/* A line through the point: values + t·scale·v. */
typedef struct line {
    size_t place;
    float *base; /* the values themselves */
    const float *v;
    int64_t elements;
    double scale;
} line;

static clv_status loss_at(probe *p, const line *l, double t, double *out, clv_error *error)
{
    for (int64_t k = 0; k < l->elements; k++)
        p->moved[k] = (float)((double)l->base[k] + t * l->scale * (double)l->v[k]);
    CLV_TRY(rig_set(p->r, l->place, p->moved, error));
    return loss(p, out, error);
}

/* How far the loss jumps about when values move by their last bits. */
static clv_status noise_of(probe *p, const line *l, double *out, clv_error *error)
{
    double first, other, most = 0;
    CLV_TRY(loss_at(p, l, 0, &first, error));
    for (int k = 1; k <= TRIES; k++) {
        CLV_TRY(loss_at(p, l, (k % 2 ? 1 : -1) * 4e-7 * k, &other, error));
        most = fabs(other - first) > most ? fabs(other - first) : most;
    }
    *out = most + 1e-7 * fabs(first) + 1e-30;
    return CLV_OK;
}

/* (f(-2h) - 8f(-h) + 8f(h) - f(2h)) / 12h */
static clv_status slope(probe *p, const line *l, double h, double *out, clv_error *error)
{
    static const double at[4] = {-2, -1, 1, 2}, weights[4] = {1, -8, 8, -1};
    double sum = 0, value = 0;
    for (int k = 0; k < 4; k++) {
        CLV_TRY(loss_at(p, l, at[k] * h, &value, error));
        sum += weights[k] * value;
    }
    *out = sum / (12 * h);
    return CLV_OK;
}

/* Whether two of the slopes found agree within `wide` of their size and their noise. */
static bool two_agree(const double *found, const bool *used, double noise, double *which)
{
    for (int i = 0; i < STEPS; i++)
        for (int k = i + 1; k < STEPS; k++) {
            const double size = fabs(found[i]) > fabs(found[k]) ? fabs(found[i]) : fabs(found[k]);
            const double rough = 3 * noise / steps[i] + 3 * noise / steps[k];
            if (used[i] && used[k] && fabs(found[i] - found[k]) <= tolerance * size + rough) {
                *which = found[i];
                return true;
            }
        }
    return false;
}

/* The slopes by all steps; the first that fits `given` ends it. size: what a slope is compared to.
 */
static clv_status judge(probe *p, const line *l, double size, probe_answer *out, clv_error *error)
{
    double found[STEPS] = {0}, noise;
    bool used[STEPS] = {false};
    CLV_TRY(noise_of(p, l, &noise, error));
    for (int i = 0; i < STEPS; i++) {
        CLV_TRY(slope(p, l, steps[i], &found[i], error));
        const double larger = fabs(found[i]) > size ? fabs(found[i]) : size;
        const double rough = 3 * noise / steps[i];
        /* A short step says nothing about slopes below its noise; a long one says they are small.
         */
        if (steps[i] < 0.01 && rough > 0.1 * larger)
            continue;
        used[i] = true;
        out->found = found[i];
        out->verdict = PROBE_AGREES;
        if (fabs(found[i] - out->given) <= tolerance * larger + rough)
            return CLV_OK;
    }
    out->verdict = two_agree(found, used, noise, &out->found) ? PROBE_DIFFERS : PROBE_UNCLEAR;
    return CLV_OK;
}

clv_status probe_direction(probe *p, size_t place, const float *v, probe_answer *out,
                           clv_error *error)
{
    const int64_t elements = rig_elements(p->r, place, p->n);
    const int64_t full = rig_elements(p->r, place, p->r->desc.batch);
    const float *grad = p->grads[place];
    float *base = rig_floats(full);
    double dot = 0, length = 0;
    if (base == NULL)
        return no_memory(error);
    memcpy(base, rig_values(p->r, place), (size_t)full * sizeof(*base));
    memcpy(p->moved, base, (size_t)full * sizeof(*base));
    const double rms = rig_rms(base, elements);
    const line l = {place, base, v, elements, rms > 0 ? rms : 1};
    for (int64_t k = 0; k < elements; k++) {
        dot += (double)grad[k] * (double)v[k];
        length += (double)v[k] * (double)v[k];
    }
    /* A random direction of that length sees about so much of the gradient. */
    const double size = l.scale * rig_rms(grad, elements) * sqrt(length);
    *out = (probe_answer){.given = l.scale * dot};
    clv_status status = judge(p, &l, fabs(out->given) > size ? fabs(out->given) : size, out, error);
    const clv_status back = rig_set(p->r, place, base, error);
    clvi_free(base);
    CLV_TRY(status);
    CLV_TRY(back);
    p->judged += out->verdict != PROBE_UNCLEAR;
    p->unclear += out->verdict == PROBE_UNCLEAR;
    return CLV_OK;
}

clv_status probe_place(probe *p, size_t place, int singles, probe_answer *out, clv_error *error)
{
    const int64_t elements = rig_elements(p->r, place, p->n);
    const float *grad = p->grads[place];
    const double rms = rig_rms(grad, elements);
    rig_dice dice = {70000 + 1000 * (uint32_t)place};
    float *v = rig_floats(elements);
    clv_status status = v != NULL ? CLV_OK : no_memory(error);
    probe_answer worst = {.verdict = PROBE_AGREES}, answer = worst;
    for (int d = 0; d < 2 + singles && status == CLV_OK && worst.verdict != PROBE_DIFFERS; d++) {
        const int64_t step = singles > 1 ? (elements - 1) / (singles - 1) : 0;
        for (int64_t k = 0; k < elements; k++)
            v[k] = d == 0   ? (float)(rms > 0 ? (double)grad[k] / rms : 0)
                   : d == 1 ? (float)rig_normal(&dice)
                            : 0;
        if (d == 0 && !(rms > 0))
            continue;
        if (d > 1)
            v[d + 1 == 2 + singles ? elements - 1 : (d - 2) * step] = 1;
        status = probe_direction(p, place, v, &answer, error);
        if (status == CLV_OK && answer.verdict > worst.verdict)
            worst = answer;
        if (status == CLV_OK && answer.verdict == PROBE_DIFFERS)
            worst = answer;
    }
    clvi_free(v);
    CLV_TRY(status);
    *out = worst;
    return CLV_OK;
}
