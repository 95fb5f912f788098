/* The OpenCL side of Conclave: implementations, devices, memory, kernel programs, launches, waits.
 * The layers above see no cl_* call: they hold devices, buffers and launches.
 * Baseline OpenCL 1.2, in-order queues, buffers only. Thread: one thread per device. */
#ifndef CLVI_RUNTIME_H
#define CLVI_RUNTIME_H

#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>

/* ---- Implementations and devices ---- */

typedef struct clvi_runtime clvi_runtime;
typedef struct clvi_device clvi_device;

typedef enum clvi_device_type {
    CLVI_DEVICE_CPU,
    CLVI_DEVICE_GPU,
    CLVI_DEVICE_OTHER
} clvi_device_type;

/* What is known of a device before it is opened. Strings live as long as the runtime. */
typedef struct clvi_device_info {
    const char *platform, *name, *vendor, *version, *driver;
    const char *selector; /* "PLATFORM:DEVICE" indices, such as "0:0", selects exactly this one */
    const char *refused;  /* why it cannot be used, one sentence; NULL: usable */
    clvi_device_type type;
    uint64_t global_bytes, max_alloc_bytes, local_bytes;
    size_t align_bytes; /* CL_DEVICE_MEM_BASE_ADDR_ALIGN in bytes, at least 128 */
    size_t max_group;   /* work-items per work-group */
    unsigned compute_units;
} clvi_device_info;

/* Lists every platform and device of the system. A system without any is not an error here. */
clv_status clvi_runtime_create(clvi_runtime **out, clv_error *error) CLV_MUST_CHECK;
/* Devices must be closed before. Calls CLBlastClearCache when it was the last user of CLBlast. */
void clvi_runtime_destroy(clvi_runtime *runtime); /* NULL allowed */
size_t clvi_runtime_device_count(const clvi_runtime *runtime);
const clvi_device_info *clvi_runtime_device(const clvi_runtime *runtime, size_t index);
/* Notes on what is installed but gives no device, and how to enable it, one per line ("" if none).
 */
const char *clvi_runtime_notes(const clvi_runtime *runtime);

/* What `select` comes to: itself, or CONCLAVE_DEVICE where it says "auto" (or NULL, ""), or "auto".
 */
const char *clvi_runtime_wanted(const char *select);
/* The device that `select` (see clvi_device_options) means; of several that "auto" may mean, the
 * one whose kind is usually the fastest: nothing is run to find out. Errors: CLV_E_DEVICE with the
 * list of candidates, and why the one meant cannot be used. */
clv_status clvi_runtime_find(const clvi_runtime *runtime, const char *select,
                             const clvi_device_info **out, clv_error *error) CLV_MUST_CHECK;

typedef enum clvi_gemm_choice {
    CLVI_GEMM_AUTO,
    CLVI_GEMM_NATIVE,
    CLVI_GEMM_CLBLAST
} clvi_gemm_choice;

typedef struct clvi_device_options {
    const char *select; /* [device] select: auto | cpu | gpu | PLATFORM:DEVICE | part of a name */
    clvi_gemm_choice gemm; /* [device] gemm */
    bool fast_math;        /* [device] fast_math: products and sums may be rearranged */
    bool no_winograd;      /* [device] winograd = off */
    bool recompute;        /* [device] recompute = on */
    /* Text of a tuning record to be taken over the shipped one, "" for none; NULL: the user's own
     * where there is one (tuned.h). Read while opening. */
    const char *tuning;
    /* The running program's first argument that makes it a helper (clvi_compile_list), with the
     * device's selector and, for fast_math, "fast" behind it; NULL: there is no help. Borrowed */
    const char *helper;
} clvi_device_options;

/* Opens context, in-order queue and kernel cache. Errors: CLV_E_DEVICE with the list of candidates.
 */
clv_status clvi_device_open(clvi_runtime *runtime, const clvi_device_options *options,
                            clvi_device **out, clv_error *error) CLV_MUST_CHECK;
/* Waits for the queue, frees everything. Live buffers are logged as a leak, by label. */
void clvi_device_close(clvi_device *device); /* NULL allowed */
const clvi_device_info *clvi_device_get_info(const clvi_device *device);
/* "PoCL pthread-… (driver 3.1), GEMM native, 16-wide" for the banner; ", tuned 1a2b3c4d" where a
 * record of the user changes something. Lives as long as the device. */
const char *clvi_device_banner(const clvi_device *device);

