/* conclave bench --paced: steps in turn with another program (tools/speed/). */
#include "base/clock.h"
#include "bench.h"

#include <stdio.h>
#include <sys/resource.h>

static double peak_mib(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static clv_status step(const bench_steps *steps, double *ms, clv_error *error)
{
    const double from = clvi_now();
    CLV_TRY(bench_steps_run(steps, error));
    CLV_TRY(clvi_wait(steps->device, error));
    *ms = (clvi_now() - from) * 1e3;
    return CLV_OK;
}

/* One line, at once: somebody waits for it. */
static clv_status say(const char *key, double value, clv_error *error)
{
    if (printf("{\"%s\":%.6g}\n", key, value) < 0 || fflush(stdout) != 0)
        CLV_FAIL(error, CLV_E_IO, "nobody reads the times any more");
    return CLV_OK;
}

static clv_status follow(const bench_steps *steps, clv_error *error)
{
    double ms;
    CLV_TRY(step(steps, &ms, error));
    CLV_TRY(say("first_ms", ms, error));
    clvi_device_save_programs(steps->device);
    CLV_TRY(step(steps, &ms, error));
    CLV_TRY(say("ready", ms, error));
    for (int c; (c = getchar()) != EOF;) {
        if (c != '\n')
            continue;
        CLV_TRY(step(steps, &ms, error));
        CLV_TRY(say("ms", ms, error));
    }
    return CLV_OK;
}

clv_status bench_paced(clvi_device *device, clvi_plugins *plugins, const clvi_config *config,
                       const bench_model_desc *desc, clv_error *error)
{
    const double base = peak_mib();
    bench_steps steps;
    CLV_TRY(bench_steps_open(device, plugins, config, desc, &steps, error));
    clv_status status = follow(&steps, error);
    if (status == CLV_OK)
        status = say("base_mib", base, error);
    if (status == CLV_OK)
        status = say("peak_mib", peak_mib(), error);
    bench_steps_close(&steps);
    return status;
}
