/* Weights by name, "torchvision:vgg16": the file where PyTorch, Keras and Hugging Face keep it, or
 * in Conclave's own folder. Nothing is downloaded. */
#ifndef CLVI_NAMED_H
#define CLVI_NAMED_H

#include "base/error.h"

#include <stdbool.h>

/* Whether a text is such a name and no path: it begins with torchvision:, timm: or keras:. */
bool clvi_named_is(const char *text);

/* The file of a name: *path, and *note, what its hash says. A file whose hash is another than the
 * one that its name, its publisher or its cache says is passed over. The caller frees both with
 * clvi_free. Errors: CLV_E_CONFIG for an unknown name, with the nearest; CLV_E_DATA when it is
 * nowhere: which file, how large, from where, and where to put it, or that it is damaged;
 * CLV_E_MEMORY. */
clv_status clvi_named_find(const char *name, char **path, char **note,
                           clv_error *error) CLV_MUST_CHECK;

#endif
