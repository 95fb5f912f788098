/* See bank.h; the kernels are in kernels/bank.cl. */
#include "mixture/bank.h"

#include "ops/share.h"

clv_status clvi_bank_init(clvi_bank *b, clvi_device *device, int64_t width, int64_t max_batch,
                          bool with_grads, clv_error *error)
{
    const size_t bytes = (size_t)(width * max_batch) * 4;
    b->device = device;
    b->width = width;
    if (width > INT32_MAX / max_batch)
        CLV_FAIL(error, CLV_E_SHAPE,
                 "%lld numbers of the experts for each of %lld samples are more than a tensor has; "
                 "lower train.batch",
                 (long long)width, (long long)max_batch);
    CLV_TRY(clvi_buf_create(device, bytes, "the experts' outputs", &b->values, error));
    return with_grads ? clvi_buf_create(device, bytes, "their gradients", &b->grads, error)
                      : CLV_OK;
}

void clvi_bank_fini(clvi_bank *b)
{
    clvi_buf_destroy(b->values);
    clvi_buf_destroy(b->grads);
}

static clv_status move(const clvi_bank *b, const char *kernel, clvi_bank_part part, clvi_view to,
                       clvi_view from, const clvi_bank_rows *rows, clv_error *error)
{
    const clvi_share share = clvi_share_of(rows->n, 2 * part.width, 1);
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "bank", kernel, "");
    clvi_arg_view(&l, to);
    clvi_arg_view(&l, from);
    clvi_arg_view(&l, rows->list.buf ? rows->list : from);
    clvi_arg_int(&l, rows->list.buf != NULL);
    clvi_arg_int(&l, (int32_t)rows->n);
    clvi_arg_int(&l, (int32_t)b->width);
    clvi_arg_int(&l, (int32_t)part.at);
    clvi_arg_int(&l, (int32_t)part.width);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_bank_put(const clvi_bank *b, clvi_bank_part part, clvi_view from,
                         clvi_bank_rows rows, clv_error *error)
{
    return move(b, "bank_put", part, (clvi_view){b->values, 0}, from, &rows, error);
}

clv_status clvi_bank_take(const clvi_bank *b, clvi_bank_part part, clvi_view to,
                          clvi_bank_rows rows, bool add, clv_error *error)
{
    const clvi_view from = {b->grads, 0};
    return move(b, add ? "bank_add" : "bank_take", part, to, from, &rows, error);
}

clv_status clvi_bank_gather(clvi_device *device, int64_t width, clvi_view from, clvi_view to,
                            clvi_bank_rows rows, clv_error *error)
{
    const clvi_bank all = {.device = device, .width = width};
    return move(&all, "bank_take", (clvi_bank_part){0, width}, to, from, &rows, error);
}

uint64_t clvi_bank_bytes(const clvi_bank *b)
{
    return (b->values ? clvi_buf_bytes(b->values) : 0) + (b->grads ? clvi_buf_bytes(b->grads) : 0);
}
