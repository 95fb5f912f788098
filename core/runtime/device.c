/* Opening and closing a device, its counters and its banner. */
#include "base/process.h"
#include "runtime/chain.h"
#include "runtime/compiling.h"

#include <stdio.h>

enum { ALL_PRODUCTS = (1 << CLVI_GEMM_CLASSES) - 1 };

static void describe(clvi_device *device)
{
    const clvi_device_info *info = &device->found->info;
    const clvi_tuning *tuning = &device->tuning;
    char tuned[24] = "";
    if (tuning->changed)
        snprintf(tuned, sizeof(tuned), ", tuned %08x", (unsigned)tuning->digest);
    device->banner = clvi_arena_printf(device->arena, "%s (driver %s), GEMM %s, %d-wide%s%s%s",
                                       device->found->short_name, info->driver,
                                       device->clblast == ALL_PRODUCTS ? "CLBlast"
                                       : device->clblast == 0          ? "native"
                                                                       : "native and CLBlast",
                                       clvi_tuning_int(device, "vector"), tuned,
                                       device->fast_math ? ", fast math" : "",
                                       device->sync ? ", CONCLAVE_SYNC" : "");
    if (tuning->path != NULL)
        clvi_log(CLVI_LOG_INFO, "tuning record of %s: %s%s", tuning->date, tuning->path,
                 tuning->changed ? "" : " (as shipped)");
}

/* Who computes matrix products: what the options say, else the tuning record, else the class. */
static void choose_products(clvi_device *device, clvi_gemm_choice choice)
{
    const bool gpu = clvi_tuning_gpu_class(device->found);
    device->clblast = choice == CLVI_GEMM_CLBLAST  ? ALL_PRODUCTS
                      : choice == CLVI_GEMM_NATIVE ? 0
                                                   : clvi_tuning_clblast(&device->tuning, gpu);
}

static clv_status open_queue(clvi_device *device, clv_error *error)
{
    const cl_device_id id = device->found->id;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)device->found->platform, 0};
    cl_int code = CL_SUCCESS;
    device->context = clCreateContext(properties, 1, &id, NULL, NULL, &code);
    if (device->context == NULL || code != CL_SUCCESS)
        return clvi_cl_fail(error, code, CLV_HERE, "clCreateContext");
    /* Profiling costs nothing on PoCL, and is on the queue from the first day for clvi_timer_begin.
     */
    device->queue = clCreateCommandQueue(device->context, id, CL_QUEUE_PROFILING_ENABLE, &code);
    if (device->queue == NULL || code != CL_SUCCESS)
        return clvi_cl_fail(error, code, CLV_HERE, "clCreateCommandQueue");
    return CLV_OK;
}

static clv_status open_parts(clvi_device *device, const clvi_device_options *options,
                             clv_error *error)
{
    CLV_TRY(clvi_arena_create(&device->arena, error));
    CLV_TRY(open_queue(device, error));
    CLV_TRY(
        clvi_tuning_load(device->found, options->tuning, device->arena, &device->tuning, error));
    CLV_TRY(clvi_programs_init(device, error));
    choose_products(device, options->gemm);
    const char *sync = clvi_env_get(CLVI_ENV_SYNC);
    device->sync = sync != NULL && strcmp(sync, "0") != 0;
    device->fast_math = options->fast_math;
    device->helper = options->helper;
    device->recompute = options->recompute;
    device->winograd = !options->no_winograd && !clvi_device_is_gpu_like(device);
    /* Desktop GPUs want short queues; on a CPU only the memory of PoCL's queue is at stake. */
    device->window = device->found->info.type == CLVI_DEVICE_GPU ? 32 : 256;
    clvi_watch_init(device);
    describe(device);
    if (device->banner == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    return CLV_OK;
}

clv_status clvi_device_open(clvi_runtime *runtime, const clvi_device_options *options,
                            clvi_device **out, clv_error *error)
{
    const clvi_found_device *found = NULL;
    CLV_TRY(clvi_runtime_select(runtime, options->select, &found, error));
    clvi_device *device = clvi_calloc(1, sizeof(*device));
    if (device == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: opening %s", found->short_name);
    device->runtime = runtime;
    device->found = found;
    device->poison = (clv_error)CLV_ERROR_INIT;
    runtime->open_devices++;
    const clv_status status = open_parts(device, options, error);
    if (status != CLV_OK) {
        clvi_prepend(error, "opening %s", found->short_name);
        clvi_device_close(device);
        return status;
    }
    *out = device;
    return CLV_OK;
}

static void release_leaks(clvi_device *device)
{
    while (device->buffers != NULL) {
        clvi_log(CLVI_LOG_ERROR, "leak: buffer \"%s\" of %zu bytes was never destroyed",
                 device->buffers->label, device->buffers->bytes);
        clvi_buf_destroy(device->buffers);
    }
}

/* OpenCL's part. A GPU that hangs would take the process with it: what belongs to it is left to the
 * system. */
static void release_queue(clvi_device *device, bool idle)
{
    if (!idle || clvi_watch_hanging(device) != NULL) {
        clvi_log(CLVI_LOG_WARN, "%s hangs and is left as it is", device->found->short_name);
        return;
    }
    clvi_watch_fini(device);
    for (int i = 0; i < 2; i++) {
        if (device->marks[i] != NULL)
            clReleaseEvent(device->marks[i]);
    }
    if (device->queue != NULL)
        clReleaseCommandQueue(device->queue);
    if (device->context != NULL)
        clReleaseContext(device->context);
}

void clvi_device_close(clvi_device *device)
{
    if (device == NULL)
        return;
    if (device->queue != NULL && clvi_queue_wait(device, "closing", NULL) != CLV_OK)
        clvi_log(CLVI_LOG_WARN, "%s: the queue failed before it was closed",
                 device->found->short_name);
    clvi_pages_fini(device);
    clvi_compiling_fini(device);
    clvi_profile_fini(device);
    clvi_timer_fini(device);
    clvi_chain_fini(device);
    const bool idle = clvi_staging_fini(device);
    release_leaks(device);
    clvi_programs_fini(device);
    release_queue(device, idle);
    clvi_free(device->tuning.items);
    clvi_arena_destroy(device->arena);
    device->runtime->open_devices--;
    clvi_free(device);
}

const clvi_device_info *clvi_device_get_info(const clvi_device *device)
{
    return &device->found->info;
}

const char *clvi_device_banner(const clvi_device *device)
{
    return device->banner;
}

void clvi_device_get_counters(const clvi_device *device, clvi_device_counters *out)
{
    *out = device->counters;
}

bool clvi_device_uses_winograd(const clvi_device *device)
{
    return device->winograd;
}

bool clvi_device_recomputes(const clvi_device *device)
{
    return device->recompute;
}

bool clvi_device_uses_clblast(const clvi_device *device)
{
    return device->clblast != 0;
}

bool clvi_device_is_gpu_like(const clvi_device *device)
{
    return clvi_tuning_int(device, "form") == CLVI_FORM_TILED;
}
