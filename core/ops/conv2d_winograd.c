#include "ops/conv2d_winograd.h"

#include "ops/share.h"

enum {
    POINTS = 36,           /* products of a tile */
    TILE = 4,              /* pixels along its side */
    FLAG_POOLED = 8,       /* kernels/winograd.cl */
    LEAST_CHANNELS = 64,   /* below: moving the 36 costs more than the products save */
    CHUNK_TILES = 96,      /* a chunk's v and m stay near the processor, reading the filter pays */
    PARAM_LEAST = 1 << 19, /* elements of v and d of a chunk of a weight gradient: 2 MiB … */
    PARAM_MOST = 1 << 23,  /* … to 32 MiB */
    GROUP_WORK = 1 << 20,  /* multiply-adds of a work-group */
    DEPTH = 512            /* of a sum per pass: a block of the filter stays in a cache */
};

static clvi_view view_at(clvi_view view, int64_t elements)
{
    view.offset += (uint64_t)elements;
    return view;
}

static int64_t rows_of_tiles(int64_t pixels)
{
    return clvi_div_up(pixels, TILE);
}

bool clvi_winograd_serves(const clvi_device *device, const clvi_conv *c)
{
    if (!clvi_device_uses_winograd(device) || c->kh != 3 || c->kw != 3 || c->sh != 1 ||
        c->sw != 1 || c->groups != 1 || c->ci < LEAST_CHANNELS || c->co < LEAST_CHANNELS)
        return false;
    /* Tiles at the edges compute pixels that nobody wants; the gradient to the input has the
     * input's extents. At most 0.6 of the plain sum's products. */
    const int64_t y = POINTS * rows_of_tiles(c->oh) * rows_of_tiles(c->ow);
    const int64_t x = POINTS * rows_of_tiles(c->h) * rows_of_tiles(c->w);
    return 10 * y <= 6 * 9 * c->oh * c->ow && 10 * x <= 6 * 9 * c->h * c->w;
}

/* ---- One direction ---- */

/* y [n, oh, ow, co] of x [n, h, w, ci] by a filter that is ready; all of it or what `first` and
 * `tiles` say, in kernels' terms. */
typedef struct pass {
    int64_t n, h, w, ci, pt, pl, oh, ow, co;
    clvi_view x, filter, y, bias, workspace;
    int64_t activation;
    bool pooled; /* y: the largest of 2 × 2 pixels each */
} pass;

/* Tiles of a chunk, a multiple of the block's rows: v [36, tiles, ci] and m [36, tiles, co] lie in
 * the workspace. */
static int64_t pass_chunk(const clvi_wide *wide)
{
    return clvi_div_up(CHUNK_TILES, wide->rows) * wide->rows;
}

/* The same of a weight gradient's v and d. Its 36 sums pass through memory once for each chunk, so
 * that a chunk is twice their size. */
static int64_t param_chunk(const clvi_wide *wide, const clvi_conv *c)
{
    int64_t elements = 2 * POINTS * c->ci * c->co;
    elements = elements < PARAM_LEAST ? PARAM_LEAST : elements > PARAM_MOST ? PARAM_MOST : elements;
    const int64_t tiles = elements / (POINTS * (c->ci + c->co)) / wide->rows * wide->rows;
    return tiles > pass_chunk(wide) ? tiles : pass_chunk(wide);
}

static int64_t filter_elements(const clvi_wide *wide, int64_t k, int64_t n)
{
    return POINTS * clvi_packed_elements(wide, k, n, 0);
}

/* Launch arguments of a range of tiles of pictures [th, tw]. */
static void tile_args(clvi_launch *l, int64_t first, int64_t tiles, int64_t th, int64_t tw)
{
    clvi_arg_int(l, (int32_t)first);
    clvi_arg_int(l, (int32_t)tiles);
    clvi_arg_int(l, (int32_t)rows_of_tiles(th));
    clvi_arg_int(l, (int32_t)rows_of_tiles(tw));
}

