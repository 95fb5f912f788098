/* report.html of a run, and its events for TensorBoard. */
#ifndef CONCLAVE_RUN_REPORT_H
#define CONCLAVE_RUN_REPORT_H

#include "data/dataset.h"

/* Writes RUN/report.html. data: what the run was trained on; NULL: it is opened as the run's
 * configuration says, and where that fails the page says why it has no pictures. *path, which the
 * caller frees, is the file; NULL allowed. Errors: those of clvi_run_page; CLV_E_IO. */
clv_status cli_write_report(const char *run, clvi_dataset *data, char **path,
                            clv_error *error) CLV_MUST_CHECK;

/* Writes RUN/tensorboard anew from the run's files; data as above. *folder, which the caller frees,
 * is that folder. Errors: those of tensorboard.h. */
clv_status cli_write_events(const char *run, clvi_dataset *data, char **folder,
                            clv_error *error) CLV_MUST_CHECK;

#endif
