/* See run_confusions.h. */
#include "report/run_confusions.h"

#include <math.h>

void clvi_run_classes_fini(clvi_run_classes *c)
{
    clvi_free(c->names);
    clvi_free(c->images);
}

clv_status clvi_run_classes_read(const clvi_run_view *v, clvi_run_classes *out, clv_error *error)
{
    clvi_run_classes c = {.names = clvi_calloc(v->classes.rows + 1, sizeof *c.names),
                          .images = clvi_calloc(v->classes.rows + 1, sizeof *c.images)};
    if (!c.names || !c.images) {
        clvi_run_classes_fini(&c);
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the classes of %s", v->run);
    }
    for (size_t i = 0; i < v->classes.rows; i++)
        if (clvi_sheet_is(&v->classes, i, "split", clvi_run_view_split(v))) {
            c.names[c.count] = clvi_sheet_text(&v->classes, i, "class");
            c.images[c.count++] = clvi_sheet_real(&v->classes, i, "images");
        }
    *out = c;
    return CLV_OK;
}

/* Index of a class, tried from `from` on, as lines go on with the same class or the next; `count`
 * where there is none. */
static size_t index_of(const clvi_run_classes *c, const char *name, size_t from)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->names[(from + i) % c->count], name) == 0)
            return (from + i) % c->count;
    return c->count;
}

clv_status clvi_run_confusions_read(const clvi_run_view *v, const clvi_run_classes *c,
                                    clvi_run_confusions *out, clv_error *error)
{
    clvi_run_confusions all = {.items = clvi_calloc(v->confusion.rows + 1, sizeof *all.items)};
    if (!all.items)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the confusions of %s", v->run);
    size_t class = 0, taken_for = 0;
    for (size_t i = 0; i < v->confusion.rows; i++) {
        if (!clvi_sheet_is(&v->confusion, i, "split", clvi_run_view_split(v)))
            continue;
        class = index_of(c, clvi_sheet_text(&v->confusion, i, "class"), class % (c->count + 1));
        taken_for =
            index_of(c, clvi_sheet_text(&v->confusion, i, "predicted"), taken_for % (c->count + 1));
        const double images = clvi_sheet_real(&v->confusion, i, "images");
        if (class < c->count && taken_for < c->count && isfinite(images))
            all.items[all.count++] = (clvi_run_confusion){class, taken_for, images};
    }
    *out = all;
    return CLV_OK;
}

void clvi_run_confusions_fini(clvi_run_confusions *all)
{
    clvi_free(all->items);
}
