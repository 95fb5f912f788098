/* See frozen.h. */
#include "mixture/frozen.h"

#include "graph/graph.h"

struct clvi_frozen {
    clvi_device *device;
    int64_t elements;
    clvi_plan *before;        /* inference: images → features */
    clvi_plan *train, *infer; /* features → logits */
    clvi_buf *features;       /* [max_batch, elements] */
};

int64_t clvi_frozen_elements(const clv_graph *graph, clv_tensor cut)
{
    return clvi_shape_elements(&graph->tensors[cut].shape);
}

static clv_status fill(clvi_frozen *f, const clvi_plan_desc *train, const clvi_plan_desc *infer,
                       clv_tensor cut, clv_error *error)
{
    clvi_plan_desc before = *infer, behind = *infer, learning = *train;
    before.outputs = &cut;
    before.output_count = 1;
    behind.from = learning.from = cut;
    behind.has_from = learning.has_from = true;
    CLV_TRY(clvi_plan_create(&before, &f->before, error));
    CLV_TRY(clvi_plan_create(&behind, &f->infer, error));
    CLV_TRY(clvi_plan_create(&learning, &f->train, error));
    CLV_TRY(clvi_buf_create(f->device, (size_t)(infer->max_batch * f->elements) * 4, "features",
                            &f->features, error));
    clvi_plan_bind_from(f->infer, (clvi_view){f->features, 0});
    clvi_plan_bind_from(f->train, (clvi_view){f->features, 0});
    return CLV_OK;
}

clv_status clvi_frozen_create(const clvi_plan_desc *train, const clvi_plan_desc *infer,
                              clv_tensor cut, clvi_frozen **out, clv_error *error)
{
    clvi_frozen *f = clvi_calloc(1, sizeof *f);
    if (!f)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the frozen part of %s", infer->graph->label);
    f->device = clvi_store_device(infer->store);
    f->elements = clvi_frozen_elements(infer->graph, cut);
    const clv_status status = fill(f, train, infer, cut, error);
    if (status != CLV_OK) {
        clvi_frozen_destroy(f);
        return status;
    }
    *out = f;
    return CLV_OK;
}

void clvi_frozen_destroy(clvi_frozen *f)
{
    if (!f)
        return;
    clvi_plan_destroy(f->before);
    clvi_plan_destroy(f->train);
    clvi_plan_destroy(f->infer);
    clvi_buf_destroy(f->features);
    clvi_free(f);
}

clv_status clvi_frozen_compute(clvi_frozen *f, int64_t n, clvi_view images, float *out,
                               clv_error *error)
{
    clvi_plan_bind(f->before, 0, images, (clvi_view){NULL, 0});
    CLV_TRY(clvi_plan_forward(f->before, n, NULL, error));
    const clvi_view features = clvi_plan_output(f->before, 0, n);
    return clvi_download(f->device, features.buf, features.offset * 4, out,
                         (size_t)(n * f->elements) * 4, error);
}

clv_status clvi_frozen_put(clvi_frozen *f, int64_t n, const float *features, clv_error *error)
{
    return clvi_upload(f->device, f->features, 0, features, (size_t)(n * f->elements) * 4, error);
}

clvi_plan *clvi_frozen_plan(const clvi_frozen *f, clv_mode mode)
{
    return mode == CLV_MODE_TRAIN ? f->train : f->infer;
}

uint64_t clvi_frozen_bytes(const clvi_frozen *f)
{
    return clvi_buf_bytes(f->features) + clvi_plan_own_bytes(f->before) +
           clvi_plan_own_bytes(f->train) + clvi_plan_own_bytes(f->infer);
}
