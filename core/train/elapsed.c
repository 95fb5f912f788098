/* See elapsed.h. */
#include "train/elapsed.h"

#include "base/csv.h"
#include "base/process.h"
#include "train/run_dir.h"

#include <math.h>

enum { MOST_BYTES = 4096 };

static void append(clvi_text *text, const clvi_elapsed *e)
{
    clvi_csv_append_int(text, e->epoch);
    clvi_csv_append_int(text, e->step);
    clvi_csv_append_real(text, e->epoch_seconds, 9);
    clvi_csv_append_real(text, e->seconds, 9);
    clvi_csv_end_line(text);
}

clv_status clvi_elapsed_write(const char *run, const clvi_elapsed *before, const clvi_elapsed *now,
                              clv_error *error)
{
    clvi_text text = {0};
    char *path = clvi_path_join(run, CLVI_RUN_ELAPSED);
    clv_status status;
    clvi_text_append(&text, "epoch,step,epoch_seconds,seconds\n");
    append(&text, before);
    append(&text, now);
    if (!path || text.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the times of %s", run);
    else
        status = clvi_file_write(path, text.data, text.length, error);
    clvi_text_fini(&text);
    clvi_free(path);
    return status;
}

/* The last line that is about the checkpoint. */
static bool find(char *text, const clvi_train_state *state, clvi_elapsed *out)
{
    enum { EPOCH, STEP, EPOCH_SECONDS, SECONDS, FIELDS };
    char *fields[FIELDS], *cursor = text;
    bool found = false;
    for (size_t count; (count = clvi_csv_next(&cursor, fields, FIELDS)) > 0;) {
        clvi_elapsed e;
        if (count != FIELDS || !clvi_parse_int(fields[EPOCH], &e.epoch) ||
            !clvi_parse_int(fields[STEP], &e.step) ||
            !clvi_parse_real(fields[EPOCH_SECONDS], &e.epoch_seconds) ||
            !clvi_parse_real(fields[SECONDS], &e.seconds) || !(e.epoch_seconds >= 0) ||
            !(e.seconds >= 0) || e.epoch != state->epoch || e.step != state->step)
            continue;
        *out = e;
        found = true;
    }
    return found;
}

clv_status clvi_elapsed_read(const char *run, const clvi_train_state *state, clvi_elapsed *out,
                             clv_error *error)
{
    char *text = NULL, *path = clvi_path_join(run, CLVI_RUN_ELAPSED);
    size_t bytes = 0;
    clvi_elapsed e = {.epoch = state->epoch, .step = state->step};
    clv_status status = CLV_OK;
    if (!path)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the times of %s", run);
    else if (clvi_is_file(path))
        status = clvi_file_read(path, MOST_BYTES, &text, &bytes, error);
    if (status == CLV_OK && !(text && find(text, state, &e)) && state->step > 0)
        clvi_log(CLVI_LOG_WARN,
                 "%s says nothing about this checkpoint: the time of training counts from here on",
                 path);
    clvi_free(text);
    clvi_free(path);
    if (status == CLV_OK)
        *out = e;
    return status;
}
