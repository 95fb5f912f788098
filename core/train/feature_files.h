/* train.feature_folder: files of what whole experts make of a data set, one for each expert and
 * block, named by all that decides what is in it: the expert's network and weights, the plugin's
 * file, the pixels that it sees, the images, the batches and the device. Trainings that fuse the
 * same experts share them. */
#ifndef CLVI_FEATURE_FILES_H
#define CLVI_FEATURE_FILES_H

#include "data/dataset.h"
#include "mixture/mixture.h"

typedef struct clvi_feature_files clvi_feature_files;

/* Names the files of a mixture that keeps whole experts, with the variables that it has now, when
 * they are computed in batches of `batch`. Makes the folder train.feature_folder, and removes from
 * it what killed processes left half written. Errors: those of device and folder. The caller
 * destroys.
 */
clv_status clvi_feature_files_create(const clvi_config *config, clvi_mixture *mixture,
                                     const clvi_dataset *data, int64_t batch,
                                     clvi_feature_files **out, clv_error *error) CLV_MUST_CHECK;
void clvi_feature_files_destroy(clvi_feature_files *files); /* NULL allowed; drops what is begun */

/* Whether the file of an expert and block is there. One that is damaged is told and is not. */
bool clvi_feature_files_have(const clvi_feature_files *files, size_t expert, size_t block);
/* Reads the rows of a split, [images, width], to row r at out + r * stride. Errors: those of the
 * file. */
clv_status clvi_feature_files_read(const clvi_feature_files *files, size_t expert, size_t block,
                                   clvi_split split, float *out, size_t stride,
                                   clv_error *error) CLV_MUST_CHECK;

/* Begins the file. Then all rows come, in the order of splits and images, n at a time, row r at
 * from + r * stride; commit makes every file that was begun visible. Errors: CLV_E_IO. */
clv_status clvi_feature_files_begin(clvi_feature_files *files, size_t expert, size_t block,
                                    clv_error *error) CLV_MUST_CHECK;
clv_status clvi_feature_files_add(clvi_feature_files *files, size_t expert, size_t block,
                                  const float *from, size_t n, size_t stride,
                                  clv_error *error) CLV_MUST_CHECK;
clv_status clvi_feature_files_commit(clvi_feature_files *files, clv_error *error) CLV_MUST_CHECK;

#endif
