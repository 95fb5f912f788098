/* Classifying images with what Conclave trained, from a program in C or C++.
 *
 *   clv_error error = CLV_ERROR_INIT;
 *   clv_model *model = NULL;
 *   clv_result *result = NULL;
 *   clv_image image = clv_image_of_file("photo.jpg");
 *   status = clv_model_open("flowers.safetensors", NULL, &model, &error);
 *   status = clv_model_classify(model, &image, 1, &result, &error);
 *   status = clv_result_top(result, 0, 1, &best, &error);      clv_model_class_name(model, best)
 *   clv_result_destroy(result);
 *   clv_model_close(model);
 *
 * core/examples/classify.c is a whole program. Link with -lconclave (pkg-config conclave).
 *
 * Errors: a fallible function returns a clv_status and fills the caller's clv_error with one
 * sentence (status.h); its outputs are written last and left alone on failure.
 * Memory: what `open` and `classify` give belongs to the caller, who closes or destroys it. Texts
 * and arrays that functions give lie in the model or the result and live as long as that. What a
 * function is given is not kept beyond the call.
 * Threads: any number of threads may use one model at the same time, but for clv_model_close.
 * Images are decoded side by side; the device computes one batch at a time, the others wait. The
 * answers do not depend on who else asks. Models are independent of one another: a program may open
 * several, also on several devices. A result is read by any number of threads.
 * Nothing is printed, and nothing is kept outside models and results but compiled kernels on disk.
 */
#ifndef CONCLAVE_H
#define CONCLAVE_H

#include <conclave/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the library, "0.1.0". Static storage. */
CLV_EXPORT const char *clv_version(void);

/* ---- Models ---- */

/* A trained run, or a bundle of one (`conclave export RUN --bundle FILE`), on a device. */
typedef struct clv_model clv_model;

/* How a model is to be opened. Begin with CLV_MODEL_OPTIONS_INIT: whatever is 0 means the default.
 * Later versions append fields; what lies beyond struct_size counts as 0. */
typedef struct clv_model_options {
    uint32_t struct_size; /* sizeof(clv_model_options) */
    /* Images that the device computes at once, at most 65,536; 0: 1. More are done in turn. Memory
     * on the device grows with it. */
    uint32_t max_batch;
    /* auto, cpu, gpu, PLATFORM:DEVICE such as "0:1", or a part of a name; NULL: what the run's
     * configuration says. auto takes a GPU before a CPU, without trying either out; the environment
     * variable CONCLAVE_DEVICE says what it means instead. `conclave devices` lists them. */
    const char *device;
    /* Folders of plugins, separated by ':', looked through before CONCLAVE_PLUGIN_PATH, then what
     * is linked into the library, then the folder of the installation; NULL: none. */
    const char *plugin_path;
    /* Of a run's folder: "best" (NULL too), the best epoch on validation, or "last". */
    const char *checkpoint;
} clv_model_options;
#define CLV_MODEL_OPTIONS_INIT                                                                     \
    {                                                                                              \
        (uint32_t)sizeof(clv_model_options), 0, NULL, NULL, NULL                                   \
    }

/* Opens a run's folder, a checkpoint in one, or a bundle, and puts it on a device. options NULL:
 * the defaults. Compiles nothing yet. Errors: CLV_E_USAGE (an option), CLV_E_IO, CLV_E_DATA (a
 * folder that is no run), CLV_E_FORMAT and CLV_E_CONFIG (a file that is damaged or something else),
 * CLV_E_PLUGIN, CLV_E_DEVICE (with the devices that there are), CLV_E_MEMORY, CLV_E_CL. The caller
 * closes *out. */
CLV_EXPORT clv_status clv_model_open(const char *path, const clv_model_options *options,
                                     clv_model **out, clv_error *error) CLV_MUST_CHECK;
/* Frees everything. No other thread may be using the model. Results live on. NULL allowed. */
CLV_EXPORT void clv_model_close(clv_model *model);

/* Compiles every kernel that classifying takes, for every number of images up to max_batch: later
 * calls compile nothing. Without it the first calls do, which takes from milliseconds to a minute,
 * and on most drivers is kept on disk for the next process. Errors: CLV_E_BUILD, CLV_E_CL,
 * CLV_E_MEMORY. */
CLV_EXPORT clv_status clv_model_warm_up(clv_model *model, clv_error *error) CLV_MUST_CHECK;
/* How often the model has compiled something, or loaded it from the kernel cache. */
CLV_EXPORT uint64_t clv_model_compilations(clv_model *model);

/* The classes, in the order of the probabilities; at least two. name: NULL beyond the last. UTF-8
 * as far as the folders' names were. */
CLV_EXPORT size_t clv_model_class_count(const clv_model *model);
CLV_EXPORT const char *clv_model_class_name(const clv_model *model, size_t index);
/* The experts, in the order of the gate's weights; at least one. name: NULL beyond the last. */
CLV_EXPORT size_t clv_model_expert_count(const clv_model *model);
CLV_EXPORT const char *clv_model_expert_name(const clv_model *model, size_t index);
/* Whether a gate weighs the experts: 1 or 0. */
CLV_EXPORT int clv_model_has_gate(const clv_model *model);
/* The size in pixels to which images are brought, and 1 (grey) or 3 channels. NULL allowed. */
CLV_EXPORT void clv_model_image_size(const clv_model *model, int32_t *height, int32_t *width,
                                     int32_t *channels);
