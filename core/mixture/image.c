/* See image.h; the kernels are in kernels/image.cl. */
#include "mixture/image.h"

#include "ops/share.h"

static clv_status check(const clvi_picture_desc *d, int channels, clv_error *error)
{
    if (d->n < 1 || d->height < 1 || d->width < 1 || (d->channels != 1 && d->channels != 3) ||
        (channels != 1 && channels != 3))
        CLV_FAIL(error, CLV_E_INTERNAL,
                 "%lld pictures of %d×%d pixels, %d channels for a network of %d", (long long)d->n,
                 d->width, d->height, d->channels, channels);
    return CLV_OK;
}

clv_status clvi_image_augment(clvi_device *device, const clvi_picture_desc *d,
                              const clvi_augment *augment, clvi_view pixels, clvi_view pictures,
                              clv_error *error)
{
    CLV_TRY(check(d, d->channels, error));
    const int64_t row = (int64_t)d->width * d->channels, rows = d->n * d->height;
    clvi_launch l;
    if (augment->kind == CLVI_AUGMENT_NONE) {
        const clvi_share share = clvi_share_of(rows * row, 1, CLVI_FLAT_STEP);
        clvi_launch_begin(&l, device, "image", "image_convert", "");
        clvi_arg_view(&l, pictures);
        clvi_arg_view(&l, pixels);
        clvi_arg_int(&l, (int32_t)(rows * row));
        clvi_arg_int(&l, share.items);
        return clvi_launch_run(&l, share.groups, 1, 1, error);
    }
    /* A sample's changes are drawn by each group that has rows of it; here a few at most. */
    const clvi_share share = clvi_share_of(rows, row, 1);
    const bool steps = augment->kind == CLVI_AUGMENT_STEPS;
    clvi_launch_begin(&l, device, "image", steps ? "image_steps" : "image_characters", "");
    clvi_arg_view(&l, pictures);
    clvi_arg_view(&l, pixels);
    clvi_arg_view(&l, d->ids);
    clvi_arg_int(&l, (int32_t)d->n);
    clvi_arg_int(&l, d->height);
    clvi_arg_int(&l, d->width);
    clvi_arg_int(&l, d->channels);
    clvi_arg_uint(&l, d->key[0]);
    clvi_arg_uint(&l, d->key[1]);
    clvi_arg_uint(&l, d->epoch);
    if (steps) {
        clvi_arg_float(&l, augment->crop > 0 ? (float)augment->crop : 1.0f);
        clvi_arg_float(&l, (float)augment->flip);
        clvi_arg_float(&l, (float)augment->colour);
        clvi_arg_float(&l, (float)augment->hue);
        clvi_arg_float(&l, (float)augment->erase);
    }
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

/* (x/range - mean)/std as x·scale + offset: three scales, then three offsets. */
static void push_scales(clvi_launch *l, const clvi_input_form *to)
{
    for (int c = 0; c < 3; c++)
        clvi_arg_float(l, c < to->channels ? (float)(1 / (to->range * to->std[c])) : 0);
    for (int c = 0; c < 3; c++)
        clvi_arg_float(l, c < to->channels ? (float)(-to->mean[c] / to->std[c]) : 0);
}

clv_status clvi_image_normalise(clvi_device *device, const clvi_picture_desc *d,
                                const clvi_input_form *to, clvi_view pictures, clvi_view out,
                                clv_error *error)
{
    CLV_TRY(check(d, to->channels, error));
    clvi_launch l;
    if (to->height == d->height && to->width == d->width && to->channels == d->channels &&
        !to->bgr) {
        const int64_t total = d->n * d->height * d->width * d->channels;
        const clvi_share share = clvi_share_of(total, 2, 3 * CLVI_FLAT_STEP);
        clvi_launch_begin(&l, device, "image", "image_normalise", "");
        clvi_arg_view(&l, out);
        clvi_arg_view(&l, pictures);
        clvi_arg_int(&l, (int32_t)total);
        clvi_arg_int(&l, to->channels);
        push_scales(&l, to);
        clvi_arg_int(&l, share.items);
        return clvi_launch_run(&l, share.groups, 1, 1, error);
    }
    const clvi_share share =
        clvi_share_of(d->n * to->height, (int64_t)to->width * to->channels * 2, 1);
    clvi_launch_begin(&l, device, "image", "image_resample", "");
    clvi_arg_view(&l, out);
    clvi_arg_view(&l, pictures);
    clvi_arg_int(&l, (int32_t)d->n);
    clvi_arg_int(&l, d->height);
    clvi_arg_int(&l, d->width);
    clvi_arg_int(&l, d->channels);
    clvi_arg_int(&l, to->height);
    clvi_arg_int(&l, to->width);
    clvi_arg_int(&l, to->channels);
    clvi_arg_int(&l, to->bgr);
    push_scales(&l, to);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}
