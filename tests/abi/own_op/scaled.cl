/* scaled.cl: y[r][c] = x[r][c]·w[c], and its gradients. x, y [rows, columns], w [columns]. */
#define GROUP __attribute__((reqd_work_group_size(32, 1, 1)))

GROUP __kernel void scale_fwd(__global float *y, ulong y_at, __global const float *x, ulong x_at,
                              __global const float *w, ulong w_at, int rows, int columns)
{
    for (int i = (int)get_global_id(0); i < rows * columns; i += (int)get_global_size(0))
        y[y_at + i] = x[x_at + i] * w[w_at + i % columns];
}

/* gw[c] = Σ_r gy[r][c]·x[r][c]: a work-item per column, always in the same order. */
GROUP __kernel void scale_bwd_w(__global float *gw, ulong gw_at, __global const float *gy,
                                ulong gy_at, __global const float *x, ulong x_at, int rows,
                                int columns)
{
    const int c = (int)get_global_id(0);
    float sum = 0;
    for (int r = 0; c < columns && r < rows; r++)
        sum += gy[gy_at + (ulong)r * columns + c] * x[x_at + (ulong)r * columns + c];
    if (c < columns)
        gw[gw_at + c] = sum;
}
