/* See input_form.h. */
#include "mixture/input_form.h"

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

clv_status clvi_input_form_choose(const clvi_config *config, const char *section,
                                  const clv_input_desc *desc, clvi_input_form *out,
                                  clv_error *error)
{
    const char *name = clvi_config_text(config, section, key);
    clvi_input_form form = clvi_input_form_of_plugin(desc);
    for (size_t i = 0; i < KNOWNS; i++) {
        const struct known *k = &knowns[i];
        if (strcmp(name, k->name) != 0)
            continue;
        if (desc->channels != 3)
            return clvi_config_fail(config, section, key, error,
                                    "'%s' is for networks that see colours; this one sees grey; "
                                    "take `plugin`",
                                    name);
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
    if (strcmp(clvi_config_text(config, section, key), "auto") != 0)
        return CLV_OK;
    return clvi_config_set(config, section, key, "plugin", error);
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
        clvi_text_append(out, c ? " " : "");
        clvi_text_append_real(out, values[c]);
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
