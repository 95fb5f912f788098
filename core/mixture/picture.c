/* See picture.h. */
#include "mixture/picture.h"

#include <math.h>

/* Pixels on each side of `seen`. */
static int around(int seen, double share)
{
    return (int)lround(seen * (1 - share) / share / 2);
}

/* The same, of the whole. Let x be the number before rounding above, m after it: here it comes out
 * as m + share·(x - m) before rounding, which is m again. */
static int within(int whole, double share)
{
    return (int)lround(whole * (1 - share) / 2);
}

clvi_picture clvi_picture_of(const clvi_config *config, int height, int width, int channels)
{
    const double share = clvi_config_real(config, "data", "crop_share");
    const int y = within(height, share), x = within(width, share);
    return (clvi_picture){.height = height - 2 * y,
                          .width = width - 2 * x,
                          .channels = channels,
                          .margin_y = y,
                          .margin_x = x};
}

void clvi_picture_whole(const clvi_config *config, int *height, int *width)
{
    const double share = clvi_config_real(config, "data", "crop_share");
    int h, w;
    clvi_config_size(config, "data", "image_size", &h, &w);
    *height = h + 2 * around(h, share);
    *width = w + 2 * around(w, share);
}