/* The temperature, fitted on the run's validation images, by which logits are divided for
 * probabilities that mean what they say. 0: it is not known (a run that has not ended, a checkpoint
 * without its run), and the probabilities are those of the logits as they are. */
CLV_EXPORT double clv_model_temperature(const clv_model *model);
/* Device and driver, for people. */
CLV_EXPORT const char *clv_model_device(const clv_model *model);

/* ---- Images ---- */

typedef enum clv_image_kind {
    CLV_IMAGE_FILE = 1,    /* a JPEG or PNG file */
    CLV_IMAGE_ENCODED = 2, /* the bytes of a JPEG or PNG file, in memory */
    CLV_IMAGE_PIXELS = 3   /* decoded pixels */
} clv_image_kind;

/* An image to classify. Borrowed while a function runs. Whatever its size and channels, it is
 * brought to what the model was trained on, as training did it. JPEG or PNG: the content tells, not
 * the name; at most 64 MiB encoded and 100 megapixels. Later versions append fields; what
 * lies beyond struct_size counts as 0. In an array all have the struct_size of the first, and
 * follow one another at it. */
typedef struct clv_image {
    uint32_t struct_size; /* sizeof(clv_image) */
    uint32_t kind;        /* a clv_image_kind */
    const char *name;     /* FILE: its path. Else what messages call it; NULL: "image 3" */
    const void *data;     /* ENCODED: the bytes. PIXELS: see below */
    size_t bytes;         /* ENCODED: their number */
    /* PIXELS: 8 bits per channel, rows from the top, in a row pixels from the left, of a pixel the
     * channels side by side: 1 (grey) or 3 (red, green, blue, as sRGB files store them).
     * row_bytes: from one row to the next; 0: width * channels. */
    int32_t height, width, channels;
    size_t row_bytes;
} clv_image;

/* An image file. */
static inline clv_image clv_image_of_file(const char *path)
{
    clv_image image = {
        (uint32_t)sizeof(clv_image), CLV_IMAGE_FILE, path, (const void *)0, 0, 0, 0, 0, 0};
    return image;
}

/* The bytes of an image file. */
static inline clv_image clv_image_of_bytes(const void *data, size_t bytes)
{
    clv_image image = {
        (uint32_t)sizeof(clv_image), CLV_IMAGE_ENCODED, (const char *)0, data, bytes, 0, 0, 0, 0};
    return image;
}

/* Pixels, [height, width, channels], rows without gaps. */
static inline clv_image clv_image_of_pixels(const uint8_t *pixels, int32_t height, int32_t width,
                                            int32_t channels)
{
    clv_image image = {(uint32_t)sizeof(clv_image),
                       CLV_IMAGE_PIXELS,
                       (const char *)0,
                       pixels,
                       0,
                       height,
                       width,
                       channels,
                       0};
    return image;
}

/* ---- Classifying ---- */

/* The answers to the images of one call. */
typedef struct clv_result clv_result;

/* Classifies `count` images, one or many. An image that cannot be read does not stop the others:
 * the functions below return its error. Errors: CLV_E_USAGE (no images, a NULL, a kind that there
 * is not), CLV_E_MEMORY, CLV_E_CL, CLV_E_DEVICE. The caller destroys *out. */
CLV_EXPORT clv_status clv_model_classify(clv_model *model, const clv_image *images, size_t count,
                                         clv_result **out, clv_error *error) CLV_MUST_CHECK;
CLV_EXPORT void clv_result_destroy(clv_result *result); /* NULL allowed */
CLV_EXPORT size_t clv_result_count(const clv_result *result);

/* Probabilities of all classes, [clv_model_class_count], that add up to 1. Errors: CLV_E_USAGE for
 * an image that there is not; those of the image: CLV_E_IO, CLV_E_DATA (a file that is damaged, too
 * large or no image), CLV_E_USAGE (pixels that make no sense), CLV_E_NUMERIC (the network gives
 * numbers that are not finite). */
CLV_EXPORT clv_status clv_result_probabilities(const clv_result *result, size_t image,
                                               const double **out, clv_error *error) CLV_MUST_CHECK;
/* The `count` most probable classes, 1 to all, the most probable first, of equal ones the lower
 * index: classes [count]. Errors: as above; CLV_E_USAGE for a count that is out of range. */
CLV_EXPORT clv_status clv_result_top(const clv_result *result, size_t image, size_t count,
                                     size_t *classes, clv_error *error) CLV_MUST_CHECK;
/* The weights that the gate gave the experts, [clv_model_expert_count]; 0: not asked. NULL: there
 * is no gate, or the image has no answer. */
CLV_EXPORT const float *clv_result_gate(const clv_result *result, size_t image);

#ifdef __cplusplus
}
#endif
#endif