/* Counters since the device was opened, for --stats and for tests. */
typedef struct clvi_device_counters {
    uint64_t launches;                        /* kernels enqueued */
    uint64_t reads;                           /* times the host waited to read */
    uint64_t waits;                           /* explicit waits */
    uint64_t programs_built, programs_cached; /* from source / from the cache on disk */
    /* First launches of kernels that the cache did not hold, and of grids beyond 65,535 work-items
     * in one dimension, for which PoCL compiles once more. */
    uint64_t kernels_compiled;
    /* Device memory held in clvi_buf, without what the device keeps for itself (chain.c). */
    uint64_t live_bytes, peak_bytes;
    uint64_t live_buffers;
    uint64_t expected_bytes; /* said to be used soon (clvi_buf_expect) */
} clvi_device_counters;
void clvi_device_get_counters(const clvi_device *device, clvi_device_counters *out);

/* ---- Tuning record ---- */

/* Integer of the device's tuning record (kernels/tuning/<class>.ini, class cpu16, cpu8, cpu4, gpu
 * or gpu64; CONCLAVE_TUNING chooses another; tuned.h changes it). The key must exist in the record:
 * CLV_ASSERT, 0 in release. What keys there are: kernels/README.md. */
int clvi_tuning_int(const clvi_device *device, const char *key);
/* True when GEMM-shaped work, or a part of it (gemm.h), goes to CLBlast: gemm = clblast, or auto on
 * a GPU or where the user's tuning record says so. */
bool clvi_device_uses_clblast(const clvi_device *device);
/* True where convolutions may go by Winograd's algorithm: in the wide form, unless turned off. */
bool clvi_device_uses_winograd(const clvi_device *device);
/* True where training plans make activations again in backward even if all of them fit. */
bool clvi_device_recomputes(const clvi_device *device);
/* True where kernels run in their form for GPUs: `form = tiled` in the tuning record. */
bool clvi_device_is_gpu_like(const clvi_device *device);

/* ---- Memory ---- */

/* A device buffer, accounted for. Elements are 4 bytes everywhere unless a kernel says otherwise.
 */
typedef struct clvi_buf clvi_buf;
/* `label` (copied) names it in messages. Errors: CLV_E_MEMORY naming label, bytes and device.
 * Content is undefined. bytes 0 is refused. */
clv_status clvi_buf_create(clvi_device *device, size_t bytes, const char *label, clvi_buf **out,
                           clv_error *error) CLV_MUST_CHECK;
/* Says that the buffer's first `bytes` (or all) will be used soon: where memory comes when it is
 * first touched, it comes from now on, in another thread. Content stays what it is. */
void clvi_buf_expect(clvi_buf *buf, size_t bytes);
void clvi_buf_destroy(clvi_buf *buf); /* NULL allowed; work under way on it is finished by OpenCL */
size_t clvi_buf_bytes(const clvi_buf *buf);

/* A place in a buffer: kernels take (buffer, ulong offset in elements). buf NULL: absent. */
typedef struct clvi_view {
    clvi_buf *buf;
    uint64_t offset; /* in elements of 4 bytes (of 1 byte for u8 data, see the kernel) */
} clvi_view;
/* The place `elements` behind it. */
static inline clvi_view clvi_view_at(clvi_view view, int64_t elements)
{
    view.offset += (uint64_t)elements;
    return view;
}

/* Copies host memory to the device without waiting: `data` is copied to staging memory first and
 * may change when the call returns. offset_bytes + bytes must lie in the buffer (CLV_E_INTERNAL).
 */
clv_status clvi_upload(clvi_device *device, clvi_buf *buf, size_t offset_bytes, const void *data,
                       size_t bytes, clv_error *error) CLV_MUST_CHECK;
/* Waits for everything enqueued so far and copies to the host. Counted in `reads`. */
clv_status clvi_download(clvi_device *device, clvi_buf *buf, size_t offset_bytes, void *data,
                         size_t bytes, clv_error *error) CLV_MUST_CHECK;
/* Device to device, enqueued. */
clv_status clvi_copy(clvi_device *device, clvi_buf *from, size_t from_bytes, clvi_buf *to,
                     size_t to_bytes, size_t bytes, clv_error *error) CLV_MUST_CHECK;
/* Fills with a 4-byte pattern, enqueued. offset and bytes are multiples of 4. */
clv_status clvi_fill(clvi_device *device, clvi_buf *buf, size_t offset_bytes, size_t bytes,
                     uint32_t pattern, clv_error *error) CLV_MUST_CHECK;
/* The one wait: marker and clWaitForEvents (clFinish is forbidden, see runtime/README.md). A failed
 * queue poisons the device: this and every later call return the first cause. */
clv_status clvi_wait(clvi_device *device, clv_error *error) CLV_MUST_CHECK;

/* ---- Kernels ---- */

/* Makes `text` (copied, NUL-terminated, without #include) a program of this device by the name
 * `name`, beside those of kernels/. The same text a second time is no error; another one under a
 * name in use is CLV_E_PLUGIN: a name means one program as long as the device lives. Programs of
 * kernels/ have names without '.'; these must have one. Errors: also CLV_E_MEMORY. */
