/* From bytes to what a network sees. Pictures are [n, h, w, c], f32 values 0 … 255. */
#include "elementwise.clh"
#include "image_scale.clh"
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

/* ---- Bilinear values ---- */

/* Pictures of bytes, margins included: channels, and what is between a byte and its neighbour to
 * the right and below, 0 where there is none. */
typedef struct whole {
    int h, w, c, right, below;
} whole;

static whole whole_of(int h, int w, int c)
{
    const whole p = {h, w, c, w > 1 ? c : 0, h > 1 ? w * c : 0};
    return p;
}

/* Where values of a row of targets come from: the byte above and left, and how far beyond it. */
typedef struct places {
    int at[CLV_V];
    float right[CLV_V], below[CLV_V];
} places;

/* 0 … most. Vectors for both bounds: of a number Oclgrind makes no more than the first lane's. */
static floatV within(floatV v, float most)
{
    return clamp(v, (floatV)(0), (floatV)(most));
}

/* Of pixels (x, y); beyond the border the border goes on. The last pixel is that at right = 1 of
 * the one before it, so that there always are two of a row side by side. */
static void find_places(const whole *p, floatV x, floatV y, places *out)
{
    x = within(x, (float)(p->w - 1));
    y = within(y, (float)(p->h - 1));
    const intV x0 = min(convert_intV(x), (intV)(max(p->w - 2, 0)));
    const intV y0 = min(convert_intV(y), (intV)(max(p->h - 2, 0)));
    vstoreV((y0 * p->w + x0) * p->c, 0, out->at);
    vstoreV(x - convert_floatV(x0), 0, out->right);
    vstoreV(y - convert_floatV(y0), 0, out->below);
}

/* Four bytes, and two, from where no word begins. */
typedef struct __attribute__((packed)) four {
    uint bytes;
} four;
typedef struct __attribute__((packed)) two {
    ushort bytes;
} two;

/* Byte k of `count` in words, as floats. */
#ifdef __ENDIAN_LITTLE__
#define BYTE(words, k, count) convert_floatV(((words) >> (8 * (k))) & 255)
#else
#define BYTE(words, k, count) convert_floatV(((words) >> (8 * ((count)-1 - (k)))) & 255)
#endif

/* Values of one channel: of each row the two pixels side by side. */
static floatV greys(__global const uchar *in, const whole *p, const places *from)
{
    uint above[CLV_V], under[CLV_V];
    if (p->right == 0) {
        CLV_UNROLL
        for (int i = 0; i < CLV_V; i++) {
            above[i] = in[from->at[i]] * 257;
            under[i] = in[from->at[i] + p->below] * 257;
        }
    } else {
        CLV_UNROLL
        for (int i = 0; i < CLV_V; i++) {
            above[i] = ((__global const two *)(in + from->at[i]))->bytes;
            under[i] = ((__global const two *)(in + from->at[i] + p->below))->bytes;
        }
    }
    const uintV a = vloadV(0, above), b = vloadV(0, under);
    const floatV right = vloadV(0, from->right);
    return mix(mix(BYTE(a, 0, 2), BYTE(a, 1, 2), right), mix(BYTE(b, 0, 2), BYTE(b, 1, 2), right),
               vloadV(0, from->below));
}

/* The first four and the last four of the six bytes that two pixels of three channels have, in each
 * row. */
typedef struct sixes {
    uint first[CLV_V], last[CLV_V];
} sixes;

static void load_sixes(__global const uchar *in, const int at[CLV_V], sixes *out)
{
    CLV_UNROLL
    for (int i = 0; i < CLV_V; i++) {
        out->first[i] = ((__global const four *)(in + at[i]))->bytes;
        out->last[i] = ((__global const four *)(in + at[i] + 2))->bytes;
    }
}

/* As if a picture that is one pixel wide had another beside it. */
static void load_threes(__global const uchar *in, const int at[CLV_V], sixes *out)
{
    for (int i = 0; i < CLV_V; i++) {
        const uchar4 v = (uchar4)(vload3(0, in + at[i]), 0);
        out->first[i] = as_uint(v);
        out->last[i] = as_uint(v.zxyz);
    }
}

