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

/* One line, at once: somebody waits for it. */
static clv_status say(const char *key, double value, clv_error *error)
{
    if (printf("{\"%s\":%.6g}\n", key, value) < 0 || fflush(stdout) != 0)
        CLV_FAIL(error, CLV_E_IO, "nobody reads the times any more");
    return CLV_OK;
}

clv_status bench_paced_by(bench_step *step, void *user, clv_error *error)
{
    double ms;
    CLV_TRY(step(user, &ms, error));
    CLV_TRY(say("first_ms", ms, error));
    CLV_TRY(step(user, &ms, error));
    CLV_TRY(say("ready", ms, error));
    for (int c; (c = getchar()) != EOF;) {
        if (c != '\n')
            continue;
        CLV_TRY(step(user, &ms, error));
        CLV_TRY(say("ms", ms, error));
    }
    return say("peak_mib", peak_mib(), error);
}

typedef struct network {
    bench_steps steps;
    int64_t done;
} network;

static clv_status step(void *user, double *ms, clv_error *error)
{
    network *n = user;
    const double from = clvi_now();
    CLV_TRY(bench_steps_run(&n->steps, error));
    CLV_TRY(clvi_wait(n->steps.device, error));
    *ms = (clvi_now() - from) * 1e3;
    if (n->done++ == 0)
        clvi_device_save_programs(n->steps.device);
    return CLV_OK;
}

clv_status bench_paced(clvi_device *device, clvi_plugins *plugins, const clvi_config *config,
                       const bench_model_desc *desc, clv_error *error)
{
    network n = {0};
    CLV_TRY(say("base_mib", peak_mib(), error));
    CLV_TRY(bench_steps_open(device, plugins, config, desc, &n.steps, error));
    const clv_status status = bench_paced_by(step, &n, error);
    bench_steps_close(&n.steps);
    return status;
}
