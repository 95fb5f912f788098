/* onnx.h of a build without protobuf-c. */
#include "export/onnx.h"

clv_status clvi_export_onnx(const clvi_export_source *source, const char *path, clv_error *error)
{
    (void)source;
    CLV_FAIL(error, CLV_E_USAGE,
             "%s: this conclave was built without ONNX; install protobuf-c and its compiler "
             "(Debian: libprotobuf-c-dev, protobuf-c-compiler) and build again",
             path);
}
