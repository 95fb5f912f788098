/* Keras' .h5 files. The HDF5 library dies of damaged files, so it is not in this one: the program
 * conclave-h5 reads the file in a process of its own, with limits, and gives safetensors back. */
#ifndef CLVI_H5_H
#define CLVI_H5_H

#include "weights/safetensors.h"

/* Whether a file that begins with these bytes is one of HDF5. */
bool clvi_h5_looks_like(const unsigned char *begin, size_t bytes);

/* The tensors of a file, in the order of its layers; names are their places below the layers,
 * "conv2d/conv2d/kernel:0". They lie in a temporary file without a name. Errors: CLV_E_IO, among
 * them that conclave-h5 is not there; CLV_E_FORMAT with what it said, or of what it died. */
clv_status clvi_h5_open(const char *path, clvi_safetensors **out, clv_error *error) CLV_MUST_CHECK;

#endif
