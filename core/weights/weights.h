/* An open file of weights of any format that Conclave reads: safetensors (checkpoints among them),
 * PyTorch's .pth and Keras' .h5, told apart by their first bytes. */
#ifndef CLVI_WEIGHTS_H
#define CLVI_WEIGHTS_H

#include "weights/file_tensor.h"

/* Whose order of axes the tensors have. */
typedef enum clvi_weights_layout {
    CLVI_LAYOUT_TORCH, /* [out, in, kh, kw]; safetensors of others are written by PyTorch */
    CLVI_LAYOUT_KERAS, /* [kh, kw, in, out] */
    CLVI_LAYOUT_OWN    /* a checkpoint of Conclave */
} clvi_weights_layout;

typedef struct clvi_weights clvi_weights;

/* `path` may be a name such as "torchvision:vgg16" (named.h). Errors: CLV_E_IO, CLV_E_FORMAT,
 * CLV_E_MEMORY, each naming the path; those of clvi_named_find. The caller closes. */
clv_status clvi_weights_open(const char *path, clvi_weights **out, clv_error *error) CLV_MUST_CHECK;
void clvi_weights_close(clvi_weights *file); /* NULL allowed */

/* Everything below lives as long as the file is open. */
const char *clvi_weights_path(const clvi_weights *file);
/* What the hash of a file said that was asked for by name; NULL: it was not. */
const char *clvi_weights_note(const clvi_weights *file);
const char *clvi_weights_format(const clvi_weights *file); /* "PyTorch", "Keras", … */
clvi_weights_layout clvi_weights_layout_of(const clvi_weights *file);
/* The configuration in a checkpoint of Conclave; NULL in other files. */
const char *clvi_weights_config(const clvi_weights *file);
/* Value of a key of a safetensors file's metadata; NULL: none. */
const char *clvi_weights_metadata(const clvi_weights *file, const char *key);
/* The key of what is done to the expert's pixels, as [expert.NAME] preprocess says it: in files
 * that `conclave export --safetensors` writes, whose names may say something else. */
#define CLVI_WEIGHTS_PREPROCESS "conclave.preprocess"
/* Where in the file the tensors lie: "model_state_dict"; mostly "". */
const char *clvi_weights_place(const clvi_weights *file);
size_t clvi_weights_count(const clvi_weights *file);
const clvi_file_tensor *clvi_weights_at(const clvi_weights *file, size_t index);
/* All elements of a tensor in row-major order, as f32. */
clv_status clvi_weights_read_f32(const clvi_weights *file, size_t index, float *out,
                                 clv_error *error) CLV_MUST_CHECK;

#endif
