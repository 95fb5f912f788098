/* See mistakes.h. */
#include "report/mistakes.h"

#include <math.h>
#include <stdlib.h>

static int by_probability(const void *a, const void *b)
{
    const clvi_prediction *const *x = a, *const *y = b;
    const double p = (*x)->log_probability, q = (*y)->log_probability;
    if (isfinite(p) != isfinite(q))
        return isfinite(p) ? 1 : -1;
    if (isfinite(p) && p != q)
        return p < q ? -1 : 1;
    return strcmp((*x)->image, (*y)->image);
}

clv_status clvi_mistakes_find(const clvi_run_view *v, clvi_mistakes *out, clv_error *error)
{
    const clvi_predictions *p = &v->record.predictions;
    const clvi_prediction **wrong = clvi_calloc(p->count + 1, sizeof *wrong);
    *out = (clvi_mistakes){0};
    if (!wrong)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the mistakes of %s", v->run);
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].predicted != p->items[i].label)
            wrong[out->all++] = &p->items[i];
    qsort(wrong, out->all, sizeof *wrong, by_probability);
    for (; out->count < out->all && out->count < CLVI_MISTAKES; out->count++)
        out->worst[out->count] = wrong[out->count];
    clvi_free(wrong);
    return CLV_OK;
}

const char *clvi_mistake_class(const clvi_run_view *v, int32_t index)
{
    for (size_t i = 0; i < v->classes.rows; i++)
        if (clvi_sheet_is(&v->classes, i, "split", clvi_run_view_split(v)) && index-- == 0)
            return clvi_sheet_text(&v->classes, i, "class");
    return "no class";
}

/* ---- Pictures ---- */

/* index[i] of worst[i] in the split, or UINT32_MAX. */
static void find_samples(const clvi_mistakes *m, const clvi_dataset *data, clvi_split split,
                         uint32_t *index)
{
    for (size_t i = 0; i < m->count; i++)
        index[i] = UINT32_MAX;
    for (size_t k = 0; k < clvi_dataset_count(data, split); k++)
        for (size_t i = 0; i < m->count; i++)
            if (clvi_prediction_is_of(m->worst[i]->image, data,
                                      clvi_dataset_sample(data, split, k)))
                index[i] = (uint32_t)k;
}

clv_status clvi_mistake_pictures_open(const clvi_run_view *v, const clvi_mistakes *m,
                                      clvi_dataset *data, clvi_mistake_pictures *out,
                                      clv_error *error)
{
    clvi_mistake_pictures p = {0};
    if (data && clvi_dataset_count(data, v->record.judged) > 0) {
        find_samples(m, data, v->record.judged, p.index);
        CLV_TRY(clvi_loader_create(data, v->record.judged, 1, &p.loader, error));
        p.data = data;
    }
    *out = p;
    return CLV_OK;
}

void clvi_mistake_pictures_close(clvi_mistake_pictures *p)
{
    clvi_loader_destroy(p->loader);
}

clv_status clvi_mistake_pictures_read(clvi_mistake_pictures *p, size_t i, clvi_image *out,
                                      bool *read, clv_error *error)
{
    clv_error none = CLV_ERROR_INIT;
    clvi_batch batch = {0};
    int height, width;
    *read = false;
    if (!p->loader || p->index[i] == UINT32_MAX)
        return CLV_OK;
    CLV_TRY(clvi_loader_start(p->loader, &p->index[i], 1, error));
    const clv_status status = clvi_loader_next(p->loader, &batch, &none);
    if (status == CLV_E_MEMORY)
        CLV_FAIL(error, status, "%s", none.message);
    if (status != CLV_OK || batch.count == 0)
        return CLV_OK;
    clvi_dataset_size(p->data, &height, &width);
    *out = (clvi_image){.pixels = (uint8_t *)batch.pixels,
                        .height = height,
                        .width = width,
                        .channels = clvi_dataset_channels(p->data),
                        .box = {0, 0, height, width}};
    *read = true;
    return CLV_OK;
}
