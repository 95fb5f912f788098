/* Matrix products: the native kernels, and the choice between them and CLBlast. */
#include "runtime/gemm.h"
#include "runtime/clblast.h"
#include "runtime/device.h"
#include "runtime/gemm_tiled.h"
#include "runtime/wide.h"

#include <stdio.h>

enum {
    MOST_GROUPS = 65535,
    WANTED_GROUPS = 32, /* enough to keep the cores of a desktop busy to the end */
    CHUNK_ROWS = 256,   /* of a, at DEPTH: half of a 1 MiB level-2 cache */
    CHUNK_BLOCKS = 4,   /* column blocks over which these rows are used */
    DEPTH = 512,        /* of the sum per pass */
    LEAST_SPAN = 256,   /* a part of a sum that is cut in parts is at least so long */
    MOST_PARTS = 32,
    FEW_GROUPS = 8,       /* fewer cannot share a large b that is read as it lies */
    LARGE_B = 1 << 18,    /* elements: 1 MiB */
    PACK_ELEMENTS = 8192, /* per group that packs */
    TRANSPOSE_SHARE = 64  /* rows and columns per group that transposes */
};

/* Flags of kernels/gemm.cl. */
enum { GEMM_BIAS = 1, GEMM_ACCUMULATE = 2, GEMM_ACT = 2 };

clvi_wide clvi_wide_of(const clvi_device *device)
{
    clvi_wide w = {.vector = clvi_tuning_int(device, "vector"),
                   .rows = clvi_tuning_int(device, "gemm_mr"),
                   .param_rows = clvi_tuning_int(device, "param_mr"),
                   .group_work = clvi_tuning_int(device, "group_work"),
                   .cached_weights = clvi_tuning_int(device, "cached_weights")};
    const int nv = clvi_tuning_int(device, "gemm_nv");
    w.columns = nv * w.vector;
    snprintf(w.options, sizeof(w.options), "-DCLV_MR=%d -DCLV_NV=%d -DCLV_PR=%d%s", w.rows, nv,
             w.param_rows, clvi_tuning_int(device, "prefetch") != 0 ? "" : " -DCLV_NO_PREFETCH");
    if (clvi_device_is_gpu_like(device)) {
        const int side = clvi_tuning_int(device, "tile_side");
        const int block = clvi_tuning_int(device, "tile_block");
        w.tile = side * block;
        snprintf(w.tile_options, sizeof(w.tile_options), "-DCLV_TS=%d -DCLV_TR=%d", side, block);
    }
    return w;
}

int64_t clvi_packed_elements(const clvi_wide *wide, int64_t rows, int64_t n, int64_t zeros)
{
    return clvi_div_up(n, wide->columns) * wide->columns * rows + zeros;
}

clv_status clvi_pack(clvi_device *device, const clvi_packing *p, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t rows = (int64_t)p->taps_y * p->taps_x * p->k;
    const int64_t blocks = clvi_div_up(p->n, wide.columns);
    int64_t share = clvi_div_up(PACK_ELEMENTS, wide.columns);
    if (clvi_div_up(rows, share) > MOST_GROUPS)
        share = clvi_div_up(rows, MOST_GROUPS);
    clvi_launch l;
    clvi_launch_begin(&l, device, "gemm", "gemm_pack", wide.options);
    clvi_arg_view(&l, p->to);
    clvi_arg_view(&l, p->from);
    clvi_arg_view(&l, p->scale);
    clvi_arg_int(&l, p->n);
    clvi_arg_int(&l, p->k);
    clvi_arg_int(&l, p->row);
    clvi_arg_int(&l, p->column);
    clvi_arg_int(&l, p->taps_y);
    clvi_arg_int(&l, p->taps_x);
    clvi_arg_int(&l, p->tap_y);
    clvi_arg_int(&l, p->tap_x);
    clvi_arg_int(&l, p->zeros);
    clvi_arg_int(&l, (int32_t)share);
    const int64_t groups = rows > 0 ? clvi_div_up(rows, share) : 1;
    return clvi_launch_run(&l, (size_t)groups, (size_t)blocks, 1, error);
}

