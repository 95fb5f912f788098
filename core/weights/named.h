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

/* Whose files they are, which says where these lie and what their hash is. */
typedef enum clvi_named_keeper {
    CLVI_KEPT_BY_TORCH,
    CLVI_KEPT_BY_KERAS,
    CLVI_KEPT_BY_HUB /* Hugging Face's, of timm's models */
} clvi_named_keeper;

typedef struct clvi_named_weights {
    const char *name;
    clvi_named_keeper keeper;
    const char *size, *url;
    const char *files[2];  /* names that the file may have; of Hugging Face the repository */
    const char *hashes[2]; /* the file's, and that of what was published later under its name */
} clvi_named_weights;

/* Those that clvi_named_find knows. */
extern const clvi_named_weights clvi_named_list[];
extern const size_t clvi_named_count;
/* As clvi_named_find, among `count` (at most 32) others. */
clv_status clvi_named_find_in(const clvi_named_weights *list, size_t count, const char *name,
                              char **path, char **note, clv_error *error) CLV_MUST_CHECK;

/* The option that a network needs for weights of this name, where names of tensors do not tell, and
 * its *value; NULL: none. */
const char *clvi_named_option(const char *name, const char **value);

#endif
