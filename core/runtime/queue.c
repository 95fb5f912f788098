/* The queue of a device: the one place that waits, limits how much is under way, and decides that a
 * device is of no use any more. clFinish is not called anywhere: after a clFlush, rusticl 22.3's
 * returns without waiting. */
#include "base/process.h"
#include "runtime/chain.h"
#include "runtime/program.h"

#include <stdio.h>

clv_status clvi_device_check(const clvi_device *device, clv_error *error)
{
    return device->poison.status == CLV_OK ? CLV_OK : clvi_error_copy(error, &device->poison);
}

clv_status clvi_queue_enter(clvi_device *device, clv_error *error)
{
    CLV_TRY(clvi_device_check(device, error));
    return clvi_chain_flush(device, error);
}

/* Codes from -30 on, and a few others, complain about the arguments of one call; the rest about the
 * state of the device. */
static bool is_fatal(cl_int code)
{
    if (code == CL_MEM_COPY_OVERLAP || code == CL_MISALIGNED_SUB_BUFFER_OFFSET ||
        code == CL_BUILD_PROGRAM_FAILURE)
        return false;
    return code > CL_INVALID_VALUE || code < -1000 || code == CL_INVALID_COMMAND_QUEUE ||
           code == CL_INVALID_CONTEXT || code == CL_INVALID_DEVICE;
}

clv_status clvi_queue_fail(clvi_device *device, cl_int code, const char *call, const char *what,
                           clv_error *error)
{
    clv_error cause = CLV_ERROR_INIT;
    clvi_cl_fail(&cause, code, CLV_HERE, call);
    clvi_prepend(&cause, "%s on %s", what, device->found->short_name);
    if (is_fatal(code) && device->poison.status == CLV_OK) {
        device->poison = cause;
        clvi_log(CLVI_LOG_ERROR, "%s; the device is not used any more", cause.message);
    }
    return clvi_error_copy(error, &cause);
}

/* The device has not finished in time: it is of no use any more. */
static clv_status fail_late(clvi_device *device, const char *what, clv_error *error)
{
    const clvi_watched *launch = clvi_watch_hanging(device);
    clv_error cause = CLV_ERROR_INIT;
    clvi_fail(
        &cause, CLV_E_DEVICE, CLV_HERE, "%s: %s is not done after %.0f s, and runs kernel %s:%s",
        what, device->found->short_name, device->watch.wait_seconds,
        launch != NULL ? launch->program : "unknown", launch != NULL ? launch->kernel : "unknown");
    device->poison = cause;
    device->hangs = true;
    clvi_log(CLVI_LOG_ERROR, "%s; the device is not used any more", cause.message);
    return clvi_error_copy(error, &cause);
}

clv_status clvi_queue_wait_event(clvi_device *device, cl_event event, const char *what,
                                 clv_error *error)
{
    if (!clvi_watch_wait(device, event))
        return fail_late(device, what, error);
    cl_int code = clWaitForEvents(1, &event);
    cl_int state = CL_COMPLETE;
    /* The event knows the cause; the wait itself says only that there is one. */
    if (clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(state), &state, NULL) ==
            CL_SUCCESS &&
        state < 0)
        code = state;
    if (code == CL_SUCCESS)
        return CLV_OK;
    if (device->sync || device->last_kernel == NULL)
        return clvi_queue_fail(device, code, "clWaitForEvents", what, error);
    char text[300];
    snprintf(text, sizeof(text),
             "%.100s (newest kernel: %.60s:%.60s; CONCLAVE_SYNC=1 names the one that fails)", what,
             device->last_kernel->program->name, device->last_kernel->name);
    return clvi_queue_fail(device, code, "clWaitForEvents", text, error);
}

bool clvi_queue_settle(clvi_device *device, cl_event event)
{
    if (clvi_watch_is_over(event))
        return true;
    device->hangs = device->hangs || !clvi_watch_wait(device, event);
    if (!device->hangs)
        clWaitForEvents(1, &event);
    return clvi_watch_is_over(event);
}

clv_status clvi_queue_wait(clvi_device *device, const char *what, clv_error *error)
{
    CLV_TRY(clvi_queue_enter(device, error));
    cl_event marker = NULL;
    const cl_int code = clEnqueueMarkerWithWaitList(device->queue, 0, NULL, &marker);
    if (code != CL_SUCCESS)
        return clvi_queue_fail(device, code, "clEnqueueMarkerWithWaitList", what, error);
    const clv_status status = clvi_queue_wait_event(device, marker, what, error);
    clReleaseEvent(marker);
    return status;
}

clv_status clvi_wait(clvi_device *device, clv_error *error)
{
    device->counters.waits++;
    return clvi_queue_wait(device, "waiting", error);
}

clv_status clvi_queue_advance(clvi_device *device, clv_error *error)
{
    enum { FLUSH_EVERY = 16 };
    device->since_mark++;
    if (device->since_mark % FLUSH_EVERY == 0) {
        const cl_int code = clFlush(device->queue);
        if (code != CL_SUCCESS)
            return clvi_queue_fail(device, code, "clFlush", "queueing", error);
    }
    if (device->since_mark < device->window)
        return CLV_OK;
    device->since_mark = 0;
    if (device->marks[0] != NULL) {
        const clv_status status =
            clvi_queue_wait_event(device, device->marks[0], "queueing", error);
        clReleaseEvent(device->marks[0]);
        device->marks[0] = NULL;
        CLV_TRY(status);
    }
    device->marks[0] = device->marks[1];
    device->marks[1] = NULL;
    const cl_int code = clEnqueueMarkerWithWaitList(device->queue, 0, NULL, &device->marks[1]);
    if (code != CL_SUCCESS)
        return clvi_queue_fail(device, code, "clEnqueueMarkerWithWaitList", "queueing", error);
    return CLV_OK;
}
