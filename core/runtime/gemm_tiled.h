/* The native matrix product in the tiled form (kernels/gemm_tiled.cl); called by gemm.c only. */
#ifndef CLVI_GEMM_TILED_H
#define CLVI_GEMM_TILED_H

#include "runtime/gemm.h"
#include "runtime/wide.h"

/* As the functions of gemm.h without "tiled". */
uint64_t clvi_gemm_tiled_workspace(const clvi_wide *wide, const clvi_gemm *gemm);
clvi_gemm_bound clvi_gemm_tiled_bound(const clvi_wide *wide, const clvi_gemm *gemm, bool k_varies);
clv_status clvi_gemm_tiled_run(clvi_device *device, const clvi_wide *wide, const clvi_gemm *gemm,
                               clv_error *error) CLV_MUST_CHECK;

/* gemm.c: c = part[0] + part[1] + … (+ bias) (+ c) of a product, parts [parts, m, n]. Enqueues. */
clv_status clvi_gemm_reduce(clvi_device *device, const clvi_gemm *gemm, clvi_view part,
                            int64_t parts, clv_error *error) CLV_MUST_CHECK;

#endif
