/* The learning rate as a pure function of the global step; and what lowers it when training gets
 * stuck, which is a function of the validation figures. */
#ifndef CLVI_SCHEDULE_H
#define CLVI_SCHEDULE_H

#include "train/early_stop.h"

#include <stddef.h>

typedef enum clvi_schedule_kind {
    CLVI_SCHEDULE_CONSTANT, /* also plateau, times clvi_plateau.scale */
    CLVI_SCHEDULE_COSINE,
    CLVI_SCHEDULE_STEP
} clvi_schedule_kind;

typedef struct clvi_schedule {
    clvi_schedule_kind kind;
    double lr;                /* the peak */
    double final_lr;          /* cosine: rate of the last step as a fraction of lr */
    const double *milestones; /* step: in epochs, any order; borrowed */
    size_t milestone_count;
    double gamma;            /* step: factor at each milestone */
    int64_t steps_per_epoch; /* step: at least 1 */
    int64_t warmup_steps;    /* 0 to steps */
    int64_t steps;           /* of the whole training; at least 1 */
} clvi_schedule;

/* Steps of warming up for `epochs`, rounded to the nearest, at most all_steps. */
int64_t clvi_schedule_warmup_steps(double epochs, int64_t steps_per_epoch, int64_t all_steps);

/* Rate of step 0, 1, …, steps - 1 (later ones: as the last). With w warm-up steps, step t < w has
 * lr·(t+1)/w. After that constant: lr; cosine: half a period from lr at the last step of warming up
 * (without warm-up: at step 0) to final_lr·lr at the last step; step: lr·gamma^k, k being the
 * number of milestones that lie behind (of m epochs: at step m·steps_per_epoch, rounded). */
double clvi_schedule_rate(const clvi_schedule *schedule, int64_t step);

/* Plateau: the rate is multiplied by `factor` whenever rule.patience epochs brought no better
 * figure. Plain data that a checkpoint keeps; begins with scale 1 and the rest 0. */
typedef struct clvi_plateau {
    double scale;
    clvi_early_stop_state watch;
} clvi_plateau;
/* Takes the figure of an epoch (from 1); returns whether the rate was lowered. */
bool clvi_plateau_update(const clvi_early_stop_rule *rule, double factor, clvi_plateau *plateau,
                         int64_t epoch, double value);

#endif
