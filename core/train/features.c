/* See features.h. */
#include "train/features.h"

#include "base/clock.h"
#include "base/process.h"
#include "data/source.h"
#include "train/feature_files.h"

struct clvi_features {
    const clvi_config *config;
    clvi_kept kept;
    int64_t batch;
    size_t counts[CLVI_SPLIT_COUNT]; /* of images; 0 of a split that is not kept */
    float *rows[CLVI_SPLIT_COUNT];   /* [count, kept.used]: of an image the blocks that are used */
    float *staging;                  /* [batch, all blocks] */
    clvi_feature_files *files;       /* while computing; NULL: there is no folder */
    bool *wanted;                    /* [experts] while computing: has to run */
};

/* ---- Making ---- */

static clv_status allocate(clvi_features *f, const clvi_mixture *mixture, clv_error *error)
{
    int64_t all = 0;
    for (size_t b = 0; b < f->kept.count; b++)
        all += f->kept.blocks[b].width;
    bool good = true;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        f->rows[s] = clvi_calloc(f->counts[s] + 1, (size_t)f->kept.used * sizeof(float));
        good = good && f->rows[s];
    }
    f->staging = clvi_malloc((size_t)(f->batch * all) * sizeof *f->staging);
    f->wanted = clvi_calloc(clvi_mixture_expert_count(mixture), sizeof *f->wanted);
    if (!good || !f->staging || !f->wanted)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the features of the images");
    return CLV_OK;
}

clv_status clvi_features_create(const clvi_config *config, const clvi_mixture *mixture,
                                const clvi_dataset *data, int64_t batch, clvi_features **out,
                                clv_error *error)
{
    const clvi_kept kept = clvi_mixture_kept(mixture);
    *out = NULL;
    if (kept.count == 0)
        return CLV_OK;
    const size_t splits = kept.experts ? CLVI_SPLIT_COUNT : CLVI_TEST;
    const uint64_t most = clvi_physical_bytes() / 4, each = (uint64_t)kept.used * sizeof(float);
    size_t images = 0;
    for (size_t s = 0; s < splits; s++)
        images += clvi_dataset_count(data, (clvi_split)s);
    if (images > most / each)
        return clvi_config_fail(config, "train", "cache_features", error,
                                "the features of %zu images, %.0f MB, are more than a quarter of "
                                "this machine's memory; freeze more of the expert, or leave it out",
                                images, (double)images * (double)each * 1e-6);
    clvi_features *f = clvi_calloc(1, sizeof *f);
    if (!f)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the features of %zu images", images);
    f->config = config;
    f->kept = kept;
    f->batch = batch;
    for (size_t s = 0; s < splits; s++)
        f->counts[s] = clvi_dataset_count(data, (clvi_split)s);
    const clv_status status = allocate(f, mixture, error);
    if (status != CLV_OK) {
        clvi_features_destroy(f);
        return status;
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
    clvi_feature_files_destroy(f->files);
    clvi_free(f->staging);
    clvi_free(f->wanted);
    clvi_free(f);
}

/* ---- Computing ---- */

/* Of the batch's blocks in f->staging, those that are used into the rows, and what the files lack
 * into them. */
static clv_status take_batch(clvi_features *f, const clvi_mixture *mixture, clvi_split split,
                             const clvi_batch *b, clv_error *error)
{
    const float *from = f->staging;
    size_t at = 0;
    for (size_t k = 0; k < f->kept.count; k++) {
        const size_t width = (size_t)f->kept.blocks[k].width;
        for (size_t e = 0; f->files && e < clvi_mixture_expert_count(mixture); e++)
            CLV_TRY(clvi_feature_files_add(f->files, e, k,
                                           from + clvi_mixture_kept_columns(mixture, k, e).at,
                                           b->count, width, error));
        for (size_t i = 0; i < b->count && f->kept.blocks[k].used; i++)
            memcpy(f->rows[split] + b->indices[i] * (size_t)f->kept.used + at, from + i * width,
                   width * sizeof *from);
        at += f->kept.blocks[k].used ? width : 0;
        from += b->count * width;
    }
    return CLV_OK;
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
        CLV_TRY(clvi_mixture_features(mixture, &batch, f->wanted, f->staging, error));
        CLV_TRY(take_batch(f, mixture, split, &b, error));
    }
    return CLV_OK;
}

static clv_status compute_split(clvi_features *f, clvi_mixture *mixture, clvi_dataset *data,
                                clvi_split split, const volatile sig_atomic_t *stop,
                                clv_error *error)
{
    clvi_loader *loader;
    if (f->counts[split] == 0)
        return CLV_OK;
    CLV_TRY(clvi_loader_create(data, split, (size_t)f->batch, &loader, error));
    clv_status status = clvi_loader_start_in_order(loader, error);
    if (status == CLV_OK)
        status = run_split(f, mixture, split, loader, stop, error);
    clvi_loader_destroy(loader);
    return status;
}

