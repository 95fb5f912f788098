/* What `conclave check-plugin` does in its child process: each check is one function, which says in
 * one line that all is well or what is wrong. See plugins/README.md for what is checked and how.
 *
 * The report goes to the parent line by line: "begin NAME", then "ok NAME TEXT", "bad NAME TEXT" or
 * "note NAME TEXT" (not checked, and why), at last "end". The parent names the check that was begun
 * when the child dies. */
#ifndef CONCLAVE_CHECK_H
#define CONCLAVE_CHECK_H

#include "graph/graph.h"
#include "plugin/own_op.h"
#include "plugin/plugin_host.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum { CHECK_BATCH = 5, CHECK_MOST_OUTPUTS = 8 };

typedef struct check {
    FILE *report;
    const char *file;
    const clvi_raw_option *raw; /* options from the command line */
    size_t raw_count;
    const char *select; /* device */
    const char *golden; /* file to compare with, in place of the other checks; NULL: none */
    double tolerance;   /* of that: largest difference, relative to the output's largest number */
    const char *now;    /* the check that was begun */
    bool said;          /* it has its line */
    bool wrong;         /* that line says so */
    bool stopped;       /* the rest of the checks on the device would say nothing new */
    clvi_plugins *plugins;
    const clvi_plugin *plugin; /* NULL: the table was refused */
    clv_options *options;      /* NULL: wrong */
    clv_build_input input;     /* the smallest one that builds, for everything that runs */
    bool builds;
    clvi_runtime *runtime;
    clvi_device *device;
    clv_graph *train, *infer; /* of `input` */
} check;

/* ---- Reporting (check.c) ---- */

void check_begin(check *c, const char *name);
/* The line of the check that was begun; only its first one counts. */
void check_ok(check *c, const char *format, ...) CLV_PRINTF(2, 3);
void check_bad(check *c, const char *format, ...) CLV_PRINTF(2, 3);
void check_note(check *c, const char *format, ...) CLV_PRINTF(2, 3);
/* Reports `error` as what is wrong, unless status is CLV_OK. True when it is. */
bool check_works(check *c, clv_status status, const clv_error *error);

/* ---- Without a device (check_build.c) ---- */

void check_table(check *c);
void check_options(check *c);
/* Many sizes, class and expert counts, both modes; finds c->input. */
void check_shapes(check *c);
/* The same graph each time, also from two threads at once. */
void check_repeats(check *c);
/* Memory and descriptors that many builds leave behind. */
void check_leaks(check *c);
/* Counts live blocks of clvi_malloc from here on. */
void check_count_blocks(void);
/* Bytes that malloc has given out, to whomever; 0 where it does not say. */
size_t check_heap_bytes(void);

/* The plugin's graph; `mode` in place of the input's. */
clv_status check_build(const check *c, const clv_build_input *input, clv_mode mode, clv_graph **out,
                       clv_error *error) CLV_MUST_CHECK;
/* "" when the graphs are the same, else the first difference, into `out` (256 bytes). */
const char *check_difference(const clv_graph *a, const clv_graph *b, char *out);

/* ---- On a device ---- */

/* Opens c->device; what it is for the report, or what is wrong in `error`. */
clv_status check_open_device(check *c, clv_error *error) CLV_MUST_CHECK;
/* check_run.c: NaN poison, guard bands, one result each time. */
void check_memory(check *c);
void check_again(check *c);
/* check_modes.c: training against inference. */
void check_modes(check *c);
/* check_run.c: what a gate promises about its route. */
void check_route(check *c);
/* check_after.c: what a gate's states become after steps. */
void check_after_step(check *c);
/* check_gradient.c: every parameter against central differences. */
void check_gradients(check *c);
/* check_golden.c: the outputs in a file against those of the network with its inputs and weights.
 */
void check_golden(check *c);
/* check_own.c: every own op by itself. */
void check_own_ops(check *c);
/* check_run.c: buffers and host memory that running leaves behind. */
void check_device_leaks(check *c);

#endif
