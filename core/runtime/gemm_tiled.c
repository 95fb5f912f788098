#include "runtime/gemm_tiled.h"

enum {
    MOST_GROUPS = 65535,
    WANTED_TILES = 256, /* work-groups that fill a GPU */
    LEAST_SPAN = 256,   /* a part of a sum that is cut in parts is at least so long */
    MOST_PARTS = 32
};

/* Flags of kernels/gemm_tiled.cl. */
enum { GEMM_BIAS = 1, GEMM_ACCUMULATE = 2 };

/* How many parts k is cut into at most, to be summed afterwards. A function of the shapes and the
 * tile only, that falls with m and rises with k. */
static int64_t most_parts(const clvi_wide *wide, const clvi_gemm *g)
{
    const int64_t tiles = clvi_div_up(g->m, wide->tile) * clvi_div_up(g->n, wide->tile);
    int64_t parts = WANTED_TILES / tiles;
    parts = parts < MOST_PARTS ? parts : MOST_PARTS;
    parts = parts < g->k / LEAST_SPAN ? parts : g->k / LEAST_SPAN;
    return parts > 1 ? parts : 1;
}

uint64_t clvi_gemm_tiled_workspace(const clvi_wide *wide, const clvi_gemm *g)
{
    const int64_t parts = most_parts(wide, g);
    return (uint64_t)(parts > 1 ? parts * g->m * g->n : 0);
}

clvi_gemm_bound clvi_gemm_tiled_bound(const clvi_wide *wide, const clvi_gemm *gemm, bool k_varies)
{
    clvi_gemm g = *gemm;
    if (k_varies)
        g.k = (int64_t)MOST_PARTS * LEAST_SPAN;
    else
        g.m = 1;
    const int64_t elements = (int64_t)clvi_gemm_tiled_workspace(wide, &g);
    return k_varies ? (clvi_gemm_bound){0, elements} : (clvi_gemm_bound){elements, 0};
}

clv_status clvi_gemm_tiled_run(clvi_device *device, const clvi_wide *wide, const clvi_gemm *g,
                               clv_error *error)
{
    const int64_t span = clvi_div_up(g->k, most_parts(wide, g)), parts = clvi_div_up(g->k, span);
    const int64_t lda = g->lda > 0 ? g->lda : g->transpose_a ? g->m : g->k;
    const int64_t ldb = g->ldb > 0 ? g->ldb : g->transpose_b ? g->k : g->n;
    const int64_t ldc = g->ldc > 0 ? g->ldc : g->n;
    const int64_t row_tiles = clvi_div_up(g->m, wide->tile);
    const bool whole = parts == 1;
    clvi_launch l;
    clvi_launch_begin(&l, device, "gemm_tiled", "gemm_tiled", wide->tile_options);
    clvi_arg_view(&l, whole ? g->c : g->workspace);
    clvi_arg_view(&l, g->a);
    clvi_arg_view(&l, g->b);
    clvi_arg_view(&l, g->bias);
    clvi_arg_int(&l, (int32_t)g->m);
    clvi_arg_int(&l, (int32_t)g->n);
    clvi_arg_int(&l, (int32_t)g->k);
    clvi_arg_int(&l, (int32_t)(whole ? ldc : g->n));
    clvi_arg_int(&l, (int32_t)(g->transpose_a ? 1 : lda));
    clvi_arg_int(&l, (int32_t)(g->transpose_a ? lda : 1));
    clvi_arg_int(&l, (int32_t)(g->transpose_b ? 1 : ldb));
    clvi_arg_int(&l, (int32_t)(g->transpose_b ? ldb : 1));
    clvi_arg_int(&l, (int32_t)(whole ? 0 : g->m * g->n));
    clvi_arg_int(&l, (int32_t)span);
    clvi_arg_int(
        &l, !whole ? 0 : (g->bias.buf ? GEMM_BIAS : 0) | (g->accumulate ? GEMM_ACCUMULATE : 0));
    CLV_TRY(clvi_launch_run(&l, (size_t)clvi_div_up(g->n, wide->tile),
                            (size_t)(row_tiles < MOST_GROUPS ? row_tiles : MOST_GROUPS),
                            (size_t)parts, error));
    return whole ? CLV_OK : clvi_gemm_reduce(device, g, g->workspace, parts, error);
}
