#include "bench.h"

#include "base/clock.h"
#include "base/reals.h"

double bench_median(double *values, size_t n)
{
    clvi_sort_reals(values, n);
    return clvi_quantile(values, n, 0.5);
}

clv_status bench_config(const bench_model_desc *desc, const char *gemm, clvi_config **out,
                        clv_error *error)
{
    enum { FIXED = 3 };
    clvi_arena *arena = NULL;
    CLV_TRY(clvi_arena_create(&arena, error));
    const size_t count = FIXED + desc->option_count;
    const char **words = clvi_arena_alloc(arena, count * sizeof *words);
    bool whole = words != NULL;
    if (whole) {
        words[0] = clvi_arena_printf(arena, "device.gemm=%s", gemm);
        words[1] = "mixture.experts=bench";
        words[2] = clvi_arena_printf(arena, "expert.bench.plugin=%s", desc->plugin);
    }
    for (size_t i = 0; whole && i < desc->option_count; i++)
        words[FIXED + i] = clvi_arena_printf(arena, "expert.bench.%s", desc->options[i]);
    for (size_t i = 0; i < count && whole; i++)
        whole = words[i] != NULL;
    const clvi_config_source source = {
        .name = "bench", .text = "", .overrides = words, .override_count = count};
    const clv_status status =
        whole ? clvi_config_load(&source, out, error)
              : clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the configuration");
    clvi_arena_destroy(arena);
    return status;
}

clv_status bench_steps_run_on(const bench_steps *r, const clvi_mixture_batch *batch,
                              clv_error *error)
{
    if (!r->desc->train)
        return clvi_mixture_infer(r->mixture, batch, error);
    CLV_TRY(clvi_mixture_step(r->mixture, batch, error));
    if (r->optimizer == NULL)
        return CLV_OK;
    return clvi_optimizer_step(r->optimizer, 1e-3, NULL, error);
}

clv_status bench_steps_run(const bench_steps *r, clv_error *error)
{
    const clvi_mixture_batch batch = {.n = r->desc->batch,
                                      .pixels = r->pixels,
                                      .labels = r->desc->train ? r->labels : NULL,
                                      .ids = r->ids};
    return bench_steps_run_on(r, &batch, error);
}

static clv_status prepare(bench_steps *r, clvi_plugins *plugins, clv_error *error)
{
    const bench_model_desc *d = r->desc;
    const size_t pixels = (size_t)d->height * (size_t)d->width, batch = (size_t)d->batch;
    const size_t bytes = batch * pixels * (size_t)d->channels;
    r->pixels = clvi_malloc(bytes);
    r->labels = clvi_malloc(batch * sizeof *r->labels);
    r->ids = clvi_malloc(batch * sizeof *r->ids);
    if (!r->pixels || !r->labels || !r->ids)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %zu images", batch);
    for (size_t i = 0; i < bytes; i++)
        r->pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    for (size_t i = 0; i < batch; i++)
        r->labels[i] = (int32_t)(i % (size_t)d->classes), r->ids[i] = (uint32_t)i;
    const clvi_mixture_desc desc = {
        .config = r->config,
        .plugins = plugins,
        .device = r->device,
        .classes = d->classes,
        .height = d->height,
        .width = d->width,
        .channels = d->channels,
        .max_batch = d->batch,
        .train = d->train,
        .store_kinds = d->bare ? CLVI_STORE_ONLY_VALUES | 1u << CLVI_STORE_GRADIENT : 0};
    CLV_TRY(clvi_mixture_create(&desc, &r->mixture, error));
    const clvi_optimizer_desc adamw = {
        .betas = {0.9, 0.999}, .eps = 1e-8, .weight_decay = 0.01, .decay_all = true};
    if (d->train && !d->bare)
        CLV_TRY(
            clvi_optimizer_create(clvi_mixture_store(r->mixture), &adamw, &r->optimizer, error));
    return clvi_mixture_warm(r->mixture, error);
}

clv_status bench_steps_open(clvi_device *device, clvi_plugins *plugins, const clvi_config *config,
                            const bench_model_desc *desc, bench_steps *out, clv_error *error)
{
    *out = (bench_steps){.desc = desc, .device = device, .config = config};
    const clv_status status = prepare(out, plugins, error);
    if (status != CLV_OK)
        bench_steps_close(out);
    return status;
}

void bench_steps_close(bench_steps *r)
{
    clvi_optimizer_destroy(r->optimizer);
    clvi_mixture_destroy(r->mixture);
    clvi_free(r->pixels);
    clvi_free(r->labels);
    clvi_free(r->ids);
}

static clv_status measure(const bench_steps *r, double began, bench_times *out, clv_error *error)
{
    bench_times times = {0};
    double *ms = clvi_malloc((size_t)r->desc->repeat * sizeof *ms);
    if (!ms)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %lld times", (long long)r->desc->repeat);
    clv_status status = CLV_OK;
    for (int64_t i = -2; i < r->desc->repeat && status == CLV_OK; i++) {
        const double from = clvi_now();
        status = bench_steps_run(r, error);
        if (status == CLV_OK)
            status = clvi_wait(r->device, error);
        if (i == -2) {
            times.warm_seconds = clvi_now() - began;
            clvi_device_save_programs(r->device);
        } else if (i >= 0) {
            ms[i] = (clvi_now() - from) * 1e3;
        }
    }
    if (status == CLV_OK) {
        times.median_ms = bench_median(ms, (size_t)r->desc->repeat);
        times.best_ms = ms[0]; /* sorted */
        *out = times;
    }
    clvi_free(ms);
    return status;
}

clv_status bench_model(clvi_device *device, clvi_plugins *plugins, const clvi_config *config,
                       const bench_model_desc *desc, bench_times *out, clv_error *error)
{
    const double began = clvi_now();
    bench_steps steps;
    CLV_TRY(bench_steps_open(device, plugins, config, desc, &steps, error));
    const clv_status status = measure(&steps, began, out, error);
    bench_steps_close(&steps);
    return status;
}
