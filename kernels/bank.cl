/* bank: columns at … at + width of a matrix bank, to and from a matrix x [n, width]. Row r of x is
 * row r of the bank, or (listed = 1) row list[r]; otherwise list is not read. NDRange: groups of
 * one work-item, each a share of the rows; 0 bytes of local memory. */
#include "vector.clh"

static size_t row_of(__global const int *list, int listed, int r)
{
    return listed ? (size_t)list[r] : (size_t)r;
}

/* bank[row, at + c] = x[r, c]. */
CLV_SINGLE __kernel void bank_put(__global float *restrict bank, ulong bank_at,
                                  __global const float *restrict x, ulong x_at,
                                  __global const int *list, ulong list_at, int listed, int n,
                                  int columns, int at, int width, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global float *to = bank + bank_at + row_of(list + list_at, listed, r) * columns + at;
        for (int c = 0; c < width; c += CLV_V)
            clv_store(clv_load(x + x_at + (size_t)r * width + c, width - c, 0), to + c, width - c);
    }
}

/* x[r, c] = bank[row, at + c], overwritten. */
CLV_SINGLE __kernel void bank_take(__global float *restrict x, ulong x_at,
                                   __global const float *restrict bank, ulong bank_at,
                                   __global const int *list, ulong list_at, int listed, int n,
                                   int columns, int at, int width, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *from =
            bank + bank_at + row_of(list + list_at, listed, r) * columns + at;
        for (int c = 0; c < width; c += CLV_V)
            clv_store(clv_load(from + c, width - c, 0), x + x_at + (size_t)r * width + c,
                      width - c);
    }
}

/* x[r, c] += bank[row, at + c]. */
CLV_SINGLE __kernel void bank_add(__global float *restrict x, ulong x_at,
                                  __global const float *restrict bank, ulong bank_at,
                                  __global const int *list, ulong list_at, int listed, int n,
                                  int columns, int at, int width, int share)
{
    for (int r = CLV_BEGIN(share), end = CLV_END(n, share); r < end; r++) {
        __global const float *from =
            bank + bank_at + row_of(list + list_at, listed, r) * columns + at;
        __global float *to = x + x_at + (size_t)r * width;
        for (int c = 0; c < width; c += CLV_V)
            clv_store(clv_load(to + c, width - c, 0) + clv_load(from + c, width - c, 0), to + c,
                      width - c);
    }
}
