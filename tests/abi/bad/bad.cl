/* y = x·w, and its gradients; the macros make one thing wrong each. */
#define GROUP __attribute__((reqd_work_group_size(16, 1, 1)))

#ifndef FACTOR
#define FACTOR 1.0f
#endif
#ifndef MORE
#define MORE 0
#endif
#ifndef FEWER
#define FEWER 0
#endif

GROUP __kernel void multiply(__global float *y, ulong y_at, __global const float *x, ulong x_at,
                             __global const float *w, ulong w_at, int rows, int columns, float add)
{
    for (int i = (int)get_global_id(0); i < rows * columns + MORE - FEWER;
         i += (int)get_global_size(0))
        y[y_at + i] = x[x_at + i] * w[w_at + i % columns] + add;
}

GROUP __kernel void sum(__global float *gw, ulong gw_at, __global const float *gy, ulong gy_at,
                        __global const float *x, ulong x_at, int rows, int columns)
{
    for (int c = (int)get_global_id(0); c < columns - FEWER; c += (int)get_global_size(0)) {
        float sum = 0;
        for (int r = 0; r < rows; r++)
            sum += gy[gy_at + r * columns + c] * x[x_at + r * columns + c];
        gw[gw_at + c] = FACTOR * sum;
    }
}

/* Writes where there is nothing. */
GROUP __kernel void fault(__global float *y, ulong y_at)
{
    y[y_at + 0x100000000000ul + get_global_id(0)] = 1;
}
