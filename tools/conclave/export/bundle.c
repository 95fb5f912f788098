/* conclave export --bundle: one file with all that using a run takes. */
#include "export.h"

clv_status export_bundle(export_job *job, const char *path, clv_error *error)
{
    export_tell_calibration(job);
    return clvi_model_export(job->model, path, error);
}
