/* The helper of a process that compiles kernels for the first time: the list stands in its standard
 * input (core/runtime/rehearsal.c). */
#include "command.h"
#include "driver_cache.h"

#include "base/child.h"
#include "runtime/runtime.h"

static clv_status compile(const clvi_device_options *options, FILE *report, clv_error *error)
{
    clvi_runtime *runtime = NULL;
    clvi_device *device = NULL;
    CLV_TRY(cli_runtime_create(&runtime, error));
    clv_status status = clvi_device_open(runtime, options, &device, error);
    if (status == CLV_OK)
        status = clvi_compile_list(device, stdin, report, error);
    clvi_device_close(device);
    clvi_runtime_destroy(runtime);
    return status;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    enum { CPU_SECONDS = 900 }; /* should the parent be gone */
    const clvi_child_limits limits = {.cpu_seconds = CPU_SECONDS};
    FILE *report = NULL;
    if (cli_count(args) < 1 || cli_count(args) > 2)
        CLV_FAIL(error, CLV_E_USAGE, "kernels-child takes a device, and fast");
    const clvi_device_options options = {.select = cli_at(args, 0),
                                         .fast_math = cli_count(args) == 2};
    CLV_TRY(clvi_child_begin(&limits, &report, error));
    const clv_status status = compile(&options, report, error);
    fclose(report);
    return status;
}

const cli_command cmd_kernels_child = {
    .name = "kernels-child",
    .summary = "Compiles kernels for another process",
    .usage = "DEVICE [fast]",
    .example = "conclave devices",
    .run = run,
};
