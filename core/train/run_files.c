/* The text files of a run. Every row and line is flushed: a run that is killed leaves them usable.
 */
#include "train/run_files.h"

#include "base/files.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <time.h>

static const char metrics_header[] =
    "epoch,step,split,loss,top1,top5,lr,seconds,images_per_second,trainable,"
    "dropped,unrouted\n";

clv_status clvi_metrics_csv_open(const char *path, clvi_row_file **out, clv_error *error)
{
    return clvi_row_file_open(path, metrics_header, out, error);
}

/* ",value" in `digits` significant digits; enough of them to see a change, few enough to read. */
static void append_number(clvi_text *row, double value, int digits)
{
    clvi_text_append(row, ",");
    if (isfinite(value))
        clvi_text_printf(row, "%.*g", digits, value);
}

clv_status clvi_metrics_csv_add(clvi_row_file *file, const clvi_metrics_row *row, clv_error *error)
{
    clvi_text line = {0};
    clvi_text_printf(&line, "%" PRId64 ",%" PRId64 ",%s", row->epoch, row->step, row->split);
    append_number(&line, row->loss, 9);
    append_number(&line, row->top1, 9);
    append_number(&line, row->top5, 9);
    append_number(&line, row->lr, 9);
    append_number(&line, row->seconds, 6);
    append_number(&line, row->images_per_second, 6);
    clvi_text_printf(&line, ",%" PRId64, row->trainable);
    append_number(&line, row->dropped, 6);
    append_number(&line, row->unrouted, 6);
    clvi_text_append(&line, "\n");
    const clv_status status = clvi_row_file_add(file, &line, error);
    clvi_text_fini(&line);
    return status;
}

struct clvi_log_file {
    FILE *stream;
};

clv_status clvi_log_file_open(const char *path, clvi_log_file **out, clv_error *error)
{
    clvi_log_file *file = clvi_calloc(1, sizeof(*file));
    if (file == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    file->stream = fopen(path, "abe");
    if (file->stream == NULL) {
        const int code = errno;
        clvi_free(file);
        return clvi_fail_errno(error, code, CLV_HERE, "%s: cannot write", path);
    }
    *out = file;
    return CLV_OK;
}

/* One call of fprintf, so that lines of several threads do not mix. */
void clvi_log_file_write(void *file, clvi_log_level level, const char *line)
{
    FILE *stream = ((clvi_log_file *)file)->stream;
    const char *kind = level == CLVI_LOG_ERROR  ? "error: "
                       : level == CLVI_LOG_WARN ? "warning: "
                                                : "";
    const time_t now = time(NULL);
    struct tm parts;
    char when[32] = "";
    if (localtime_r(&now, &parts) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &parts);
    fprintf(stream, "%s  %s%s\n", when, kind, line);
    fflush(stream);
}

void clvi_log_file_close(clvi_log_file *file)
{
    if (file == NULL)
        return;
    fclose(file->stream);
    clvi_free(file);
}

static int append_json(const char *piece, size_t bytes, void *text)
{
    clvi_text_append_n(text, piece, bytes);
    return ((clvi_text *)text)->failed ? -1 : 0;
}

clv_status clvi_json_write(const char *path, const json_t *value, clv_error *error)
{
    clvi_text text = {0};
    /* 9 digits: exact for f32, and no 0.10000000000000001. */
    const size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY;
    const int failed = json_dump_callback(value, append_json, &text, flags);
    clvi_text_append(&text, "\n");
    clv_status status;
    if (failed != 0 || text.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", path);
    else
        status = clvi_file_write(path, text.data, text.length, error);
    clvi_text_fini(&text);
    return status;
}

json_t *clvi_score_json(const clvi_score_summary *s)
{
    json_t *json = json_pack("{s:I}", "count", (json_int_t)s->count);
    const struct {
        const char *name;
        double value;
    } figures[] = {{"top1", s->top1},
                   {"top1_low", s->top1_low},
                   {"top1_high", s->top1_high},
                   {"top5", s->top5},
                   {"nll", s->nll},
                   {"nll_calibrated", s->nll_calibrated},
                   {"brier", s->brier},
                   {"ece", s->ece},
                   {"ece_calibrated", s->ece_calibrated},
                   {"precision", s->precision},
                   {"recall", s->recall},
                   {"f1", s->f1}};
    for (size_t i = 0; json && i < sizeof figures / sizeof *figures; i++)
        if (json_object_set_new(json, figures[i].name, clvi_json_real(figures[i].value)) != 0) {
            json_decref(json);
            json = NULL;
        }
    return json;
}

json_t *clvi_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}
