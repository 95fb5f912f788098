/* From bytes to what a network sees. Pictures are [n, h, w, c], f32 values 0 … 255. */
#include "elementwise.clh"
#include "philox.clh"

/* In all kernels that read bytes: x [n, h + 2·my, w + 2·mx, c], y [n, h, w, c]. The picture stands
 * in the middle of x; my and mx are the margins above and below, left and right. */

/* y = the middle of x. y f32, overwritten, x bytes, x_at in bytes.
 * NDRange: groups of one work-item, each a share of the n·h rows; 0 bytes of local memory. */
CLV_SINGLE __kernel void image_middle(__global float *restrict y, ulong y_at,
                                      __global const uchar *restrict x, ulong x_at, int n, int h,
                                      int w, int c, int my, int mx, int share)
{
    const int whole_h = h + 2 * my, whole_w = w + 2 * mx;
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const size_t row = (size_t)(r / h) * whole_h + r % h + my;
        __global const uchar *in = x + x_at + (row * whole_w + mx) * c;
        __global float *out = y + y_at + (size_t)r * w * c;
        int i = 0;
        for (; i + CLV_V <= w * c; i += CLV_V)
            vstoreV(convert_floatV(vloadV(0, in + i)), 0, out + i);
        for (; i < w * c; i++)
            out[i] = (float)in[i];
    }
}

/* Nodes of the grid of displacements along each axis. */
#define NODES 4

/* One sample's distortion: source = shift + a·(target - centre) + centre + displacement, then
 * value·contrast + brightness. */
typedef struct distortion {
    float a00, a01, a10, a11, shift_x, shift_y;
    float contrast, brightness;
    float node[2 * NODES * NODES]; /* displacement (x, y) of each node, in pixels */
} distortion;

/* Numbers in (-1, 1) from one counter. */
static float4 draw(uint2 key, uint epoch, uint id, uint index)
{
    const uint4 w = clv_philox(key, (uint4)(epoch, id, 0, index));
    return 2 * (float4)(clv_philox_unit(w.x), clv_philox_unit(w.y), clv_philox_unit(w.z),
                        clv_philox_unit(w.w)) -
           1;
}

/* Draws: counter (epoch, id, 0, 0): angle, shear, scale of x, of y; 1: shift of x, of y, contrast,
 * brightness; 2 … 9: nodes, row by row, two to a counter. */
static void distort(distortion *d, uint2 key, uint epoch, uint id, int h, int w)
{
    const float4 first = draw(key, epoch, id, 0), second = draw(key, epoch, id, 1);
    const float angle = first.x * 0.20943951f; /* 12° */
    const float shear = first.y * 0.15f;
    const float scale_x = 1 + 0.12f * first.z, scale_y = 1 + 0.12f * first.w;
    const float s = sin(angle), c = cos(angle);
    d->a00 = c * scale_x;
    d->a01 = (c * shear - s) * scale_y;
    d->a10 = s * scale_x;
    d->a11 = (s * shear + c) * scale_y;
    d->shift_x = 0.08f * (float)w * second.x;
    d->shift_y = 0.08f * (float)h * second.y;
    d->contrast = 1 + 0.15f * second.z;
    d->brightness = 127.5f - 127.5f * d->contrast + 12 * second.w;
    const float2 most = 0.035f * (float2)((float)w, (float)h);
    for (int i = 0; i < NODES * NODES / 2; i++) {
        const float4 v = draw(key, epoch, id, 2 + (uint)i) * (float4)(most, most);
        vstore4(v, i, d->node);
    }
}

