/* Matrix products by both providers, class by class. */
#include "tune/measure.h"

#include "base/clock.h"
#include "train/settings.h"

#include <math.h>

enum { SIDES = 2, NATIVE = 0, CLBLAST = 1 };

typedef struct pair {
    clvi_device *device[SIDES];
    size_t rounds;
} pair;

static double work(const clvi_gemm_shape *s)
{
    return (double)s->times * (double)s->gemm.m * (double)s->gemm.n * (double)s->gemm.k;
}

/* The shape of a class with most work, NULL: none. */
static const clvi_gemm_shape *heaviest(const clvi_gemm_shapes *shapes, unsigned class)
{
    const clvi_gemm_shape *best = NULL;
    for (size_t i = 0; i < shapes->count; i++) {
        const clvi_gemm_shape *s = &shapes->items[i];
        if (clvi_gemm_class(&s->gemm) == class && (best == NULL || work(s) > work(best)))
            best = s;
    }
    return best;
}

/* Milliseconds of one product, of `repeats`. */
static clv_status time_product(clvi_device *device, const clvi_gemm *gemm, int repeats, double *ms,
                               clv_error *error)
{
    double seconds = 0;
    CLV_TRY(tune_check_stop(error));
    CLV_TRY(clvi_timer_begin(device, error));
    clv_status status = CLV_OK;
    for (int i = 0; i < repeats && status == CLV_OK; i++)
        status = clvi_gemm_run(device, gemm, error);
    const clv_status end = clvi_timer_end(device, &seconds, status == CLV_OK ? error : NULL);
    CLV_TRY(status);
    CLV_TRY(end);
    *ms = 1e3 * seconds / repeats;
    return CLV_OK;
}

/* Runs each once and compares; *same. */
static clv_status check(const pair *p, clvi_gemm gemms[SIDES], bool *same, clv_error *error)
{
    const clvi_gemm *g = &gemms[NATIVE];
    const size_t count = (size_t)(g->m * (g->ldc > 0 ? g->ldc : g->n));
    float *values = clvi_malloc(2 * count * sizeof *values);
    double largest = 0, off = 0;
    clv_status status = values != NULL
                            ? CLV_OK
                            : clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: a product");
    for (int i = 0; i < SIDES && status == CLV_OK; i++) {
        status = clvi_gemm_run(p->device[i], &gemms[i], error);
        if (status == CLV_OK)
            status = clvi_download(p->device[i], gemms[i].c.buf, 0, values + (size_t)i * count,
                                   count * sizeof *values, error);
    }
    for (size_t i = 0; status == CLV_OK && i < count; i++) {
        const double difference = fabs((double)values[i] - (double)values[count + i]);
        largest = fmax(largest, fabs((double)values[i]));
        off = difference <= off ? off : difference; /* NaN stays */
    }
    *same = off <= 1e-4 * largest;
    clvi_free(values);
    return status;
}

static clv_status race(const pair *p, clvi_gemm gemms[SIDES], tune_product *out, clv_error *error)
{
    double ms[SIDES][TUNE_MOST_ROUNDS], once = 0;
    int repeats[SIDES];
    for (int i = 0; i < SIDES; i++) {
        CLV_TRY(time_product(p->device[i], &gemms[i], 1, &once, error));
        repeats[i] = once > 10 ? 1 : once < 0.05 ? 200 : (int)(10 / once);
    }
    for (size_t r = 0; r < p->rounds; r++)
        for (int i = 0; i < SIDES; i++)
            CLV_TRY(time_product(p->device[i], &gemms[i], repeats[i], &ms[i][r], error));
    out->native_ms = out->clblast_ms = HUGE_VAL;
    for (size_t r = 0; r < p->rounds; r++) {
        out->native_ms = fmin(out->native_ms, ms[NATIVE][r]);
        out->clblast_ms = fmin(out->clblast_ms, ms[CLBLAST][r]);
    }
    /* The one that is used without a record must be beaten by more than the noise. */
    const double gain = tune_gain(ms[NATIVE], ms[CLBLAST], p->rounds);
    out->clblast = out->usual_clblast ? gain > 1 / TUNE_GAIN : gain >= TUNE_GAIN;
    return CLV_OK;
}

static clv_status measure(const pair *p, tune_product *out, clv_error *error)
{
    clvi_gemm gemms[SIDES] = {{0}, {0}};
    bool same = false;
    clv_status status = CLV_OK;
    for (int i = 0; i < SIDES && status == CLV_OK; i++)
        status = bench_product_open(p->device[i], &out->shape.gemm, &gemms[i], error);
    if (status == CLV_OK)
        status = check(p, gemms, &same, error);
    if (status == CLV_OK && !same)
        snprintf(out->dropped, sizeof out->dropped, "CLBlast computes something else");
    else if (status == CLV_OK)
        status = race(p, gemms, out, error);
    for (int i = 0; i < SIDES; i++)
        bench_product_close(&gemms[i]);
    return status;
}

static clv_status measure_all(const pair *p, const clvi_gemm_shapes *shapes, bool usual,
                              const tune_product_calls *calls, clv_error *error)
{
    double longest = 0;
    for (unsigned class = 0; class < CLVI_GEMM_CLASSES; class ++) {
        const clvi_gemm_shape *shape = heaviest(shapes, class);
        const double began = clvi_now();
        if (shape == NULL || began + longest > calls->until)
            continue;
        tune_product product = {.class = class, .shape = *shape, .usual_clblast = usual};
        clv_error own = CLV_ERROR_INIT;
        const clv_status status = measure(p, &product, &own);
        if (status == CLV_E_INTERRUPTED)
            return clvi_fail(error, status, CLV_HERE, "%s", own.message);
        if (status != CLV_OK)
            snprintf(product.dropped, sizeof product.dropped, "%.190s", own.message);
        calls->each(calls->user, &product);
        longest = fmax(longest, clvi_now() - began);
    }
    return CLV_OK;
}

clv_status tune_products(tune_job *job, const char *record, const tune_product_calls *calls,
                         clv_error *error)
{
    pair p = {.rounds = job->rounds};
    clvi_device_options options = clvi_train_device_options(job->networks[0].config);
    if (job->shapes.count == 0 || options.gemm != CLVI_GEMM_AUTO || clvi_now() > calls->until)
        return CLV_OK;
    const bool usual = clvi_device_uses_clblast(job->networks[0].best.device);
    options.gemm = CLVI_GEMM_NATIVE;
    CLV_TRY(tune_open_device(job, &options, record, &p.device[NATIVE], error));
    options.gemm = CLVI_GEMM_CLBLAST;
    clv_status status = tune_open_device(job, &options, record, &p.device[CLBLAST], error);
    if (status == CLV_OK)
        status = measure_all(&p, &job->shapes, usual, calls, error);
    clvi_device_close(p.device[CLBLAST]);
    clvi_device_close(p.device[NATIVE]);
    return status;
}