/* ---- Files ---- */

/* Opens the files. *missing: experts that have to run, which f->wanted names: those of which a file
 * is missing that steps read; then all their files are made. */
static clv_status open_files(clvi_features *f, clvi_mixture *mixture, const clvi_dataset *data,
                             size_t *missing, clv_error *error)
{
    const size_t experts = clvi_mixture_expert_count(mixture);
    const bool skips = strcmp(clvi_config_text(f->config, "data", "on_bad"), "skip") == 0;
    for (size_t e = 0; e < experts; e++)
        f->wanted[e] = true;
    *missing = experts;
    if (!f->kept.experts || skips || !*clvi_config_text(f->config, "train", "feature_folder"))
        return CLV_OK;
    CLV_TRY(clvi_feature_files_create(f->config, mixture, data, f->batch, &f->files, error));
    for (size_t e = 0; e < experts; e++) {
        f->wanted[e] = false;
        for (size_t k = 0; k < f->kept.count; k++)
            f->wanted[e] |= f->kept.blocks[k].used && !clvi_feature_files_have(f->files, e, k);
        *missing -= !f->wanted[e];
        for (size_t k = 0; k < f->kept.count && f->wanted[e]; k++)
            if (!clvi_feature_files_have(f->files, e, k))
                CLV_TRY(clvi_feature_files_begin(f->files, e, k, error));
    }
    return CLV_OK;
}

/* Those of the experts that did not have to run. */
static clv_status read_files(clvi_features *f, const clvi_mixture *mixture, clv_error *error)
{
    for (size_t e = 0; e < clvi_mixture_expert_count(mixture); e++) {
        size_t at = 0;
        for (size_t k = 0; k < f->kept.count && !f->wanted[e]; k++) {
            const clvi_kept_columns columns = clvi_mixture_kept_columns(mixture, k, e);
            if (!f->kept.blocks[k].used)
                continue;
            for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
                CLV_TRY(clvi_feature_files_read(f->files, e, k, (clvi_split)s,
                                                f->rows[s] + at + columns.at, (size_t)f->kept.used,
                                                error));
            at += (size_t)f->kept.blocks[k].width;
        }
    }
    return CLV_OK;
}

static void report(const clvi_features *f, size_t experts, size_t missing, double seconds)
{
    size_t images = 0;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        images += f->counts[s];
    char ran[64] = "";
    if (f->files && missing > 0)
        snprintf(ran, sizeof ran, " (of %zu of %zu experts)", missing, experts);
    clvi_log(CLVI_LOG_INFO, "features of %zu images, %lld numbers each, %s%s in %.1f s", images,
             (long long)f->kept.used, missing > 0 ? "computed" : "read", ran, seconds);
}

clv_status clvi_features_compute(clvi_features *f, clvi_mixture *mixture, clvi_dataset *data,
                                 const volatile sig_atomic_t *stop, clv_error *error)
{
    const double begin = clvi_now();
    size_t missing;
    CLV_TRY(open_files(f, mixture, data, &missing, error));
    for (int s = 0; s < CLVI_SPLIT_COUNT && missing > 0; s++)
        CLV_TRY(compute_split(f, mixture, data, (clvi_split)s, stop, error));
    const bool stopped = stop && *stop;
    if (f->files && !stopped) {
        CLV_TRY(clvi_feature_files_commit(f->files, error));
        CLV_TRY(read_files(f, mixture, error));
    }
    if (!stopped)
        report(f, clvi_mixture_expert_count(mixture), missing, clvi_now() - begin);
    clvi_feature_files_destroy(f->files);
    f->files = NULL;
    return CLV_OK;
}

/* ---- Using ---- */

bool clvi_features_have(const clvi_features *f, clvi_split split)
{
    return f && f->counts[split] > 0;
}

void clvi_features_lighten(const clvi_features *f, clvi_loader *loader)
{
    if (f && !f->kept.with_image)
        clvi_loader_leave_pixels(loader);
}

const float *clvi_features_of(clvi_features *f, clvi_split split, const clvi_batch *batch)
{
    if (!clvi_features_have(f, split))
        return NULL;
    float *to = f->staging;
    size_t at = 0;
    for (size_t k = 0; k < f->kept.count; k++) {
        const size_t width = (size_t)f->kept.blocks[k].width;
        if (!f->kept.blocks[k].used)
            continue;
        for (size_t i = 0; i < batch->count; i++)
            memcpy(to + i * width, f->rows[split] + batch->indices[i] * (size_t)f->kept.used + at,
                   width * sizeof *to);
        to += batch->count * width;
        at += width;
    }
    return f->staging;
}
