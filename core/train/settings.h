/* What the sections of a configuration say, as the numbers and choices that training takes. */
#ifndef CLVI_SETTINGS_H
#define CLVI_SETTINGS_H

#include "config/config.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* How [data] opens a data set. The strings live as long as the configuration. */
clvi_data_options clvi_train_data_options(const clvi_config *config);
/* *out: whether the configuration says where its images are, in data.path or in every [data.NAME].
 * Errors: CLV_E_USAGE with the key that lacks a path, where images are `required`, or some sources
 * have a path and others none. */
clv_status clvi_train_has_images(const clvi_config *config, bool required, bool *out,
                                 clv_error *error) CLV_MUST_CHECK;
clvi_sampler clvi_settings_sampler(const clvi_config *config);

/* What [device] says but for select. */
clvi_device_options clvi_train_device_options(const clvi_config *config);

/* [optimizer], without multipliers. Errors: CLV_E_CONFIG for keys that do not go together. */
clv_status clvi_settings_optimizer(const clvi_config *config, clvi_optimizer_desc *out,
                                   clv_error *error) CLV_MUST_CHECK;
/* What the store keeps in a training by this configuration: for clvi_mixture_desc.store_kinds. */
uint32_t clvi_settings_store_kinds(const clvi_config *config);

/* [schedule] for a training of train.epochs epochs. Borrows the milestones from the configuration.
 * Errors: CLV_E_CONFIG. */
clv_status clvi_settings_schedule(const clvi_config *config, int64_t steps_per_epoch,
                                  clvi_schedule *out, clv_error *error) CLV_MUST_CHECK;

/* When the best epoch was long ago: by train.patience, and by schedule.patience (0 where the kind
 * is not plateau). */
clvi_early_stop_rule clvi_settings_stop_rule(const clvi_config *config);
clvi_early_stop_rule clvi_settings_plateau_rule(const clvi_config *config);

#endif
