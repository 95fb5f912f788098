/* The pictures that a mixture is given, and the part of them that networks see: data.crop_share. */
#ifndef CLVI_PICTURE_H
#define CLVI_PICTURE_H

#include "config/config.h"

typedef struct clvi_picture {
    int height, width, channels; /* that networks see; channels: 1 or 3 */
    int margin_y, margin_x;      /* rows above and below, columns left and right of it */
} clvi_picture;

/* Of pixels of a size, margins included, that clvi_picture_whole gave. */
clvi_picture clvi_picture_of(const clvi_config *config, int height, int width, int channels);

/* The size to which images are to be brought: data.image_size, and margins of which it is the share
 * data.crop_share, rounded. */
void clvi_picture_whole(const clvi_config *config, int *height, int *width);

#endif
