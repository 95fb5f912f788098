/* Launching kernels. See the contract in runtime.h. */
#include "runtime/chain.h"
#include "runtime/compiling.h"
#include "runtime/program.h"

#include <stdio.h>

enum { MOST_GROUPS = CLVI_SMALL_GRID };

void clvi_launch_begin(clvi_launch *launch, clvi_device *device, const char *program,
                       const char *kernel, const char *options)
{
    launch->device = device;
    launch->kernel = NULL;
    launch->linked = false;
    launch->arg_count = 0;
    /* Not the whole of it: clearing the message costs more than the look-up. */
    launch->first.struct_size = (uint32_t)sizeof(launch->first);
    clvi_error_clear(&launch->first);
    launch->status = clvi_device_check(device, &launch->first);
    if (launch->status != CLV_OK)
        return;
    launch->linked =
        clvi_chain_takes(device, program, kernel, options, &launch->status, &launch->first);
    if (launch->linked || launch->status != CLV_OK)
        return;
    if (device->rehearsing) {
        launch->named =
            (clvi_named_kernel){.program = program, .kernel = kernel, .options = options};
        return;
    }
    clvi_kernel *found = NULL;
    launch->status = clvi_kernel_get(device, program, kernel, options, &found, &launch->first);
    launch->kernel = found;
}

static void set_arg(clvi_launch *launch, clvi_arg_kind kind, size_t bytes, const void *value)
{
    const cl_uint index = launch->arg_count++;
    if (launch->status != CLV_OK)
        return;
    if (launch->kernel == NULL) {
        if (index < CLVI_LAUNCH_ARGS)
            launch->named.kinds[index] = (char)kind;
        return;
    }
    const clvi_kernel *kernel = launch->kernel;
    const cl_int code = clSetKernelArg(kernel->kernel, index, bytes, value);
    if (code == CL_SUCCESS)
        return;
    launch->status = clvi_fail_code(
        &launch->first, CLV_E_INTERNAL, code, CLV_HERE,
        "kernel %s:%s: argument %u of %zu bytes (the kernel has %u arguments): clSetKernelArg: %s",
        kernel->program->name, kernel->name, (unsigned)index, bytes, (unsigned)kernel->arg_count,
        clvi_cl_code_name(code));
}

void clvi_arg_view(clvi_launch *launch, clvi_view view)
{
    if (launch->linked) {
        clvi_chain_view(launch->device, view);
        return;
    }
    const cl_mem mem = view.buf != NULL ? view.buf->mem : NULL;
    const cl_ulong offset = view.offset;
    set_arg(launch, CLVI_ARG_BUFFER, sizeof(mem), &mem);
    set_arg(launch, CLVI_ARG_OFFSET, sizeof(offset), &offset);
}

void clvi_arg_int(clvi_launch *launch, int32_t value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof(word));
    clvi_arg_uint(launch, word);
}

void clvi_arg_uint(clvi_launch *launch, uint32_t value)
{
    if (launch->linked)
        clvi_chain_word(launch->device, value);
    else
        set_arg(launch, CLVI_ARG_WORD, sizeof(value), &value);
}

void clvi_arg_float(clvi_launch *launch, float value)
{
    uint32_t word;
    memcpy(&word, &value, sizeof(word));
    clvi_arg_uint(launch, word);
}

void clvi_arg_local(clvi_launch *launch, size_t bytes)
{
    if (launch->linked)
        clvi_chain_local(launch->device, bytes);
    else
        set_arg(launch, CLVI_ARG_LOCAL, bytes, NULL);
}

