/* See tensorboard.h. All is read from the files of the run. */
#include "report/tensorboard.h"
#include "report/event_file.h"
#include "report/mistakes.h"
#include "report/run_confusions.h"

#include "base/files.h"
#include "train/run_dir.h"

#include <math.h>
#include <sys/stat.h>

/* Sides of the confusion matrix in pixels, if there are as many classes or fewer. */
enum { MATRIX_SIDE = 512, TAG_BYTES = 256 };

struct clvi_tensorboard {
    char *run;
    clvi_event_file *file;
    size_t metrics, signals, pairs; /* rows that are written */
    double begun;                   /* seconds since 1970 */
    double seconds;                 /* of the rows of metrics.csv that are written */
};

typedef struct picture_set {
    clvi_event_picture items[CLVI_MISTAKES];
    size_t count;
    int size[2];     /* height, width */
    clvi_text about; /* Markdown: a line for each */
} picture_set;

clv_status clvi_tensorboard_check(clv_error *error)
{
    (void)error;
    return CLV_OK;
}

/* ---- Rows of tables ---- */

/* The step and the time at the end of an epoch: of the run's metrics so far. */
static void at_epoch(clvi_tensorboard *board, const clvi_sheet *metrics, double epoch)
{
    double seconds = 0, step = 0;
    for (size_t i = 0; i < metrics->rows; i++) {
        if (!(clvi_sheet_real(metrics, i, "epoch") <= epoch))
            continue;
        const double took = clvi_sheet_real(metrics, i, "seconds");
        seconds += isfinite(took) ? took : 0;
        step = fmax(step, clvi_sheet_real(metrics, i, "step"));
    }
    clvi_event_file_at(board->file, (int64_t)step, board->begun + seconds);
}

/* The columns of a row as scalars PREFIXCOLUMN/GROUP, or ALONE/COLUMN where that is given; columns
 * before `first` say what the row is about. */
static clv_status add_row(clvi_tensorboard *board, const clvi_sheet *sheet, size_t row,
                          size_t first, const char *const tag[3], clv_error *error)
{
    for (size_t c = first; c < sheet->columns; c++) {
        const char *column = sheet->cells[c];
        char text[TAG_BYTES];
        if (strcmp(column, "step") == 0 || strcmp(column, "split") == 0)
            continue;
        if (tag[2] != NULL)
            snprintf(text, sizeof text, "%s/%s", tag[2], column);
        else
            snprintf(text, sizeof text, "%s%s/%s", tag[0], column, tag[1]);
        CLV_TRY(clvi_event_file_add_scalar(board->file, text, clvi_sheet_real(sheet, row, column),
                                           error));
    }
    return CLV_OK;
}

static clv_status add_metrics(clvi_tensorboard *board, const clvi_sheet *sheet, clv_error *error)
{
    for (; board->metrics < sheet->rows; board->metrics++) {
        const size_t row = board->metrics;
        const char *const tag[3] = {"", clvi_sheet_text(sheet, row, "split"), NULL};
        at_epoch(board, sheet, clvi_sheet_real(sheet, row, "epoch"));
        CLV_TRY(add_row(board, sheet, row, 1, tag, error));
    }
    return CLV_OK;
}

static const char *expert_name(const char *part)
{
    return strncmp(part, "expert.", 7) == 0 ? part + 7 : part;
}

static clv_status add_signals(clvi_tensorboard *board, const clvi_sheet *metrics,
                              const clvi_sheet *sheet, clv_error *error)
{
    for (; board->signals < sheet->rows; board->signals++) {
        const size_t row = board->signals;
        const char *part = clvi_sheet_text(sheet, row, "part");
        const bool expert = strncmp(part, "expert.", 7) == 0;
        const char *const tag[3] = {"expert_", expert_name(part), expert ? NULL : part};
        at_epoch(board, metrics, clvi_sheet_real(sheet, row, "epoch"));
        CLV_TRY(add_row(board, sheet, row, 2, tag, error));
    }
    return CLV_OK;
}

