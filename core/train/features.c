/* See features.h. */
#include "train/features.h"

#include "base/clock.h"
#include "base/process.h"
#include "data/source.h"

static const clvi_split splits[] = {CLVI_TRAIN, CLVI_VAL};
enum { SPLITS = sizeof splits / sizeof *splits };

struct clvi_features {
    size_t elements; /* of one image */
    int64_t batch;
    size_t counts[CLVI_SPLIT_COUNT];
    float *rows[CLVI_SPLIT_COUNT]; /* [count, elements] */
    float *staging;                /* [batch, elements] */
};

clv_status clvi_features_create(const clvi_config *config, const clvi_mixture *mixture,
                                const clvi_dataset *data, int64_t batch, clvi_features **out,
                                clv_error *error)
{
    const size_t elements = (size_t)clvi_mixture_feature_elements(mixture);
    *out = NULL;
    if (elements == 0)
        return CLV_OK;
    const uint64_t most = clvi_physical_bytes() / 4, each = elements * sizeof(float);
    const size_t images = clvi_dataset_count(data, CLVI_TRAIN) + clvi_dataset_count(data, CLVI_VAL);
    if (images > most / each)
        return clvi_config_fail(config, "train", "cache_features", error,
                                "the features of %zu images, %.0f MB, are more than a quarter of "
                                "this machine's memory; freeze more of the expert, or leave it out",
                                images, (double)images * (double)each * 1e-6);
    clvi_features *f = clvi_calloc(1, sizeof *f);
    bool good = f != NULL;
    for (int s = 0; good && s < SPLITS; s++) {
        f->counts[splits[s]] = clvi_dataset_count(data, splits[s]);
        f->rows[splits[s]] = clvi_calloc(f->counts[splits[s]] + 1, each);
        good = f->rows[splits[s]] != NULL;
    }
    if (good) {
        f->elements = elements;
        f->batch = batch;
        f->staging = clvi_malloc((size_t)batch * each);
        good = f->staging != NULL;
    }
    if (!good) {
        clvi_features_destroy(f);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the features of %zu images", images);
    }
    *out = f;
    return CLV_OK;
}

void clvi_features_destroy(clvi_features *f)
{
    if (!f)
        return;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        clvi_free(f->rows[s]);
    clvi_free(f->staging);
    clvi_free(f);
}

static clv_status run_split(clvi_features *f, clvi_mixture *mixture, clvi_split split,
                            clvi_loader *loader, const volatile sig_atomic_t *stop,
                            clv_error *error)
{
    while (!stop || !*stop) {
        clvi_batch b;
        CLV_TRY(clvi_loader_next(loader, &b, error));
        if (b.count == 0)
            break;
        const clvi_mixture_batch batch = {.n = (int64_t)b.count, .pixels = b.pixels, .ids = b.ids};
        CLV_TRY(clvi_mixture_features(mixture, &batch, f->staging, error));
        for (size_t i = 0; i < b.count; i++)
            memcpy(f->rows[split] + b.indices[i] * f->elements, f->staging + i * f->elements,
                   f->elements * sizeof *f->staging);
    }
    return CLV_OK;
}

static clv_status compute_split(clvi_features *f, clvi_mixture *mixture, clvi_dataset *data,
                                clvi_split split, const volatile sig_atomic_t *stop,
                                clv_error *error)
{
    const size_t count = f->counts[split];
    uint32_t *order = clvi_malloc((count + 1) * sizeof *order);
    clvi_loader *loader = NULL;
    clv_status status = CLV_OK;
    if (!order)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for %zu images", count);
    for (size_t i = 0; i < count && status == CLV_OK; i++)
        order[i] = (uint32_t)i;
    if (status == CLV_OK)
        status = clvi_loader_create(data, split, (size_t)f->batch, &loader, error);
    if (status == CLV_OK)
        status = clvi_loader_start(loader, order, count, error);
    if (status == CLV_OK)
        status = run_split(f, mixture, split, loader, stop, error);
    clvi_loader_destroy(loader);
    clvi_free(order);
    return status;
}

clv_status clvi_features_compute(clvi_features *f, clvi_mixture *mixture, clvi_dataset *data,
                                 const volatile sig_atomic_t *stop, clv_error *error)
{
    const double begin = clvi_now();
    const size_t images = f->counts[CLVI_TRAIN] + f->counts[CLVI_VAL];
    for (int s = 0; s < SPLITS; s++)
        CLV_TRY(compute_split(f, mixture, data, splits[s], stop, error));
    clvi_log(CLVI_LOG_INFO, "features of %zu images, %zu numbers each, computed in %.1f s", images,
             f->elements, clvi_now() - begin);
    return CLV_OK;
}

const float *clvi_features_of(clvi_features *f, clvi_split split, const clvi_batch *batch)
{
    if (!f)
        return NULL;
    for (size_t i = 0; i < batch->count; i++)
        memcpy(f->staging + i * f->elements, f->rows[split] + batch->indices[i] * f->elements,
               f->elements * sizeof *f->staging);
    return f->staging;
}
