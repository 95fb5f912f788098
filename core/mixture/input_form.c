/* See input_form.h. */
#include "mixture/input_form.h"

#include "mixture/initial_weights.h"
#include "weights/origin.h"

#include <math.h>

static const char key[] = "preprocess";

/* What the weights that people have were trained on. */
static const struct known {
    const char *name;
    bool bgr;
    double range, mean[3], std[3];
} knowns[] = {
    {"torchvision", false, 255, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
    {"timm", false, 255, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
    /* tf_efficientnet_b0.ap_in1k, efficientnet_b0.ra4_e3600_r224_in1k of timm */
    {"inception", false, 255, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}},
    {"unit", false, 255, {0, 0, 0}, {1, 1, 1}},
    {"keras_vgg", true, 1, {103.939, 116.779, 123.68}, {1, 1, 1}},
    /* Given 0 … 255; its first layers, which no plugin has, do this. */
    {"keras_efficientnet", false, 255, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
};
enum { KNOWNS = sizeof knowns / sizeof *knowns };

clvi_input_form clvi_input_form_of_plugin(const clv_input_desc *desc)
{
    clvi_input_form form = {.height = desc->height,
                            .width = desc->width,
                            .channels = desc->channels,
                            .range = 255,
                            .origin = "the plugin"};
    for (int c = 0; c < desc->channels && c < 3; c++) {
        form.mean[c] = desc->mean[c];
        form.std[c] = desc->std[c];
    }
    return form;
}

/* ---- Which one ---- */

static const struct known *find(const char *name)
{
    for (size_t i = 0; i < KNOWNS; i++)
        if (strcmp(name, knowns[i].name) == 0)
            return &knowns[i];
    return NULL;
}

/* timm's weights of one network were trained on different pixels; config.json tells, or the name.
 */
static clv_status timm_form(const clvi_config *config, const char *section,
                            const clvi_weights *file, const char **out, clv_error *error)
{
    static const char *const inception[] = {"ra4_e3600", "ap_in1k"};
    const char *said = clvi_config_text(config, section, "weights");
    const char *name = "timm";
    bool told;
    double mean[3], std[3];
    CLV_TRY(clvi_origin_timm_pixels(file, &told, mean, std, error));
    for (size_t i = 0; i < sizeof inception / sizeof *inception && !told; i++)
        if (strstr(said, inception[i]) || strstr(clvi_weights_path(file), inception[i]))
            name = "inception";
    const struct known *usual = find("timm");
    for (size_t i = 0; i < KNOWNS && told; i++) {
        const struct known *k = &knowns[i];
        if (k->bgr || memcmp(k->mean, mean, sizeof mean) != 0 ||
            memcmp(k->std, std, sizeof std) != 0)
            continue;
        const bool same = memcmp(k->mean, usual->mean, sizeof mean) == 0;
        *out = same ? usual->name : k->name;
        return CLV_OK;
    }
    if (told)
        return clvi_config_fail(config, section, key, error,
                                "the config.json of %s says mean %g %g %g, std %g %g %g, which is "
                                "none of the forms; say which one to take",
                                clvi_weights_path(file), mean[0], mean[1], mean[2], std[0], std[1],
                                std[2]);
    *out = name;
    return CLV_OK;
}

/* Near in f32, of which the numbers in a file are. */
static bool near(const float *numbers, const double *wanted)
{
    bool same = true;
    for (int c = 0; c < 3 && same; c++)
        same = fabs((double)numbers[c] - wanted[c]) <= 1e-5;
    return same;
}

/* Keras' EfficientNet divides by 255, then by what its layer `normalization` holds: nothing where
 * it began with random weights, and where it began with ImageNet's their mean and, as variance,
 * their deviation, which a further layer without weights sets right. */
static clv_status keras_form(const clvi_config *config, const char *section,
                             const clvi_weights *file, const char **out, clv_error *error)
{
    const struct known *imagenet = find("keras_efficientnet"), *unit = find("unit");
    bool told;
    float mean[3], variance[3];
    CLV_TRY(clvi_origin_keras_pixels(file, &told, mean, variance, error));
    *out = imagenet->name;
    if (!told || (near(mean, imagenet->mean) && near(variance, imagenet->std)))
        return CLV_OK;
    *out = unit->name;
    if (near(mean, unit->mean) && near(variance, unit->std))
        return CLV_OK;
    return clvi_config_fail(config, section, key, error,
                            "the layer normalization in %s has mean %g %g %g, variance %g %g %g, "
                            "which is none of the forms; say which one to take",
                            clvi_weights_path(file), (double)mean[0], (double)mean[1],
                            (double)mean[2], (double)variance[0], (double)variance[1],
                            (double)variance[2]);
}

/* What the expert `section`, or the only one, had in a checkpoint. */
static clv_status checkpoint_form(const clvi_weights *file, const char *section, const char **out,
                                  clv_error *error)
{
    const char *text = clvi_weights_config(file);
    const clvi_config_source source = {
        .name = clvi_weights_path(file), .text = text, .text_bytes = strlen(text)};
    clvi_config *config = NULL;
    CLV_TRY(clvi_config_load(&source, &config, error));
    const size_t experts = clvi_config_leaf_count(config);
    for (size_t i = 0; i < experts; i++)
        if (experts == 1 || strcmp(clvi_config_leaf_section(config, i), section) == 0) {
            const char *theirs = clvi_config_leaf_section(config, i);
            const struct known *k = find(clvi_config_text(config, theirs, key));
            *out = k ? k->name : "plugin";
        }
    clvi_config_destroy(config);
    return CLV_OK;
}

/* The name of the form that the weights were trained on; untouched where they do not tell. */
static clv_status weights_form(const clvi_config *config, const char *section, const char **out,
                               clv_error *error)
{
    static const char *const names[] = {
        [CLVI_ORIGIN_TORCHVISION] = "torchvision", [CLVI_ORIGIN_KERAS_VGG] = "keras_vgg"};
    clvi_weights *file;
    char there[CLVI_EXPERT_BYTES];
    CLV_TRY(clvi_initial_weights_open(config, section, &file, error));
    const clvi_origin origin = clvi_origin_of(file);
    const char *said = clvi_weights_metadata(file, CLVI_WEIGHTS_PREPROCESS);
    clv_status status = CLV_OK;
    if (said && (find(said) || strcmp(said, "plugin") == 0))
        *out = find(said) ? find(said)->name : "plugin";
    else if (clvi_weights_config(file))
        status =
            checkpoint_form(file, clvi_initial_weights_section(config, section, there), out, error);
    else if (origin == CLVI_ORIGIN_TIMM)
        status = timm_form(config, section, file, out, error);
    else if (origin == CLVI_ORIGIN_KERAS_EFFICIENTNET)
        status = keras_form(config, section, file, out, error);
    else if (origin != CLVI_ORIGIN_UNKNOWN)
        *out = names[origin];
    clvi_weights_close(file);
    return status;
}

/* "plugin" or the name of a known form. */
static clv_status resolve(const clvi_config *config, const char *section, const char **out,
                          clv_error *error)
{
    const char *name = clvi_config_text(config, section, key);
    if (strcmp(name, "auto") == 0) {
        name = "plugin";
        if (clvi_initial_weights_given(config, section))
            CLV_TRY(weights_form(config, section, &name, error));
    }
    *out = name;
    return CLV_OK;
}

clv_status clvi_input_form_choose(const clvi_config *config, const char *section,
                                  const clv_input_desc *desc, clvi_input_form *out,
                                  clv_error *error)
{
    const char *name;
    CLV_TRY(resolve(config, section, &name, error));
    clvi_input_form form = clvi_input_form_of_plugin(desc);
    const struct known *k = find(name);
    if (k && desc->channels != 3)
        return clvi_config_fail(config, section, key, error,
                                "'%s' is for networks that see colours; this one sees grey; take "
                                "`plugin`",
                                name);
    if (k) {
        form.bgr = k->bgr;
        form.range = k->range;
        memcpy(form.mean, k->mean, sizeof form.mean);
        memcpy(form.std, k->std, sizeof form.std);
        form.origin = k->name;
    }
    *out = form;
    return CLV_OK;
}

clv_status clvi_input_form_settle(clvi_config *config, const char *section, clv_error *error)
{
    const char *name, *init = clvi_config_text(config, section, "init");
    if (*init != '\0' && !clvi_init_is_settled(init))
        return CLV_OK;
    CLV_TRY(resolve(config, section, &name, error));
    if (strcmp(clvi_config_text(config, section, key), name) == 0)
        return CLV_OK;
    return clvi_config_set(config, section, key, name, error);
}

bool clvi_input_form_same(const clvi_input_form *a, const clvi_input_form *b)
{
    bool same = a->height == b->height && a->width == b->width && a->channels == b->channels &&
                a->bgr == b->bgr && a->range == b->range;
    for (int c = 0; c < a->channels && same; c++)
        same = a->mean[c] == b->mean[c] && a->std[c] == b->std[c];
    return same;
}

static void append_list(const double *values, int count, clvi_text *out)
{
    clvi_text_append(out, "[");
    for (int c = 0; c < count; c++) {
        clvi_text_printf(out, "%s%.6g", c ? " " : "", values[c]);
    }
    clvi_text_append(out, "]");
}

void clvi_input_form_describe(const clvi_input_form *f, const clvi_picture *p, clvi_text *out)
{
    bool divides = false;
    for (int c = 0; c < f->channels; c++)
        divides |= f->std[c] != 1;
    clvi_text_printf(out, "%s %dx%d, ",
                     f->channels == 1 ? "grey"
                     : f->bgr         ? "BGR"
                                      : "RGB",
                     f->width, f->height);
    clvi_text_printf(out, "%s%s - ", divides ? "(" : "", f->range == 1 ? "x" : "x/255");
    append_list(f->mean, f->channels, out);
    if (divides) {
        clvi_text_append(out, ") / ");
        append_list(f->std, f->channels, out);
    }
    clvi_text_printf(out, " as %s wants it", f->origin);
    if (p->channels == 1 && f->channels == 3)
        clvi_text_append(out, "; the pictures are grey: three times the same");
    if (p->channels == 3 && f->channels == 1)
        clvi_text_append(out, "; the pictures are coloured: 0.299 R + 0.587 G + 0.114 B");
    if (p->margin_x > 0 || p->margin_y > 0)
        clvi_text_printf(out, "; the middle of %dx%d", p->width + 2 * p->margin_x,
                         p->height + 2 * p->margin_y);
    if (p->height != f->height || p->width != f->width)
        clvi_text_printf(out, "; resized from %dx%d, bilinear", p->width, p->height);
}