/* ---- Native ---- */

/* How a product is cut. A function of the shapes and of the device's block sizes only. */
typedef struct cut {
    bool few;             /* few rows of a, and b is read as it lies (gemm_few, …_plain) */
    bool pack;            /* b is packed into the workspace first */
    int64_t packed;       /* elements of it */
    int64_t transposed;   /* elements of a, where it is transposed first */
    int64_t rows, blocks; /* of a group: rows of c (a multiple of wide.rows), column blocks */
    int64_t row_groups, block_groups;
    int64_t parts, span; /* k is cut into `parts` spans, summed afterwards */
} cut;

/* Columns of c of a work-group where b is read as it lies: at least what a group that packs takes,
 * and no more groups than there may be. */
static int64_t few_share(const clvi_wide *wide, const clvi_gemm *g)
{
    const int64_t step = g->transpose_b ? 4 : 4 * wide->vector;
    const int64_t share = clvi_div_up(4 * PACK_ELEMENTS, g->k);
    const int64_t least = clvi_div_up(g->n, MOST_GROUPS);
    return clvi_div_up(share > least ? share : least, step) * step;
}

/* Rows of a, up to which b is read as it lies. */
static int64_t few_rows(const clvi_wide *wide, const clvi_gemm *g)
{
    if (g->transpose_a)
        return 0;
    if (g->transpose_b)
        return CLVI_GEMM_FEW_TRANSPOSED;
    const int64_t groups = clvi_div_up(g->n, few_share(wide, g));
    return g->n * g->k > LARGE_B && groups < FEW_GROUPS ? 0 : CLVI_GEMM_FEW;
}

static cut cut_product(const clvi_wide *wide, const clvi_gemm *g)
{
    const int64_t blocks = clvi_div_up(g->n, wide->columns);
    cut c = {.pack = true, .parts = 1, .span = g->k};
    /* Rows of b that lie apart are slow to walk, but copying them pays only with enough rows of a.
     */
    if (!g->transpose_b && g->n % wide->columns == 0 && g->m <= 4 * (int64_t)wide->rows)
        c.pack = false;
    c.few = g->m <= few_rows(wide, g);
    if (c.few) {
        c.pack = false;
        return c;
    }
    c.packed = c.pack ? clvi_packed_elements(wide, g->k, g->n, 0) : 0;
    c.transposed = g->transpose_a ? g->m * g->k : 0;
    c.rows = clvi_div_up(g->m < CHUNK_ROWS ? g->m : CHUNK_ROWS, wide->rows) * wide->rows;
    c.blocks = blocks < CHUNK_BLOCKS ? blocks : CHUNK_BLOCKS;
    while (clvi_div_up(g->m, c.rows) * clvi_div_up(blocks, c.blocks) < WANTED_GROUPS &&
           (c.rows > wide->rows || c.blocks > 1)) {
        if (c.rows > wide->rows && (c.blocks == 1 || c.rows >= 64))
            c.rows = clvi_div_up(c.rows / 2, wide->rows) * wide->rows;
        else
            c.blocks = (c.blocks + 1) / 2;
    }
    if (clvi_div_up(g->m, c.rows) > MOST_GROUPS)
        c.rows = clvi_div_up(clvi_div_up(g->m, MOST_GROUPS), wide->rows) * wide->rows;
    if (clvi_div_up(blocks, c.blocks) > MOST_GROUPS)
        c.blocks = clvi_div_up(blocks, MOST_GROUPS);
    c.row_groups = clvi_div_up(g->m, c.rows);
    c.block_groups = clvi_div_up(blocks, c.blocks);
    const int64_t groups = c.row_groups * c.block_groups;
    if (groups < WANTED_GROUPS / 2 && g->k >= 2 * LEAST_SPAN) {
        int64_t parts = WANTED_GROUPS / groups;
        parts = parts < MOST_PARTS ? parts : MOST_PARTS;
        parts = parts < g->k / LEAST_SPAN ? parts : g->k / LEAST_SPAN;
        c.span = clvi_div_up(g->k, parts);
        c.parts = clvi_div_up(g->k, c.span);
    }
    return c;
}

