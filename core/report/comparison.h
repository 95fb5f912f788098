/* Several models beside each other: figures of their runs, tests against a reference, tables. */
#ifndef CLVI_COMPARISON_H
#define CLVI_COMPARISON_H

#include "report/run_record.h"
#include "report/statistics.h"
#include "report/table.h"

/* A run of a model, one per seed. */
typedef struct clvi_contest_run {
    int64_t seed;
    clvi_run_record record; /* path NULL: it did not end */
    char *fault;            /* then: why, a sentence */
} clvi_contest_run;

/* A model: a configuration, trained from one seed or several. */
typedef struct clvi_contestant {
    char *name;
    size_t experts;
    bool fixed; /* its one run is paired with every seed of the others */
    clvi_contest_run *runs;
    size_t run_count;
} clvi_contestant;
void clvi_contestant_fini(clvi_contestant *contestant);

/* A model beside the reference. */
typedef struct clvi_contest_test {
    size_t pairs;      /* seeds that both have */
    double difference; /* mean of accuracy(model) - accuracy(reference), paired; NAN: no pair */
    double low, high;  /* 95 % interval; NAN below three pairs */
    double p; /* Holm-corrected over the table: bootstrap; below three pairs McNemar's of the
               * first */
    char counts[256]; /* "12/30 (p 0.008)", for each pair: images only the model, only the reference
                       * is right about, and McNemar's p, not corrected */
    const char *verdict; /* "reference", "better", "worse", "not distinguishable", … */
    char fault[256];     /* why there is no pair; "" otherwise */
} clvi_contest_test;

typedef struct clvi_comparison {
    const char *title;   /* borrowed */
    const char *command; /* that makes it again; borrowed; NULL: not told */
    clvi_contestant *contestants;
    size_t count;
    /* Set by clvi_comparison_judge: */
    size_t reference;         /* index; count: no model has ended */
    clvi_contest_test *tests; /* [count] */
    /* Of the models that train, by their longest run: of the fastest and of the slowest one; NAN:
     * none has ended. */
    double equal_seconds, most_seconds;
    int64_t equal_epochs; /* fewest epochs of such a model; 0: none */
} clvi_comparison;

/* The model that --reference names: *index. Errors: CLV_E_USAGE with the nearest name. */
clv_status clvi_comparison_find(const clvi_comparison *comparison, const char *name, size_t *index,
                                clv_error *error) CLV_MUST_CHECK;
/* Computes what is not about one model alone. reference: a contestant's name, or NULL for the best
 * single model on validation (accuracy; of equal ones the lower NLL), or the best model where all
 * are mixtures. Errors: CLV_E_USAGE when no contestant has that name, or it has no run that ended;
 * CLV_E_MEMORY. clvi_comparison_fini frees the contestants too. */
clv_status clvi_comparison_judge(clvi_comparison *comparison, const char *reference,
                                 clv_error *error) CLV_MUST_CHECK;
void clvi_comparison_fini(clvi_comparison *comparison);

/* A figure of a run by the name that it has in CSV, such as "test_top1"; NAN where it is not known.
 * A name that is none is a programmer's error. */
double clvi_figure(const clvi_run_record *record, const char *name);
/* The usage of a mixture's experts on the judged images, from summary.json; NULL: not known. */
const json_t *clvi_usage_of(const clvi_run_record *record);
/* The names, in the order of CSV; NULL behind the last. */
const char *clvi_figure_name(size_t index);
/* Mean over the runs of a model that ended; NAN without any. */
double clvi_contestant_mean(const clvi_contestant *contestant, const char *figure);

/* Whether there are test images; otherwise validation's are judged. */
bool clvi_comparison_tested(const clvi_comparison *comparison);

/* Whether it is known how long a model was trained: not where experts are fused as they are that
 * came from files (`weights`) and not from runs (`init`). */
bool clvi_contestant_trains(const clvi_contestant *contestant);

/* The tables, in this order. */
enum { CLVI_COMPARISON_TABLES = 9 };
/* tables: [CLVI_COMPARISON_TABLES], each to be freed with clvi_report_table_fini. */
clv_status clvi_comparison_tables(const clvi_comparison *comparison, clvi_report_table *tables,
                                  clv_error *error) CLV_MUST_CHECK;

/* Append a CSV with a line per model (means over its runs), one with a line per run, the whole as
 * Markdown, and as one HTML page that needs nothing else. Shares are fractions in CSV. */
void clvi_comparison_csv(const clvi_comparison *comparison, clvi_text *out);
void clvi_comparison_runs_csv(const clvi_comparison *comparison, clvi_text *out);
clv_status clvi_comparison_markdown(const clvi_comparison *comparison, clvi_text *out,
                                    clv_error *error) CLV_MUST_CHECK;
clv_status clvi_comparison_html(const clvi_comparison *comparison, clvi_text *out,
                                clv_error *error) CLV_MUST_CHECK;

#endif
