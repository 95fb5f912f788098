/* The feature maps of a network: its tensors [N, H, W, C] of more than one place (H·W > 1), found
 * by their shapes alone, so that a network of any plugin has them. */
#ifndef CLVI_MAPS_H
#define CLVI_MAPS_H

#include "graph/graph.h"

/* Nodes one behind the other whose maps have one size; what lies between maps, such as the dense
 * layers of squeeze-excite, belongs to the size before it. */
typedef struct clvi_map_stage {
    int64_t height, width; /* 0: no maps, as behind global pooling */
    size_t first, end;     /* nodes of the graph, without end */
    clv_tensor last;       /* its last map; CLV_NO_TENSOR: none */
} clvi_map_stage;

/* Zero-initialise. */
typedef struct clvi_maps {
    clvi_map_stage *stages;
    size_t count, capacity;
    /* What Grad-CAM weighs: the map of the last operation with variables and more than one place,
     * with what changes it afterwards and keeps its size (an activation, a sum, a scale). Pooling
     * behind it, global or not, is not part of it. CLV_NO_TENSOR: no maps. */
    clv_tensor last;
} clvi_maps;

/* Of the nodes that `of` needs; CLV_NO_TENSOR: of all. Errors: CLV_E_MEMORY. */
clv_status clvi_maps_find(const clv_graph *graph, clv_tensor of, clvi_maps *out,
                          clv_error *error) CLV_MUST_CHECK;
void clvi_maps_fini(clvi_maps *maps);

#endif