/* Where the target pixels (x … x + CLV_V - 1, y) come from, in pixels of the source. */
static void source_of(const distortion *d, int x, int y, int h, int w, floatV *from_x,
                      floatV *from_y)
{
    float lane[CLV_V], warp_x[CLV_V], warp_y[CLV_V];
    for (int i = 0; i < CLV_V; i++)
        lane[i] = (float)(x + i) + 0.5f;
    const floatV target = vloadV(0, lane);
    const float row = ((float)y + 0.5f) * (NODES - 1) / (float)h;
    const int j = min((int)row, NODES - 2);
    const float below = row - (float)j;
    for (int i = 0; i < CLV_V; i++) {
        const float column = lane[i] * (NODES - 1) / (float)w;
        const int k = min((int)column, NODES - 2);
        const float right = column - (float)k;
        const float2 top =
            mix(vload2(j * NODES + k, d->node), vload2(j * NODES + k + 1, d->node), right);
        const float2 bottom = mix(vload2(j * NODES + NODES + k, d->node),
                                  vload2(j * NODES + NODES + k + 1, d->node), right);
        const float2 both = mix(top, bottom, below);
        warp_x[i] = both.x;
        warp_y[i] = both.y;
    }
    const floatV px = target - 0.5f * (float)w;
    const float py = (float)y + 0.5f - 0.5f * (float)h;
    *from_x = d->a00 * px + (d->a01 * py + d->shift_x + 0.5f * (float)w - 0.5f) + vloadV(0, warp_x);
    *from_y = d->a10 * px + (d->a11 * py + d->shift_y + 0.5f * (float)h - 0.5f) + vloadV(0, warp_y);
}

/* Bilinear value at x + right, y + below of the four bytes around it. */
static float among(__global const uchar *in, int4 corners, float right, float below)
{
    return mix(mix((float)in[corners.x], (float)in[corners.y], right),
               mix((float)in[corners.z], (float)in[corners.w], right), below);
}

/* Bilinear value of channel k at (x, y); beyond the border the border goes on. */
static float sample(__global const uchar *in, int h, int w, int c, int k, float x, float y)
{
    x = clamp(x, 0.0f, (float)(w - 1));
    y = clamp(y, 0.0f, (float)(h - 1));
    const int x0 = (int)x, y0 = (int)y;
    const int x1 = min(x0 + 1, w - 1), y1 = min(y0 + 1, h - 1);
    const int4 corners = c * (int4)(y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1) + k;
    return among(in, corners, x - (float)x0, y - (float)y0);
}

/* y = x distorted as handwriting varies: rotated, sheared, scaled, shifted and bent a little, never
 * mirrored, with another contrast and brightness, within 0 … 255. y f32 (overwritten), x bytes,
 * x_at in bytes; ids [n]. NDRange: groups (g, 1) of one work-item; group g takes a share of the n·h
 * rows. */
CLV_SINGLE __kernel void image_characters(__global float *restrict y, ulong y_at,
                                          __global const uchar *restrict x, ulong x_at, int n,
                                          int h, int w, int c, int my, int mx,
                                          __global const uint *restrict ids, ulong ids_at,
                                          uint key0, uint key1, uint epoch, int share)
{
    const int whole_h = h + 2 * my, whole_w = w + 2 * mx;
    distortion d;
    int drawn = -1;
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const int s = r / h;
        if (s != drawn)
            distort(&d, (uint2)(key0, key1), epoch, ids[ids_at + s], h, w);
        drawn = s;
        __global const uchar *in = x + x_at + (size_t)s * whole_h * whole_w * c;
        __global float *out = y + y_at + (size_t)r * w * c;
        for (int ox = 0; ox < w; ox += CLV_V) {
            floatV from_x, from_y;
            float at_x[CLV_V], at_y[CLV_V];
            source_of(&d, ox, r % h, h, w, &from_x, &from_y);
            vstoreV(from_x, 0, at_x);
            vstoreV(from_y, 0, at_y);
            for (int i = 0; i < CLV_V && ox + i < w; i++)
                for (int k = 0; k < c; k++) {
                    const float v = sample(in, whole_h, whole_w, c, k, at_x[i] + (float)mx,
                                           at_y[i] + (float)my);
                    out[(ox + i) * c + k] = clamp(fma(v, d.contrast, d.brightness), 0.0f, 255.0f);
                }
        }
    }
}

