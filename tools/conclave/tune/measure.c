#include "tune/measure.h"

#include "base/clock.h"
#include "train/settings.h"

#include <math.h>

enum { MOST_REPEATS = 256, LEAST_BATCH = 2, MOST_PIXELS = 128 * 32 * 32 };
/* Seconds that a step may take, and that what is timed at once takes at least. */
static const double quick_step = 0.1, long_step = 0.3, least_span = 0.02;

clv_status tune_check_stop(clv_error *error)
{
    if (cli_stop_asked)
        CLV_FAIL(error, CLV_E_INTERRUPTED, "stopped; nothing was written");
    return CLV_OK;
}

/* ---- Sides ---- */

static void side_close(tune_side *side)
{
    if (side->open)
        bench_steps_close(&side->steps);
    clvi_device_close(side->device);
    *side = (tune_side){0};
}

clv_status tune_open_device(const tune_job *job, const clvi_device_options *wanted,
                            const char *record, clvi_device **out, clv_error *error)
{
    clvi_device_options options = *wanted;
    options.select = clvi_device_get_info(job->session->device)->selector;
    options.tuning = record;
    return clvi_device_open(job->session->runtime, &options, out, error);
}

static clv_status side_open(const tune_job *job, const tune_network *network, const char *record,
                            tune_side *out, clv_error *error)
{
    const clvi_device_options options = clvi_train_device_options(network->config);
    CLV_TRY(tune_check_stop(error));
    CLV_TRY(tune_open_device(job, &options, record, &out->device, error));
    const clv_status status = bench_steps_open(out->device, job->session->plugins, network->config,
                                               &network->desc, &out->steps, error);
    out->open = status == CLV_OK;
    if (status != CLV_OK)
        side_close(out);
    return status;
}

/* Milliseconds of a step, and of the processors', of `repeats`. */
typedef struct span {
    double ms, processor_ms;
} span;
static clv_status time_steps(tune_side *side, int repeats, span *out, clv_error *error)
{
    double seconds = 0;
    CLV_TRY(tune_check_stop(error));
    const double before = clvi_processor_now();
    CLV_TRY(clvi_timer_begin(side->device, error));
    clv_status status = CLV_OK;
    for (int i = 0; i < repeats && status == CLV_OK; i++)
        status = bench_steps_run(&side->steps, error);
    const clv_status end = clvi_timer_end(side->device, &seconds, status == CLV_OK ? error : NULL);
    CLV_TRY(status);
    CLV_TRY(end);
    *out = (span){1e3 * seconds / repeats, 1e3 * (clvi_processor_now() - before) / repeats};
    return CLV_OK;
}

static int repeats_for(double ms)
{
    const double n = least_span * 1e3 / (ms > 1e-3 ? ms : 1e-3);
    return n < 1 ? 1 : n > MOST_REPEATS ? MOST_REPEATS : (int)n;
}

/* ---- Networks ---- */

/* A batch that takes not too long, then what comes out of it. */
static clv_status open_network(tune_job *job, tune_network *n, clv_error *error)
{
    const double limit = 1e3 * (job->quick ? quick_step : long_step);
    const int64_t most = MOST_PIXELS / ((int64_t)n->desc.height * n->desc.width) + LEAST_BATCH;
    span took = {0};
    n->desc.batch = n->desc.batch < most ? n->desc.batch : most;
    for (;;) {
        CLV_TRY(side_open(job, n, "", &n->best, error));
        CLV_TRY(time_steps(&n->best, 1, &took, error));
        /* On a CPU that is busy with other things the clock says too much. */
        const bool cpu = clvi_device_get_info(n->best.device)->type == CLVI_DEVICE_CPU;
        const double ms = cpu ? fmin(took.ms, took.processor_ms) : took.ms;
        if (ms <= 1.5 * limit || n->desc.batch <= LEAST_BATCH)
            break;
        side_close(&n->best);
        const int64_t fewer = (int64_t)((double)n->desc.batch * limit / ms);
        n->desc.batch = fewer > LEAST_BATCH ? fewer : LEAST_BATCH;
    }
    clvi_gemm_note(n->best.device, &job->shapes);
    clv_status status = tune_result_of(&n->best.steps, &n->wanted, error);
    clvi_gemm_note(n->best.device, NULL);
    CLV_TRY(status);
    n->shipped_ms = took.ms;
    for (int i = 0; i < 3; i++) {
        CLV_TRY(time_steps(&n->best, repeats_for(took.ms), &took, error));
        n->shipped_ms = fmin(n->shipped_ms, took.ms);
    }
    clvi_device_save_programs(n->best.device);
    return CLV_OK;
}

clv_status tune_open(tune_job *job, clv_error *error)
{
    for (size_t i = 0; i < job->count; i++) {
        tune_network *n = &job->networks[i];
        n->desc.train = n->desc.bare = true;
        const clv_status status = open_network(job, n, error);
        if (status != CLV_OK) {
            clvi_prepend(error, "%s", n->name);
            return status;
        }
    }
    return CLV_OK;
}

void tune_close(tune_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        side_close(&job->networks[i].best);
        tune_result_fini(&job->networks[i].wanted);
    }
    clvi_free(job->shapes.items);
}

/* ---- In turn ---- */

