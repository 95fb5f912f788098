/* See average.h; the kernel is in kernels/optimizer.cl. */
#include "train/average.h"

#include "ops/share.h"

enum { PIECE_ELEMENTS = 1 << 30 /* in one launch of a kernel with int indices */ };

double clvi_average_decay(double most, int64_t step)
{
    const double early = (1 + (double)step) / (10 + (double)step);
    return early < most ? early : most;
}

static clv_status launch(clvi_store *store, size_t slab, uint64_t at, int64_t elements, double rest,
                         clv_error *error)
{
    const clvi_share share = clvi_share_of(elements, 3, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, clvi_store_device(store), "optimizer", "optimizer_average", "");
    clvi_arg_view(&l, (clvi_view){clvi_store_slab(store, slab, CLVI_STORE_AVERAGE), at});
    clvi_arg_view(&l, (clvi_view){clvi_store_slab(store, slab, CLVI_STORE_VALUE), at});
    clvi_arg_int(&l, (int32_t)elements);
    clvi_arg_float(&l, (float)rest);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_average_step(clvi_store *store, double decay, clv_error *error)
{
    CLV_ASSERT(clvi_store_keeps(store, CLVI_STORE_AVERAGE));
    for (size_t i = 0; i < clvi_store_all_slabs(store); i++) {
        const uint64_t all = clvi_store_slab_elements(store, i);
        for (uint64_t at = 0; at < all; at += PIECE_ELEMENTS) {
            const uint64_t left = all - at;
            CLV_TRY(launch(store, i, at, (int64_t)(left < PIECE_ELEMENTS ? left : PIECE_ELEMENTS),
                           1 - decay, error));
        }
    }
    return CLV_OK;
}