/* One sample's changes by image_steps. */
typedef struct change {
    float left, top, across, down; /* where the crop begins, pixels of it per target pixel */
    bool mirrored;
    float4 red, green, blue; /* colour = (row.xyz · colour) + row.w */
    int4 hole;               /* what is erased: from x, y to before z, w */
} change;

/* Four numbers in (0, 1) of the counter (epoch, id, 1, index). */
static float4 draw_unit(uint2 key, uint epoch, uint id, uint index)
{
    const uint4 w = clv_philox(key, (uint4)(epoch, id, 1, index));
    return (float4)(clv_philox_unit(w.x), clv_philox_unit(w.y), clv_philox_unit(w.z),
                    clv_philox_unit(w.w));
}

/* Shares of the two axes with this product and, where it fits into the whole, this quotient; else
 * the nearest quotient that does. */
static float2 shares(float area, float quotient)
{
    const float root = sqrt(area), side = sqrt(quotient);
    const float x = root * side, y = root / side;
    if (x > 1)
        return (float2)(1, area);
    return y > 1 ? (float2)(area, 1) : (float2)(x, y);
}

/* Hues turned by `turn` radians: a rotation of the colours about the line of greys. Then the
 * distance to grey times `saturation`, the distance to middle grey times `contrast`, and all of it
 * times `brightness`. For one channel, which is its own grey, contrast and brightness are left. */
static void recolour(change *d, int c, float turn, float saturation, float contrast,
                     float brightness)
{
    const float cosine = cos(turn), third = (1 - cosine) / 3, skew = sin(turn) * 0.57735027f;
    float4 red = (float4)(cosine + third, third - skew, third + skew, 0);
    float4 green = (float4)(third + skew, cosine + third, third - skew, 0);
    float4 blue = (float4)(third - skew, third + skew, cosine + third, 0);
    const float4 grey = 0.299f * red + 0.587f * green + 0.114f * blue;
    const float scale = contrast * brightness;
    const float4 middle = (float4)(0, 0, 0, 127.5f * (1 - contrast) * brightness);
    red = scale * (saturation * red + (1 - saturation) * grey) + middle;
    green = scale * (saturation * green + (1 - saturation) * grey) + middle;
    blue = scale * (saturation * blue + (1 - saturation) * grey) + middle;
    if (c == 1)
        red = (float4)(scale, 0, 0, middle.w);
    d->red = red;
    d->green = green;
    d->blue = blue;
}

/* Which part of the whole is seen: of at least `crop` of its area, anywhere in it; crop = 0: the
 * middle. cut: the draws for area, quotient and place along x and y. */
static void part_of(change *d, float4 cut, float crop, int h, int w, int my, int mx)
{
    const float whole_w = (float)(w + 2 * mx), whole_h = (float)(h + 2 * my);
    d->across = 1;
    d->down = 1;
    d->left = (float)mx;
    d->top = (float)my;
    if (crop > 0) {
        const float2 part = shares(1 - (1 - crop) * cut.x, exp(0.28768207f * (2 * cut.y - 1)));
        d->across = part.x * whole_w / (float)w;
        d->down = part.y * whole_h / (float)h;
        d->left = cut.z * (1 - part.x) * whole_w;
        d->top = cut.w * (1 - part.y) * whole_h;
    }
}

/* The other steps. Draws: 0: of part_of; 1: mirrored, brightness, contrast, saturation; 2: hue,
 * erased, area and quotient of the hole; 3: its place. */
static void choose(change *d, uint2 key, uint epoch, uint id, int h, int w, int c, float flip,
                   float colour, float hue, float erase)
{
    const float4 light = draw_unit(key, epoch, id, 1), more = draw_unit(key, epoch, id, 2);
    const float4 factor = 1 + colour * (2 * light - 1);
    d->mirrored = light.x < flip;
    recolour(d, c, hue * (2 * more.x - 1) * 6.2831853f, factor.w, factor.z, factor.y);
    d->hole = (int4)(0);
    if (more.y < erase) {
        const float4 place = draw_unit(key, epoch, id, 3);
        const float2 gap = shares(0.02f + 0.18f * more.z, exp(1.2039728f * (2 * more.w - 1)));
        const float2 size = (float2)((float)w, (float)h);
        const float2 from = place.xy * (1 - gap) * size;
        d->hole = convert_int4_rte((float4)(from, from + gap * size));
    }
}

