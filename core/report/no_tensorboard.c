/* tensorboard.h of a build without protobuf-c. */
#include "report/tensorboard.h"

clv_status clvi_tensorboard_check(clv_error *error)
{
    CLV_FAIL(
        error, CLV_E_USAGE,
        "this conclave was built without TensorBoard's event files; install protobuf-c and its "
        "compiler (Debian: libprotobuf-c-dev, protobuf-c-compiler) and build again, or leave "
        "run.tensorboard off");
}

clv_status clvi_tensorboard_create(const char *run, clvi_tensorboard **out, clv_error *error)
{
    (void)run, (void)out;
    return clvi_tensorboard_check(error);
}

clv_status clvi_tensorboard_update(clvi_tensorboard *board, clv_error *error)
{
    (void)board;
    return clvi_tensorboard_check(error);
}

clv_status clvi_tensorboard_finish(clvi_tensorboard *board, clvi_dataset *data, clv_error *error)
{
    (void)board, (void)data;
    return clvi_tensorboard_check(error);
}

void clvi_tensorboard_destroy(clvi_tensorboard *board)
{
    (void)board;
}