static clv_status add_pairs(clvi_tensorboard *board, const clvi_sheet *metrics,
                            const clvi_sheet *sheet, clv_error *error)
{
    for (; board->pairs < sheet->rows; board->pairs++) {
        const size_t row = board->pairs;
        char both[TAG_BYTES];
        snprintf(both, sizeof both, "%s_%s", expert_name(clvi_sheet_text(sheet, row, "first")),
                 expert_name(clvi_sheet_text(sheet, row, "second")));
        const char *const tag[3] = {"experts_", both, NULL};
        at_epoch(board, metrics, clvi_sheet_real(sheet, row, "epoch"));
        CLV_TRY(add_row(board, sheet, row, 3, tag, error));
    }
    return CLV_OK;
}

clv_status clvi_tensorboard_update(clvi_tensorboard *board, clv_error *error)
{
    clvi_sheet metrics = {0}, signals = {0}, pairs = {0};
    clv_status status = clvi_sheet_read(board->run, CLVI_RUN_METRICS, &metrics, error);
    if (status == CLV_OK)
        status = clvi_sheet_read(board->run, CLVI_RUN_SIGNALS, &signals, error);
    if (status == CLV_OK)
        status = clvi_sheet_read(board->run, CLVI_RUN_PAIRS, &pairs, error);
    if (status == CLV_OK)
        status = add_metrics(board, &metrics, error);
    if (status == CLV_OK)
        status = add_signals(board, &metrics, &signals, error);
    if (status == CLV_OK)
        status = add_pairs(board, &metrics, &pairs, error);
    if (status == CLV_OK)
        status = clvi_event_file_flush(board->file, error);
    clvi_sheet_fini(&metrics);
    clvi_sheet_fini(&signals);
    clvi_sheet_fini(&pairs);
    return status;
}

/* ---- A run that has ended ---- */

/* The numbers of summary.json by split, at the step of the best epoch. */
static clv_status add_figures(clvi_tensorboard *board, const clvi_run_view *view, clv_error *error)
{
    static const char *const splits[] = {"train", "val", "test"};
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        const char *key;
        json_t *value, *scores = json_object_get(view->record.summary, splits[i]);
        json_object_foreach(scores, key, value)
        {
            char tag[TAG_BYTES];
            snprintf(tag, sizeof tag, "best_%s/%s", key, splits[i]);
            if (json_is_number(value))
                CLV_TRY(
                    clvi_event_file_add_scalar(board->file, tag, json_number_value(value), error));
        }
    }
    return CLV_OK;
}

/* A cell's colour: white where no image of the class is taken for the other, dark where all are;
 * the root makes few visible. */
static void paint(clvi_image *image, int cell, int row, int column, double share)
{
    static const double full[3] = {8, 48, 107};
    for (int y = row * cell; y < (row + 1) * cell; y++)
        for (int x = column * cell; x < (column + 1) * cell; x++)
            for (int c = 0; c < 3; c++)
                image->pixels[(y * image->width + x) * 3 + c] =
                    (uint8_t)(255 - (255 - full[c]) * sqrt(share) + 0.5);
}

