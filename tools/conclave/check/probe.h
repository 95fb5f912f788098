/* Gradients on a device against 4-point central differences of its own f32 forward.
 *
 * The loss is Σ r·out over all outputs with random r, summed in double. Along a direction v (of
 * root mean square 1, scaled by that of the values) the loss is taken at ±h and ±2h. A step too
 * long meets kinks (ReLU, maxima, top-k), one too short drowns in rounding: so several are tried,
 * from long to short. A gradient is wrong when the steps settle at another value than it; where
 * they do not settle, nothing is said. */
#ifndef CONCLAVE_CHECK_PROBE_H
#define CONCLAVE_CHECK_PROBE_H

#include "check/rig.h"

typedef struct probe {
    rig *r; /* training; its values are the point */
    int64_t n;
    double tolerance;
    float *seeds[CHECK_MOST_OUTPUTS]; /* r */
    float *out;                       /* room for the largest output */
    float *moved;                     /* room for the largest place */
    float **grads;                    /* per place; NULL: none */
    int unclear, judged;
} probe;

/* Runs forward and backward once. tolerance: of a slope, what rounding and curvature may cost.
 * probe_close also after a failure. */
clv_status probe_open(probe *p, rig *r, int64_t n, double tolerance,
                      clv_error *error) CLV_MUST_CHECK;
void probe_close(probe *p);

/* From good to bad. */
typedef enum probe_verdict { PROBE_AGREES, PROBE_UNCLEAR, PROBE_DIFFERS } probe_verdict;

typedef struct probe_answer {
    probe_verdict verdict;
    double given, found; /* slope by the gradient, and by differences */
} probe_answer;

/* The slope of the loss along v, elements of the place, at this one point. */
clv_status probe_direction(probe *p, size_t place, const float *v, probe_answer *out,
                           clv_error *error) CLV_MUST_CHECK;
/* Along the gradient, along a random direction and, where singles > 0, along so many single
 * elements. Stops at the first that differs. */
clv_status probe_place(probe *p, size_t place, int singles, probe_answer *out,
                       clv_error *error) CLV_MUST_CHECK;

#endif
