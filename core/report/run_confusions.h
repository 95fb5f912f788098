/* The classes of a run's judged images, and which are taken for which. */
#ifndef CLVI_RUN_CONFUSIONS_H
#define CLVI_RUN_CONFUSIONS_H

#include "report/run_view.h"

typedef struct clvi_run_classes {
    const char **names; /* [count], in the view */
    double *images;     /* [count] of the class */
    size_t count;
} clvi_run_classes;

/* The rows of per_class.csv of the judged split, in their order. The caller frees with
 * clvi_run_classes_fini; the view outlives them. Errors: CLV_E_MEMORY. */
clv_status clvi_run_classes_read(const clvi_run_view *view, clvi_run_classes *out,
                                 clv_error *error) CLV_MUST_CHECK;
void clvi_run_classes_fini(clvi_run_classes *classes);

typedef struct clvi_run_confusion {
    size_t class, taken_for; /* indices of classes */
    double images;
} clvi_run_confusion;

typedef struct clvi_run_confusions {
    clvi_run_confusion *items; /* by class, the right ones too */
    size_t count;
} clvi_run_confusions;

/* Those of the judged split between known classes. The caller frees with clvi_run_confusions_fini.
 * Errors: CLV_E_MEMORY. */
clv_status clvi_run_confusions_read(const clvi_run_view *view, const clvi_run_classes *classes,
                                    clvi_run_confusions *out, clv_error *error) CLV_MUST_CHECK;
void clvi_run_confusions_fini(clvi_run_confusions *confusions);

#endif
