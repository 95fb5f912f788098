/* topk_mask: softmax that keeps the k largest of each row (Shazeer et al. 2017; Fedus et al. 2021).
 * Ties go to the lowest index; a NaN counts as larger than anything, so that it is not lost.
 * NDRange: groups of CLV_ITEMS work-items, each a share of the rows; 0 bytes of local memory.
 * Outputs are overwritten. */
#include "group.clh"

static floatV key_of(floatV z)
{
    return z != z ? (floatV)(INFINITY) : z;
}

static intV lanes(int from)
{
    int lane[CLV_V];
    for (int i = 0; i < CLV_V; i++)
        lane[i] = from + i;
    return vloadV(0, lane);
}

/* The next of a row in the order of falling keys, ties by rising index, after (*key, *at). */
static void next_largest(__global const float *z, int columns, float *key, int *at)
{
    floatV best = (floatV)(-INFINITY);
    intV place = (intV)(INT_MAX);
    for (int c = 0; c < columns; c += CLV_V) {
        const floatV v = key_of(clv_load(z + c, columns - c, 0));
        const intV here = lanes(c);
        const intV open = (here < columns) & ((v < *key) | ((v == *key) & (here > (intV)(*at))));
        const intV wins = open & ((v > best) | (place == INT_MAX));
        best = wins ? v : best;
        place = wins ? here : place;
    }
    float value[CLV_V];
    int index[CLV_V], winner = 0;
    vstoreV(best, 0, value);
    vstoreV(place, 0, index);
    for (int i = 1; i < CLV_V; i++)
        if (value[i] > value[winner] || (value[i] == value[winner] && index[i] < index[winner]))
            winner = i;
    *key = value[winner];
    *at = index[winner];
}

/* y = softmax(z) + bias, by which topk_mask_fwd then chooses. y, z [rows, columns], bias [columns].
 */
CLV_GROUP __kernel void topk_mask_keys(__global float *restrict y, ulong y_at,
                                       __global const float *restrict z, ulong z_at,
                                       __global const float *restrict bias, ulong bias_at, int rows,
                                       int columns, int share)
{
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(rows, share); r < end; r += CLV_ITEMS) {
        __global const float *in = z + z_at + (size_t)r * columns;
        __global float *out = y + y_at + (size_t)r * columns;
        floatV top = (floatV)(-FLT_MAX), sum = (floatV)(0);
        for (int c = 0; c < columns; c += CLV_V)
            top = fmax(top, clv_load(in + c, columns - c, -FLT_MAX));
        const float m = clv_lanes_max(top);
        for (int c = 0; c < columns; c += CLV_V)
            sum += exp(clv_load(in + c, columns - c, -INFINITY) - m);
        const float scale = 1 / clv_lanes_sum(sum);
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV q = exp(clv_load(in + c, columns - c, 0) - m) * scale;
            clv_store(q + clv_load(bias + bias_at + c, columns - c, 0), out + c, columns - c);
        }
    }
}

/* y_j = exp(z_j - m)/S for the k largest keys of a row, exactly 0 for the others; S the sum of
 * exp(z - m) over the chosen (before = 0) or over all (before = 1), m the largest z among them. Who
 * is chosen is so by y_j != 0: of a finite z it is never less than FLT_MIN, however small exp is.
 * keys are z itself or, where apart is 1, what topk_mask_keys left in y. y, z, keys [rows,
 * columns].
 */
CLV_GROUP __kernel void topk_mask_fwd(__global float *y, ulong y_at, __global const float *z,
                                      ulong z_at, __global const float *keys, ulong keys_at,
                                      int rows, int columns, int k, int before, int apart,
                                      int share)
{
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(rows, share); r < end; r += CLV_ITEMS) {
        __global const float *in = z + z_at + (size_t)r * columns;
        __global const float *by = keys + keys_at + (size_t)r * columns;
        __global float *out = y + y_at + (size_t)r * columns;
        float key = INFINITY, top = -INFINITY;
        int at = -1;
        for (int i = 0; i < k; i++) {
            next_largest(by, columns, &key, &at);
            const float here = in[at];
            top = here != here ? INFINITY : fmax(top, here);
        }
        if (before && apart) {
            floatV most = (floatV)(-FLT_MAX);
            for (int c = 0; c < columns; c += CLV_V)
                most = fmax(most, key_of(clv_load(in + c, columns - c, -FLT_MAX)));
            top = clv_lanes_max(most);
        }
        floatV sum = (floatV)(0);
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV v = clv_load(in + c, columns - c, -INFINITY);
            const floatV ranked = key_of(clv_load(by + c, columns - c, -INFINITY));
            const intV chosen = (ranked > key) | ((ranked == key) & (lanes(c) <= (intV)(at)));
            const floatV e = exp(v - top);
            sum += before || columns == k ? e : (chosen ? e : (floatV)(0));
            const floatV weight = ((v > -INFINITY) & (e < FLT_MIN)) ? (floatV)(FLT_MIN) : e;
            clv_store(chosen ? weight : (floatV)(0), out + c, columns - c);
        }
        const floatV scale = (floatV)(1 / clv_lanes_sum(sum));
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV e = clv_load(out + c, columns - c, 0);
            const floatV y_here = e * scale; /* a NaN stays one */
            clv_store(e == 0             ? (floatV)(0)
                      : y_here < FLT_MIN ? (floatV)(FLT_MIN)
                                         : y_here,
                      out + c, columns - c);
        }
    }
}

/* gz_j = y_j gy_j - q_j Σ_i y_i gy_i, where q is y (before = 0) or the softmax of the whole row
 * (before = 1; z is read only then). gz, gy, y, z [rows, columns]; gz may be the very memory of gy.
 */
CLV_GROUP __kernel void topk_mask_bwd(__global float *gz, ulong gz_at, __global const float *gy,
                                      ulong gy_at, __global const float *y, ulong y_at,
                                      __global const float *z, ulong z_at, int rows, int columns,
                                      int before, int share)
{
    for (int r = CLV_BEGIN(share) + CLV_ITEM, end = CLV_END(rows, share); r < end; r += CLV_ITEMS) {
        const size_t row = (size_t)r * columns;
        __global const float *g = gy + gy_at + row, *weight = y + y_at + row;
        __global const float *in = z + z_at + row;
        floatV dot = (floatV)(0), top = (floatV)(-FLT_MAX), sum = (floatV)(0);
        for (int c = 0; c < columns; c += CLV_V) {
            dot = fma(clv_load(g + c, columns - c, 0), clv_load(weight + c, columns - c, 0), dot);
            if (before)
                top = fmax(top, clv_load(in + c, columns - c, -FLT_MAX));
        }
        const float mean = clv_lanes_sum(dot), m = clv_lanes_max(top);
        for (int c = 0; before && c < columns; c += CLV_V)
            sum += exp(clv_load(in + c, columns - c, -INFINITY) - m);
        const float scale = before ? 1 / clv_lanes_sum(sum) : 0;
        for (int c = 0; c < columns; c += CLV_V) {
            const floatV w = clv_load(weight + c, columns - c, 0);
            const floatV q = before ? exp(clv_load(in + c, columns - c, -INFINITY) - m) * scale : w;
            clv_store(w * clv_load(g + c, columns - c, 0) - q * mean, gz + gz_at + row + c,
                      columns - c);
        }
    }
}