clv_status clvi_gemm_reduce(clvi_device *device, const clvi_gemm *g, clvi_view part, int64_t parts,
                            clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    int64_t share = clvi_div_up(PACK_ELEMENTS, g->n * (parts > 0 ? parts : 1));
    if (clvi_div_up(g->m, share) > MOST_GROUPS)
        share = clvi_div_up(g->m, MOST_GROUPS);
    clvi_launch l;
    clvi_launch_begin(&l, device, "gemm", "gemm_reduce", wide.options);
    clvi_arg_view(&l, g->c);
    clvi_arg_view(&l, part);
    clvi_arg_view(&l, g->bias);
    clvi_arg_int(&l, (int32_t)g->m);
    clvi_arg_int(&l, (int32_t)g->n);
    clvi_arg_int(&l, (int32_t)(g->ldc > 0 ? g->ldc : g->n));
    clvi_arg_int(&l, (int32_t)parts);
    clvi_arg_int(&l, (g->bias.buf ? GEMM_BIAS : 0) | (g->accumulate ? GEMM_ACCUMULATE : 0));
    clvi_arg_int(&l, (int32_t)share);
    return clvi_launch_run(&l, (size_t)clvi_div_up(g->m, share), 1, 1, error);
}

clv_status clvi_sum_parts(clvi_device *device, clvi_view to, clvi_view parts, int64_t count,
                          int64_t elements, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t least = clvi_div_up(elements, MOST_GROUPS), wanted = PACK_ELEMENTS / count + 1;
    const int64_t share = clvi_div_up(wanted > least ? wanted : least, wide.vector) * wide.vector;
    clvi_launch l;
    clvi_launch_begin(&l, device, "gemm", "gemm_sum", wide.options);
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, parts);
    clvi_arg_int(&l, (int32_t)elements);
    clvi_arg_int(&l, (int32_t)count);
    clvi_arg_int(&l, (int32_t)share);
    return clvi_launch_run(&l, (size_t)clvi_div_up(elements, share), 1, 1, error);
}

static clv_status pack_b(clvi_device *device, const clvi_gemm *g, clv_error *error)
{
    const int64_t ldb = g->ldb > 0 ? g->ldb : g->transpose_b ? g->k : g->n;
    const clvi_packing p = {.to = g->workspace,
                            .from = g->b,
                            .n = (int32_t)g->n,
                            .k = (int32_t)g->k,
                            .row = g->transpose_b ? 1 : (int32_t)ldb,
                            .column = g->transpose_b ? (int32_t)ldb : 1,
                            .taps_y = 1,
                            .taps_x = 1};
    return clvi_pack(device, &p, error);
}

/* The kernel walks along the rows of a: down its columns every step would be another line of
 * memory.
 */
static clv_status transpose_a(clvi_device *device, const clvi_wide *wide, const clvi_gemm *g,
                              clvi_view to, clv_error *error)
{
    const int64_t longer = g->m > g->k ? g->m : g->k;
    int64_t share = TRANSPOSE_SHARE;
    while (clvi_div_up(longer, share) > MOST_GROUPS)
        share *= 2;
    clvi_launch l;
    clvi_launch_begin(&l, device, "gemm", "gemm_transpose", wide->options);
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, g->a);
    clvi_arg_int(&l, (int32_t)g->k);
    clvi_arg_int(&l, (int32_t)g->m);
    clvi_arg_int(&l, (int32_t)(g->lda > 0 ? g->lda : g->m));
    clvi_arg_int(&l, (int32_t)share);
    return clvi_launch_run(&l, (size_t)clvi_div_up(g->m, share), (size_t)clvi_div_up(g->k, share),
                           1, error);
}

