/* Matrix products by CLBlast, behind gemm.h. Only gemm.c and the runtime itself come here. */
#ifndef CLVI_CLBLAST_H
#define CLVI_CLBLAST_H

#include "runtime/gemm.h"

/* Elements of workspace for clvi_clblast_gemm, whatever the views' offsets will be; 0 also when
 * CLBlast does not answer (then the run reports why). Asks CLBlast: call it while planning. */
uint64_t clvi_clblast_workspace(const clvi_device *device, const clvi_gemm *gemm);

/* Enqueues c = op(a)·op(b) (+ c if accumulate). The bias is not CLBlast's to add: gemm->bias must
 * be absent. workspace.offset must lie on the device's alignment. Errors: CLV_E_CL with CLBlast's
 * code and the shapes. */
clv_status clvi_clblast_gemm(clvi_device *device, const clvi_gemm *gemm,
                             clv_error *error) CLV_MUST_CHECK;

/* Called when a runtime dies: the last one that used CLBlast clears its cache of programs. */
void clvi_clblast_release(clvi_runtime *runtime);

#endif
