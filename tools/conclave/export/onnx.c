/* conclave export --onnx: a file that ONNX Runtime and others run. */
#include "export.h"
#include "export/onnx.h"

clv_status export_onnx(export_job *job, const char *path, clv_error *error)
{
    clvi_export_source source;
    CLV_TRY(export_source(job, &source, error));
    export_tell_calibration(job);
    return clvi_export_onnx(&source, path, error);
}
