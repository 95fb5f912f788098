/* See run_mistakes.h. */
#include "report/run_mistakes.h"
#include "report/mistakes.h"

#include <math.h>

/* The longer side of a picture on the page at most; smaller ones are shown in their pixels. */
enum { MOST_SIDE = 112, TINY_SIDE = 64 };

/* ---- Pictures ---- */

/* Not larger than it is shown. */
static clv_status append_picture(clvi_image image, const char *name, clvi_page *page,
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
    const clvi_page_picture picture = {.png = bytes, .length = length, .tiny = side <= TINY_SIDE};
    clvi_page_image(page, &picture, name);
    clvi_free(bytes);
    return CLV_OK;
}

/* *read: whether there are pixels; an image that cannot be read is no error. */
static clv_status add_picture(clvi_mistake_pictures *pictures, const clvi_mistakes *m, size_t i,
                              clvi_page *page, bool *read, clv_error *error)
{
    clvi_image image;
    CLV_TRY(clvi_mistake_pictures_read(pictures, i, &image, read, error));
    return *read ? append_picture(image, m->worst[i]->image, page, error) : CLV_OK;
}

/* ---- The section ---- */

static void append_caption(const clvi_run_view *v, const clvi_prediction *p, clvi_text *out)
{
    clvi_text_append(out, "<figcaption>");
    clvi_report_escape(out, clvi_mistake_class(v, p->label));
    clvi_text_append(out, "<br/><small>taken for</small> ");
    clvi_report_escape(out, p->predicted >= 0 ? clvi_mistake_class(v, p->predicted) : "no class");
    if (isfinite(p->log_probability))
        clvi_text_printf(out, "<br/><small>own class %.2g %%", 100 * exp(p->log_probability));
    else
        clvi_text_append(out, "<br/><small>not finite");
    clvi_text_append(out, "</small></figcaption>");
}

static clv_status show_figures(const clvi_run_view *v, const clvi_mistakes *m, clvi_dataset *data,
                               clvi_page *page, size_t *unread, clv_error *error)
{
    clvi_mistake_pictures pictures;
    CLV_TRY(clvi_mistake_pictures_open(v, m, data, &pictures, error));
    clv_status status = CLV_OK;
    clvi_text_append(&page->body, "<div class=\"mistakes\">\n");
    for (size_t i = 0; i < m->count && status == CLV_OK; i++) {
        bool read = false;
        clvi_text_append(&page->body, "<figure>");
        status = add_picture(&pictures, m, i, page, &read, error);
        *unread += !read;
        append_caption(v, m->worst[i], &page->body);
        clvi_text_append(&page->body, "</figure>\n");
    }
    clvi_text_append(&page->body, "</div>\n");
    clvi_mistake_pictures_close(&pictures);
    return status;
}

static clv_status list(const clvi_run_view *v, const clvi_mistakes *m, clvi_page *page,
                       clv_error *error)
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
        clvi_report_cell(&t, "%s", clvi_mistake_class(v, p->label));
        clvi_report_cell(&t, "%s",
                         p->predicted >= 0 ? clvi_mistake_class(v, p->predicted) : "no class");
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
    clvi_mistakes m;
    size_t unread = 0;
    if (v->record.predictions.count == 0)
        return CLV_OK;
    CLV_TRY(clvi_mistakes_find(v, &m, error));
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
