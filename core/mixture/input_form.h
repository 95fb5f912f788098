/* What becomes of a picture's pixels before a network sees them: size, channels and their order,
 * and one linear map per channel. This is the only place where pixels are scaled, so that nothing
 * is scaled twice. Networks with equal forms share one copy of the pixels. */
#ifndef CLVI_INPUT_FORM_H
#define CLVI_INPUT_FORM_H

#include "base/text.h"
#include "mixture/picture.h"

typedef struct clvi_input_form {
    int height, width, channels; /* channels: 1 or 3 */
    bool bgr;                    /* three channels are blue, green, red; else red, green, blue */
    double range;                /* 255, or 1 */
    /* y = (x / range - mean) / std with pixels x of 0 … 255; in the order of the channels, the rest
     * 0 */
    double mean[3], std[3];
    const char *origin; /* whose it is, for people: "torchvision"; static. Not compared */
} clvi_input_form;

/* What the plugin's graph asked for. */
clvi_input_form clvi_input_form_of_plugin(const clv_input_desc *desc);

/* The form that counts for an expert: the one that [expert.NAME] preprocess names, in place of that
 * of `desc`, the plugin's, of which size and channels count in any case. `auto`: what the file of
 * [expert.NAME] weights was trained on, told by its tensors' names; of a checkpoint, what the
 * expert of that name, or the one that `init` names, had there; without weights or where they do
 * not tell, the plugin's. Errors: CLV_E_CONFIG for a form in colours and a network that sees grey,
 * and for weights that say other numbers than any form has (timm's in config.json, Keras' in a
 * layer); those of the file. */
clv_status clvi_input_form_choose(const clvi_config *config, const char *section,
                                  const clv_input_desc *desc, clvi_input_form *out,
                                  clv_error *error) CLV_MUST_CHECK;

/* Writes what `preprocess = auto` means into the section, so that a run means the same when its
 * weights' file is gone; not while `init` does not name a checkpoint yet. Errors: as above. */
clv_status clvi_input_form_settle(clvi_config *config, const char *section,
                                  clv_error *error) CLV_MUST_CHECK;

bool clvi_input_form_same(const clvi_input_form *a, const clvi_input_form *b);

/* Appends what is done to a pixel x of such pictures: "RGB 32x32, (x/255 - [0.5 0.5 0.5]) / [0.5
 * 0.5 0.5] as the plugin wants it; the pictures are grey: three times the same". Channels 0: not
 * known. */
void clvi_input_form_describe(const clvi_input_form *form, const clvi_picture *picture,
                              clvi_text *out);

#endif
