/* The learning rate as a pure function of the global step. */
#ifndef CLVI_SCHEDULE_H
#define CLVI_SCHEDULE_H

#include <stdint.h>

typedef enum clvi_schedule_kind { CLVI_SCHEDULE_CONSTANT, CLVI_SCHEDULE_COSINE } clvi_schedule_kind;

typedef struct clvi_schedule {
    clvi_schedule_kind kind;
    double lr;            /* the peak */
    double final_lr;      /* cosine: rate of the last step as a fraction of lr */
    int64_t warmup_steps; /* 0 to steps */
    int64_t steps;        /* of the whole training; at least 1 */
} clvi_schedule;

/* Steps of warming up for `epochs`, rounded to the nearest, at most all_steps. */
int64_t clvi_schedule_warmup_steps(double epochs, int64_t steps_per_epoch, int64_t all_steps);

/* Rate of step 0, 1, …, steps - 1 (later ones: as the last). With w warm-up steps, step t < w has
 * lr·(t+1)/w. After that constant: lr; cosine: half a period from lr at the last step of warming up
 * (without warm-up: at step 0) to final_lr·lr at the last step. */
double clvi_schedule_rate(const clvi_schedule *schedule, int64_t step);

#endif
