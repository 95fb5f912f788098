/* Figures of a classifier on a labelled set, from its logits: accuracy, likelihood, calibration,
 * confusion. On the host, in double precision. */
#ifndef CLVI_SCORES_H
#define CLVI_SCORES_H

#include "base/memory.h"

typedef struct clvi_scores clvi_scores;

clv_status clvi_scores_create(int classes, clvi_scores **out, clv_error *error) CLV_MUST_CHECK;
void clvi_scores_destroy(clvi_scores *scores); /* NULL allowed */
/* From now on the calibrated figures are those of logits divided by `temperature` (> 0; at first
 * 1). All other figures are of the logits as they are. */
void clvi_scores_calibrate(clvi_scores *scores, double temperature);
/* Adds n samples: logits [n, classes], labels [n]. A sample with a logit that is not finite counts
 * as wrong and in not_finite. */
void clvi_scores_add(clvi_scores *scores, const float *logits, const int32_t *labels, size_t n);

typedef struct clvi_score_summary {
    int64_t count, not_finite;
    double top1, top1_low, top1_high; /* fraction; Wilson's 95 % interval (Wilson 1927) */
    double top5;                      /* fraction; NaN where there are at most 5 classes */
    double nll;                       /* mean negative log-likelihood, nats */
    double brier;                     /* mean over samples of the squared error of probabilities */
    /* Expected calibration error, 15 equal bins (Guo et al. 2017); as brier NAN where no sample has
     * finite logits. */
    double ece;
    double nll_calibrated, ece_calibrated; /* the same of logits divided by the temperature */
    double precision, recall, f1; /* macro means over classes that occur or are predicted */
} clvi_score_summary;
void clvi_scores_summary(const clvi_scores *scores, clvi_score_summary *out);

/* Per class: samples, predicted as it, both; 0 where nothing is known. */
typedef struct clvi_class_score {
    int64_t count, predicted, correct;
    double precision, recall, f1; /* 0 where undefined */
} clvi_class_score;
void clvi_scores_class(const clvi_scores *scores, int label, clvi_class_score *out);
/* Samples of class `label` that were taken for `predicted`. */
int64_t clvi_scores_confusion(const clvi_scores *scores, int label, int predicted);

/* The class with the largest logit, the lowest of equal ones; -1 where one of them is not finite.
 */
int clvi_best_class(const float *logits, int classes);
/* The `count` most probable classes by one row, [classes], of which there are as many at least, the
 * most probable first, of equal ones the lowest. */
void clvi_top_classes(const double *probabilities, size_t classes, size_t count, size_t *out);
/* Log-probability, in nats, of class `label` by one row of logits, [classes]; NAN where one of them
 * is not finite. */
double clvi_log_probability(const float *logits, int classes, int label);
/* Probability of the class with the largest of one row of logits, [classes], divided by
 * `temperature`; NAN where one of them is not finite. */
double clvi_confidence(const float *logits, int classes, double temperature);
/* Wilson's score interval, of 95 %, of `correct` of `count` > 0. */
void clvi_wilson(int64_t correct, int64_t count, double *low, double *high);
/* Probabilities of one row of logits, [classes], divided by `temperature`, by a stable softmax. */
void clvi_softmax_row(const float *logits, int classes, double temperature, double *out);

#endif
