/* See predictions.h. */
#include "train/predictions.h"

#include "base/csv.h"
#include "train/scores.h"

#include <math.h>

enum { MOST_BYTES = 1 << 30 };

static const char header[] =
    "split,image,label,predicted,log_probability,confidence,gate_entropy\n";
static const char old_header[] = "split,image,label,predicted,log_probability\n";
enum { SPLIT, IMAGE, LABEL, PREDICTED, LOG_PROBABILITY, CONFIDENCE, GATE_ENTROPY, FIELDS };
enum { OLD_FIELDS = CONFIDENCE };

void clvi_predictions_fini(clvi_predictions *p)
{
    clvi_free(p->items);
    clvi_free(p->text);
    clvi_arena_destroy(p->names);
    *p = (clvi_predictions){0};
}

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the predictions");
}

static clv_status reserve(clvi_predictions *p, size_t more, clv_error *error)
{
    void *items = p->items;
    CLV_TRY(clvi_grow(&items, &p->capacity, p->count + more, sizeof *p->items, error));
    p->items = items;
    return CLV_OK;
}

/* Its path; where there are several sources, behind the source's name. NULL: no memory. */
static const char *image_name(clvi_predictions *p, const clvi_dataset *data,
                              const clvi_sample *sample)
{
    if (clvi_dataset_source_count(data) < 2)
        return sample->path;
    if (!p->names && clvi_arena_create(&p->names, NULL) != CLV_OK)
        return NULL;
    return clvi_arena_printf(p->names, "%s:%s", clvi_dataset_source_name(data, sample->source),
                             sample->path);
}

bool clvi_prediction_is_of(const char *image, const clvi_dataset *data, const clvi_sample *sample)
{
    if (clvi_dataset_source_count(data) > 1) {
        const char *source = clvi_dataset_source_name(data, sample->source);
        const size_t length = strlen(source);
        if (strncmp(image, source, length) != 0 || image[length] != ':')
            return false;
        image += length + 1;
    }
    return strcmp(image, sample->path) == 0;
}

clv_status clvi_predictions_add(clvi_predictions *to, const clvi_dataset *data, clvi_split split,
                                const clvi_batch *batch, const float *logits, clv_error *error)
{
    const int classes = (int)clvi_dataset_class_count(data);
    CLV_TRY(reserve(to, batch->count, error));
    for (size_t i = 0; i < batch->count; i++) {
        const float *row = logits + i * (size_t)classes;
        const int best = clvi_best_class(row, classes);
        const char *name =
            image_name(to, data, clvi_dataset_sample(data, split, batch->indices[i]));
        if (!name)
            return no_memory(error);
        const int32_t label = batch->labels[i];
        to->items[to->count++] =
            (clvi_prediction){.image = name,
                              .label = label,
                              .predicted = best,
                              .log_probability = clvi_log_probability(row, classes, label),
                              .confidence = NAN,
                              .gate_entropy = NAN};
    }
    return CLV_OK;
}

void clvi_predictions_calibrate(clvi_predictions *p, size_t first, const float *logits, int classes,
                                double temperature)
{
    for (size_t i = first; i < p->count; i++)
        p->items[i].confidence =
            clvi_confidence(logits + (i - first) * (size_t)classes, classes, temperature);
}

void clvi_predictions_append(const clvi_predictions *from, clvi_split split, clvi_text *text)
{
    if (text->length == 0)
        clvi_text_append(text, header);
    for (size_t i = 0; i < from->count; i++) {
        const clvi_prediction *p = &from->items[i];
        clvi_csv_append(text, clvi_split_name(split));
        clvi_csv_append(text, p->image);
        clvi_csv_append_int(text, p->label);
        clvi_csv_append_int(text, p->predicted);
        clvi_csv_append_real(text, p->log_probability, 7);
        clvi_csv_append_real(text, p->confidence, 7);
        clvi_csv_append_real(text, p->gate_entropy, 7);
        clvi_csv_end_line(text);
    }
}

static bool read_index(const char *text, int32_t least, int32_t *out)
{
    int64_t value;
    if (!clvi_parse_int(text, &value) || value < least || value > INT32_MAX)
        return false;
    *out = (int32_t)value;
    return true;
}

/* A number, or nothing: NAN. */
static bool read_number(const char *text, double *out)
{
    *out = NAN;
    return text[0] == '\0' || clvi_parse_real(text, out);
}

/* What stands behind the header, and how many fields each line has; NULL: another file. */
static char *skip_header(char *text, size_t *fields)
{
    const bool old = strncmp(text, old_header, sizeof old_header - 1) == 0;
    if (!old && strncmp(text, header, sizeof header - 1) != 0)
        return NULL;
    *fields = old ? OLD_FIELDS : FIELDS;
    return text + (old ? sizeof old_header : sizeof header) - 1;
}

static clv_status read_lines(const char *path, char *text, clvi_split split, clvi_predictions *out,
                             clv_error *error)
{
    char *fields[FIELDS];
    size_t wanted;
    char *cursor = skip_header(text, &wanted);
    if (!cursor)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: its columns are not %.*s", path, (int)sizeof header - 2,
                 header);
    for (long long line = 2;; line++) {
        const size_t count = clvi_csv_next(&cursor, fields, FIELDS);
        if (count == 0)
            return CLV_OK;
        clvi_prediction p = {.confidence = NAN, .gate_entropy = NAN};
        if (count != wanted || !read_index(fields[LABEL], 0, &p.label) ||
            !read_index(fields[PREDICTED], -1, &p.predicted) ||
            !read_number(fields[LOG_PROBABILITY], &p.log_probability) ||
            (count == FIELDS && (!read_number(fields[CONFIDENCE], &p.confidence) ||
                                 !read_number(fields[GATE_ENTROPY], &p.gate_entropy))))
            CLV_FAIL(error, CLV_E_FORMAT, "%s:%lld: not an image, two classes and numbers", path,
                     line);
        if (strcmp(fields[SPLIT], clvi_split_name(split)) != 0)
            continue;
        CLV_TRY(reserve(out, 1, error));
        p.image = fields[IMAGE];
        out->items[out->count++] = p;
    }
}

clv_status clvi_predictions_read(const char *path, clvi_split split, clvi_predictions *out,
                                 clv_error *error)
{
    clvi_predictions p = {0};
    size_t bytes;
    CLV_TRY(clvi_file_read(path, MOST_BYTES, &p.text, &bytes, error));
    const clv_status status = read_lines(path, p.text, split, &p, error);
    if (status != CLV_OK) {
        clvi_predictions_fini(&p);
        return status;
    }
    *out = p;
    return CLV_OK;
}
