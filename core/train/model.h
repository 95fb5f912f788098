/* A trained run, opened to be used: its configuration and classes, and, once it is put on a device,
 * a mixture in inference mode with the weights of a checkpoint. Needs no data set. */
#ifndef CLVI_MODEL_H
#define CLVI_MODEL_H

#include "mixture/mixture.h"
#include "train/checkpoint.h"
#include "train/predictions.h"

typedef struct clvi_model clvi_model;

typedef enum clvi_model_which { CLVI_MODEL_BEST, CLVI_MODEL_LAST } clvi_model_which;
/* "best", "last" */
const char *clvi_model_which_name(clvi_model_which which);

/* Opens a run's folder, of which `which` says the checkpoint, or the file of a checkpoint, or a
 * bundle. Reads configuration, classes and image size; no weights yet. Errors: CLV_E_IO,
 * CLV_E_FORMAT, and CLV_E_DATA for a run that has no such checkpoint (yet). The caller closes. */
clv_status clvi_model_open(const char *path, clvi_model_which which, clvi_model **out,
                           clv_error *error) CLV_MUST_CHECK;
void clvi_model_close(clvi_model *model); /* NULL allowed; frees the mixture too */

/* All live as long as the model. */
const char *clvi_model_path(const clvi_model *model); /* of the checkpoint */
/* As it was when trained. Changes to it have effect until clvi_model_load. */
clvi_config *clvi_model_config(clvi_model *model);
size_t clvi_model_class_count(const clvi_model *model);
const char *clvi_model_class_name(const clvi_model *model, size_t index);
void clvi_model_image(const clvi_model *model, int *height, int *width, int *channels);
/* By which to divide logits for calibrated probabilities: fitted on validation when the run ended.
 * 0: not known, as of a run that has not ended, of its last checkpoint, or of a checkpoint that was
 * moved away from its run; a bundle carries it. */
double clvi_model_temperature(const clvi_model *model);
/* What it said of the run's validation images when the run ended: predictions.csv, of which a
 * bundle has confidence and gate_entropy only. Empty where the temperature is not known, and where
 * the run has no such file. The caller frees *out. Errors: those of clvi_predictions_read. */
clv_status clvi_model_validation(const clvi_model *model, clvi_predictions *out,
                                 clv_error *error) CLV_MUST_CHECK;
int64_t clvi_model_epoch(const clvi_model *model); /* of the checkpoint, from 1 */
int64_t clvi_model_step(const clvi_model *model);  /* of the same; 0: not known, as of a bundle */

/* Writes the model as a bundle (bundle.h), whole or not at all, over a file that is there. With the
 * bundle everything goes as with the run, to the bit; plugins that the run names by their files are
 * named by their names. Errors: CLV_E_USAGE for a file of a plugin that is not called KIND_NAME.so;
 * CLV_E_IO, CLV_E_FORMAT, CLV_E_MEMORY. */
clv_status clvi_model_export(const clvi_model *model, const char *path,
                             clv_error *error) CLV_MUST_CHECK;

/* Where a model is to run. */
typedef struct clvi_model_place {
    clvi_device *device;
    clvi_plugins *plugins;
    int64_t max_batch;
    bool cold; /* compile nothing yet */
} clvi_model_place;

/* Builds the mixture, loads the weights and compiles its kernels. device and plugins must outlive
 * the model. Errors: those of the mixture; CLV_E_FORMAT naming a tensor that is missing or has
 * another shape. */
clv_status clvi_model_load(clvi_model *model, const clvi_model_place *place,
                           clv_error *error) CLV_MUST_CHECK;
/* Compiles what clvi_model_load left for a place that was `cold`. Errors: those of kernels. */
clv_status clvi_model_compile(clvi_model *model, clv_error *error) CLV_MUST_CHECK;
/* NULL before clvi_model_load, and of a draft. */
clvi_device *clvi_model_device(clvi_model *model);
/* In place of clvi_model_load: builds the networks without a device, to be looked at and not run
 * (clvi_mixture_draft). plugins must outlive the model. Errors: those of the mixture. */
clv_status clvi_model_draft(clvi_model *model, clvi_plugins *plugins,
                            clv_error *error) CLV_MUST_CHECK;
/* The values of a variable of the mixture, a segment of its store, from the checkpoint:
 * `elements` floats. Errors: CLV_E_FORMAT, CLV_E_IO. */
clv_status clvi_model_read(const clvi_model *model, size_t segment, float *out,
                           clv_error *error) CLV_MUST_CHECK;
/* NULL before clvi_model_load or clvi_model_draft. */
clvi_mixture *clvi_model_mixture(clvi_model *model);

#endif
