/* A file of TensorBoard's events: records of a length, an Event (events.proto) and CRC-32C of both.
 */
#ifndef CLVI_EVENT_FILE_H
#define CLVI_EVENT_FILE_H

#include "base/text.h"

typedef struct clvi_event_file clvi_event_file;

/* Makes FOLDER, and in it an event file under a name that TensorBoard takes for one; others of that
 * kind in the folder are removed. Its first events say that nothing earlier counts. The caller ends
 * with clvi_event_file_close. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_event_file_create(const char *folder, clvi_event_file **out,
                                  clv_error *error) CLV_MUST_CHECK;
/* Writes what is buffered and closes. Errors: CLV_E_IO: it is closed all the same. NULL allowed. */
clv_status clvi_event_file_close(clvi_event_file *file, clv_error *error);
/* What was added reaches readers. Errors: CLV_E_IO. */
clv_status clvi_event_file_flush(clvi_event_file *file, clv_error *error) CLV_MUST_CHECK;

/* Where and when in the training the next values belong: steps of the optimiser, seconds since
 * 1970.
 */
void clvi_event_file_at(clvi_event_file *file, int64_t step, double wall_time);
/* A number; one that is not finite is left out. Errors: CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_event_file_add_scalar(clvi_event_file *file, const char *tag, double value,
                                      clv_error *error) CLV_MUST_CHECK;
/* A text in Markdown. Errors: as above. */
clv_status clvi_event_file_add_text(clvi_event_file *file, const char *tag, const char *text,
                                    clv_error *error) CLV_MUST_CHECK;

typedef struct clvi_event_picture {
    const uint8_t *png;
    size_t length;
} clvi_event_picture;
/* Pictures of one size [height, width] under one tag; `description` in Markdown, or NULL. Errors:
 * as above. */
clv_status clvi_event_file_add_pictures(clvi_event_file *file, const char *tag,
                                        const char *description, const int size[2],
                                        const clvi_event_picture *pictures, size_t count,
                                        clv_error *error) CLV_MUST_CHECK;

#endif
