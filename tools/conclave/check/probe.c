#include "check/probe.h"

#include <math.h>

enum { TRIES = 4 };
/* In units of the values' root mean square. */
static const double fine_steps[] = {0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5};
static const double coarse_steps[] = {0.03, 0.1};
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

/* The gradients at the point where the values are now. */
static clv_status take_grads(probe *p, clv_error *error)
{
    CLV_TRY(rig_forward(p->r, p->n, error));
    CLV_TRY(rig_backward(p->r, p->seeds, error));
    for (size_t place = 0; place < rig_count(p->r); place++)
        if (p->grads[place] != NULL)
            CLV_TRY(rig_grad(p->r, place, p->grads[place], error));
    return CLV_OK;
}

clv_status probe_open(probe *p, rig *r, int64_t n, double tolerance, clv_error *error)
{
    *p = (probe){.r = r, .n = n, .tolerance = tolerance};
    CLV_TRY(rig_forward(r, n, error)); /* from here on the rig knows its batch */
    CLV_TRY(open_room(p, error));
    for (size_t place = 0; place < rig_count(r); place++) {
        if (!rig_has_grad(r, place))
            continue;
        p->grads[place] = rig_floats(rig_elements(r, place, n));
        if (p->grads[place] == NULL)
            return no_memory(error);
    }
    return take_grads(p, error);
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

/* ---- One direction ---- */

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

/* What is known of a slope while steps are tried. */
typedef struct search {
    const line *l;
    double noise, size; /* of the loss; what a slope is compared to */
    int count;          /* steps that could see */
    double found[2];    /* by the last two of them, the newest first */
} search;

/* One step. *blind: rounding hides slopes of that size from it. */
static clv_status try_step(probe *p, search *s, double h, bool *blind, probe_answer *out,
                           clv_error *error)
{
    double found = 0;
    CLV_TRY(slope(p, s->l, h, &found, error));
    const double larger = fabs(found) > s->size ? fabs(found) : s->size;
    const double rough = 3 * s->noise / h;
    *blind = rough > p->tolerance * larger;
    if (fabs(found - out->given) <= p->tolerance * larger + (h < 0.01 && *blind ? 0 : rough))
        out->verdict = PROBE_AGREES;
    if (!*blind) {
        s->found[1] = s->found[0];
        s->found[0] = found;
        s->count++;
    }
    return CLV_OK;
}

/* From 0.01 on to shorter steps as long as they see; to longer ones where it does not. Kinks bend a
 * slope in proportion to the step: what the last two steps differ by is more than what is left, so
 * only a gap much larger than that is a wrong gradient. */
static clv_status judge(probe *p, const line *l, double size, probe_answer *out, clv_error *error)
{
    search s = {.l = l, .size = size};
    bool blind = false;
    out->verdict = PROBE_UNCLEAR;
    CLV_TRY(noise_of(p, l, &s.noise, error));
    for (size_t i = 0; i < sizeof(fine_steps) / sizeof(*fine_steps) && !blind; i++) {
        CLV_TRY(try_step(p, &s, fine_steps[i], &blind, out, error));
        if (out->verdict == PROBE_AGREES)
            return CLV_OK;
    }
    for (size_t i = 0; i < sizeof(coarse_steps) / sizeof(*coarse_steps) && s.count == 0; i++) {
        CLV_TRY(try_step(p, &s, coarse_steps[i], &blind, out, error));
        if (out->verdict == PROBE_AGREES)
            return CLV_OK;
    }
    out->found = s.found[0];
    const double gap = fabs(s.found[0] - out->given), change = fabs(s.found[0] - s.found[1]);
    if (s.count >= 2 && gap > 3 * change)
        out->verdict = PROBE_DIFFERS;
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
    return back;
}

enum { POINTS = 3 };

/* The same direction at other points near by, where other kinks are: a gradient is wrong only where
 * it is at most of them. Otherwise *out is made unclear. */
static clv_status confirm(probe *p, size_t place, const float *v, probe_answer *out,
                          clv_error *error)
{
    const int64_t full = rig_elements(p->r, place, p->r->desc.batch);
    const double rms = rig_rms(rig_values(p->r, place), full);
    rig_dice dice = {80000};
    float *base = rig_floats(full), *other = rig_floats(full);
    clv_status status = base != NULL && other != NULL ? CLV_OK : no_memory(error);
    int differ = 0;
    if (status == CLV_OK)
        memcpy(base, rig_values(p->r, place), (size_t)full * sizeof(*base));
    for (int k = 0; k < POINTS && status == CLV_OK; k++) {
        probe_answer answer = {.verdict = PROBE_UNCLEAR};
        for (int64_t i = 0; i < full; i++)
            other[i] = (float)((double)base[i] + 0.03 * rms * rig_normal(&dice));
        status = rig_set(p->r, place, other, error);
        if (status == CLV_OK)
            status = take_grads(p, error);
        if (status == CLV_OK)
            status = probe_direction(p, place, v, &answer, error);
        differ += answer.verdict == PROBE_DIFFERS;
    }
    if (status == CLV_OK)
        status = rig_set(p->r, place, base, error);
    if (status == CLV_OK)
        status = take_grads(p, error);
    clvi_free(base);
    clvi_free(other);
    if (2 * differ <= POINTS)
        out->verdict = PROBE_UNCLEAR;
    return status;
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
        if (status == CLV_OK && answer.verdict == PROBE_DIFFERS)
            status = confirm(p, place, v, &answer, error);
        p->judged += answer.verdict != PROBE_UNCLEAR;
        p->unclear += answer.verdict == PROBE_UNCLEAR;
        if (answer.verdict > worst.verdict)
            worst = answer;
    }
    clvi_free(v);
    CLV_TRY(status);
    *out = worst;
    return CLV_OK;
}