static clv_status run_few(clvi_device *device, const clvi_wide *wide, const clvi_gemm *g,
                          clv_error *error)
{
    const int64_t share = few_share(wide, g);
    clvi_launch l;
    clvi_launch_begin(&l, device, "gemm", g->transpose_b ? "gemm_few" : "gemm_few_plain",
                      wide->options);
    clvi_arg_view(&l, g->c);
    clvi_arg_view(&l, g->a);
    clvi_arg_view(&l, g->b);
    clvi_arg_view(&l, g->bias);
    clvi_arg_int(&l, (int32_t)g->m);
    clvi_arg_int(&l, (int32_t)g->n);
    clvi_arg_int(&l, (int32_t)g->k);
    clvi_arg_int(&l, (int32_t)(g->ldc > 0 ? g->ldc : g->n));
    clvi_arg_int(&l, (int32_t)(g->lda > 0 ? g->lda : g->k));
    clvi_arg_int(&l, (int32_t)(g->ldb > 0 ? g->ldb : g->transpose_b ? g->k : g->n));
    clvi_arg_int(&l, (g->bias.buf ? GEMM_BIAS : 0) | (g->accumulate ? GEMM_ACCUMULATE : 0) |
                         g->activation << GEMM_ACT);
    clvi_arg_int(&l, (int32_t)share);
    return clvi_launch_run(&l, (size_t)clvi_div_up(g->n, share), 1, 1, error);
}

static clv_status run_native(clvi_device *device, const clvi_gemm *g, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    if (wide.tile > 0)
        return clvi_gemm_tiled_run(device, &wide, g, error);
    const cut c = cut_product(&wide, g);
    if (c.few)
        return run_few(device, &wide, g, error);
    const int64_t lda = g->transpose_a ? g->k : g->lda > 0 ? g->lda : g->k;
    const int64_t ldb = g->ldb > 0 ? g->ldb : g->n;
    const int64_t ldc = g->ldc > 0 ? g->ldc : g->n;
    const bool whole = c.parts == 1;
    const clvi_view turned = clvi_view_at(g->workspace, c.packed),
                    part = clvi_view_at(turned, c.transposed);
    if (c.pack)
        CLV_TRY(pack_b(device, g, error));
    if (g->transpose_a)
        CLV_TRY(transpose_a(device, &wide, g, turned, error));
    clvi_launch l;
    clvi_launch_begin(&l, device, "gemm", "gemm_wide", wide.options);
    clvi_arg_view(&l, whole ? g->c : part);
    clvi_arg_view(&l, g->transpose_a ? turned : g->a);
    clvi_arg_view(&l, c.pack ? g->workspace : g->b);
    clvi_arg_view(&l, g->bias);
    clvi_arg_int(&l, (int32_t)g->m);
    clvi_arg_int(&l, (int32_t)g->n);
    clvi_arg_int(&l, (int32_t)g->k);
    clvi_arg_int(&l, (int32_t)(whole ? ldc : g->n));
    clvi_arg_int(&l, (int32_t)lda);
    clvi_arg_int(&l, c.pack ? (int32_t)(g->k * wide.columns) : wide.columns);
    clvi_arg_int(&l, c.pack ? wide.columns : (int32_t)ldb);
    clvi_arg_int(&l, (int32_t)(whole ? 0 : g->m * g->n));
    clvi_arg_int(&l, (int32_t)c.span);
    clvi_arg_int(&l, DEPTH);
    clvi_arg_int(
        &l, !whole ? 0 : (g->bias.buf ? GEMM_BIAS : 0) | (g->accumulate ? GEMM_ACCUMULATE : 0));
    clvi_arg_int(&l, (int32_t)c.blocks);
    clvi_arg_int(&l, (int32_t)c.rows);
    CLV_TRY(
        clvi_launch_run(&l, (size_t)c.block_groups, (size_t)c.row_groups, (size_t)c.parts, error));
    return whole ? CLV_OK : clvi_gemm_reduce(device, g, part, c.parts, error);
}

/* ---- Either ---- */

