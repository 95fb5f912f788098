/* Walks over the segments of a JPEG for what the decoder does not tell: orientation and the mark of
 * Adobe. Every length and offset is checked against the bytes that are there. */
#include "data/image_codec.h"

/* A run of bytes, and EXIF's byte order. */
typedef struct piece {
    const uint8_t *bytes;
    size_t length;
    bool little;
} piece;

static unsigned short_at(const piece *p, size_t at)
{
    const unsigned first = p->bytes[at], second = p->bytes[at + 1];
    return p->little ? second << 8 | first : first << 8 | second;
}

static size_t long_at(const piece *p, size_t at)
{
    const size_t first = short_at(p, at), second = short_at(p, at + 2);
    return p->little ? second << 16 | first : first << 16 | second;
}

/* The orientation in a TIFF header and its first directory: entries of 12 bytes, each tag, type,
 * count and value. 0: none. */
static int orientation_of(piece tiff)
{
    enum { TAG = 0x112, TYPE_SHORT = 3, ENTRY_BYTES = 12 };
    if (tiff.length < 8)
        return 0;
    tiff.little = memcmp(tiff.bytes, "II*", 4) == 0; /* the string's NUL is the fourth byte */
    if (!tiff.little && memcmp(tiff.bytes, "MM\0*", 4) != 0)
        return 0;
    const size_t directory = long_at(&tiff, 4);
    if (directory > tiff.length - 2)
        return 0;
    const size_t count = short_at(&tiff, directory);
    const size_t room = (tiff.length - directory - 2) / ENTRY_BYTES;
    for (size_t i = 0; i < count && i < room; i++) {
        const size_t at = directory + 2 + i * ENTRY_BYTES;
        if (short_at(&tiff, at) != TAG)
            continue;
        const unsigned value = short_at(&tiff, at + 8);
        return short_at(&tiff, at + 2) == TYPE_SHORT && value <= 8 ? (int)value : 0;
    }
    return 0;
}

static bool is_frame(uint8_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static void take_segment(uint8_t marker, const piece *body, clvi_jpeg_notes *notes)
{
    enum { APP1 = 0xe1, APP14 = 0xee };
    if (marker == APP1 && notes->orientation == 0 && body->length > 6 &&
        memcmp(body->bytes, "Exif\0", 6) == 0) {
        notes->orientation = orientation_of((piece){body->bytes + 6, body->length - 6, false});
    } else if (marker == APP14 && body->length >= 12 && memcmp(body->bytes, "Adobe", 5) == 0) {
        notes->adobe = true;
    } else if (is_frame(marker) && notes->components == 0 && body->length >= 6) {
        notes->height = (int)short_at(body, 1);
        notes->width = (int)short_at(body, 3);
        notes->components = body->bytes[5];
    }
}

clvi_jpeg_notes clvi_jpeg_read_notes(const uint8_t *bytes, size_t length)
{
    enum { START_OF_SCAN = 0xda, END_OF_IMAGE = 0xd9 };
    clvi_jpeg_notes notes = {0};
    size_t at = 2; /* behind the start marker */
    while (at < length && length - at >= 4) {
        if (bytes[at] != 0xff || bytes[at + 1] == 0xff) {
            at++; /* fill bytes, or bytes between segments, which decoders pass over as well */
            continue;
        }
        const uint8_t marker = bytes[at + 1];
        if (marker == START_OF_SCAN || marker == END_OF_IMAGE)
            break;
        if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8)) {
            at += 2; /* no segment */
            continue;
        }
        const size_t bytes_told = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (bytes_told < 2 || bytes_told > length - at - 2)
            break;
        const piece body = {bytes + at + 4, bytes_told - 2, false};
        take_segment(marker, &body, &notes);
        at += 2 + bytes_told;
    }
    if (notes.orientation == 0)
        notes.orientation = 1;
    return notes;
}
