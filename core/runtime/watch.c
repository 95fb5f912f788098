/* Watching the launches of a GPU: which one hangs when a wait takes too long, and which ones take
 * longer than a desktop's watchdog may allow. Costs an event per launch, so not on CPUs, where
 * neither happens. */
#define _POSIX_C_SOURCE 200809L
#include "base/process.h"
#include "runtime/program.h"

#include <time.h>

void clvi_watch_init(clvi_device *device)
{
    device->watch = (clvi_watch){.on = device->found->info.type == CLVI_DEVICE_GPU,
                                 .wait_seconds = 120,
                                 .launch_seconds = 0.5};
}

/* ---- Launches that take long ---- */

/* Seconds that a finished launch took by its own time stamps, which may mean nothing. */
static double stamped_seconds(cl_event event)
{
    cl_ulong begin = 0, end = 0;
    if (clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof(begin), &begin, NULL) !=
            CL_SUCCESS ||
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof(end), &end, NULL) !=
            CL_SUCCESS ||
        end < begin)
        return 0;
    return 1e-9 * (double)(end - begin);
}

/* Says so where the launch took long. Whatever prevents that is no reason to fail: what is wrong
 * with the device, the next call finds. */
static void judge(clvi_device *device, const clvi_watched *launch)
{
    const double seconds = stamped_seconds(launch->event);
    if (seconds <= device->watch.launch_seconds || *launch->reported)
        return;
    if (clvi_timer_find_clock(device, NULL) != CLV_OK || device->timer.clock != CLVI_CLOCK_DEVICE)
        return;
    *launch->reported = true;
    clvi_log(
        CLVI_LOG_WARN,
        "kernel %s:%s took %.1f s in one launch on %s: where the GPU also drives a screen, its "
        "watchdog may end that; a smaller train.batch makes launches shorter",
        launch->program, launch->kernel, seconds, device->found->short_name);
}

/* ---- The ring of launches ---- */

static clv_status drop_oldest(clvi_device *device, clv_error *error)
{
    clvi_watch *watch = &device->watch;
    const clvi_watched oldest = watch->ring[watch->first];
    const clv_status status = clvi_queue_wait_event(device, oldest.event, "queueing", error);
    if (status == CLV_OK)
        judge(device, &oldest);
    watch->first = (watch->first + 1) % CLVI_WATCHED;
    watch->count--;
    clReleaseEvent(oldest.event);
    return status;
}

clv_status clvi_watch_add(clvi_device *device, const clvi_watched *launch, clv_error *error)
{
    clvi_watch *watch = &device->watch;
    if (watch->count == CLVI_WATCHED) {
        const clv_status status = drop_oldest(device, error);
        if (status != CLV_OK) {
            clReleaseEvent(launch->event);
            return status;
        }
    }
    watch->ring[(watch->first + watch->count) % CLVI_WATCHED] = *launch;
    watch->count++;
    return CLV_OK;
}

void clvi_watch_fini(clvi_device *device)
{
    clvi_watch *watch = &device->watch;
    for (unsigned i = 0; i < watch->count; i++)
        clReleaseEvent(watch->ring[(watch->first + i) % CLVI_WATCHED].event);
    watch->count = 0;
}

/* ---- Waits that take long ---- */

bool clvi_watch_is_over(cl_event event)
{
    cl_int state = CL_COMPLETE;
    return clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(state), &state, NULL) !=
               CL_SUCCESS ||
           state <= CL_COMPLETE; /* below are errors */
}

bool clvi_watch_wait(clvi_device *device, cl_event event)
{
    const double began = clvi_host_seconds();
    if (!device->watch.on || device->watch.wait_seconds <= 0)
        return true;
    clFlush(device->queue); /* what is not handed over never finishes */
    while (!clvi_watch_is_over(event)) {
        const double passed = clvi_host_seconds() - began;
        if (passed > device->watch.wait_seconds)
            return false;
        if (passed < 50e-6) /* short waits are frequent, and a sleep takes as long */
            continue;
        const double pause = passed / 8 < 2e-3 ? passed / 8 : 2e-3;
        nanosleep(&(struct timespec){0, (long)(pause * 1e9)}, NULL);
    }
    return true;
}

const clvi_watched *clvi_watch_hanging(const clvi_device *device)
{
    const clvi_watch *watch = &device->watch;
    for (unsigned i = 0; i < watch->count; i++) {
        const clvi_watched *launch = &watch->ring[(watch->first + i) % CLVI_WATCHED];
        if (!clvi_watch_is_over(launch->event))
            return launch;
    }
    return NULL;
}