static clv_status check_launch(const clvi_launch *launch, const size_t *groups, clv_error *error)
{
    const clvi_kernel *kernel = launch->kernel;
    if (launch->arg_count != kernel->arg_count)
        CLV_FAIL(error, CLV_E_INTERNAL, "kernel %s:%s: %u arguments given, it has %u",
                 kernel->program->name, kernel->name, launch->arg_count,
                 (unsigned)kernel->arg_count);
    for (int i = 0; i < 3; i++) {
        if (groups[i] < 1 || groups[i] > MOST_GROUPS)
            CLV_FAIL(error, CLV_E_INTERNAL,
                     "kernel %s:%s: %zu x %zu x %zu work-groups, where 1 to %d are allowed in each "
                     "dimension",
                     kernel->program->name, kernel->name, groups[0], groups[1], groups[2],
                     MOST_GROUPS);
    }
    return CLV_OK;
}

/* Counts what a driver that compiles late now compiles, and marks the program as to be saved. */
static void count_compilation(clvi_device *device, clvi_kernel *kernel, unsigned variant)
{
    kernel->variants |= variant;
    kernel->program->dirty = true;
    device->counters.kernels_compiled++;
}

/* The variant that a launch is the first one of; 0: of none. */
static unsigned new_variant(const clvi_kernel *kernel, const size_t *global)
{
    const bool large =
        global[0] > CLVI_SMALL_GRID || global[1] > CLVI_SMALL_GRID || global[2] > CLVI_SMALL_GRID;
    const unsigned variant = large ? CLVI_VARIANT_LARGE : CLVI_VARIANT_SMALL;
    return kernel->variants & variant ? 0 : variant;
}

/* `owned`: the event is nobody else's. */
static clv_status watch_launch(clvi_device *device, clvi_kernel *kernel, const cl_event *event,
                               bool owned, clv_error *error)
{
    if (!owned)
        clRetainEvent(*event);
    const clvi_watched launch = {.event = *event,
                                 .program = kernel->program->name,
                                 .kernel = kernel->name,
                                 .reported = &kernel->slow};
    return clvi_watch_add(device, &launch, error);
}

clv_status clvi_launch_run(clvi_launch *launch, size_t gx, size_t gy, size_t gz, clv_error *error)
{
    if (launch->status != CLV_OK)
        return clvi_error_copy(error, &launch->first);
    clvi_device *device = launch->device;
    clvi_kernel *kernel = launch->kernel;
    const size_t groups[3] = {gx, gy, gz};
    if (launch->linked)
        return clvi_chain_link(device, groups, error);
    if (kernel == NULL)
        return clvi_rehearsal_note(device, launch, groups, error);
    CLV_TRY(check_launch(launch, groups, error));
    const size_t global[3] = {gx * kernel->local[0], gy * kernel->local[1], gz * kernel->local[2]};
    cl_event *event, own = NULL;
    CLV_TRY(clvi_profile_slot(device, kernel, &event, error));
    if (event == NULL && device->watch.on)
        event = &own;
    const unsigned variant = new_variant(kernel, global);
    const bool late = variant != 0 && device->found->pocl;
    if (late)
        clvi_compiling_begin(device, kernel->program->name, kernel->name);
    const cl_int code = clEnqueueNDRangeKernel(device->queue, kernel->kernel, 3, NULL, global,
                                               kernel->local, 0, NULL, event);
    char what[160];
    if (code != CL_SUCCESS || device->sync || late)
        snprintf(what, sizeof(what), "kernel %.70s:%.70s", kernel->program->name, kernel->name);
    if (code != CL_SUCCESS) {
        if (late)
            clvi_compiling_end(device);
        return clvi_queue_fail(device, code, "clEnqueueNDRangeKernel", what, error);
    }
    device->counters.launches++;
    device->last_kernel = kernel;
    if (variant != 0)
        count_compilation(device, kernel, variant);
    if (device->watch.on)
        CLV_TRY(watch_launch(device, kernel, event, event == &own, error));
    if (late) {
        const clv_status status = clvi_queue_wait(device, what, error);
        clvi_compiling_end(device);
        return status;
    }
    if (device->sync)
        return clvi_queue_wait(device, what, error);
    return clvi_queue_advance(device, error);
}
