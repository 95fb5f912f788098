/* The measurements of `conclave bench`. */
#ifndef CONCLAVE_BENCH_H
#define CONCLAVE_BENCH_H

#include "mixture/mixture.h"
#include "runtime/gemm.h"
#include "train/optimizer.h"

/* A whole network with inputs in memory. */
typedef struct bench_model_desc {
    const char *plugin;         /* an expert's name */
    const char *const *options; /* "key=value" of the plugin */
    size_t option_count;
    int height, width, classes, channels;
    int64_t batch, repeat;
    bool train; /* forward, loss, backward and AdamW; otherwise forward */
    bool bare;  /* training without AdamW, and without memory for it */
} bench_model_desc;

/* The network of a configuration on pictures in memory, ready to run. `plugin` and the options of
 * the desc are not read. */
typedef struct bench_steps {
    const bench_model_desc *desc;
    clvi_device *device;
    const clvi_config *config;
    clvi_mixture *mixture;
    clvi_optimizer *optimizer; /* NULL in inference, and where desc->bare */
    uint8_t *pixels;
    int32_t *labels;
    uint32_t *ids;
} bench_steps;
/* Makes it and runs it once, so that all kernels are compiled. The pointers must outlive it. */
clv_status bench_steps_open(clvi_device *device, clvi_plugins *plugins, const clvi_config *config,
                            const bench_model_desc *desc, bench_steps *out,
                            clv_error *error) CLV_MUST_CHECK;
/* One step; enqueues only. */
clv_status bench_steps_run(const bench_steps *steps, clv_error *error) CLV_MUST_CHECK;
/* The same on other pictures than its own. */
clv_status bench_steps_run_on(const bench_steps *steps, const clvi_mixture_batch *batch,
                              clv_error *error) CLV_MUST_CHECK;
void bench_steps_close(bench_steps *steps);

typedef struct bench_times {
    double median_ms, best_ms;
    double warm_seconds; /* from nothing to the end of the first step */
} bench_times;

/* A configuration of one expert with this plugin and its options; gemm: [device] gemm. The caller
 * destroys it. */
clv_status bench_config(const bench_model_desc *desc, const char *gemm, clvi_config **out,
                        clv_error *error) CLV_MUST_CHECK;
/* Times `repeat` steps after two that do not count, each until the device is done. */
clv_status bench_model(clvi_device *device, clvi_plugins *plugins, const clvi_config *config,
                       const bench_model_desc *desc, bench_times *out,
                       clv_error *error) CLV_MUST_CHECK;

/* Does one step and gives its milliseconds. */
typedef clv_status bench_step(void *user, double *ms, clv_error *error);
/* Steps at another program's pace, for measuring both in turn: a step, a line of JSON with
 * "first_ms", a step, a line with "ready", then one step and a line with its "ms" for each line of
 * standard input. At its end a last line says "peak_mib", the largest resident memory of the
 * process. */
clv_status bench_paced_by(bench_step *step, void *user, clv_error *error) CLV_MUST_CHECK;
/* The same with steps of a network; a line before says "base_mib", that memory before the network
 * was made. */
clv_status bench_paced(clvi_device *device, clvi_plugins *plugins, const clvi_config *config,
                       const bench_model_desc *desc, clv_error *error) CLV_MUST_CHECK;

/* Decoding and resizing. A step takes the first `count` training images (all, where there are
 * fewer) of a data set, on one thread, and keeps nothing. */
typedef struct bench_images_desc {
    const char *path;
    int size; /* side of the resized pictures */
    int64_t count, repeat;
    bool paced, json; /* paced: repeat is not read */
} bench_images_desc;
/* Prints the median speed of `repeat` steps after one, or follows another program's pace. Errors:
 * those of clvi_dataset_open. */
clv_status bench_images(const bench_images_desc *desc, clv_error *error) CLV_MUST_CHECK;

/* From pictures' bytes in memory to their probabilities. */
typedef struct bench_bundle_desc {
    const char *path;          /* a bundle, or a run's folder */
    const char *device;        /* NULL: what its configuration says */
    const char *const *images; /* files that are read before; none: noise is drawn */
    size_t image_count;
    int64_t batch, repeat; /* pictures of a call; calls that count */
    bool json;
} bench_bundle_desc;
struct cli_session;
/* Warms up, calls, and prints the percentiles of the calls' times. The session has no device yet.
 * Errors: those of models, devices and pictures. */
clv_status bench_bundle(struct cli_session *session, const bench_bundle_desc *desc,
                        clv_error *error) CLV_MUST_CHECK;

/* One direction of one op. */
typedef struct bench_op_row {
    char name[64];
    double ms, gflops, gbs; /* 0: does not apply */
} bench_op_row;
enum { BENCH_OP_ROWS = 2 };
/* Times an op: "gemm:M,N,K", "conv2d:N,H,W,CIN,COUT,KERNEL[,STRIDE[,GROUPS]]", "conv2d_bn:…" alike,
 * "depthwise_conv2d:N,H,W,C,KERNEL[,STRIDE]", "dense:N,IN,OUT", maps such as "multiply:N,H,W,C" (by
 * a factor per channel), rows such as "softmax:N,C"; the error of an unknown one lists all. Rows:
 * forward, and backward where there is one. */
clv_status bench_op(clvi_device *device, const char *spec, int64_t repeat,
                    bench_op_row rows[BENCH_OP_ROWS], size_t *count,
                    clv_error *error) CLV_MUST_CHECK;

/* A product of a shape (which has no bias) with matrices of its own and workspace, ready to run.
 * The caller closes *out. */
clv_status bench_product_open(clvi_device *device, const clvi_gemm *shape, clvi_gemm *out,
                              clv_error *error) CLV_MUST_CHECK;
void bench_product_close(clvi_gemm *product);

/* Median of n numbers, n >= 1; sorts them. */
double bench_median(double *values, size_t n);

#endif
