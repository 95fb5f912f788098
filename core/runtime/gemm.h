/* Matrix product with two providers: the native kernels (kernels/gemm.cl) and CLBlast. Row-major.
 */
#ifndef CLVI_GEMM_H
#define CLVI_GEMM_H

#include "runtime.h"

/* c[m, n] = op(a)·op(b) (+ c if accumulate) (+ bias[n]).
 * op(a) [m, k]: a is [m, lda] rows, or [k, lda] when transpose_a; op(b) [k, n] likewise. m, n, k
 * >= 1. The result does not depend on anything but values and shapes (fixed order of summation). */
typedef struct clvi_gemm {
    bool transpose_a, transpose_b, accumulate;
    int64_t m, n, k;
    clvi_view a, b, c;
    int64_t lda, ldb, ldc; /* in elements; 0: dense */
    clvi_view bias;        /* buf NULL: none */
    int32_t activation;    /* of kernels/activation.clh; 0, but where clvi_gemm_activates */
    clvi_view workspace;   /* clvi_gemm_workspace elements */
} clvi_gemm;

/* ---- Who computes it ---- */

/* Products are of 12 classes, by their transposes and sizes: small ones of fewer than 2^22
 * multiply-adds, of the others thin ones with m, n or k below 64, and large ones. A user's tuning
 * record may say for each whether CLBlast is faster. */
enum { CLVI_GEMM_CLASSES = 12 };
unsigned clvi_gemm_class(const clvi_gemm *gemm);
/* Its key in such a record: "gemm_small_nn" ("tn": a is transposed). */
const char *clvi_gemm_class_key(unsigned number);
/* Whether CLBlast computes the product. */
bool clvi_gemm_is_clblast(const clvi_device *device, const clvi_gemm *gemm);

/* A product that ran: its shape, without views; and how often. */
typedef struct clvi_gemm_shape {
    clvi_gemm gemm;
    int64_t times;
} clvi_gemm_shape;
typedef struct clvi_gemm_shapes {
    clvi_gemm_shape *items; /* each shape once; the caller frees with clvi_free */
    size_t count, capacity;
} clvi_gemm_shapes;
/* From now on products that run are noted in `to`; NULL: no more. */
void clvi_gemm_note(clvi_device *device, clvi_gemm_shapes *to);

/* Rows up to which a product may be computed in another way than with more, where b is not
 * transposed, and where it is: products of the most rows, of one more than these, and of one row
 * take all the kernels that any number takes. */
enum { CLVI_GEMM_FEW = 8, CLVI_GEMM_FEW_TRANSPOSED = 16 };

/* ---- Computing ---- */

/* Elements of workspace that the product of these shapes needs on this device (may be 0). */
uint64_t clvi_gemm_workspace(const clvi_device *device, const clvi_gemm *gemm);
/* Elements of workspace that are enough for every m up to the one given: per_unit·m + constant;
 * where k_varies, for every k, and that of `gemm` does not count. */
typedef struct clvi_gemm_bound {
    int64_t per_unit, constant;
} clvi_gemm_bound;
clvi_gemm_bound clvi_gemm_workspace_bound(const clvi_device *device, const clvi_gemm *gemm,
                                          bool k_varies);
/* Elements to which the workspace of a product must be aligned: devices ask for 512 bytes at most.
 */
enum { CLVI_GEMM_ALIGN = 128 };
/* Whether the product of these shapes takes an activation, too, in its only launch: those of few
 * rows do in the wide form. */
bool clvi_gemm_activates(const clvi_device *device, const clvi_gemm *gemm);
/* Enqueues. Errors: CLV_E_CL with CLBlast's or OpenCL's code. */
clv_status clvi_gemm_run(clvi_device *device, const clvi_gemm *gemm,
                         clv_error *error) CLV_MUST_CHECK;

#endif
