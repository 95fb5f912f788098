/* Classes of matrix products, and which provider has which. */
#include "runtime/device.h"

enum { SMALL_MACS = 1 << 22, THIN = 64 };

static const char *const keys[CLVI_GEMM_CLASSES] = {
    "gemm_small_nn", "gemm_small_nt", "gemm_small_tn", "gemm_small_tt",
    "gemm_thin_nn",  "gemm_thin_nt",  "gemm_thin_tn",  "gemm_thin_tt",
    "gemm_large_nn", "gemm_large_nt", "gemm_large_tn", "gemm_large_tt",
};

unsigned clvi_gemm_class(const clvi_gemm *g)
{
    const unsigned transposes = (g->transpose_a ? 2u : 0u) + (g->transpose_b ? 1u : 0u);
    const bool thin = g->m < THIN || g->n < THIN || g->k < THIN;
    /* As reals: the product of three extents may be beyond 64 bits. */
    const bool small = (double)g->m * (double)g->n * (double)g->k < SMALL_MACS;
    return (small ? 0u : thin ? 4u : 8u) + transposes;
}

const char *clvi_gemm_class_key(unsigned number)
{
    return number < CLVI_GEMM_CLASSES ? keys[number] : "";
}

bool clvi_gemm_is_clblast(const clvi_device *device, const clvi_gemm *gemm)
{
    return (device->clblast >> clvi_gemm_class(gemm) & 1) != 0;
}

void clvi_gemm_note(clvi_device *device, clvi_gemm_shapes *to)
{
    device->gemm_shapes = to;
}

static bool same_shape(const clvi_gemm *a, const clvi_gemm *b)
{
    return a->transpose_a == b->transpose_a && a->transpose_b == b->transpose_b &&
           a->accumulate == b->accumulate && a->m == b->m && a->n == b->n && a->k == b->k &&
           a->lda == b->lda && a->ldb == b->ldb && a->ldc == b->ldc;
}

clv_status clvi_gemm_count(clvi_device *device, const clvi_gemm *gemm, clv_error *error)
{
    clvi_gemm_shapes *to = device->gemm_shapes;
    if (to == NULL)
        return CLV_OK;
    for (size_t i = 0; i < to->count; i++) {
        if (same_shape(&to->items[i].gemm, gemm)) {
            to->items[i].times++;
            return CLV_OK;
        }
    }
    CLV_TRY(
        clvi_grow((void **)&to->items, &to->capacity, to->count + 1, sizeof(*to->items), error));
    clvi_gemm_shape *s = &to->items[to->count++];
    *s = (clvi_gemm_shape){.gemm = *gemm, .times = 1};
    s->gemm.a = s->gemm.b = s->gemm.c = s->gemm.bias = s->gemm.workspace = (clvi_view){0};
    return CLV_OK;
}
