/* The folders of runs: OUTPUT/NAME for each run, OUTPUT/last a link to the newest. Nothing is ever
 * overwritten. What is inside is written by run_files.h and the checkpoints. */
#ifndef CLVI_RUN_DIR_H
#define CLVI_RUN_DIR_H

#include "base/files.h"
#include "config/config.h"

/* Files of a run; clvi_path_join(run, CLVI_RUN_CONFIG) is their path. */
#define CLVI_RUN_CONFIG  "config.ini"       /* resolved; a folder without it is no run */
#define CLVI_RUN_METRICS "metrics.csv"      /* a row per epoch and split */
#define CLVI_RUN_SIGNALS "signals.csv"      /* of a mixture: a row per epoch and expert */
#define CLVI_RUN_PAIRS   "signal_pairs.csv" /* and per epoch and two experts */
#define CLVI_RUN_LOG     "log.txt"          /* what was logged, with the time */
#define CLVI_RUN_ELAPSED "elapsed.csv"      /* how long it had trained at its checkpoint */
#define CLVI_RUN_LAST    "last.safetensors" /* newest checkpoint */
#define CLVI_RUN_BEST    "best.safetensors" /* checkpoint of the best epoch on validation */
/* Written at the end, of the best epoch's weights, the summary last. */
#define CLVI_RUN_PREDICTIONS "predictions.csv"  /* of each validation and test image */
#define CLVI_RUN_CLASSES     "per_class.csv"    /* precision, recall, F1 of each class and split */
#define CLVI_RUN_CONFUSION   "confusion.csv"    /* which classes are taken for which */
#define CLVI_RUN_USAGE       "usage.csv"        /* of a mixture: who is asked about what */
#define CLVI_RUN_WEIGHTS     "gate_weights.csv" /* and with what weights: histograms */
#define CLVI_RUN_SUMMARY     "summary.json"
#define CLVI_RUN_REPORT      "report.html" /* all of it, to be looked at; made of the others */

/* Makes the folder OUTPUT/NAME, or NAME-2, NAME-3 … when there is one, and OUTPUT where needed, and
 * points OUTPUT/last at it. Of several processes that ask at once each gets its own. *path is the
 * folder; the caller frees it. Errors: CLV_E_USAGE (a name that can be no folder: empty, "last",
 * with '/' or a control character, or with '.' in front), CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_run_create(const char *output, const char *name, char **path,
                           clv_error *error) CLV_MUST_CHECK;

/* Points `last` in the folder that holds `run` at it, replacing the link in one step. Where that
 * cannot be done (a file system without links, a file of the user's) it is logged and no error. */
void clvi_run_set_last(const char *run);

/* Whether `what` can mean nothing but a run: `last`, the folder of a run, the path of a folder. A
 * folder of another kind that is only a name may be called as a configuration or a suite is. */
bool clvi_run_meant(const char *what);

/* Finds the run that `what` means: `last`, a name in OUTPUT, or the path of a run's folder (in this
 * order when there is no '/' in it). *path: the folder; the caller frees it. Errors: CLV_E_USAGE
 * saying what was looked for, where, and the nearest name; CLV_E_MEMORY. */
clv_status clvi_run_find(const char *output, const char *what, char **path,
                         clv_error *error) CLV_MUST_CHECK;

/* Holds a run's folder for this process, until clvi_run_unlock or its end, so that no two train in
 * it. Errors: CLV_E_USAGE when another process holds it. Where the file system has no locks,
 * nothing is held, and *lock is -1. */
clv_status clvi_run_lock(const char *run, int *lock, clv_error *error) CLV_MUST_CHECK;
void clvi_run_unlock(int lock); /* -1 allowed */

/* Loads the configuration of the run in `folder`, for the caller to destroy. Errors: those of
 * clvi_config_load, CLV_E_MEMORY. */
clv_status clvi_run_config(const char *folder, clvi_config **out, clv_error *error) CLV_MUST_CHECK;

/* Names of the runs in OUTPUT, natural order; none when there is no such folder. The caller frees
 * with clvi_names_free. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_run_list(const char *output, char ***names, size_t *count,
                         clv_error *error) CLV_MUST_CHECK;

#endif