static clv_status ready_input(clvi_device *device, const clvi_wide *wide, const pass *p,
                              int64_t first, int64_t tiles, clv_error *error)
{
    const clvi_share share = clvi_share_of(tiles, 2 * POINTS * p->ci, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "winograd", "winograd_input", wide->options);
    clvi_arg_view(&l, p->workspace);
    clvi_arg_view(&l, p->x);
    tile_args(&l, first, tiles, p->oh, p->ow);
    clvi_arg_int(&l, (int32_t)p->h);
    clvi_arg_int(&l, (int32_t)p->w);
    clvi_arg_int(&l, (int32_t)p->ci);
    clvi_arg_int(&l, (int32_t)p->pt);
    clvi_arg_int(&l, (int32_t)p->pl);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status multiply(clvi_device *device, const clvi_wide *wide, const pass *p, int64_t tiles,
                           clv_error *error)
{
    int64_t share = GROUP_WORK / (p->ci * wide->columns) / wide->rows * wide->rows;
    share = share < wide->rows ? wide->rows : share;
    clvi_launch l;
    clvi_launch_begin(&l, device, "winograd", "winograd_products", wide->options);
    clvi_arg_view(&l, view_at(p->workspace, POINTS * tiles * p->ci));
    clvi_arg_view(&l, p->workspace);
    clvi_arg_view(&l, p->filter);
    clvi_arg_int(&l, (int32_t)tiles);
    clvi_arg_int(&l, (int32_t)p->ci);
    clvi_arg_int(&l, (int32_t)p->co);
    clvi_arg_int(&l, DEPTH);
    clvi_arg_int(&l, (int32_t)share);
    return clvi_launch_run(&l, (size_t)clvi_div_up(p->co, wide->columns),
                           (size_t)clvi_div_up(tiles, share), POINTS, error);
}

static clv_status write_output(clvi_device *device, const clvi_wide *wide, const pass *p,
                               int64_t first, int64_t tiles, clv_error *error)
{
    const clvi_share share = clvi_share_of(tiles, 2 * POINTS * p->co, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "winograd", "winograd_output", wide->options);
    clvi_arg_view(&l, p->y);
    clvi_arg_view(&l, view_at(p->workspace, POINTS * tiles * p->ci));
    clvi_arg_view(&l, p->bias);
    tile_args(&l, first, tiles, p->oh, p->ow);
    clvi_arg_int(&l, (int32_t)p->oh);
    clvi_arg_int(&l, (int32_t)p->ow);
    clvi_arg_int(&l, (int32_t)p->co);
    clvi_arg_int(&l, (int32_t)p->activation | (p->bias.buf ? CLVI_CONV_BIAS : 0) |
                         (p->pooled ? FLAG_POOLED : 0));
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status convolve(clvi_device *device, const clvi_wide *wide, const pass *p,
                           clv_error *error)
{
    const int64_t all = p->n * rows_of_tiles(p->oh) * rows_of_tiles(p->ow);
    const int64_t chunk = pass_chunk(wide);
    for (int64_t first = 0; first < all; first += chunk) {
        const int64_t tiles = all - first < chunk ? all - first : chunk;
        CLV_TRY(ready_input(device, wide, p, first, tiles, error));
        CLV_TRY(multiply(device, wide, p, tiles, error));
        CLV_TRY(write_output(device, wide, p, first, tiles, error));
    }
    return CLV_OK;
}

/* Where the filter [k, n] of a direction lies in the weights. */
typedef struct filter_from {
    clvi_view weights, scale;
    int64_t n, k, row, column, tap_y, tap_x;
} filter_from;

static clv_status ready_filter(clvi_device *device, const clvi_wide *wide, const filter_from *f,
                               clvi_view to, clv_error *error)
{
    const clvi_share share = clvi_share_of(f->k, POINTS * wide->columns, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "winograd", "winograd_filter", wide->options);
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, f->weights);
    clvi_arg_view(&l, f->scale);
    clvi_arg_int(&l, (int32_t)f->n);
    clvi_arg_int(&l, (int32_t)f->k);
    clvi_arg_int(&l, (int32_t)f->row);
    clvi_arg_int(&l, (int32_t)f->column);
    clvi_arg_int(&l, (int32_t)f->tap_y);
    clvi_arg_int(&l, (int32_t)f->tap_x);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, (size_t)clvi_div_up(f->n, wide->columns), 1, error);
}

/* ---- Forward ---- */

int64_t clvi_winograd_packed(const clvi_device *device, const clvi_conv *c)
{
    const clvi_wide wide = clvi_wide_of(device);
    return filter_elements(&wide, c->ci, c->co);
}

clv_status clvi_winograd_pack(clvi_device *device, const clvi_conv *c, clvi_view weights,
                              clvi_view scale, clvi_view packed, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    const filter_from f = {.weights = weights,
                           .scale = scale,
                           .n = c->co,
                           .k = c->ci,
                           .row = c->co,
                           .column = 1,
                           .tap_y = 3 * c->ci * c->co,
                           .tap_x = c->ci * c->co};
    return ready_filter(device, &wide, &f, packed, error);
}

static int64_t pass_workspace(const clvi_wide *wide, const clvi_conv *c)
{
    return pass_chunk(wide) * POINTS * (c->ci + c->co);
}

clvi_amount clvi_winograd_forward_workspace(const clvi_device *device, const clvi_conv *c)
{
    const clvi_wide wide = clvi_wide_of(device);
    return (clvi_amount){0, pass_workspace(&wide, c)};
}

clv_status clvi_winograd_forward(clvi_device *device, const clvi_conv *c,
                                 const clvi_conv_call *call, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    const pass p = {.n = c->n,
                    .h = c->h,
                    .w = c->w,
                    .ci = c->ci,
                    .pt = c->pt,
                    .pl = c->pl,
                    .oh = c->oh,
                    .ow = c->ow,
                    .co = c->co,
                    .x = call->x,
                    .filter = call->packed,
                    .y = call->y,
                    .bias = call->bias,
                    .workspace = call->workspace,
                    .activation = call->activation,
                    .pooled = call->pooled};
    return convolve(device, &wide, &p, error);
}

/* ---- Backward ---- */

