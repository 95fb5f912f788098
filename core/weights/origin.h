/* Whose network the tensors of a file are, told by their names, and on which pixels it was trained.
 */
#ifndef CLVI_ORIGIN_H
#define CLVI_ORIGIN_H

#include "graph/graph.h"
#include "weights/weights.h"

typedef enum clvi_origin {
    CLVI_ORIGIN_UNKNOWN,
    CLVI_ORIGIN_TORCHVISION, /* efficientnet_b0, vgg16, vgg16_bn */
    CLVI_ORIGIN_TIMM,        /* efficientnet_b0 and tf_efficientnet_b0 of all tags, vgg16 */
    CLVI_ORIGIN_KERAS_EFFICIENTNET,
    CLVI_ORIGIN_KERAS_VGG
} clvi_origin;

/* Names may have something before them, such as "module.". */
clvi_origin clvi_origin_of(const clvi_weights *file);

/* Whether a network has convolutions before a normalisation that have a bias where it comes from,
 * and none here: torchvision's vgg16_bn. */
bool clvi_origin_has_biases(const clv_graph *graph);

/* Mean and deviation of the channels, of pixels of 0 … 1, as the file config.json says that timm's
 * weights have beside them where Hugging Face's tools put them. *known: false where there is none
 * that says so. Errors: CLV_E_MEMORY. */
clv_status clvi_origin_timm_pixels(const clvi_weights *file, bool *known, double mean[3],
                                   double std[3], clv_error *error) CLV_MUST_CHECK;

/* The numbers of the layer `normalization` of Keras' EfficientNet, three channels. *known: false
 * where there is no such layer. Errors: those of the file. */
clv_status clvi_origin_keras_pixels(const clvi_weights *file, bool *known, float mean[3],
                                    float variance[3], clv_error *error) CLV_MUST_CHECK;

#endif
