/* Which form products and convolutions have on a device and its block sizes, from the tuning record
 * (kernels/wide.clh, kernels/tiled.clh), and the packing that GEMM and convolution share. */
#ifndef CLVI_WIDE_H
#define CLVI_WIDE_H

#include "runtime/runtime.h"

typedef struct clvi_wide {
    int32_t vector;     /* floats per vector */
    int32_t rows;       /* rows of accumulators */
    int32_t param_rows; /* the same where rows are input channels */
    int32_t columns;    /* columns of a block: a multiple of vector */
    int32_t group_work; /* multiply-adds of a work-group and block of columns of a convolution */
    int32_t cached_weights; /* elements of weights over which one work-group goes for its pixels */
    char options[64];       /* the kernels' -D options */
    int32_t tile;           /* rows and columns of a tile; 0: the form is wide */
    char tile_options[32];  /* the tiled kernels' */
} clvi_wide;

clvi_wide clvi_wide_of(const clvi_device *device);

/* What gemm_pack copies; see kernels/gemm.cl. A matrix [k, n] has taps_y = taps_x = 1. */
typedef struct clvi_packing {
    clvi_view to;    /* clvi_packing_elements of these */
    clvi_view from;  /* offset may point at the last tap where tap strides are negative */
    clvi_view scale; /* [n]; buf NULL: none */
    int32_t n, k;    /* columns; rows per tap */
    int32_t row, column, taps_y, taps_x, tap_y, tap_x; /* elements between neighbours in `from` */
    int32_t zeros;
} clvi_packing;

/* Elements that packing `rows` rows (all taps) of n columns takes, with `zeros`. */
int64_t clvi_packed_elements(const clvi_wide *wide, int64_t rows, int64_t n, int64_t zeros);

/* Enqueues. */
clv_status clvi_pack(clvi_device *device, const clvi_packing *packing,
                     clv_error *error) CLV_MUST_CHECK;

/* to[i] = part[0][i] + part[1][i] + … + part[count - 1][i], summed in this order, i < elements;
 * parts [count, elements]. Enqueues. */
clv_status clvi_sum_parts(clvi_device *device, clvi_view to, clvi_view parts, int64_t count,
                          int64_t elements, clv_error *error) CLV_MUST_CHECK;

/* ceil(a / b) of counts. */
static inline int64_t clvi_div_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
