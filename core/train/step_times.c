/* Where the time of a step of training goes; see trainer.h. */
#include "train/trainer.h"

#include "base/clock.h"
#include "runtime/profile.h"

#include <math.h>
#include <stdio.h>

enum { MOST_STEPS = 5, DECODED = 64 };
static const double enough_seconds = 5; /* for the steps of one measurement */

/* `count` steps from the begin of the first epoch; wraps around where there are not so many. */
static clv_status run_steps(clvi_trainer *t, int count, clv_error *error)
{
    for (int i = 0; i < count;) {
        bool done = false;
        CLV_TRY(clvi_trainer_step(t, &done, error));
        if (!done) {
            i++;
            continue;
        }
        t->state.running = (clvi_running_epoch){0};
        CLV_TRY(clvi_trainer_begin_epoch(t, error));
    }
    return clvi_wait(t->desc->device, error);
}

/* Milliseconds on the device to bring the pixels of a step there. */
static clv_status time_upload(const clvi_trainer *t, double *ms, clv_error *error)
{
    int height, width;
    clvi_dataset_size(t->desc->data, &height, &width);
    const size_t image =
        (size_t)height * (size_t)width * (size_t)clvi_dataset_channels(t->desc->data);
    const size_t bytes = (image * (size_t)t->batch + 3) / 4 * 4;
    uint8_t *pixels = clvi_calloc(1, bytes);
    clvi_buf *buf = NULL;
    double seconds = 0, least = INFINITY;
    clv_status status = pixels ? clvi_buf_create(t->desc->device, bytes, "upload", &buf, error)
                               : clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for a batch");
    for (int i = 0; i < 3 && status == CLV_OK; i++) {
        status = clvi_timer_begin(t->desc->device, error);
        if (status == CLV_OK)
            status = clvi_upload(t->desc->device, buf, 0, pixels, bytes, error);
        if (status == CLV_OK)
            status = clvi_timer_end(t->desc->device, &seconds, error);
        least = seconds < least ? seconds : least;
    }
    clvi_buf_destroy(buf);
    clvi_free(pixels);
    *ms = 1e3 * least * (double)t->accumulate;
    return status;
}

/* Adds a launch to "expert.a forward", "input augment", "optimizer". */
static bool add_launch(json_t *parts, const clvi_profile_launch *launch, int steps)
{
    const clvi_profile_scope *s = &launch->scope;
    const bool node = s->kind[0] != '\0';
    char name[256];
    const char *pass = !node ? strcmp(s->part, "input") == 0 ? s->step : ""
                       : strcmp(s->pass, "prepare") == 0 ? "forward"
                                                         : s->pass;
    snprintf(name, sizeof name, "%s%s%s", s->part[0] ? s->part : "other", *pass ? " " : "", pass);
    const double before = json_number_value(json_object_get(parts, name));
    const double ms = 1e3 * (launch->end - launch->begin) / steps;
    return json_object_set_new(parts, name, json_real(before + ms)) == 0;
}

/* The launches of some steps, by what they belong to; *parts NULL: the device has no clock. */
static clv_status time_parts(clvi_trainer *t, int steps, json_t **parts, clv_error *error)
{
    const clvi_profile_launch *launches;
    size_t count;
    clv_error fault = CLV_ERROR_INIT;
    const clv_status begun = clvi_profile_begin(t->desc->device, &fault);
    *parts = NULL;
    if (begun == CLV_E_DEVICE) {
        clvi_log(CLVI_LOG_INFO, "parts of a step are not measured: %s", fault.message);
        return CLV_OK;
    }
    if (begun != CLV_OK)
        CLV_FAIL(error, begun, "%s", fault.message);
    const clv_status status = run_steps(t, steps, error);
    const clv_status ended =
        clvi_profile_end(t->desc->device, &launches, &count, status == CLV_OK ? error : NULL);
    CLV_TRY(status);
    CLV_TRY(ended);
    *parts = json_object();
    bool good = *parts != NULL;
    for (size_t i = 0; i < count && good; i++)
        good = add_launch(*parts, &launches[i], steps);
    if (good)
        return CLV_OK;
    json_decref(*parts);
    CLV_FAIL(error, CLV_E_MEMORY, "no memory for the parts of a step");
}

clv_status clvi_step_times(clvi_trainer *t, json_t **out, clv_error *error)
{
    double read, decode, upload;
    json_t *parts;
    t->state.epoch = 0;
    t->state.running = (clvi_running_epoch){0};
    CLV_TRY(clvi_trainer_begin_epoch(t, error));
    CLV_TRY(run_steps(t, 1, error)); /* the loader begins, memory is touched */
    double begin = clvi_now();
    CLV_TRY(run_steps(t, 1, error));
    const double fit = enough_seconds / (clvi_now() - begin);
    const int steps = fit >= MOST_STEPS ? MOST_STEPS : fit > 1 ? (int)fit : 1;
    const double waited = t->waited;
    begin = clvi_now();
    CLV_TRY(run_steps(t, steps, error));
    const double wall = clvi_now() - begin, wait = t->waited - waited;
    CLV_TRY(clvi_dataset_time_images(t->desc->data, CLVI_TRAIN, DECODED, &read, &decode, error));
    CLV_TRY(time_upload(t, &upload, error));
    CLV_TRY(time_parts(t, steps, &parts, error));
    const double images = (double)(t->batch * t->accumulate);
    json_t *times =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "images", images, "wall", 1e3 * wall / steps,
                  "wait", 1e3 * wait / steps, "read", 1e3 * read * images, "decode",
                  1e3 * decode * images, "upload", upload);
    if (times && parts)
        json_object_set(times, "device", parts);
    json_decref(parts);
    if (!times)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the parts of a step");
    *out = times;
    return CLV_OK;
}
