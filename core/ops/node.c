#include "ops/node.h"

#include <stdio.h>

clv_tensor clvi_graph_root(const clv_graph *graph, clv_tensor tensor)
{
    while (graph->tensors[tensor].alias != CLV_NO_TENSOR)
        tensor = graph->tensors[tensor].alias;
    return tensor;
}

int64_t clvi_shape_elements(const clv_shape *shape)
{
    int64_t elements = 1;
    for (int i = clvi_shape_batched(shape) ? 1 : 0; i < shape->rank; i++)
        elements *= shape->dims[i];
    return elements;
}

bool clvi_shape_batched(const clv_shape *shape)
{
    return shape->rank > 0 && shape->dims[0] == CLV_BATCH;
}

bool clvi_shape_equal(const clv_shape *a, const clv_shape *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dims[i] == b->dims[i];
    return same;
}

const char *clvi_shape_text(const clv_shape *shape, char *out, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < shape->rank && i < CLV_MAX_RANK && used < bytes; i++) {
        const char *before = i == 0 ? "[" : ", ";
        const int wrote =
            shape->dims[i] == CLV_BATCH
                ? snprintf(out + used, bytes - used, "%sN", before)
                : snprintf(out + used, bytes - used, "%s%lld", before, (long long)shape->dims[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    if (used < bytes)
        snprintf(out + used, bytes - used, used > 0 ? "]" : "[]");
    return out;
}

clv_shape clvi_shape_make(clv_dtype dtype, int rank, const int64_t *dims)
{
    clv_shape shape = {
        .struct_size = (uint32_t)sizeof(shape), .dtype = (int32_t)dtype, .rank = rank};
    for (int i = 0; i < rank && i < CLV_MAX_RANK; i++)
        shape.dims[i] = dims[i];
    return shape;
}
