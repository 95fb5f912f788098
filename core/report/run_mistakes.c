/* See run_mistakes.h. */
#include "report/run_mistakes.h"

#include <math.h>
#include <stdlib.h>

/* Pictures on the page, and their longer side at most; smaller ones are shown in their pixels. */
enum { MISTAKES = 24, MOST_SIDE = 112, TINY_SIDE = 64 };

typedef struct mistakes {
    const clvi_prediction *worst[MISTAKES];
    size_t count, all;
} mistakes;

static int by_probability(const void *a, const void *b)
{
    const clvi_prediction *const *x = a, *const *y = b;
    const double p = (*x)->log_probability, q = (*y)->log_probability;
    if (isfinite(p) != isfinite(q))
        return isfinite(p) ? 1 : -1;
    if (isfinite(p) && p != q)
        return p < q ? -1 : 1;
    return strcmp((*x)->image, (*y)->image);
}

static clv_status find_worst(const clvi_run_view *v, mistakes *out, clv_error *error)
{
    const clvi_predictions *p = &v->record.predictions;
    const clvi_prediction **wrong = clvi_calloc(p->count + 1, sizeof *wrong);
    *out = (mistakes){0};
    if (!wrong)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the mistakes of %s", v->run);
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].predicted != p->items[i].label)
            wrong[out->all++] = &p->items[i];
    qsort(wrong, out->all, sizeof *wrong, by_probability);
    for (; out->count < out->all && out->count < MISTAKES; out->count++)
        out->worst[out->count] = wrong[out->count];
    clvi_free(wrong);
    return CLV_OK;
}

/* Name of a class by its index among the judged split's rows. */
static const char *class_name(const clvi_run_view *v, int32_t index)
{
    for (size_t i = 0; i < v->classes.rows; i++)
        if (clvi_sheet_is(&v->classes, i, "split", clvi_run_view_split(v)) && index-- == 0)
            return clvi_sheet_text(&v->classes, i, "class");
    return "no class";
}

/* ---- Pictures ---- */

/* index[i] of worst[i] in the split, or UINT32_MAX. */
static void find_samples(const mistakes *m, const clvi_dataset *data, clvi_split split,
                         uint32_t *index)
{
    for (size_t i = 0; i < m->count; i++)
        index[i] = UINT32_MAX;
    for (size_t k = 0; k < clvi_dataset_count(data, split); k++)
        for (size_t i = 0; i < m->count; i++)
            if (clvi_prediction_is_of(m->worst[i]->image, data,
                                      clvi_dataset_sample(data, split, k)))
                index[i] = (uint32_t)k;
}

/* Appends it, not larger than it is shown, as a data URI. */
static clv_status append_picture(clvi_image image, const char *name, clvi_text *out,
                                 clv_error *error)
{
    uint8_t *bytes, *small = NULL;
    size_t length;
    const int side = image.height > image.width ? image.height : image.width;
    if (side > MOST_SIDE) {
        clvi_image less = image;
        less.height = image.height * MOST_SIDE / side > 0 ? image.height * MOST_SIDE / side : 1;
        less.width = image.width * MOST_SIDE / side > 0 ? image.width * MOST_SIDE / side : 1;
        small = clvi_malloc((size_t)less.height * (size_t)less.width * (size_t)less.channels);
        if (!small)
            CLV_FAIL(error, CLV_E_MEMORY, "no memory for the picture of %s", name);
        less.pixels = small;
        const clv_status status = clvi_image_resize(&image, less.height, less.width, small, error);
        if (status != CLV_OK) {
            clvi_free(small);
            return status;
        }
        image = less;
    }
    const clv_status status = clvi_image_encode_png(&image, &bytes, &length, error);
    clvi_free(small);
    CLV_TRY(status);
    clvi_text_printf(out, "<img%s alt=\"", side <= TINY_SIDE ? " class=\"tiny\"" : "");
    clvi_report_escape(out, name);
    clvi_text_append(out, "\" src=\"data:image/png;base64,");
    clvi_text_append_base64(out, bytes, length);
    clvi_text_append(out, "\"/>");
    clvi_free(bytes);
    return CLV_OK;
}

/* The pixels that the network sees. *read: whether there are any; an image that cannot be read is
 * no error. */