/* y = x changed as photos of the same things differ: a part of x, margins included, brought to the
 * size of y (bilinear; at least `crop` of the area, its proportions at most 4:3 away from those of
 * x), mirrored with probability `flip`, hues turned by up to ±hue of a full turn, brightness,
 * contrast and saturation times 1 ± colour, within 0 … 255, and with probability `erase` a
 * rectangle of 2 to 20 % of the area, proportions up to 10:3, made middle grey. What is 0 is left
 * out; without crop it is the middle. y f32 (overwritten), x bytes, x_at in bytes; ids [n].
 * NDRange: groups (g, 1) of one work-item; group g takes a share of the n·h rows. */
CLV_SINGLE __kernel void image_steps(__global float *restrict y, ulong y_at,
                                     __global const uchar *restrict x, ulong x_at, int n, int h,
                                     int w, int c, int my, int mx,
                                     __global const uint *restrict ids, ulong ids_at, uint key0,
                                     uint key1, uint epoch, float crop, float flip, float colour,
                                     float hue, float erase, int share)
{
    const int whole_h = h + 2 * my, whole_w = w + 2 * mx;
    change d;
    int chosen = -1;
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const int s = r / h, oy = r % h;
        if (s != chosen) {
            const uint2 key = (uint2)(key0, key1);
            part_of(&d, draw_unit(key, epoch, ids[ids_at + s], 0), crop, h, w, my, mx);
            choose(&d, key, epoch, ids[ids_at + s], h, w, c, flip, colour, hue, erase);
        }
        chosen = s;
        __global const uchar *in = x + x_at + (size_t)s * whole_h * whole_w * c;
        __global float *out = y + y_at + (size_t)r * w * c;
        const float from_y =
            clamp(((float)oy + 0.5f) * d.down + d.top - 0.5f, 0.0f, (float)(whole_h - 1));
        const int y0 = (int)from_y, y1 = min(y0 + 1, whole_h - 1);
        const float below = from_y - (float)y0;
        const bool crosses = oy >= d.hole.y && oy < d.hole.w;
        for (int ox = 0; ox < w; ox++) {
            const int turned = d.mirrored ? w - 1 - ox : ox;
            const float from_x = clamp(((float)turned + 0.5f) * d.across + d.left - 0.5f, 0.0f,
                                       (float)(whole_w - 1));
            const int x0 = (int)from_x, x1 = min(x0 + 1, whole_w - 1);
            const float right = from_x - (float)x0;
            const int4 corners = c * (int4)(y0 * whole_w + x0, y0 * whole_w + x1, y1 * whole_w + x0,
                                            y1 * whole_w + x1);
            const bool gone = crosses && ox >= d.hole.x && ox < d.hole.z;
            float4 v = (float4)(among(in, corners, right, below), 0, 0, 1);
            if (c == 3) {
                v.y = among(in, corners + 1, right, below);
                v.z = among(in, corners + 2, right, below);
                out[ox * 3 + 1] = gone ? 127.5f : clamp(dot(d.green, v), 0.0f, 255.0f);
                out[ox * 3 + 2] = gone ? 127.5f : clamp(dot(d.blue, v), 0.0f, 255.0f);
            }
            out[ox * c] = gone ? 127.5f : clamp(dot(d.red, v), 0.0f, 255.0f);
        }
    }
}

/* y = x·scale_c + offset_c with channel c = i % channels (1 or 3). x, y [total]; overwritten.
 * NDRange: groups of one work-item, each a share of the flat array, a multiple of 3·CLV_V. */
