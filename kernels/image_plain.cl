/* From bytes to what a network sees, where nothing changes but the values. Host side:
 * core/mixture/image.c. */
#include "image_scale.clh"

/* y = x·scale_c + offset_c of the middle of pictures, with channel c = i % channels (1 or 3). x
 * [n, h + 2·my, w + 2·mx, channels], bytes, x_at in bytes; y [n, h, w, channels], overwritten.
 * NDRange: groups of one work-item, each a share of the n·h rows. */
CLV_KERNEL(image_plain, __global float *restrict y, ulong y_at, __global const uchar *restrict x,
           ulong x_at, int n, int h, int w, int channels, int my, int mx, float scale0,
           float scale1, float scale2, float offset0, float offset1, float offset2, int share)
{
    const int whole_h = h + 2 * my, whole_w = w + 2 * mx, row = w * channels;
    float scale[3 * CLV_V], offset[3 * CLV_V];
    spread_channels(scale, channels, scale0, scale1, scale2);
    spread_channels(offset, channels, offset0, offset1, offset2);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const size_t line = (size_t)(r / h) * whole_h + r % h + my;
        __global const uchar *in = x + x_at + (line * whole_w + mx) * channels;
        __global float *out = y + y_at + (size_t)r * row;
        int i = 0;
        for (; i + 3 * CLV_V <= row; i += 3 * CLV_V) {
            CLV_UNROLL
            for (int k = 0; k < 3; k++) {
                const floatV v = convert_floatV(vloadV(k, in + i));
                clv_put(fma(v, vloadV(k, scale), vloadV(k, offset)), out + i + k * CLV_V);
            }
        }
        for (int k = 0; i < row; i++, k++)
            out[i] = fma((float)in[i], scale[k], offset[k]);
    }
}