/* In the workspace: the flipped filter, then a chunk. */
static clv_status backward_data(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                                const clvi_conv_grads *g, clv_error *error)
{
    const int64_t tap = c->ci * c->co;
    const filter_from f = {.weights = view_at(g->weights, 8 * tap),
                           .n = c->ci,
                           .k = c->co,
                           .row = 1,
                           .column = c->co,
                           .tap_y = -3 * tap,
                           .tap_x = -tap};
    const pass p = {.n = c->n,
                    .h = c->oh,
                    .w = c->ow,
                    .ci = c->co,
                    .pt = 2 - c->pt,
                    .pl = 2 - c->pl,
                    .oh = c->h,
                    .ow = c->w,
                    .co = c->ci,
                    .x = g->dz,
                    .filter = g->workspace,
                    .y = g->dx,
                    .workspace = view_at(g->workspace, filter_elements(wide, c->co, c->ci))};
    CLV_TRY(ready_filter(device, wide, &f, g->workspace, error));
    return convolve(device, wide, &p, error);
}

static clv_status ready_grad(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                             const clvi_view at[2], int64_t first, int64_t tiles, clv_error *error)
{
    const clvi_share share = clvi_share_of(tiles, 2 * POINTS * c->co, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "winograd", "winograd_grad", wide->options);
    clvi_arg_view(&l, at[0]);
    clvi_arg_view(&l, at[1]);
    tile_args(&l, first, tiles, c->oh, c->ow);
    clvi_arg_int(&l, (int32_t)c->oh);
    clvi_arg_int(&l, (int32_t)c->ow);
    clvi_arg_int(&l, (int32_t)c->co);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

static clv_status sum_products(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                               const clvi_view at[3], int64_t tiles, bool add, clv_error *error)
{
    int64_t share = GROUP_WORK / (tiles * wide->columns) / wide->param_rows * wide->param_rows;
    share = share < 4 * wide->param_rows ? 4 * wide->param_rows : share;
    share = share > c->ci ? c->ci : share;
    clvi_launch l;
    clvi_launch_begin(&l, device, "winograd", "winograd_param", wide->options);
    for (int i = 0; i < 3; i++)
        clvi_arg_view(&l, at[i]);
    clvi_arg_int(&l, (int32_t)tiles);
    clvi_arg_int(&l, (int32_t)c->ci);
    clvi_arg_int(&l, (int32_t)c->co);
    clvi_arg_int(&l, add);
    clvi_arg_int(&l, (int32_t)share);
    return clvi_launch_run(&l, (size_t)clvi_div_up(c->co, wide->columns),
                           (size_t)clvi_div_up(c->ci, share), POINTS, error);
}

/* In the workspace: du [36, ci, co], then v and d of a chunk. */
static clv_status backward_param(clvi_device *device, const clvi_wide *wide, const clvi_conv *c,
                                 const clvi_conv_grads *g, clv_error *error)
{
    const int64_t all = c->n * rows_of_tiles(c->oh) * rows_of_tiles(c->ow);
    const int64_t chunk = param_chunk(wide, c);
    const clvi_view v = view_at(g->workspace, POINTS * c->ci * c->co);
    const pass p = {.n = c->n,
                    .h = c->h,
                    .w = c->w,
                    .ci = c->ci,
                    .pt = c->pt,
                    .pl = c->pl,
                    .oh = c->oh,
                    .ow = c->ow,
                    .x = g->x,
                    .workspace = v};
    for (int64_t first = 0; first < all; first += chunk) {
        const int64_t tiles = all - first < chunk ? all - first : chunk;
        const clvi_view d = view_at(v, POINTS * tiles * c->ci);
        CLV_TRY(ready_input(device, wide, &p, first, tiles, error));
        CLV_TRY(ready_grad(device, wide, c, (clvi_view[]){d, g->dz}, first, tiles, error));
        CLV_TRY(sum_products(device, wide, c, (clvi_view[]){g->workspace, v, d}, tiles, first > 0,
                             error));
    }
    const clvi_share share = clvi_share_of(c->ci * c->co, POINTS + 9, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, device, "winograd", "winograd_param_out", wide->options);
    clvi_arg_view(&l, g->dweights);
    clvi_arg_view(&l, g->workspace);
    clvi_arg_int(&l, (int32_t)(c->ci * c->co));
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clvi_amount clvi_winograd_backward_workspace(const clvi_device *device, const clvi_conv *c)
{
    const clvi_wide wide = clvi_wide_of(device);
    const int64_t chunk = param_chunk(&wide, c);
    const int64_t data = filter_elements(&wide, c->co, c->ci) + pass_workspace(&wide, c);
    const int64_t param = POINTS * (c->ci * c->co + chunk * (c->ci + c->co));
    return (clvi_amount){0, data > param ? data : param};
}

clv_status clvi_winograd_backward(clvi_device *device, const clvi_conv *c,
                                  const clvi_conv_grads *grads, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(device);
    if (grads->dweights.buf)
        CLV_TRY(backward_param(device, &wide, c, grads, error));
    if (grads->dx.buf)
        CLV_TRY(backward_data(device, &wide, c, grads, error));
    return CLV_OK;
}