CLV_SINGLE __kernel void image_normalise(__global float *restrict y, ulong y_at,
                                         __global const float *restrict x, ulong x_at, int total,
                                         int channels, float scale0, float scale1, float scale2,
                                         float offset0, float offset1, float offset2, int share)
{
    const float scales[3] = {scale0, scale1, scale2}, offsets[3] = {offset0, offset1, offset2};
    float scale[3 * CLV_V], offset[3 * CLV_V];
    for (int i = 0; i < 3 * CLV_V; i++) {
        scale[i] = scales[i % channels];
        offset[i] = offsets[i % channels];
    }
    y += y_at;
    x += x_at;
    for (int i = CLV_BEGIN(share), end = CLV_END(total, share); i < end; i += 3 * CLV_V) {
        CLV_UNROLL
        for (int k = 0; k < 3; k++) {
            const int at = i + k * CLV_V;
            clv_store(fma(clv_load(x + at, end - at, 0), vloadV(k, scale), vloadV(k, offset)),
                      y + at, end - at);
        }
    }
}

/* Where the weights around `centre` (in pixels, the first one from 0 to 1) begin, 0 or later. */
static int first_tap(float centre, float reach)
{
    return max((int)(centre - reach + 0.5f), 0);
}

/* Weight of pixel i: 1 at the centre, falling to 0 at `reach`. */
static float tap(float centre, float reach, int i)
{
    return max(1 - fabs((float)i + 0.5f - centre) / reach, 0.0f);
}

/* Weighted mean of the picture in [h, w, c] around (x, y); one channel is taken for all three. */
static float4 around(__global const float *in, int h, int w, int c, float2 centre, float2 reach)
{
    const int end_x = min((int)(centre.x + reach.x + 0.5f), w);
    const int end_y = min((int)(centre.y + reach.y + 0.5f), h);
    float red = 0, green = 0, blue = 0, all = 0;
    for (int y = first_tap(centre.y, reach.y); y < end_y; y++) {
        const float weight_y = tap(centre.y, reach.y, y);
        for (int x = first_tap(centre.x, reach.x); x < end_x; x++) {
            const float weight = weight_y * tap(centre.x, reach.x, x);
            __global const float *p = in + (y * w + x) * c;
            red = fma(weight, p[0], red);
            green = fma(weight, p[c / 2], green);
            blue = fma(weight, p[c - 1], blue);
            all += weight;
        }
    }
    return (float4)(red, green, blue, all) / all;
}

/* y = x at another size (bilinear, centres of pixels at ½, over as many more pixels as it gets
 * smaller by) and with other channels: grey to RGB by repeating, RGB to grey by ITU-R BT.601's
 * weights, as Pillow; blue first where bgr is not 0; then as image_normalise.
 * x [n, h, w, c], y [n, oh, ow, oc], c and oc 1 or 3; overwritten.
 * NDRange: groups of one work-item, each a share of the n·oh output rows. */
CLV_SINGLE __kernel void image_resample(__global float *restrict y, ulong y_at,
                                        __global const float *restrict x, ulong x_at, int n, int h,
                                        int w, int c, int oh, int ow, int oc, int bgr, float scale0,
                                        float scale1, float scale2, float offset0, float offset1,
                                        float offset2, int share)
{
    const float2 step = (float2)((float)w / (float)ow, (float)h / (float)oh);
    for (int r = CLV_BEGIN(share), end = CLV_END(n * oh, share); r < end; r++) {
        __global const float *in = x + x_at + (size_t)(r / oh) * h * w * c;
        __global float *out = y + y_at + (size_t)r * ow * oc;
        for (int ox = 0; ox < ow; ox++) {
            const float2 centre = ((float2)((float)ox, (float)(r % oh)) + 0.5f) * step;
            const float4 v = around(in, h, w, c, centre, max(step, 1.0f));
            if (oc == 3) {
                out[ox * 3] = fma(bgr ? v.z : v.x, scale0, offset0);
                out[ox * 3 + 1] = fma(v.y, scale1, offset1);
                out[ox * 3 + 2] = fma(bgr ? v.x : v.z, scale2, offset2);
            } else {
                const float grey = c == 3 ? 0.299f * v.x + 0.587f * v.y + 0.114f * v.z : v.x;
                out[ox] = fma(grey, scale0, offset0);
            }
        }
    }
}