/* Values of three channels. */
static void colours(__global const uchar *in, const whole *p, const places *from, floatV value[3])
{
    sixes above, under;
    if (p->right == 0) {
        load_threes(in, from->at, &above);
        load_threes(in + p->below, from->at, &under);
    } else {
        load_sixes(in, from->at, &above);
        load_sixes(in + p->below, from->at, &under);
    }
    const uintV a = vloadV(0, above.first), b = vloadV(0, above.last);
    const uintV c = vloadV(0, under.first), d = vloadV(0, under.last);
    const floatV right = vloadV(0, from->right), below = vloadV(0, from->below);
    CLV_UNROLL
    for (int k = 0; k < 3; k++)
        value[k] = mix(mix(BYTE(a, k, 4), BYTE(b, k + 1, 4), right),
                       mix(BYTE(c, k, 4), BYTE(d, k + 1, 4), right), below);
}

/* Stores the first min(left, CLV_V) pixels of three channels at p. */
#define PIXEL(k) v[0].s##k, v[1].s##k, v[2].s##k
static void store_colours(const floatV v[3], __global float *p, int left)
{
#if CLV_V == 16
    const float16 low = (float16)(PIXEL(0), PIXEL(1), PIXEL(2), PIXEL(3), PIXEL(4), v[0].s5);
    const float16 middle =
        (float16)(v[1].s5, v[2].s5, PIXEL(6), PIXEL(7), PIXEL(8), PIXEL(9), v[0].sa, v[1].sa);
    const float16 high = (float16)(v[2].sa, PIXEL(b), PIXEL(c), PIXEL(d), PIXEL(e), PIXEL(f));
#elif CLV_V == 8
    const float8 low = (float8)(PIXEL(0), PIXEL(1), v[0].s2, v[1].s2);
    const float8 middle = (float8)(v[2].s2, PIXEL(3), PIXEL(4), v[0].s5);
    const float8 high = (float8)(v[1].s5, v[2].s5, PIXEL(6), PIXEL(7));
#elif CLV_V == 4
    const float4 low = (float4)(PIXEL(0), v[0].s1);
    const float4 middle = (float4)(v[1].s1, v[2].s1, v[0].s2, v[1].s2);
    const float4 high = (float4)(v[2].s2, PIXEL(3));
#else
#error "CLV_V must be 4, 8 or 16"
#endif
    left *= 3;
    clv_store(low, p, left);
    if (left > CLV_V)
        clv_store(middle, p + CLV_V, left - CLV_V);
    if (left > 2 * CLV_V)
        clv_store(high, p + 2 * CLV_V, left - 2 * CLV_V);
}

/* 0, 1, 2, … */
static floatV count_lanes(void)
{
    float lane[CLV_V];
    for (int i = 0; i < CLV_V; i++)
        lane[i] = (float)i;
    return vloadV(0, lane);
}

/* ---- As handwriting varies ---- */

/* Nodes of the grid of displacements along each axis. */
#define NODES 4

/* One sample's distortion: source = shift + a·(target - centre) + centre + displacement, then
 * value·contrast + brightness. */
typedef struct distortion {
    float a00, a01, a10, a11, shift_x, shift_y;
    float contrast, brightness;
    float node[2 * NODES * NODES]; /* displacement (x, y) of each node, in pixels */
} distortion;

/* Counters of a sample: two and those of the nodes, two nodes to one. */
#define DRAWS  (2 + NODES * NODES / 2)
#define BLOCKS ((DRAWS + CLV_V - 1) / CLV_V)

/* out[4·i …]: four numbers in (-1, 1) of the counter (epoch, id, 0, i). */
static void draw_all(uint2 key, uint epoch, uint id, float out[4 * BLOCKS * CLV_V])
{
    const uintV lane = convert_uintV(count_lanes());
    CLV_UNROLL
    for (uint block = 0; block < BLOCKS; block++) {
        uintV words[4], ordered[4];
        clv_philox_lanes(key, epoch, id, 0, lane + block * CLV_V, words);
        clv_philox_order(words, ordered);
        CLV_UNROLL
        for (int k = 0; k < 4; k++)
            vstoreV((convert_floatV(ordered[k] >> 9) + 0.5f) * (2.0f / 8388608.0f) - 1,
                    4 * block + k, out);
    }
}

