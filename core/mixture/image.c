/* See image.h; the kernels are in kernels/image.cl. */
#include "mixture/image.h"

#include "ops/share.h"

static clv_status check(const clvi_picture_desc *d, int channels, clv_error *error)
{
    const clvi_picture *p = &d->seen;
    if (d->n < 1 || p->height < 1 || p->width < 1 || p->margin_y < 0 || p->margin_x < 0 ||
        (p->channels != 1 && p->channels != 3) || (channels != 1 && channels != 3))
        CLV_FAIL(error, CLV_E_INTERNAL,
                 "%lld pictures of %d×%d pixels, %d channels for a network of %d", (long long)d->n,
                 p->width, p->height, p->channels, channels);
    return CLV_OK;
}

clv_status clvi_image_augment(clvi_device *device, const clvi_picture_desc *d,
                              const clvi_augment *augment, clvi_view pixels, clvi_view pictures,
                              clv_error *error)
{
    const clvi_picture *p = &d->seen;
    CLV_TRY(check(d, p->channels, error));
    /* Each group draws the changes of its samples anew: a few rows are worth that, and give a
     * device of many cores something to do. */
    const int64_t work = augment->kind == CLVI_AUGMENT_NONE ? 1 : 2;
    const clvi_share share = clvi_share_of(d->n * p->height, work * p->width * p->channels, 1);
    static const char *const kernels[] = {[CLVI_AUGMENT_NONE] = "image_middle",
                                          [CLVI_AUGMENT_CHARACTERS] = "image_characters",
                                          [CLVI_AUGMENT_STEPS] = "image_steps"};
    clvi_launch l;
    clvi_launch_begin(&l, device, "image", kernels[augment->kind], "");
    clvi_arg_view(&l, pictures);
    clvi_arg_view(&l, pixels);
    clvi_arg_int(&l, (int32_t)d->n);
    clvi_arg_int(&l, p->height);
    clvi_arg_int(&l, p->width);
    clvi_arg_int(&l, p->channels);
    clvi_arg_int(&l, p->margin_y);
    clvi_arg_int(&l, p->margin_x);
    if (augment->kind != CLVI_AUGMENT_NONE) {
        clvi_arg_view(&l, d->ids);
        clvi_arg_uint(&l, d->key[0]);
        clvi_arg_uint(&l, d->key[1]);
        clvi_arg_uint(&l, d->epoch);
    }
    if (augment->kind == CLVI_AUGMENT_STEPS) {
        clvi_arg_float(&l, (float)augment->crop);
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

/* Whether only the values change. */
static bool is_plain(const clvi_picture *p, const clvi_input_form *to)
{
    return to->height == p->height && to->width == p->width && to->channels == p->channels &&
           !to->bgr;
}

bool clvi_image_is_plain(const clvi_picture *seen, const clvi_augment *augment,
                         const clvi_input_form *to)
{
    return augment->kind == CLVI_AUGMENT_NONE && is_plain(seen, to);
}

clv_status clvi_image_plain(clvi_device *device, const clvi_picture_desc *d,
                            const clvi_input_form *to, clvi_view pixels, clvi_view out,
                            clv_error *error)
{
    const clvi_picture *p = &d->seen;
    CLV_TRY(check(d, to->channels, error));
    const clvi_share share = clvi_share_of(d->n * p->height, p->width * p->channels, 1);
    clvi_launch l;
    clvi_launch_begin(&l, device, "image_plain", "image_plain", "");
    clvi_arg_view(&l, out);
    clvi_arg_view(&l, pixels);
    clvi_arg_int(&l, (int32_t)d->n);
    clvi_arg_int(&l, p->height);
    clvi_arg_int(&l, p->width);
    clvi_arg_int(&l, p->channels);
    clvi_arg_int(&l, p->margin_y);
    clvi_arg_int(&l, p->margin_x);
    push_scales(&l, to);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_image_normalise(clvi_device *device, const clvi_picture_desc *d,
                                const clvi_input_form *to, clvi_view pictures, clvi_view out,
                                clv_error *error)
{
    const clvi_picture *p = &d->seen;
    CLV_TRY(check(d, to->channels, error));
    clvi_launch l;
    if (is_plain(p, to)) {
        const int64_t total = d->n * p->height * p->width * p->channels;
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
        clvi_share_of(d->n * to->height, (int64_t)to->width * to->channels * 8, 1);
    clvi_launch_begin(&l, device, "image", "image_resample", "");
    clvi_arg_view(&l, out);
    clvi_arg_view(&l, pictures);
    clvi_arg_int(&l, (int32_t)d->n);
    clvi_arg_int(&l, p->height);
    clvi_arg_int(&l, p->width);
    clvi_arg_int(&l, p->channels);
    clvi_arg_int(&l, to->height);
    clvi_arg_int(&l, to->width);
    clvi_arg_int(&l, to->channels);
    clvi_arg_int(&l, to->bgr);
    push_scales(&l, to);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}
