/* Pictures that show what a network makes of a picture: where something counts, and its feature
 * maps. 8 bits; *out is the caller's, for clvi_image_fini. */
#ifndef CLVI_REPORT_OVERLAY_H
#define CLVI_REPORT_OVERLAY_H

#include "data/image.h"

#include <stddef.h>

/* RGB: a picture (1 or 3 channels) paled, under heat [height, width] of the same extent, at least
 * 0: the largest is the fullest colour, 0 none; bilinear between the centres of its places. NULL:
 * no heat. Errors: CLV_E_MEMORY. */
clv_status clvi_overlay_heat(const clvi_image *picture, const float *heat, int64_t height,
                             int64_t width, clvi_image *out, clv_error *error) CLV_MUST_CHECK;

/* Maps of a tensor [height, width, channels]. */
typedef struct clvi_overlay_maps {
    const float *values;
    int64_t height, width, channels;
} clvi_overlay_maps;
/* Grey: a row of tiles for each of them: its `columns` channels whose values vary most, from black
 * (their least) to white (their largest), each place a block where that is larger than a pixel. A
 * tile is as large as the square `tile` holds. Errors: CLV_E_MEMORY. */
clv_status clvi_overlay_sheet(const clvi_overlay_maps *maps, size_t count, int columns, int tile,
                              clvi_image *out, clv_error *error) CLV_MUST_CHECK;

/* RGB pictures of one height, side by side with `gap` white columns between. Errors: CLV_E_MEMORY.
 */
clv_status clvi_overlay_strip(const clvi_image *pictures, size_t count, int gap, clvi_image *out,
                              clv_error *error) CLV_MUST_CHECK;

#endif
