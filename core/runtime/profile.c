/* See profile.h. */
#include "runtime/profile.h"

#include "base/memory.h"
#include "runtime/program.h"

struct clvi_profile {
    bool on;
    cl_event *events; /* one per launch */
    clvi_profile_launch *launches;
    size_t count, events_capacity, launches_capacity;
    clvi_profile_scope scope;
    unsigned long call;
};

static void release_events(clvi_profile *profile)
{
    for (size_t i = 0; i < profile->count; i++)
        if (profile->events[i] != NULL)
            clReleaseEvent(profile->events[i]);
    profile->count = 0;
}

void clvi_profile_fini(clvi_device *device)
{
    clvi_profile *profile = device->profile;
    if (profile == NULL)
        return;
    release_events(profile);
    clvi_free(profile->events);
    clvi_free(profile->launches);
    clvi_free(profile);
    device->profile = NULL;
}

clv_status clvi_profile_begin(clvi_device *device, clv_error *error)
{
    CLV_TRY(clvi_timer_find_clock(device, error));
    if (device->timer.clock != CLVI_CLOCK_DEVICE)
        CLV_FAIL(error, CLV_E_DEVICE,
                 "%s: the driver's time stamps are of no use; profile on another device",
                 device->found->short_name);
    if (device->profile == NULL)
        device->profile = clvi_calloc(1, sizeof *device->profile);
    if (device->profile == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to profile");
    CLV_TRY(clvi_queue_wait(device, "profiling", error));
    release_events(device->profile);
    device->profile->on = true;
    device->profile->call = 0;
    device->profile->scope = (clvi_profile_scope){"", "", "", "", 0, 0};
    return CLV_OK;
}

bool clvi_profile_is_on(const clvi_device *device)
{
    return device->profile != NULL && device->profile->on;
}

void clvi_profile_enter(clvi_device *device, const clvi_profile_scope *scope)
{
    if (!clvi_profile_is_on(device))
        return;
    device->profile->scope = *scope;
    device->profile->call++;
}

void clvi_profile_enter_part(clvi_device *device, const char *part, const char *step)
{
    clvi_profile_enter(device, &(clvi_profile_scope){part, step, "", "", 0, 0});
}

clv_status clvi_profile_slot(clvi_device *device, const clvi_kernel *kernel, cl_event **out,
                             clv_error *error)
{
    *out = NULL;
    if (!clvi_profile_is_on(device))
        return CLV_OK;
    clvi_profile *p = device->profile;
    CLV_TRY(clvi_grow((void **)&p->events, &p->events_capacity, p->count + 1, sizeof *p->events,
                      error));
    CLV_TRY(clvi_grow((void **)&p->launches, &p->launches_capacity, p->count + 1,
                      sizeof *p->launches, error));
    p->launches[p->count] = (clvi_profile_launch){.program = kernel->program->name,
                                                  .kernel = kernel->name,
                                                  .scope = p->scope,
                                                  .call = p->call};
    p->events[p->count] = NULL;
    *out = &p->events[p->count++];
    return CLV_OK;
}

clv_status clvi_profile_end(clvi_device *device, const clvi_profile_launch **launches,
                            size_t *count, clv_error *error)
{
    clvi_profile *p = device->profile;
    CLV_ASSERT(clvi_profile_is_on(device));
    p->on = false;
    CLV_TRY(clvi_queue_wait(device, "profiling", error));
    cl_ulong first = 0;
    for (size_t i = 0; i < p->count; i++) {
        cl_ulong begin = 0, end = 0;
        cl_int code = clGetEventProfilingInfo(p->events[i], CL_PROFILING_COMMAND_START,
                                              sizeof begin, &begin, NULL);
        if (code == CL_SUCCESS)
            code = clGetEventProfilingInfo(p->events[i], CL_PROFILING_COMMAND_END, sizeof end, &end,
                                           NULL);
        if (code != CL_SUCCESS)
            return clvi_queue_fail(device, code, "clGetEventProfilingInfo", "profiling", error);
        if (i == 0)
            first = begin;
        p->launches[i].begin = 1e-9 * ((double)begin - (double)first);
        p->launches[i].end = 1e-9 * ((double)end - (double)first);
    }
    *launches = p->launches;
    *count = p->count;
    return CLV_OK;
}
