/* See pieces.h. */
#include "export/pieces.h"

enum { PIECE = 1 << 16 }; /* numbers at a time */

static clv_status hand_over(const clvi_export_variable *v, const float *values, float *piece,
                            clvi_export_take *take, void *to, clv_error *error)
{
    for (int64_t at = 0; at < v->elements; at += PIECE) {
        const int64_t left = v->elements - at, count = left < PIECE ? left : PIECE;
        clvi_reorder_part(v->order, values, at, count, piece);
        CLV_TRY(take(to, piece, (size_t)count, error));
    }
    return CLV_OK;
}

clv_status clvi_export_pieces(const clvi_export_variable *v, clvi_export_take *take, void *to,
                              clv_error *error)
{
    float *values = clvi_malloc((size_t)v->elements * sizeof *values);
    float *piece = clvi_malloc(PIECE * sizeof *piece);
    clv_status status = CLV_OK;
    if (values == NULL || piece == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory to write %s", v->name);
    if (status == CLV_OK)
        status = v->read(v->user, v->segment, values, error);
    if (status == CLV_OK)
        status = hand_over(v, values, piece, take, to, error);
    clvi_free(values);
    clvi_free(piece);
    return status;
}
