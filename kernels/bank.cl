/* bank: columns at … at + width of a matrix bank [n, columns], to and from a matrix [n, width].
 * NDRange: groups of one work-item, each a share of the rows; 0 bytes of local memory. */
#include "vector.clh"

/* bank[r, at + c] = x[r, c]. */
CLV_SINGLE __kernel void bank_put(__global float *restrict bank, ulong bank_at,
                                  __global const float *restrict x, ulong x_at, int n, int columns,
                                  int at, int width, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++)
        for (int c = 0; c < width; c += CLV_V)
            clv_store(clv_load(x + x_at + (size_t)r * width + c, width - c, 0),
                      bank + bank_at + (size_t)r * columns + at + c, width - c);
}

/* x[r, c] = bank[r, at + c], overwritten. */
CLV_SINGLE __kernel void bank_take(__global float *restrict x, ulong x_at,
                                   __global const float *restrict bank, ulong bank_at, int n,
                                   int columns, int at, int width, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++)
        for (int c = 0; c < width; c += CLV_V)
            clv_store(clv_load(bank + bank_at + (size_t)r * columns + at + c, width - c, 0),
                      x + x_at + (size_t)r * width + c, width - c);
}

/* x[r, c] += bank[r, at + c]. */
CLV_SINGLE __kernel void bank_add(__global float *restrict x, ulong x_at,
                                  __global const float *restrict bank, ulong bank_at, int n,
                                  int columns, int at, int width, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++)
        for (int c = 0; c < width; c += CLV_V) {
            __global float *to = x + x_at + (size_t)r * width + c;
            clv_store(clv_load(to, width - c, 0) +
                          clv_load(bank + bank_at + (size_t)r * columns + at + c, width - c, 0),
                      to, width - c);
        }
}
