/* See classifier.h. */
#include "use/classifier.h"

#include "base/files.h"
#include "base/structs.h"
#include "data/image.h"
#include "train/settings.h"

#include <pthread.h>
#include <stdio.h>

struct clvi_classifier {
    clvi_model *model;
    clvi_mixture *mixture;
    size_t batch, classes, gated; /* gated: experts that a gate weighs; 0: there is none */
    clvi_image_form form;         /* as in training */
    size_t image_bytes;           /* of one in that form */
    double temperature;
    pthread_mutex_t lock; /* of the device */
};

clv_status clvi_classifier_create(clvi_model *model, int64_t max_batch, clvi_classifier **out,
                                  clv_error *error)
{
    clvi_classifier *c = clvi_calloc(1, sizeof *c);
    if (c == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %s", clvi_model_path(model));
    const clvi_data_options data = clvi_train_data_options(clvi_model_config(model));
    const double temperature = clvi_model_temperature(model);
    c->model = model;
    c->mixture = clvi_model_mixture(model);
    c->batch = (size_t)max_batch;
    c->classes = clvi_model_class_count(model);
    c->gated = clvi_mixture_has_gate(c->mixture) ? clvi_mixture_expert_count(c->mixture) : 0;
    c->form = (clvi_image_form){.resample = data.resample, .fit = data.fit};
    clvi_model_image(model, &c->form.height, &c->form.width, &c->form.channels);
    c->image_bytes = (size_t)c->form.height * (size_t)c->form.width * (size_t)c->form.channels;
    c->temperature = temperature > 0 ? temperature : 1;
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return CLV_OK;
}

void clvi_classifier_destroy(clvi_classifier *c)
{
    if (c == NULL)
        return;
    pthread_mutex_destroy(&c->lock);
    clvi_free(c);
}

/* ---- One image ---- */

enum { NAME_BYTES = 32 };
/* What messages call image `index`: its own name, or a number from 1, in `own`. */
static const char *name_of(const clv_image *image, size_t index, char own[NAME_BYTES])
{
    if (image->name != NULL)
        return image->name;
    snprintf(own, NAME_BYTES, "image %zu", index + 1);
    return own;
}

static clv_status read_file(const clvi_classifier *c, const char *path, uint8_t *out,
                            clv_error *error)
{
    char *bytes = NULL;
    size_t length = 0;
    CLV_TRY(clvi_file_read(path, CLVI_IMAGE_FILE_LIMIT, &bytes, &length, error));
    const clv_status status = clvi_image_load(bytes, length, path, &c->form, out, error);
    clvi_free(bytes);
    return status;
}

static clv_status read_image(const clvi_classifier *c, const clv_image *image, const char *name,
                             uint8_t *out, clv_error *error)
{
    if (image->kind == CLV_IMAGE_FILE)
        return read_file(c, name, out, error);
    if (image->kind == CLV_IMAGE_PIXELS) {
        const clvi_raw_image raw = {image->data, image->height, image->width, image->channels,
                                    image->row_bytes};
        return clvi_image_load_raw(&raw, name, &c->form, out, error);
    }
    if (image->bytes > CLVI_IMAGE_FILE_LIMIT)
        CLV_FAIL(error, CLV_E_DATA, "%s: more than %d MiB", name,
                 (int)(CLVI_IMAGE_FILE_LIMIT >> 20));
    return clvi_image_load(image->data, image->bytes, name, &c->form, out, error);
}

/* ---- A call ---- */

/* Elements follow one another as the caller's version of the struct is long; what an older one does
 * not have is 0. */
static clv_image image_at(const clv_image *images, size_t index)
{
    clv_image image;
    clvi_struct_at(&image, sizeof image, images, index, images->struct_size);
    return image;
}

static clv_status refuse_size(size_t number, uint32_t given, clv_error *error)
{
    CLV_FAIL(error, CLV_E_USAGE, "image %zu: struct_size is %u; set it to sizeof(clv_image), %zu",
             number, (unsigned)given, sizeof(clv_image));
}

/* What is the program's fault, and not an image's. */
static clv_status check_images(const clv_image *images, size_t count, clv_error *error)
{
    if (images == NULL || count == 0)
        CLV_FAIL(error, CLV_E_USAGE, "no images are given");
    if (images->struct_size < CLVI_BYTES_TO(clv_image, name))
        return refuse_size(1, images->struct_size, error);
    for (size_t i = 0; i < count; i++) {
        const clv_image image = image_at(images, i);
        if (image.struct_size != images->struct_size)
            return refuse_size(i + 1, image.struct_size, error);
        if (image.kind < CLV_IMAGE_FILE || image.kind > CLV_IMAGE_PIXELS)
            CLV_FAIL(error, CLV_E_USAGE, "image %zu: there is no kind %u of images", i + 1,
                     (unsigned)image.kind);
        if (image.kind == CLV_IMAGE_FILE ? image.name == NULL : image.data == NULL)
            CLV_FAIL(error, CLV_E_USAGE, "image %zu: its %s is NULL", i + 1,
                     image.kind == CLV_IMAGE_FILE ? "name" : "data");
    }
    return CLV_OK;
}

/* One call: pixels are gathered until a batch is full. */
typedef struct pass {
    clvi_classifier *classifier;
    const clv_image *images;
    clv_result *result;
    size_t batch, filled;
    size_t *which;   /* [batch] indices of the images that are gathered */
    uint8_t *pixels; /* [batch, height, width, channels] */
    float *logits;   /* [batch, classes] */
    float *gate;     /* [batch, experts]; NULL: there is no gate */
} pass;

static clv_status compute(pass *p, clv_error *error)
{
    clvi_mixture *mixture = p->classifier->mixture;
    const clvi_mixture_batch batch = {.n = (int64_t)p->filled, .pixels = p->pixels};
    CLV_TRY(clvi_mixture_infer(mixture, &batch, error));
    CLV_TRY(clvi_mixture_logits(mixture, p->logits, error));
    return p->gate != NULL ? clvi_mixture_route(mixture, p->gate, error) : CLV_OK;
}

static clv_status flush(pass *p, clv_error *error)
{
    clvi_classifier *c = p->classifier;
    char own[NAME_BYTES];
    if (p->filled == 0)
        return CLV_OK;
    pthread_mutex_lock(&c->lock);
    const clv_status status = compute(p, error);
    pthread_mutex_unlock(&c->lock);
    CLV_TRY(status);
    for (size_t i = 0; i < p->filled; i++) {
        const size_t at = p->which[i];
        const float *gate = p->gate != NULL ? p->gate + i * c->gated : NULL;
        const clv_image image = image_at(p->images, at);
        CLV_TRY(clvi_result_set(p->result, at, p->logits + i * c->classes, gate, c->temperature,
                                name_of(&image, at, own), error));
    }
    p->filled = 0;
    return CLV_OK;
}

static clv_status run(pass *p, size_t count, clv_error *error)
{
    const clvi_classifier *c = p->classifier;
    for (size_t i = 0; i < count; i++) {
        char own[NAME_BYTES];
        const clv_image image = image_at(p->images, i);
        clv_error fault = CLV_ERROR_INIT;
        const clv_status status = read_image(c, &image, name_of(&image, i, own),
                                             p->pixels + p->filled * c->image_bytes, &fault);
        if (status == CLV_E_MEMORY)
            CLV_FAIL(error, CLV_E_MEMORY, "%s", fault.message);
        if (status != CLV_OK) {
            CLV_TRY(clvi_result_fail(p->result, i, &fault, error));
            continue;
        }
        p->which[p->filled++] = i;
        if (p->filled == p->batch)
            CLV_TRY(flush(p, error));
    }
    return flush(p, error);
}

clv_status clvi_classifier_run(clvi_classifier *c, const clv_image *images, size_t count,
                               clv_result **out, clv_error *error)
{
    CLV_TRY(check_images(images, count, error));
    pass p = {.classifier = c, .images = images, .batch = count < c->batch ? count : c->batch};
    clv_status status = clvi_result_create(count, c->classes, c->gated, &p.result, error);
    p.which = clvi_calloc(p.batch, sizeof *p.which);
    p.pixels = clvi_calloc(p.batch, c->image_bytes);
    p.logits = clvi_calloc(p.batch * c->classes, sizeof *p.logits);
    p.gate = c->gated > 0 ? clvi_calloc(p.batch * c->gated, sizeof *p.gate) : NULL;
    if (status == CLV_OK &&
        (!p.which || !p.pixels || !p.logits || (c->gated > 0 && p.gate == NULL)))
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: a batch of %zu images",
                           p.batch);
    if (status == CLV_OK)
        status = run(&p, count, error);
    clvi_free(p.which);
    clvi_free(p.pixels);
    clvi_free(p.logits);
    clvi_free(p.gate);
    if (status != CLV_OK) {
        clv_result_destroy(p.result);
        return status;
    }
    *out = p.result;
    return CLV_OK;
}

clv_status clvi_classifier_warm(clvi_classifier *c, clv_error *error)
{
    pthread_mutex_lock(&c->lock);
    const clv_status status = clvi_model_compile(c->model, error);
    pthread_mutex_unlock(&c->lock);
    return status;
}

void clvi_classifier_counters(clvi_classifier *c, clvi_device_counters *out)
{
    pthread_mutex_lock(&c->lock);
    clvi_device_get_counters(clvi_model_device(c->model), out);
    pthread_mutex_unlock(&c->lock);
}
