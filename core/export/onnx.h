/* A trained model as a file of ONNX, which runs without Conclave. */
#ifndef CLVI_ONNX_H
#define CLVI_ONNX_H

#include "export/source.h"

/* Writes the model to `path`. Input "image" [N, channels, height, width] f32: pixels 0 … 255 of
 * pictures that are brought to size; all else that is done to them stands in the file. Outputs
 * "probabilities" [N, classes], calibrated as `predict` calibrates, and of a mixture with a gate
 * "weights" [N, experts]. Its properties say classes, experts and how pictures are brought to size.
 * Of a sparse gate all experts are computed. Errors: CLV_E_USAGE where the build cannot write ONNX,
 * and naming a gate or an operation that has no form in it; CLV_E_DATA for more than 2 GB;
 * CLV_E_IO. */
clv_status clvi_export_onnx(const clvi_export_source *source, const char *path,
                            clv_error *error) CLV_MUST_CHECK;

#endif