/* Draws: counter (epoch, id, 0, 0): angle, shear, scale of x, of y; 1: shift of x, of y, contrast,
 * brightness; 2 … 9: nodes, row by row, two to a counter. */
static void distort(distortion *d, uint2 key, uint epoch, uint id, int h, int w)
{
    float drawn[4 * BLOCKS * CLV_V];
    draw_all(key, epoch, id, drawn);
    const float4 first = vload4(0, drawn), second = vload4(1, drawn);
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
    for (int i = 0; i < NODES * NODES / 2; i++)
        vstore4(vload4(2 + i, drawn) * (float4)(most, most), i, d->node);
}

/* The displacements along row y, pieces of lines: value[0] at the first node, and value[k] how much
 * steeper it goes on from node k - 1 than before. */
static void bend_row(const distortion *d, int y, int h, float2 value[NODES])
{
    const float row = ((float)y + 0.5f) * (NODES - 1) / (float)h;
    const int j = min((int)row, NODES - 2);
    float2 node[NODES];
    CLV_UNROLL
    for (int k = 0; k < NODES; k++)
        node[k] = mix(vload2(j * NODES + k, d->node), vload2(j * NODES + NODES + k, d->node),
                      row - (float)j);
    value[0] = node[0];
    value[1] = node[1] - node[0];
    CLV_UNROLL
    for (int k = 2; k < NODES; k++)
        value[k] = node[k] - 2 * node[k - 1] + node[k - 2];
}

/* Where the target pixels (x, y) come from, in pixels of the source; x: centres, from the left; y:
 * centre, from the middle; bend: of the row. */
static void source_of(const distortion *d, floatV x, float y, int h, int w,
                      const float2 bend[NODES], floatV *from_x, floatV *from_y)
{
    const float half_w = 0.5f * (float)w, half_h = 0.5f * (float)h;
    const floatV px = x - half_w, column = x * (NODES - 1) / (float)w;
    floatV warp_x = bend[0].x, warp_y = bend[0].y;
    CLV_UNROLL
    for (int k = 1; k < NODES; k++) {
        const floatV beyond = max(column - (float)(k - 1), (floatV)(0));
        warp_x += bend[k].x * beyond;
        warp_y += bend[k].y * beyond;
    }
    *from_x = d->a00 * px + (d->a01 * y + d->shift_x + half_w - 0.5f) + warp_x;
    *from_y = d->a10 * px + (d->a11 * y + d->shift_y + half_h - 0.5f) + warp_y;
}

/* One row of a sample; out [w, c] */
static void distort_row(const distortion *d, __global const uchar *in, const whole *p, int y, int h,
                        int w, __global float *out)
{
    const float margin_x = 0.5f * (float)(p->w - w), margin_y = 0.5f * (float)(p->h - h);
    const floatV centres = count_lanes() + 0.5f;
    float2 bend[NODES];
    bend_row(d, y, h, bend);
    for (int x = 0; x < w; x += CLV_V) {
        floatV from_x, from_y;
        places from;
        source_of(d, (float)x + centres, (float)y + 0.5f - 0.5f * (float)h, h, w, bend, &from_x,
                  &from_y);
        find_places(p, from_x + margin_x, from_y + margin_y, &from);
        if (p->c == 1) {
            const floatV v = fma(greys(in, p, &from), d->contrast, d->brightness);
            clv_store(within(v, 255), out + x, w - x);
            continue;
        }
        floatV v[3];
        colours(in, p, &from, v);
        CLV_UNROLL
        for (int k = 0; k < 3; k++)
            v[k] = within(fma(v[k], d->contrast, d->brightness), 255);
        store_colours(v, out + x * 3, w - x);
    }
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
    const whole p = whole_of(h + 2 * my, w + 2 * mx, c);
    distortion d;
    int drawn = -1;
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const int s = r / h;
        if (s != drawn)
            distort(&d, (uint2)(key0, key1), epoch, ids[ids_at + s], h, w);
        drawn = s;
        distort_row(&d, x + x_at + (size_t)s * p.h * p.w * c, &p, r % h, h, w,
                    y + y_at + (size_t)r * w * c);
    }
}

