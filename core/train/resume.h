/* Taking a run up again where its last checkpoint stands. */
#ifndef CLVI_RESUME_H
#define CLVI_RESUME_H

#include "config/config.h"
#include "train/checkpoint.h"

typedef struct clvi_resume {
    clvi_config *config;
    clvi_train_state state; /* of the last checkpoint; all 0 where there is none yet */
    bool finished;          /* nothing is left to do by this configuration */
} clvi_resume;

/* Reads the run's own configuration (config.ini) changed by `overrides` ("section.key=value").
 * Nothing may change what the checkpoint's training was doing: where the images lie and how they
 * are loaded, the device, how often something is written, and the time limit may be others;
 * train.epochs only where the rate of no step behind depends on it, so not with schedule.kind =
 * cosine. Errors: CLV_E_CONFIG naming the key and who gave it; those of the files. report: as in
 * clvi_config_source. The caller frees with clvi_resume_close. */
clv_status clvi_resume_open(const char *run, const char *const *overrides, size_t override_count,
                            clvi_text *report, clvi_resume *out, clv_error *error) CLV_MUST_CHECK;
void clvi_resume_close(clvi_resume *resume);

/* Brings the tables of the run to where its checkpoint stands: rows of metrics.csv, signals.csv and
 * signal_pairs.csv that were written after it go, and with them the results and what a killed
 * process left half written. clvi_train does so when everything else of the start has gone well, so
 * that a run which cannot go on keeps what it has. Errors: CLV_E_IO. */
clv_status clvi_resume_cut(const char *run, const clvi_train_state *state,
                           clv_error *error) CLV_MUST_CHECK;
/* The same for lines of log.txt; whoever opens the log does so before. */
clv_status clvi_resume_cut_log(const char *run, const clvi_train_state *state,
                               clv_error *error) CLV_MUST_CHECK;

#endif