uint64_t clvi_gemm_workspace(const clvi_device *device, const clvi_gemm *gemm)
{
    if (clvi_gemm_is_clblast(device, gemm))
        return clvi_clblast_workspace(device, gemm);
    const clvi_wide wide = clvi_wide_of(device);
    if (wide.tile > 0)
        return clvi_gemm_tiled_workspace(&wide, gemm);
    const cut c = cut_product(&wide, gemm);
    return (uint64_t)(c.packed + c.transposed + (c.parts > 1 ? c.parts * gemm->m * gemm->n : 0));
}

/* CLBlast copies what its blocks do not divide: all three matrices with every extent rounded up to
 * a multiple of its largest block, 128. */
static clvi_gemm_bound clblast_bound(const clvi_gemm *g, bool k_varies)
{
    const int64_t block = 128;
    const int64_t other = clvi_div_up(k_varies ? g->m : g->k, block) * block;
    const int64_t n = clvi_div_up(g->n, block) * block;
    return (clvi_gemm_bound){other + n, block * (other + n) + other * n};
}

static clvi_gemm_bound native_bound(const clvi_device *device, const clvi_gemm *gemm, bool k_varies)
{
    const clvi_wide wide = clvi_wide_of(device);
    if (wide.tile > 0)
        return clvi_gemm_tiled_bound(&wide, gemm, k_varies);
    clvi_gemm g = *gemm;
    if (k_varies) { /* the longer the sum, the more parts */
        g.k = (int64_t)MOST_PARTS * LEAST_SPAN;
        const cut c = cut_product(&wide, &g);
        return (clvi_gemm_bound){clvi_packed_elements(&wide, 1, g.n, 0) + (g.transpose_a ? g.m : 0),
                                 c.parts > 1 ? c.parts * g.m * g.n : 0};
    }
    /* What few rows do without, more of them may want; and the fewer rows, the more parts. */
    const cut most = cut_product(&wide, &g);
    g.m = most.few ? 1 : few_rows(&wide, &g) + 1;
    const cut c = cut_product(&wide, &g);
    return (clvi_gemm_bound){(c.parts > 1 ? c.parts * g.n : 0) + (g.transpose_a ? g.k : 0),
                             most.packed};
}

/* The class of a product changes with the extent that varies: where not all classes have the same
 * provider, the bound must do for both. */
clvi_gemm_bound clvi_gemm_workspace_bound(const clvi_device *device, const clvi_gemm *gemm,
                                          bool k_varies)
{
    const uint32_t all = (1u << CLVI_GEMM_CLASSES) - 1;
    if (device->clblast == all)
        return clblast_bound(gemm, k_varies);
    const clvi_gemm_bound native = native_bound(device, gemm, k_varies);
    if (device->clblast == 0)
        return native;
    clvi_gemm_bound most = clblast_bound(gemm, k_varies);
    if (native.per_unit > most.per_unit)
        most.per_unit = native.per_unit;
    if (native.constant > most.constant)
        most.constant = native.constant;
    return most;
}

bool clvi_gemm_activates(const clvi_device *device, const clvi_gemm *gemm)
{
    if (clvi_gemm_is_clblast(device, gemm) || clvi_device_is_gpu_like(device))
        return false;
    const clvi_wide wide = clvi_wide_of(device);
    return !gemm->transpose_b && gemm->m <= few_rows(&wide, gemm);
}

clv_status clvi_gemm_run(clvi_device *device, const clvi_gemm *gemm, clv_error *error)
{
    CLV_TRY(clvi_gemm_count(device, gemm, error));
    if (!clvi_gemm_is_clblast(device, gemm))
        return run_native(device, gemm, error);
    clvi_gemm plain = *gemm;
    plain.bias = (clvi_view){0};
    CLV_TRY(clvi_clblast_gemm(device, &plain, error));
    if (!gemm->bias.buf)
        return CLV_OK;
    /* No parts: c = bias + c. */
    clvi_gemm add = *gemm;
    add.accumulate = true;
    return clvi_gemm_reduce(device, &add, add.c, 0, error);
}
