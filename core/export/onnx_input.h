/* What is done to pixels before networks see them, in an ONNX model. */
#ifndef CLVI_ONNX_INPUT_H
#define CLVI_ONNX_INPUT_H

#include "export/onnx_part.h"
#include "mixture/input_form.h"

/* Pixels [N, channels, height, width], 0 … 255, margins included, as a form wants them. */
const char *clvi_onnx_form(clvi_onnx *onnx, const char *pixels, const clvi_picture *seen,
                           const clvi_input_form *to);
/* The pictures without their margins; the pixels themselves where there are none. */
const char *clvi_onnx_middle(clvi_onnx *onnx, const char *pixels, const clvi_picture *seen);

#endif