/* ---- Steps ---- */

/* One sample's changes by image_steps. */
typedef struct change {
    float left, top, across, down; /* where the crop begins, pixels of it per target pixel */
    bool mirrored;
    /* What a unit of each channel adds to the three of the result, and what is always there; of one
     * channel, red.x and plain.x. */
    float4 red, green, blue, plain;
    int4 hole; /* what is erased: from x, y to before z, w */
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
    red = scale * (saturation * red + (1 - saturation) * grey);
    green = scale * (saturation * green + (1 - saturation) * grey);
    blue = scale * (saturation * blue + (1 - saturation) * grey);
    d->red = c == 1 ? (float4)(scale) : (float4)(red.x, green.x, blue.x, 0);
    d->green = (float4)(red.y, green.y, blue.y, 0);
    d->blue = (float4)(red.z, green.z, blue.z, 0);
    d->plain = (float4)(127.5f * (1 - contrast) * brightness);
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

/* One row of a sample; out [w, c] */
static void change_row(const change *d, __global const uchar *in, const whole *p, int y, int w,
                       __global float *out)
{
    const floatV centres = count_lanes() + 0.5f;
    const floatV from_y = ((float)y + 0.5f) * d->down + d->top - 0.5f;
    const bool crosses = y >= d->hole.y && y < d->hole.w;
    for (int x = 0; x < w; x += CLV_V) {
        places from;
        const floatV at = (float)x + centres;
        const floatV turned = d->mirrored ? (float)w - at : at;
        find_places(p, turned * d->across + d->left - 0.5f, from_y, &from);
        const intV gone = (at > (float)d->hole.x) & (at < (float)(crosses ? d->hole.z : d->hole.x));
        floatV v[3];
        if (p->c == 1) {
            v[0] = within(fma(greys(in, p, &from), d->red.x, d->plain.x), 255);
            clv_store(select(v[0], (floatV)(127.5f), gone), out + x, w - x);
            continue;
        }
        colours(in, p, &from, v);
        const floatV red = v[0] * d->red.x + v[1] * d->green.x + v[2] * d->blue.x + d->plain.x;
        const floatV green = v[0] * d->red.y + v[1] * d->green.y + v[2] * d->blue.y + d->plain.y;
        const floatV blue = v[0] * d->red.z + v[1] * d->green.z + v[2] * d->blue.z + d->plain.z;
        v[0] = select(within(red, 255), (floatV)(127.5f), gone);
        v[1] = select(within(green, 255), (floatV)(127.5f), gone);
        v[2] = select(within(blue, 255), (floatV)(127.5f), gone);
        store_colours(v, out + x * 3, w - x);
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
    const whole p = whole_of(h + 2 * my, w + 2 * mx, c);
    change d;
    int chosen = -1;
    for (int r = CLV_BEGIN(share), end = CLV_END(n * h, share); r < end; r++) {
        const int s = r / h;
        if (s != chosen) {
            const uint2 key = (uint2)(key0, key1);
            part_of(&d, draw_unit(key, epoch, ids[ids_at + s], 0), crop, h, w, my, mx);
            choose(&d, key, epoch, ids[ids_at + s], h, w, c, flip, colour, hue, erase);
        }
        chosen = s;
        change_row(&d, x + x_at + (size_t)s * p.h * p.w * c, &p, r % h, w,
                   y + y_at + (size_t)r * w * c);
    }
}

/* y = x·scale_c + offset_c with channel c = i % channels (1 or 3). x, y [total]; overwritten.
 * NDRange: groups of one work-item, each a share of the flat array, a multiple of 3·CLV_V. */
CLV_SINGLE __kernel void image_normalise(__global float *restrict y, ulong y_at,
                                         __global const float *restrict x, ulong x_at, int total,
                                         int channels, float scale0, float scale1, float scale2,
                                         float offset0, float offset1, float offset2, int share)
{
    float scale[3 * CLV_V], offset[3 * CLV_V];
    spread_channels(scale, channels, scale0, scale1, scale2);
    spread_channels(offset, channels, offset0, offset1, offset2);
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
