/* What the formats of `conclave export` share. Each has a file of its own here, and a line in the
 * table of cmd_export.c. */
#ifndef CONCLAVE_EXPORT_H
#define CONCLAVE_EXPORT_H

#include "export/source.h"
#include "session.h"

/* One call of the command. */
typedef struct export_job {
    const cli_args *args;
    cli_session session; /* no device is open */
    char *run;           /* its path */
    clvi_model *model;   /* on no device */
} export_job;

/* Writes the model to `path`, whole or not at all, in place of a file that is there: whether it may
 * be was looked at before. Errors: CLV_E_IO, and what the format cannot hold. */
typedef clv_status export_format(export_job *job, const char *path, clv_error *error);

export_format export_bundle; /* --bundle */
export_format export_onnx;   /* --onnx */
export_format export_torch;  /* --safetensors */

/* Warns where the probabilities are not calibrated. */
void export_tell_calibration(const export_job *job);
/* The model as what formats of others are made from: its networks are built, on no device. */
clv_status export_source(export_job *job, clvi_export_source *out, clv_error *error) CLV_MUST_CHECK;

#endif
