/* From the bytes of decoded images to what networks see, on the device: augmentation once per
 * sample, then one normalisation per input form. */
#ifndef CLVI_MIXTURE_IMAGE_H
#define CLVI_MIXTURE_IMAGE_H

#include "mixture/augment.h"
#include "mixture/input_form.h"
#include "mixture/picture.h"
#include "runtime/runtime.h"

/* A batch of pictures. */
typedef struct clvi_picture_desc {
    int64_t n;
    clvi_picture seen;
    /* Random numbers: Philox key of the stream "augment"; the counter is (epoch, sample id, 0 for
     * CLVI_AUGMENT_CHARACTERS and 1 for CLVI_AUGMENT_STEPS, draw). */
    uint32_t key[2], epoch;
    clvi_view ids; /* [n] u32 */
} clvi_picture_desc;

/* pixels [n, whole height, whole width, channels] bytes (offset in bytes) → pictures [n, height,
 * width, channels] f32, 0 … 255, overwritten: without augmentation the middle, as it is. Enqueues
 * only. */
clv_status clvi_image_augment(clvi_device *device, const clvi_picture_desc *desc,
                              const clvi_augment *augment, clvi_view pixels, clvi_view pictures,
                              clv_error *error) CLV_MUST_CHECK;

/* pictures (f32, 0 … 255) → out [n, to->height, to->width, to->channels], overwritten: as the form
 * says, grey and RGB turned into each other (RGB to grey by BT.601's weights), another size by
 * bilinear sampling, which smooths what it makes smaller. Enqueues only. */
clv_status clvi_image_normalise(clvi_device *device, const clvi_picture_desc *desc,
                                const clvi_input_form *to, clvi_view pictures, clvi_view out,
                                clv_error *error) CLV_MUST_CHECK;

/* Whether a form needs no more of pixels than what clvi_image_plain does. */
bool clvi_image_is_plain(const clvi_picture *seen, const clvi_augment *augment,
                         const clvi_input_form *to);

/* Both of the above without pictures in between, where they change nothing but the values: pixels →
 * out, overwritten. Enqueues only. */
clv_status clvi_image_plain(clvi_device *device, const clvi_picture_desc *desc,
                            const clvi_input_form *to, clvi_view pixels, clvi_view out,
                            clv_error *error) CLV_MUST_CHECK;

#endif
