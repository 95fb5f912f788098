/* Trains the configurations' networks with two tuning records in turn, and products by both
 * providers. */
#ifndef CONCLAVE_TUNE_MEASURE_H
#define CONCLAVE_TUNE_MEASURE_H

#include "bench.h"
#include "session.h"
#include "tune/result.h"
#include "tune/search.h"

#include "runtime/gemm.h"

/* A network on a device that was opened with some record. */
typedef struct tune_side {
    clvi_device *device;
    bench_steps steps;
    bool open;
} tune_side;

typedef struct tune_network {
    const char *name;
    clvi_config *config; /* the measurements' own */
    bench_model_desc desc;
    tune_side best;
    tune_result wanted;
    double shipped_ms; /* a step with the shipped record */
} tune_network;

typedef struct tune_job {
    cli_session *session; /* with the device open that is measured */
    clvi_device *shipped; /* open with the shipped record */
    tune_network *networks;
    size_t count;
    tune_values best; /* with which the networks' `best` are open */
    clvi_gemm_shapes shapes;
    bool quick;
    bool busy;     /* the processors' time had to count: other work disturbed */
    size_t rounds; /* at most TUNE_MOST_ROUNDS / 2 */
} tune_job;

/* Opens all networks with the shipped record, finds a batch that takes not too long (that of the
 * configuration, or less) and keeps what they compute. */
clv_status tune_open(tune_job *job, clv_error *error) CLV_MUST_CHECK;
void tune_close(tune_job *job);

/* A tune_search.measure; user: the job. */
clv_status tune_measure(void *user, const tune_values *best, const tune_values *candidate,
                        tune_outcome *out, clv_error *error) CLV_MUST_CHECK;
/* The same for all lines of a record against the shipped one. gains: of each network; may be NULL.
 */
clv_status tune_confirm(tune_job *job, const char *record, tune_outcome *out, double *gains,
                        clv_error *error) CLV_MUST_CHECK;

/* Milliseconds of both providers for the products of a class. */
typedef struct tune_product {
    unsigned class;
    clvi_gemm_shape shape; /* the one with most work: it speaks for the class */
    double native_ms, clblast_ms;
    bool usual_clblast; /* who computes it without a record */
    bool clblast;       /* who is to */
    char dropped[200];  /* why there is nothing to compare; "" */
} tune_product;
typedef struct tune_product_calls {
    double until; /* of clvi_now(): nothing is begun that would take longer */
    void (*each)(void *user, const tune_product *product);
    void *user;
} tune_product_calls;
/* Measures the classes that the networks have products of, with the sizes of `record`. */
clv_status tune_products(tune_job *job, const char *record, const tune_product_calls *calls,
                         clv_error *error) CLV_MUST_CHECK;

/* CLV_E_INTERRUPTED once the user asked to stop. */
clv_status tune_check_stop(clv_error *error) CLV_MUST_CHECK;
/* The device that is measured, once more, with a record. */
clv_status tune_open_device(const tune_job *job, const clvi_device_options *wanted,
                            const char *record, clvi_device **out, clv_error *error) CLV_MUST_CHECK;

#endif