/* Times both in turn, the one that begins changing; ends early where the second is far behind. On a
 * CPU that other work keeps busy the processors' time counts, which that disturbs less. */
static clv_status compare(tune_job *job, tune_side *a, tune_side *b, size_t rounds, double *gain,
                          clv_error *error)
{
    double ms[2][TUNE_MOST_ROUNDS], processor[2][TUNE_MOST_ROUNDS];
    tune_side *const sides[2] = {a, b};
    const bool cpu = clvi_device_get_info(a->device)->type == CLVI_DEVICE_CPU;
    span took = {0};
    CLV_TRY(time_steps(b, 1, &took, error));
    CLV_TRY(time_steps(a, 1, &took, error));
    const int repeats = repeats_for(took.ms);
    for (size_t i = 0; i < rounds; i++) {
        for (size_t k = 0; k < 2; k++) {
            const size_t which = i % 2 ? 1 - k : k;
            CLV_TRY(time_steps(sides[which], repeats, &took, error));
            ms[which][i] = took.ms;
            processor[which][i] = took.processor_ms;
        }
        const bool busy = cpu && (tune_disturbed(ms[0], i + 1) || tune_disturbed(ms[1], i + 1));
        *gain =
            busy ? tune_gain(processor[0], processor[1], i + 1) : tune_gain(ms[0], ms[1], i + 1);
        job->busy = job->busy || (busy && i + 1 == rounds);
        if (i >= 2 && *gain < 0.95)
            break;
    }
    return CLV_OK;
}

/* Whether an error is the candidate's own fault: it is dropped, and the search goes on. */
static bool is_own_fault(clv_status status)
{
    return status == CLV_E_BUILD || status == CLV_E_CL || status == CLV_E_DEVICE ||
           status == CLV_E_MEMORY || status == CLV_E_INTERNAL || status == CLV_E_SHAPE;
}

static clv_status compare_network(tune_job *job, tune_network *n, const char *record, size_t rounds,
                                  tune_outcome *out, double *gain, clv_error *error)
{
    tune_side side = {0};
    tune_result got = {0};
    clv_error own = CLV_ERROR_INIT;
    clv_status status = side_open(job, n, record, &side, &own);
    if (status == CLV_OK)
        status = tune_result_of(&side.steps, &got, &own);
    if (status != CLV_OK && is_own_fault(status)) {
        snprintf(out->dropped, sizeof out->dropped, "%.190s", own.message);
        status = CLV_OK;
    } else if (status != CLV_OK) {
        status = clvi_fail(error, status, CLV_HERE, "%s", own.message);
    } else if (!tune_results_agree(&n->wanted, &got)) {
        snprintf(out->dropped, sizeof out->dropped, "%.60s comes out differently", n->name);
    } else {
        status = compare(job, &n->best, &side, rounds, gain, error);
    }
    tune_result_fini(&got);
    side_close(&side);
    return status;
}

static clv_status compare_all(tune_job *job, const char *record, size_t rounds, tune_outcome *out,
                              double *gains, clv_error *error)
{
    double logs = 0;
    *out = (tune_outcome){.worst = HUGE_VAL};
    for (size_t i = 0; i < job->count; i++) {
        double gain = 1;
        CLV_TRY(compare_network(job, &job->networks[i], record, rounds, out, &gain, error));
        if (gains != NULL)
            gains[i] = gain;
        logs += log(gain);
        out->worst = fmin(out->worst, gain);
        out->gain = exp(logs / (double)(i + 1));
        if (out->dropped[0] != '\0' || (gains == NULL && gain < TUNE_WORST))
            break; /* it will not be taken */
    }
    return CLV_OK;
}

static clv_status text_of(const tune_values *values, clvi_text *out, clv_error *error)
{
    tune_values_text(values, false, out);
    if (!out->failed)
        return CLV_OK;
    clvi_text_fini(out);
    CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a tuning record");
}

/* Opens the networks with what is best now. */
static clv_status open_best(tune_job *job, const tune_values *best, clv_error *error)
{
    if (tune_values_equal(best, &job->best))
        return CLV_OK;
    clvi_text text = {0};
    CLV_TRY(text_of(best, &text, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; status == CLV_OK && i < job->count; i++) {
        tune_network *n = &job->networks[i];
        side_close(&n->best);
        status = side_open(job, n, clvi_text_get(&text), &n->best, error);
        if (status == CLV_OK)
            clvi_device_save_programs(n->best.device);
    }
    clvi_text_fini(&text);
    job->best = *best;
    return status;
}

clv_status tune_measure(void *user, const tune_values *best, const tune_values *candidate,
                        tune_outcome *out, clv_error *error)
{
    tune_job *job = user;
    clvi_text text = {0};
    CLV_TRY(open_best(job, best, error));
    CLV_TRY(text_of(candidate, &text, error));
    const clv_status status = compare_all(job, clvi_text_get(&text), job->rounds, out, NULL, error);
    clvi_text_fini(&text);
    return status;
}

clv_status tune_confirm(tune_job *job, const char *record, tune_outcome *out, double *gains,
                        clv_error *error)
{
    const tune_values shipped = {0};
    CLV_TRY(open_best(job, &shipped, error));
    return compare_all(job, record, 2 * job->rounds, out, gains, error);
}
