/* The classes of a run: a row for each, and which are taken for which. See run_view.h. */
#include "report/heat_map.h"
#include "report/run_confusions.h"

#include <math.h>
#include <stdlib.h>

/* Of more classes no matrix is shown; and so many of the largest confusions. */
enum { MOST_IN_MATRIX = 60, CONFUSIONS = 25 };

static int by_images(const void *a, const void *b)
{
    const clvi_run_confusion *x = a, *y = b;
    if (x->images != y->images)
        return x->images < y->images ? 1 : -1;
    return x->class != y->class ? (x->class < y->class ? -1 : 1)
                                : (x->taken_for > y->taken_for) - (x->taken_for < y->taken_for);
}

/* What a class is most often taken for, itself apart; NULL: nothing else. */
static const clvi_run_confusion *worst_of(const clvi_run_confusions *all, size_t class)
{
    const clvi_run_confusion *worst = NULL;
    for (size_t i = 0; i < all->count; i++) {
        const clvi_run_confusion *x = &all->items[i];
        if (x->class == class && x->taken_for != class && (!worst || x->images > worst->images))
            worst = x;
    }
    return worst;
}

/* Sorts the confusions: what is by class comes before. */
static clv_status show_largest(const clvi_run_classes *c, clvi_run_confusions *all, clvi_page *page,
                               clv_error *error)
{
    static const clvi_report_column columns[] = {{"class", false, false},
                                                 {"taken for", false, false},
                                                 {"images", true, false},
                                                 {"of the class", true, false}};
    clvi_report_table t;
    size_t shown = 0, left = 0;
    CLV_TRY(clvi_report_table_init(&t, "The largest confusions", columns, 4, error));
    t.sortable = true;
    qsort(all->items, all->count, sizeof *all->items, by_images);
    for (size_t i = 0; i < all->count; i++) {
        const clvi_run_confusion *x = &all->items[i];
        if (x->class == x->taken_for)
            continue;
        if (shown++ >= CONFUSIONS) {
            left++;
            continue;
        }
        clvi_report_cell(&t, "%s", c->names[x->class]);
        clvi_report_cell(&t, "%s", c->names[x->taken_for]);
        clvi_report_count(&t, x->images);
        clvi_report_percent(&t, x->images / c->images[x->class]);
    }
    if (shown == 0)
        clvi_page_note(page, "No image is taken for another class.");
    if (left > 0)
        t.note =
            clvi_arena_printf(t.arena, "%zu more pairs of classes are confused less often.", left);
    t.failed = t.failed || (left > 0 && !t.note);
    clvi_page_table(page, &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

static clv_status show_matrix(const clvi_run_classes *c, const clvi_run_confusions *all,
                              clvi_page *page, clv_error *error)
{
    double *values = clvi_calloc(c->count * c->count + 1, sizeof *values), most = 0;
    if (!values)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for a matrix of %zu classes", c->count);
    for (size_t i = 0; i < all->count; i++) {
        const clvi_run_confusion *x = &all->items[i];
        const double share = x->images / c->images[x->class];
        values[x->class * c->count + x->taken_for] = share;
        if (x->class != x->taken_for && share > most)
            most = share;
    }
    const clvi_heat_map map = {.corner = "class",
                               .row_names = c->names,
                               .values = values,
                               .rows = c->count,
                               .columns = c->count,
                               .most = most,
                               .form = CLVI_HEAT_SMALL};
    clvi_page_heading(page, "Confusion matrix");
    clvi_heat_map_html(&map, &page->body);
    clvi_free(values);
    clvi_text note = {0};
    clvi_text_printf(
        &note,
        "A row per class, a column per answer. Grey: right. Orange: wrong, full colour "
        "at %.1f %% of the class, the largest confusion.",
        100 * most);
    clvi_page_note(page, clvi_text_get(&note));
    clvi_text_fini(&note);
    return CLV_OK;
}

/* ---- A row for each class ---- */

static clv_status show_rows(const clvi_run_view *v, const clvi_run_classes *c,
                            const clvi_run_confusions *all, clvi_page *page, clv_error *error)
{
    static const clvi_report_column columns[] = {{"class", false, false},
                                                 {"images", true, false},
                                                 {"right", true, false},
                                                 {"recall", true, false},
                                                 {"precision", true, false},
                                                 {"F1", true, false},
                                                 {"most often taken for", false, false},
                                                 {"times", true, false}};
    const clvi_sheet *s = &v->classes;
    clvi_report_table t;
    CLV_TRY(clvi_report_table_init(&t, NULL, columns, sizeof columns / sizeof *columns, error));
    t.sortable = true;
    for (size_t i = 0, class = 0; i < s->rows; i++) {
        if (!clvi_sheet_is(s, i, "split", clvi_run_view_split(v)))
            continue;
        const clvi_run_confusion *worst = worst_of(all, class ++);
        clvi_report_cell(&t, "%s", clvi_sheet_text(s, i, "class"));
        clvi_report_count(&t, clvi_sheet_real(s, i, "images"));
        clvi_report_count(&t, clvi_sheet_real(s, i, "correct"));
        clvi_report_percent(&t, clvi_sheet_real(s, i, "recall"));
        clvi_report_percent(&t, clvi_sheet_real(s, i, "precision"));
        clvi_report_figure(&t, clvi_sheet_real(s, i, "f1"));
        clvi_report_cell(&t, "%s", worst ? c->names[worst->taken_for] : "–");
        clvi_report_count(&t, worst ? worst->images : NAN);
    }
    clvi_page_table(page, &t);
    clvi_report_table_fini(&t);
    return CLV_OK;
}

clv_status clvi_run_show_classes(const clvi_run_view *v, clvi_page *page, clv_error *error)
{
    clvi_run_classes c = {0};
    clvi_run_confusions all = {0};
    CLV_TRY(clvi_run_classes_read(v, &c, error));
    clv_status status = CLV_OK;
    if (c.count > 0) {
        clvi_page_section(page, "Classes");
        status = clvi_run_confusions_read(v, &c, &all, error);
        if (status == CLV_OK)
            status = show_rows(v, &c, &all, page, error);
        if (status == CLV_OK && c.count <= MOST_IN_MATRIX && all.count > 0)
            status = show_matrix(&c, &all, page, error);
        if (status == CLV_OK && all.count > 0)
            status = show_largest(&c, &all, page, error);
    }
    clvi_run_confusions_fini(&all);
    clvi_run_classes_fini(&c);
    return status;
}