/* Appends a picture of the whole. */
static clv_status draw_matrix(const clvi_run_classes *classes, const clvi_run_confusions *all,
                              clvi_event_picture *out, int *side, clv_error *error)
{
    const int count = (int)classes->count, cell = count < MATRIX_SIDE ? MATRIX_SIDE / count : 1;
    *side = count * cell;
    const size_t bytes = (size_t)*side * (size_t)*side * 3;
    clvi_image image = {
        .height = *side, .width = *side, .channels = 3, .box = {0, 0, *side, *side}};
    image.pixels = clvi_malloc(bytes);
    if (image.pixels == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a matrix of %d classes", count);
    memset(image.pixels, 255, bytes);
    for (size_t i = 0; i < all->count; i++) {
        const clvi_run_confusion *x = &all->items[i];
        paint(&image, cell, (int)x->class, (int)x->taken_for,
              x->images / classes->images[x->class]);
    }
    uint8_t *png = NULL;
    const clv_status status = clvi_image_encode_png(&image, &png, &out->length, error);
    out->png = png;
    clvi_free(image.pixels);
    return status;
}

static clv_status add_confusion(clvi_tensorboard *board, const clvi_run_view *view,
                                clv_error *error)
{
    static const char about[] =
        "Rows: the images' classes. Columns: what they are taken for. Both from the first class "
        "on, in "
        "the order of per_class.csv; the darker, the larger the share of the row.";
    clvi_run_classes classes = {0};
    clvi_run_confusions all = {0};
    clvi_event_picture picture = {0};
    char tag[TAG_BYTES];
    int side = 0;
    CLV_TRY(clvi_run_classes_read(view, &classes, error));
    clv_status status = clvi_run_confusions_read(view, &classes, &all, error);
    if (status == CLV_OK && all.count > 0)
        status = draw_matrix(&classes, &all, &picture, &side, error);
    snprintf(tag, sizeof tag, "confusion/%s", clvi_run_view_split(view));
    if (status == CLV_OK && all.count > 0)
        status = clvi_event_file_add_pictures(board->file, tag, about, (const int[]){side, side},
                                              &picture, 1, error);
    clvi_free((uint8_t *)picture.png);
    clvi_run_confusions_fini(&all);
    clvi_run_classes_fini(&classes);
    return status;
}

/* Reads those pictures that can be read, and says of each what it was taken for. */
static clv_status read_pictures(const clvi_run_view *view, const clvi_mistakes *mistakes,
                                clvi_mistake_pictures *pictures, picture_set *out, clv_error *error)
{
    for (size_t i = 0; i < mistakes->count; i++) {
        const clvi_prediction *p = mistakes->worst[i];
        clvi_image image;
        uint8_t *png = NULL;
        bool read;
        CLV_TRY(clvi_mistake_pictures_read(pictures, i, &image, &read, error));
        if (!read)
            continue;
        CLV_TRY(clvi_image_encode_png(&image, &png, &out->items[out->count].length, error));
        out->items[out->count++].png = png;
        out->size[0] = image.height;
        out->size[1] = image.width;
        clvi_text_printf(&out->about, "%zu. %s, taken for %s\n", out->count,
                         clvi_mistake_class(view, p->label),
                         p->predicted >= 0 ? clvi_mistake_class(view, p->predicted) : "no class");
    }
    return CLV_OK;
}

static clv_status add_mistakes(clvi_tensorboard *board, const clvi_run_view *view,
                               clvi_dataset *data, clv_error *error)
{
    clvi_mistakes mistakes;
    clvi_mistake_pictures pictures;
    picture_set set = {0};
    char tag[TAG_BYTES];
    CLV_TRY(clvi_mistakes_find(view, &mistakes, error));
    CLV_TRY(clvi_mistake_pictures_open(view, &mistakes, data, &pictures, error));
    clv_status status = read_pictures(view, &mistakes, &pictures, &set, error);
    snprintf(tag, sizeof tag, "mistakes/%s", clvi_run_view_split(view));
    if (status == CLV_OK && set.about.failed)
        status =
            clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: mistakes of %s", view->run);
    if (status == CLV_OK && set.count > 0)
        status = clvi_event_file_add_pictures(board->file, tag, set.about.data, set.size, set.items,
                                              set.count, error);
    for (size_t i = 0; i < set.count; i++)
        clvi_free((uint8_t *)set.items[i].png);
    clvi_text_fini(&set.about);
    clvi_mistake_pictures_close(&pictures);
    return status;
}

static clv_status add_end(clvi_tensorboard *board, clvi_dataset *data, clv_error *error)
{
    clvi_run_view view;
    CLV_TRY(clvi_run_view_read(board->run, &view, error));
    clvi_sheet metrics = {0};
    clv_status status = CLV_OK;
    if (view.record.summary != NULL)
        status = clvi_sheet_read(board->run, CLVI_RUN_METRICS, &metrics, error);
    if (view.record.summary != NULL && status == CLV_OK) {
        at_epoch(board, &metrics, (double)view.record.best_epoch);
        status = add_figures(board, &view, error);
        if (status == CLV_OK)
            status = add_confusion(board, &view, error);
        if (status == CLV_OK)
            status = add_mistakes(board, &view, data, error);
    }
    clvi_sheet_fini(&metrics);
    clvi_run_view_fini(&view);
    return status;
}

clv_status clvi_tensorboard_finish(clvi_tensorboard *board, clvi_dataset *data, clv_error *error)
{
    CLV_TRY(clvi_tensorboard_update(board, error));
    CLV_TRY(add_end(board, data, error));
    return clvi_event_file_flush(board->file, error);
}

/* ---- Begin and end ---- */

/* When the run began, as far as its files say: its metrics were last written after all of its time.
 */
static double begin_of(const char *run, clv_error *error, clv_status *status)
{
    clvi_sheet metrics = {0};
    struct stat about;
    double seconds = 0;
    char *path = clvi_path_join(run, CLVI_RUN_METRICS);
    *status = clvi_sheet_read(run, CLVI_RUN_METRICS, &metrics, error);
    for (size_t i = 0; i < metrics.rows; i++) {
        const double took = clvi_sheet_real(&metrics, i, "seconds");
        seconds += isfinite(took) ? took : 0;
    }
    clvi_sheet_fini(&metrics);
    const double written = path != NULL && stat(path, &about) == 0 ? (double)about.st_mtime : 0;
    clvi_free(path);
    return written - seconds;
}

static clv_status add_config(clvi_tensorboard *board, clv_error *error)
{
    char *path = clvi_path_join(board->run, CLVI_RUN_CONFIG), *config = NULL;
    size_t bytes;
    clvi_text text = {0};
    if (path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the configuration of %s", board->run);
    clv_status status = clvi_file_read(path, 1 << 24, &config, &bytes, error);
    clvi_free(path);
    CLV_TRY(status);
    /* Markdown shows lines that begin with four spaces as they are. */
    for (const char *line = config; *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        clvi_text_printf(&text, "    %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    status = text.data == NULL ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE,
                                           "out of memory: the configuration of %s", board->run)
                               : clvi_event_file_add_text(board->file, "config", text.data, error);
    clvi_text_fini(&text);
    clvi_free(config);
    return status;
}

static clv_status begin(clvi_tensorboard *board, const char *run, clv_error *error)
{
    clv_status status = CLV_OK;
    board->run = clvi_strdup(run);
    char *folder = clvi_path_join(run, CLVI_RUN_TENSORBOARD);
    if (board->run == NULL || folder == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the events of %s", run);
    if (status == CLV_OK)
        board->begun = begin_of(run, error, &status);
    if (status == CLV_OK)
        status = clvi_event_file_create(folder, &board->file, error);
    clvi_free(folder);
    CLV_TRY(status);
    clvi_event_file_at(board->file, 0, board->begun);
    return add_config(board, error);
}

clv_status clvi_tensorboard_create(const char *run, clvi_tensorboard **out, clv_error *error)
{
    clvi_tensorboard *board = clvi_calloc(1, sizeof *board);
    if (board == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the events of %s", run);
    const clv_status status = begin(board, run, error);
    if (status != CLV_OK) {
        clvi_tensorboard_destroy(board);
        return status;
    }
    *out = board;
    return CLV_OK;
}

void clvi_tensorboard_destroy(clvi_tensorboard *board)
{
    if (board == NULL)
        return;
    (void)clvi_event_file_close(board->file, NULL);
    clvi_free(board->run);
    clvi_free(board);
}
