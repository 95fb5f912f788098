/* See schedule.h. */
#include "train/schedule.h"

#include "base/error.h"

#include <math.h>

int64_t clvi_schedule_warmup_steps(double epochs, int64_t steps_per_epoch, int64_t all_steps)
{
    const double steps = epochs * (double)steps_per_epoch;
    if (!(steps < (double)all_steps))
        return all_steps;
    return steps > 0 ? (int64_t)llround(steps) : 0;
}

static double after_milestones(const clvi_schedule *schedule, int64_t step)
{
    double rate = schedule->lr;
    for (size_t i = 0; i < schedule->milestone_count; i++)
        if ((double)step >= round(schedule->milestones[i] * (double)schedule->steps_per_epoch))
            rate *= schedule->gamma;
    return rate;
}

double clvi_schedule_rate(const clvi_schedule *schedule, int64_t step)
{
    CLV_ASSERT(step >= 0 && schedule->steps >= 1);
    const double pi = 3.14159265358979323846;
    const int64_t warmup = schedule->warmup_steps, last = schedule->steps - 1;
    if (step > last)
        step = last;
    if (step < warmup)
        return schedule->lr * ((double)(step + 1) / (double)warmup);
    if (schedule->kind == CLVI_SCHEDULE_CONSTANT)
        return schedule->lr;
    if (schedule->kind == CLVI_SCHEDULE_STEP)
        return after_milestones(schedule, step);
    const int64_t peak = warmup > 0 ? warmup - 1 : 0; /* the step that has lr */
    if (step == peak)
        return schedule->lr;
    const double progress = (double)(step - peak) / (double)(last - peak);
    const double shape = 0.5 * (1.0 + cos(pi * progress));
    return schedule->lr * (schedule->final_lr + (1.0 - schedule->final_lr) * shape);
}

bool clvi_plateau_update(const clvi_early_stop_rule *rule, double factor, clvi_plateau *plateau,
                         int64_t epoch, double value)
{
    if (clvi_early_stop_update(rule, &plateau->watch, epoch, value) ||
        !clvi_early_stop_done(rule, &plateau->watch))
        return false;
    plateau->watch.waited = 0;
    plateau->scale *= factor;
    return true;
}
