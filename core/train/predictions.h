/* What a run made of every validation and test image: predictions.csv, by which runs are compared
 * image by image. */
#ifndef CLVI_PREDICTIONS_H
#define CLVI_PREDICTIONS_H

#include "data/dataset.h"

/* One image. */
typedef struct clvi_prediction {
    const char *image;      /* "train/ka/1.png"; of several sources "source:train/ka/1.png" */
    int32_t label;          /* class index, in the order of per_class.csv */
    int32_t predicted;      /* class index; -1 where a logit is not finite */
    double log_probability; /* of the label, nats, not calibrated; NAN where it is not finite */
    double confidence;      /* calibrated probability of `predicted`; NAN as above or not known */
    double gate_entropy;    /* over ln K; NAN: no gate, nobody was asked, or not known */
} clvi_prediction;

/* Predictions for the images of one split, in its order. */
typedef struct clvi_predictions {
    clvi_prediction *items;
    size_t count, capacity;
    clvi_arena *names; /* NULL: `image` of the items is borrowed from a data set */
    char *text;        /* or from here */
} clvi_predictions;
void clvi_predictions_fini(clvi_predictions *predictions);

/* Adds the images of a batch of `split`: logits [batch->count, classes]. Names are borrowed from
 * the data set or kept; confidence and gate_entropy are not known yet. Errors: CLV_E_MEMORY. */
clv_status clvi_predictions_add(clvi_predictions *to, const clvi_dataset *data, clvi_split split,
                                const clvi_batch *batch, const float *logits,
                                clv_error *error) CLV_MUST_CHECK;

/* Fills the confidence of the images from `first` on: logits [the rest, classes]. */
void clvi_predictions_calibrate(clvi_predictions *predictions, size_t first, const float *logits,
                                int classes, double temperature);

/* Whether predictions of a run on `data` call the sample `image`. */
bool clvi_prediction_is_of(const char *image, const clvi_dataset *data, const clvi_sample *sample);

/* Appends the lines of one split to a text that will be the file: split, image, label, predicted,
 * log_probability, confidence, gate_entropy. The header comes first where the text is empty. */
void clvi_predictions_append(const clvi_predictions *from, clvi_split split, clvi_text *text);

/* Reads the lines of one split from predictions.csv, of an older build too, which has no confidence
 * and entropy. The caller frees with clvi_predictions_fini.
 * Errors: CLV_E_IO, CLV_E_FORMAT naming file and line, CLV_E_MEMORY. */
clv_status clvi_predictions_read(const char *path, clvi_split split, clvi_predictions *out,
                                 clv_error *error) CLV_MUST_CHECK;

#endif