static clv_status add_picture(clvi_dataset *data, clvi_loader *loader, uint32_t index,
                              const char *name, clvi_page *page, bool *read, clv_error *error)
{
    clv_error none = CLV_ERROR_INIT;
    clvi_batch batch = {0};
    *read = false;
    if (!loader || index == UINT32_MAX)
        return CLV_OK;
    CLV_TRY(clvi_loader_start(loader, &index, 1, error));
    const clv_status status = clvi_loader_next(loader, &batch, &none);
    if (status == CLV_E_MEMORY)
        CLV_FAIL(error, status, "%s", none.message);
    if (status != CLV_OK || batch.count == 0)
        return CLV_OK;
    int height, width;
    clvi_dataset_size(data, &height, &width);
    const clvi_image image = {.pixels = (uint8_t *)batch.pixels,
                              .height = height,
                              .width = width,
                              .channels = clvi_dataset_channels(data),
                              .box = {0, 0, height, width}};
    *read = true;
    return append_picture(image, name, &page->body, error);
}

/* ---- The section ---- */

static void append_caption(const clvi_run_view *v, const clvi_prediction *p, clvi_text *out)
{
    clvi_text_append(out, "<figcaption>");
    clvi_report_escape(out, class_name(v, p->label));
    clvi_text_append(out, "<br/><small>taken for</small> ");
    clvi_report_escape(out, p->predicted >= 0 ? class_name(v, p->predicted) : "no class");
    if (isfinite(p->log_probability))
        clvi_text_printf(out, "<br/><small>own class %.2g %%", 100 * exp(p->log_probability));
    else
        clvi_text_append(out, "<br/><small>not finite");
    clvi_text_append(out, "</small></figcaption>");
}

static clv_status show_figures(const clvi_run_view *v, const mistakes *m, clvi_dataset *data,
                               clvi_page *page, size_t *unread, clv_error *error)
{
    uint32_t index[MISTAKES];
    clvi_loader *loader = NULL;
    clv_status status = CLV_OK;
    if (data && clvi_dataset_count(data, v->record.judged) > 0) {
        find_samples(m, data, v->record.judged, index);
        status = clvi_loader_create(data, v->record.judged, 1, &loader, error);
    }
    clvi_text_append(&page->body, "<div class=\"mistakes\">\n");
    for (size_t i = 0; i < m->count && status == CLV_OK; i++) {
        bool read = false;
        clvi_text_append(&page->body, "<figure>");
        status = add_picture(data, loader, loader ? index[i] : UINT32_MAX, m->worst[i]->image, page,
                             &read, error);
        *unread += !read;
        append_caption(v, m->worst[i], &page->body);
        clvi_text_append(&page->body, "</figure>\n");
    }
    clvi_text_append(&page->body, "</div>\n");
    clvi_loader_destroy(loader);
    return status;
}

static clv_status list(const clvi_run_view *v, const mistakes *m, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {{"image", false, false},
                                                 {"class", false, false},
                                                 {"taken for", false, false},
                                                 {"own class", true, false}};
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, 4, error));
    t.sortable = true;
    for (size_t i = 0; i < m->count; i++) {
        const clvi_prediction *p = m->worst[i];
        clvi_report_cell(&t, "%s", p->image);
        clvi_report_cell(&t, "%s", class_name(v, p->label));
        clvi_report_cell(&t, "%s", p->predicted >= 0 ? class_name(v, p->predicted) : "no class");
        if (isfinite(p->log_probability))
            clvi_report_cell(&t, "%.2g %%", 100 * exp(p->log_probability));
        else
            clvi_report_cell(&t, "–");
    }
    clvi_page_details(page, "The images as a table", &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

clv_status clvi_run_show_mistakes(const clvi_run_view *v, const clvi_run_page_desc *desc,
                                  clvi_page *page, clv_error *error)
{
    mistakes m;
    size_t unread = 0;
    if (v->record.predictions.count == 0)
        return CLV_OK;
    CLV_TRY(find_worst(v, &m, error));
    clvi_page_section(page, "Worst mistakes");
    clvi_text note = {0};
    clvi_text_printf(&note,
                     "%zu of %zu %s images are taken for another class; these are the ones whose "
                     "own class gets the least probability.",
                     m.all, v->record.predictions.count, clvi_run_view_split(v));
    clvi_page_note(page, m.all > 0 ? clvi_text_get(&note) : "No image is taken for another class.");
    clvi_text_fini(&note);
    if (m.all == 0)
        return CLV_OK;
    CLV_TRY(show_figures(v, &m, desc->data, page, &unread, error));
    if (unread > 0) {
        clvi_text_printf(&note, "%zu %s without a picture: %s.", unread,
                         unread == 1 ? "stands" : "stand",
                         desc->no_data ? desc->no_data : "it is not among the images any more");
        clvi_page_note(page, clvi_text_get(&note));
        clvi_text_fini(&note);
    }
    return list(v, &m, page, error);
}
