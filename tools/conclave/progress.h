/* Draws the progress of training: on a terminal one line that is redrawn at most ten times a
 * second, elsewhere a plain line at most every ten seconds; and one lasting line for every epoch.
 */
#ifndef CONCLAVE_PROGRESS_H
#define CONCLAVE_PROGRESS_H

#include "base/text.h"
#include "train/progress.h"

#include <stdio.h>

typedef struct cli_progress cli_progress;

/* A display that writes to `stream` (borrowed; stderr, usually). quiet: it draws nothing. The
 * caller destroys it, which takes an unfinished line away. Errors: CLV_E_MEMORY. */
clv_status cli_progress_create(FILE *stream, bool quiet, cli_progress **out,
                               clv_error *error) CLV_MUST_CHECK;
void cli_progress_destroy(cli_progress *display); /* NULL allowed */

/* Shows `now` when it is time to; CLVI_PROGRESS_EPOCH always. Thread: locks. */
void cli_progress_show(cli_progress *display, const clvi_progress *now);
/* Takes the line away so that something else may be printed; the next show draws it again. */
void cli_progress_clear(cli_progress *display);

/* How lines look. */
typedef struct cli_progress_style {
    int columns; /* of the terminal; 0: not on a terminal, so no bar and no limit */
    bool utf8, color;
} cli_progress_style;
/* Appends the line for `now`, without control of the cursor and without newline. On a terminal it
 * takes at most columns - 1 columns: what matters least is left out. */
void cli_progress_line(const cli_progress_style *style, const clvi_progress *now, clvi_text *out);

#endif
