/* Weight files of PyTorch, .pth and .pt: what torch.save makes of a dictionary of tensors, also
 * within other dictionaries. Both forms: the zip file of PyTorch 1.6 and later, and the plain
 * stream before it. Nothing of Python is run; see pickle.h. Reading trusts nothing in a file. */
#ifndef CLVI_PTH_H
#define CLVI_PTH_H

#include "weights/file_tensor.h"

#include <stdbool.h>

typedef struct clvi_pth clvi_pth;

/* Whether a file that begins with these bytes may be one of PyTorch's. */
bool clvi_pth_looks_like(const unsigned char *begin, size_t bytes);

/* Opens a file and finds its tensors: of dictionaries within others, those of the only one that has
 * tensors, or of the one that is called state_dict, model_state_dict, model and the like. All
 * shapes and places are checked. Errors: CLV_E_IO, CLV_E_FORMAT naming path and what is wrong (an
 * opcode, a name of Python, a tensor), CLV_E_MEMORY. The caller closes. Thread: any number may
 * read one open file. */
clv_status clvi_pth_open(const char *path, clvi_pth **out, clv_error *error) CLV_MUST_CHECK;
void clvi_pth_close(clvi_pth *file); /* NULL allowed */

/* Tensors in the order of the file; offset and bytes are those of what they view, which several may
 * share. Their names are unique. */
size_t clvi_pth_count(const clvi_pth *file);
const clvi_file_tensor *clvi_pth_at(const clvi_pth *file, size_t index);
/* The dictionary that they lie in: "model_state_dict", "" for the outermost. */
const char *clvi_pth_place(const clvi_pth *file);

/* All elements of a tensor in row-major order, as f32. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_pth_read_f32(const clvi_pth *file, size_t index, float *out,
                             clv_error *error) CLV_MUST_CHECK;

#endif
