/* The eight ways in which a camera may have been held. */
#include "data/image_codec.h"

#include "base/memory.h"

/* Where pixel (0, 0) of the turned picture lies in the stored one, and how the stored place moves
 * with a step along x and along y of the turned one, in pixels. */
typedef struct walk {
    ptrdiff_t origin, step_x, step_y;
} walk;

/* EXIF 2.32, table 6: which sides of the scene the stored row 0 and column 0 are. */
static walk walk_of(int orientation, ptrdiff_t height, ptrdiff_t width)
{
    const ptrdiff_t right = width - 1, bottom = (height - 1) * width;
    switch (orientation) {
    case 2: /* mirrored */
        return (walk){right, -1, width};
    case 3: /* half a turn */
        return (walk){bottom + right, -1, -width};
    case 4: /* upside down, mirrored */
        return (walk){bottom, 1, -width};
    case 5: /* transposed */
        return (walk){0, width, 1};
    case 6: /* a quarter turn clockwise is needed */
        return (walk){bottom, -width, 1};
    case 7: /* transposed along the other diagonal */
        return (walk){bottom + right, -width, -1};
    default: /* 8: a quarter turn anticlockwise is needed */
        return (walk){right, width, -1};
    }
}

static void copy(const clvi_image *from, const walk *w, clvi_image *to)
{
    uint8_t *out = to->pixels;
    for (int y = 0; y < to->height; y++)
        for (int x = 0; x < to->width; x++) {
            const ptrdiff_t at = w->origin + w->step_y * y + w->step_x * x;
            const uint8_t *pixel = from->pixels + at * from->channels;
            *out++ = pixel[0];
            if (from->channels == 3) {
                *out++ = pixel[1];
                *out++ = pixel[2];
            }
        }
}

/* The box moves with the pixels. */
static clvi_image_box turn_box(const clvi_image *from, int orientation)
{
    clvi_image_box box = from->box;
    if (box.height == 0)
        return box;
    const bool from_right = orientation == 2 || orientation == 3 || orientation >= 7;
    const bool from_bottom =
        orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    if (from_right)
        box.x = from->width - (box.x + box.width);
    if (from_bottom)
        box.y = from->height - (box.y + box.height);
    if (orientation < 5)
        return box;
    return (clvi_image_box){box.x, box.y, box.width, box.height};
}

clv_status clvi_image_orient(const char *name, int orientation, clvi_image *image, clv_error *error)
{
    if (orientation <= 1 || orientation > 8)
        return CLV_OK;
    const bool across = orientation >= 5;
    clvi_image turned = {0};
    CLV_TRY(clvi_image_alloc(name, across ? image->height : image->width,
                             across ? image->width : image->height, image->channels, &turned,
                             error));
    const walk w = walk_of(orientation, image->height, image->width);
    copy(image, &w, &turned);
    turned.box = turn_box(image, orientation);
    clvi_image_fini(image);
    *image = turned;
    return CLV_OK;
}
