/* The weights of one expert as PyTorch has them: names, shapes and orders of axes of the network
 * that its plugin names, in a safetensors file. What core/weights reads, backwards. */
#ifndef CLVI_TORCH_H
#define CLVI_TORCH_H

#include "export/source.h"

/* Writes expert `leaf` of those that have a plugin (clvi_config_leaf_section), built by `plugin`,
 * to `path`. The names are those of the first of the plugin's lists that is for PyTorch and for the
 * expert's options; without lists, the variables' own. Besides: counters of batches, zero biases of
 * torchvision's vgg16_bn, and in the metadata what is done to the expert's pixels. Errors:
 * CLV_E_USAGE where no list is for its options; CLV_E_IO; those of source->read. */
clv_status clvi_export_torch(const clvi_export_source *source, size_t leaf,
                             const clv_plugin *plugin, const char *path,
                             clv_error *error) CLV_MUST_CHECK;

#endif
