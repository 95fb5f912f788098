/* CLBlast as the provider of matrix products. It compiles its own kernels at the first call of each
 * kind (seconds on a CPU, where `auto` never comes here), and keeps them in a cache of the process.
 */
#include "runtime/clblast.h"

#include "base/process.h"
#include "runtime/device.h"

#include <clblast_c.h>
#include <stdio.h>

/* Name of a code that is not one of OpenCL's. */
static const char *code_name(int code)
{
    static const struct {
        int code;
        const char *name;
    } rows[] = {
#define ROW(symbol) {CLBlast##symbol, #symbol},
        ROW(NotImplemented) ROW(InvalidMatrixA) ROW(InvalidMatrixB) ROW(InvalidMatrixC)
            ROW(InvalidDimension) ROW(InvalidLeadDimA) ROW(InvalidLeadDimB) ROW(InvalidLeadDimC)
                ROW(InsufficientMemoryA) ROW(InsufficientMemoryB) ROW(InsufficientMemoryC)
                    ROW(InsufficientMemoryTemp) ROW(InvalidLocalMemUsage) ROW(DatabaseError)
                        ROW(UnknownError) ROW(UnexpectedError)
#undef ROW
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].code == code)
            return rows[i].name;
    }
    return "unknown code";
}

/* The product in CLBlast's words. */
typedef struct product {
    CLBlastTranspose a, b;
    size_t m, n, k, lda, ldb, ldc;
} product;

static product describe(const clvi_gemm *gemm)
{
    const int64_t lda = gemm->lda > 0 ? gemm->lda : gemm->transpose_a ? gemm->m : gemm->k;
    const int64_t ldb = gemm->ldb > 0 ? gemm->ldb : gemm->transpose_b ? gemm->k : gemm->n;
    const int64_t ldc = gemm->ldc > 0 ? gemm->ldc : gemm->n;
    return (product){.a = gemm->transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
                     .b = gemm->transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo,
                     .m = (size_t)gemm->m,
                     .n = (size_t)gemm->n,
                     .k = (size_t)gemm->k,
                     .lda = (size_t)lda,
                     .ldb = (size_t)ldb,
                     .ldc = (size_t)ldc};
}

uint64_t clvi_clblast_workspace(const clvi_device *device, const clvi_gemm *gemm)
{
    const product p = describe(gemm);
    cl_command_queue queue = device->queue;
    size_t most = 0;
    /* A matrix that begins at offset 0 may be used in place where one at another offset is copied:
     * the plan must do for both. */
    for (size_t offset = 0; offset < 2; offset++) {
        size_t bytes = 0;
        clvi_build_lock();
        const CLBlastStatusCode code =
            CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, p.a, p.b, p.m, p.n, p.k, offset,
                                       p.lda, offset, p.ldb, offset, p.ldc, &queue, &bytes);
        clvi_build_unlock();
        if (code == CLBlastSuccess && bytes > most)
            most = bytes;
    }
    return (most + sizeof(float) - 1) / sizeof(float);
}

static void count_use(clvi_runtime *runtime)
{
    if (runtime->used_clblast)
        return;
    runtime->used_clblast = true;
    clvi_clblast_users(1);
}

void clvi_clblast_release(clvi_runtime *runtime)
{
    if (!runtime->used_clblast)
        return;
    runtime->used_clblast = false;
    if (clvi_clblast_users(-1) == 0)
        CLBlastClearCache();
}

/* CLBlast uses its workspace from the start of a cl_mem: a view inside a buffer needs a sub-buffer.
 */
static clv_status open_workspace(const clvi_device *device, clvi_view view, cl_mem *out,
                                 clv_error *error)
{
    if (view.buf == NULL || view.offset == 0) {
        *out = view.buf != NULL ? view.buf->mem : NULL;
        if (*out != NULL)
            CLV_CL(error, clRetainMemObject(*out));
        return CLV_OK;
    }
    const size_t origin = (size_t)view.offset * sizeof(float);
    if (origin % device->found->info.align_bytes != 0 || origin >= view.buf->bytes)
        CLV_FAIL(error, CLV_E_INTERNAL,
                 "GEMM workspace at byte %zu of \"%s\" is not aligned to %zu", origin,
                 view.buf->label, device->found->info.align_bytes);
    const cl_buffer_region region = {.origin = origin, .size = view.buf->bytes - origin};
    cl_int code = CL_SUCCESS;
    *out = clCreateSubBuffer(view.buf->mem, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
                             &region, &code);
    return code == CL_SUCCESS ? CLV_OK : clvi_cl_fail(error, code, CLV_HERE, "clCreateSubBuffer");
}

clv_status clvi_clblast_gemm(clvi_device *device, const clvi_gemm *gemm, clv_error *error)
{
    const product p = describe(gemm);
    cl_command_queue queue = device->queue;
    cl_mem workspace = NULL;
    CLV_TRY(clvi_queue_enter(device, error));
    CLV_TRY(open_workspace(device, gemm->workspace, &workspace, error));
    count_use(device->runtime);
    cl_event event = NULL;
    clvi_build_lock();
    const int code = CLBlastSgemmWithTempBuffer(
        CLBlastLayoutRowMajor, p.a, p.b, p.m, p.n, p.k, 1.0f, gemm->a.buf->mem, gemm->a.offset,
        p.lda, gemm->b.buf->mem, gemm->b.offset, p.ldb, gemm->accumulate ? 1.0f : 0.0f,
        gemm->c.buf->mem, gemm->c.offset, p.ldc, &queue, device->watch.on ? &event : NULL,
        workspace);
    clvi_build_unlock();
    if (workspace != NULL)
        clReleaseMemObject(workspace); /* OpenCL keeps it until the kernels are done */
    char what[120];
    snprintf(what, sizeof(what), "CLBlast GEMM %zu x %zu x %zu", p.m, p.n, p.k);
    if (code < -1000) /* CLBlast's own codes: about the arguments, not about the device */
        return clvi_fail_code(error, CLV_E_CL, code, CLV_HERE, "%s on %s: CLBlastSgemm: %s (%d)",
                              what, device->found->short_name, code_name(code), code);
    if (code != CLBlastSuccess)
        return clvi_queue_fail(device, code, "CLBlastSgemm", what, error);
    device->counters.launches++;
    if (event != NULL) {
        const clvi_watched launch = {event, "CLBlast", "GEMM", &device->watch.clblast_reported};
        CLV_TRY(clvi_watch_add(device, &launch, error));
    }
    return device->sync ? clvi_queue_wait(device, what, error) : clvi_queue_advance(device, error);
}
