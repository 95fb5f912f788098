/* A table that grows by rows while a run trains. Every row is flushed: a run that is killed leaves
 * it usable. */
#ifndef CLVI_ROW_FILE_H
#define CLVI_ROW_FILE_H

#include "base/text.h"

typedef struct clvi_row_file clvi_row_file;

/* Opens `path` for appending; a new or empty file gets the header, which ends with a line break. A
 * file that has only the first of its columns, as older builds wrote them, gets the others, empty.
 * The caller closes. Errors: CLV_E_IO, CLV_E_FORMAT when the file's header is another,
 * CLV_E_MEMORY. */
clv_status clvi_row_file_open(const char *path, const char *header, clvi_row_file **out,
                              clv_error *error) CLV_MUST_CHECK;
/* Appends whole lines and flushes them to the file. Errors: CLV_E_IO; CLV_E_MEMORY where the text
 * failed. */
clv_status clvi_row_file_add(clvi_row_file *file, const clvi_text *lines,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_row_file_close(clvi_row_file *file); /* NULL allowed */

#endif