clv_status clvi_device_add_source(clvi_device *device, const char *name, const char *text,
                                  clv_error *error) CLV_MUST_CHECK;

/* One kernel launch under construction, on the caller's stack:
 *   clvi_launch l;
 *   clvi_launch_begin(&l, device, "conv2d", "conv2d_fwd_wide", "-DMR=8");
 *   clvi_arg_view(&l, y); clvi_arg_view(&l, x); clvi_arg_int(&l, width);
 *   CLV_TRY(clvi_launch_run(&l, gx, gy, gz, error));
 * program: kernels/<program>.cl, or a name given to clvi_device_add_source. options: extra -D of
 * this kernel's variant ("" for none; the device's own, -DCLV_V=<vector> and the language flags,
 * are added by the runtime). Errors are kept until run. At most 32 arguments. */
enum { CLVI_LAUNCH_ARGS = 40 };
/* What is known of a launch while rehearsing. */
typedef struct clvi_named_kernel {
    const char *program, *kernel, *options;
    char kinds[CLVI_LAUNCH_ARGS + 1]; /* of its arguments, a letter each */
} clvi_named_kernel;
typedef struct clvi_launch {
    clvi_device *device;
    clvi_named_kernel named; /* while rehearsing */
    void *kernel;            /* runtime's own record */
    bool linked;             /* part of a chain (clvi_chain_begin) */
    clv_status status;
    unsigned arg_count;
    clv_error first; /* why building failed, if it did */
} clvi_launch;
void clvi_launch_begin(clvi_launch *launch, clvi_device *device, const char *program,
                       const char *kernel, const char *options);
void clvi_arg_view(clvi_launch *launch, clvi_view view); /* two arguments: buffer, ulong offset */
void clvi_arg_int(clvi_launch *launch, int32_t value);
void clvi_arg_uint(clvi_launch *launch, uint32_t value);
void clvi_arg_float(clvi_launch *launch, float value);
void clvi_arg_local(clvi_launch *launch, size_t bytes);
/* Enqueues with the kernel's reqd_work_group_size, NULL offset. gx, gy, gz: work-GROUPS per
 * dimension (each at least 1, at most 65,535: larger is CLV_E_INTERNAL; kernels loop over their
 * share). */
clv_status clvi_launch_run(clvi_launch *launch, size_t gx, size_t gy, size_t gz,
                           clv_error *error) CLV_MUST_CHECK;

/* Between these, which may be nested, launches of some kernels are collected, and what was is
 * enqueued as one launch before anything else is: where the device has several threads that can
 * wait for each other, and nothing asks for each launch by itself (profile, CONCLAVE_SYNC). Buffers
 * must stay until the end. Errors: as of launches. */
void clvi_chain_begin(clvi_device *device);
clv_status clvi_chain_end(clvi_device *device, clv_error *error) CLV_MUST_CHECK;

/* Writes the binaries of programs built from source to the kernel cache: call after each kernel was
 * launched once (PoCL compiles at the first launch). Waits when there is something to save.
 * Failures are logged, never returned. */
void clvi_device_save_programs(clvi_device *device);

/* Between these, launches are noted and not made, fills and copies are left out, downloads give
 * zeros; uploads are made. False, and nothing is to be rehearsed: where that would not help (other
 * drivers than PoCL, CLBlast, a kernel cache). Not on a device on which something is under way. */
bool clvi_rehearsal_begin(clvi_device *device) CLV_MUST_CHECK;
void clvi_rehearsal_end(clvi_device *device);
/* After a rehearsal: launches each kernel that was noted and has not been launched yet once, over
 * 4 MiB of scratch memory, which peak_bytes leaves out, so that the driver compiles it; waits. When
 * one turns out to be new to the driver, other processes help, if clvi_device_options.helper names
 * one. *all: false when kernels of plugins' own sources are left to be launched in earnest. Errors:
 * as of launches. */
clv_status clvi_rehearsal_perform(clvi_device *device, bool *all, clv_error *error) CLV_MUST_CHECK;
/* In a helper: the same with a list that another process wrote; says "done" in the report for each
 * kernel. Errors: as of launches. */
clv_status clvi_compile_list(clvi_device *device, FILE *list, FILE *report,
                             clv_error *error) CLV_MUST_CHECK;

/* Seconds on the device of the launches between begin and end, by event profiling where a probe
 * at the first call found it trustworthy, else by waiting on the host. For bench and profile only.
 */
clv_status clvi_timer_begin(clvi_device *device, clv_error *error) CLV_MUST_CHECK;
clv_status clvi_timer_end(clvi_device *device, double *seconds, clv_error *error) CLV_MUST_CHECK;

#endif
