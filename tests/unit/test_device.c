#include "test_device.h"

#include <stdio.h>
#include <stdlib.h>

static clvi_runtime *runtime;
static clvi_device *device;

clvi_device *test_device_open(int *status)
{
    return test_device_open_with(&(clvi_device_options){.select = "auto"}, status);
}

clvi_device *test_device_open_with(const clvi_device_options *options, int *status)
{
    const char *required = getenv("CONCLAVE_REQUIRE_DEVICE");
    clv_error error = CLV_ERROR_INIT;
    if (clvi_runtime_create(&runtime, &error) == CLV_OK &&
        clvi_device_open(runtime, options, &device, &error) == CLV_OK)
        return device;
    fprintf(stderr, "%s\n", error.message);
    *status = required != NULL && *required == '1' ? 1 : 77;
    return NULL;
}

int test_device_close(void)
{
    clvi_device_counters counters;
    clvi_device_save_programs(device);
    clvi_device_get_counters(device, &counters);
    clvi_device_close(device);
    clvi_runtime_destroy(runtime);
    if (counters.live_buffers != 0)
        fprintf(stderr, "%llu buffers are left\n", (unsigned long long)counters.live_buffers);
    return counters.live_buffers != 0;
}
