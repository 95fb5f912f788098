/* The shipped efficientnet_b0 with one mistake in it on purpose, of those that are easily made when
 * such networks are put together; SOFTMAX_TWICE: what it hands on as logits are probabilities, of
 * which the loss takes the softmax again; PIXELS_TWICE: pixels are divided by 255 once more. Each
 * is a plugin of its own with the same options and variables. How to use them: configs/README.md.
 */
#include <conclave/ops.h>

#if defined SOFTMAX_TWICE
#define MISTAKEN_NAME    "efficientnet_b0_softmax_twice"
#define MISTAKEN_SUMMARY "EfficientNet-B0, mistaken: a softmax before that of the loss"
#elif defined PIXELS_TWICE
#define MISTAKEN_NAME    "efficientnet_b0_pixels_twice"
#define MISTAKEN_SUMMARY "EfficientNet-B0, mistaken: pixels divided by 255 twice"
#endif

/* ---- The mistakes, in the place of the calls that are right ---- */

#ifdef SOFTMAX_TWICE
static inline void mistaken_output(clv_builder *b, const char *role, clv_tensor x)
{
    if (strcmp(role, "logits") == 0)
        x = clv_softmax(b, "softmax", x);
    clv_output(b, role, x);
}
#define clv_output mistaken_output
#endif

#ifdef PIXELS_TWICE
/* (pixel/255/255 - mean)/std = (pixel/255 - 255·mean)/(255·std) */
static inline clv_tensor mistaken_image(clv_builder *b, const clv_build_input *input, int channels)
{
    double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
    if (channels == 1)
        mean[0] = 0.449, std[0] = 0.226;
    for (int c = 0; c < channels; c++)
        mean[c] *= 255, std[c] *= 255;
    return clv_image(b, input->image_height, input->image_width, channels, mean, std);
}
#define clv_image_of_imagenet mistaken_image
#endif

/* ---- The plugin ---- */

const clv_plugin *correct_plugin(void);

#define clv_plugin_v1 correct_plugin
#include "../../plugins/experts/efficientnet_b0.c"
#undef clv_plugin_v1

static const clv_plugin mistaken = {
    .magic = CLV_PLUGIN_MAGIC,
    .struct_size = (uint32_t)sizeof(clv_plugin),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .kind = CLV_KIND_EXPERT,
    .name = MISTAKEN_NAME,
    .version = "1.0",
    .summary = MISTAKEN_SUMMARY,
    .options = specs,
    .option_count = (uint32_t)(sizeof(specs) / sizeof(*specs)),
    .option_stride = (uint32_t)sizeof(*specs),
    .build = build,
    .weight_names = weight_names,
    .weight_name_count = (uint32_t)(sizeof(weight_names) / sizeof(*weight_names)),
    .weight_name_stride = (uint32_t)sizeof(*weight_names),
};

const clv_plugin *clv_plugin_v1(void)
{
    return &mistaken;
}
