/* Weights in a file of HDF5 as Keras writes them. */
#ifndef H5_TENSORS_H
#define H5_TENSORS_H

#include "weights/safetensors.h"

/* Writes every tensor of the file's layers to `output` as safetensors, in the order of the layers,
 * under its path below the layers: "conv2d/conv2d/kernel:0", "layers/conv2d/vars/0". A line
 * "tensor" goes to `report` for each. Nothing but this file is opened: no links to others, no data
 * outside it, no plugins. Errors: CLV_E_FORMAT with a sentence about what is wrong; CLV_E_IO,
 * CLV_E_MEMORY; when the weights would take more than most_bytes. */
clv_status h5_convert(const char *path, uint64_t most_bytes, FILE *output, FILE *report,
                      clv_error *error) CLV_MUST_CHECK;

#endif
