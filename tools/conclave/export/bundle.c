/* conclave export --bundle: one file with all that using a run takes. */
#include "export.h"

clv_status export_bundle(export_job *job, const char *path, clv_error *error)
{
    if (clvi_model_temperature(job->model) <= 0)
        clvi_log(CLVI_LOG_WARN,
                 "%s: its probabilities are not calibrated: that is done at the end "
                 "of a training, for its best epoch",
                 job->run);
    return clvi_model_export(job->model, path, error);
}
