/* See onnx_input.h; the same as kernels/image.cl does. */
#include "export/onnx_input.h"

#include <math.h>

const char *clvi_onnx_middle(clvi_onnx *x, const char *pixels, const clvi_picture *seen)
{
    const int64_t begin[] = {seen->margin_y, seen->margin_x}, axes[] = {2, 3};
    const int64_t end[] = {seen->margin_y + seen->height, seen->margin_x + seen->width};
    if (seen->margin_y == 0 && seen->margin_x == 0)
        return pixels;
    const char *from = clvi_onnx_ints(x, "middle.begin", begin, 2);
    const char *to = clvi_onnx_ints(x, "middle.end", end, 2);
    const char *which = clvi_onnx_ints(x, "middle.axes", axes, 2);
    return clvi_onnx_plain(x, "Slice", "middle", ONNX_LIST(pixels, from, to, which));
}

/* Bilinear sampling of `from` pixels as `to`, over as many more as it gets smaller by: [to, from];
 * NULL: as many. */
static const float *samples(clvi_onnx *x, int from, int to)
{
    float *m = from != to ? clvi_onnx_alloc(x, (size_t)from * (size_t)to * sizeof *m) : NULL;
    const double step = (double)from / to, reach = step > 1 ? step : 1;
    for (int o = 0; o < to && m; o++) {
        double all = 0;
        for (int i = 0; i < from; i++)
            all += fmax(1 - fabs(i + 0.5 - (o + 0.5) * step) / reach, 0);
        for (int i = 0; i < from; i++)
            m[o * from + i] = (float)(fmax(1 - fabs(i + 0.5 - (o + 0.5) * step) / reach, 0) / all);
    }
    return m;
}

/* What of the picture's channel `from` goes into the network's channel `to`: grey into each colour,
 * colours into grey as BT.601 weighs them. */
static double share(const clvi_picture *seen, const clvi_input_form *form, int to, int from)
{
    static const double grey[] = {0.299, 0.587, 0.114};
    if (seen->channels == 1)
        return 1;
    if (form->channels == 1)
        return grey[from];
    return from == (form->bgr ? 2 - to : to);
}

/* y = (x/range - mean)/std with the channels that the network wants: one linear map. */
const char *clvi_onnx_form(clvi_onnx *x, const char *pixels, const clvi_picture *seen,
                           const clvi_input_form *to)
{
    float weights[9], offsets[3];
    const clv_shape shape = CLVI_SHAPE(CLV_F32, to->channels, seen->channels, 1, 1);
    for (int c = 0; c < to->channels; c++) {
        for (int k = 0; k < seen->channels; k++)
            weights[c * seen->channels + k] =
                (float)(share(seen, to, c, k) / (to->range * to->std[c]));
        offsets[c] = (float)(-to->mean[c] / to->std[c]);
    }
    const clvi_onnx_axes axes = {.rows = samples(x, seen->height, to->height),
                                 .columns = samples(x, seen->width, to->width),
                                 .height = seen->height,
                                 .width = seen->width,
                                 .to_height = to->height,
                                 .to_width = to->width};
    const char *picture = clvi_onnx_mapped(x, "resized", pixels, &axes);
    const char *w = clvi_onnx_floats(x, "pixels.scale", weights, 0, &shape);
    const char *b = clvi_onnx_floats(x, "pixels.offset", offsets, (size_t)to->channels, NULL);
    return clvi_onnx_plain(x, "Conv", "pixels", ONNX_LIST(picture, w, b));
}
