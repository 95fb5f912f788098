/* Which expert of a trained run another one starts from, and whether it can: [expert.X] init. The
 * weights come over in mixture/initial_weights.h. */
#ifndef CLVI_INITIAL_RUN_H
#define CLVI_INITIAL_RUN_H

#include "config/config.h"
#include "data/dataset.h"
#include "plugin/plugin_host.h"
#include "train/checkpoint.h"

/* An expert of another configuration. */
typedef struct clvi_initial_expert {
    const clvi_config *config;
    const char *source; /* what it is called in messages: a file, a configuration's name */
    size_t index;
} clvi_initial_expert;

/* Finds the expert of from->config that `section` starts from: the one called `name` where that is
 * not NULL, else the one of the same name, within its mixture also, else the only one. Errors:
 * CLV_E_CONFIG "path:line: [expert.X] init: …" saying which there are and how to name one. */
clv_status clvi_initial_expert_pick(const clvi_config *config, const char *section,
                                    const char *name, clvi_initial_expert *from,
                                    clv_error *error) CLV_MUST_CHECK;

/* Whether both experts are the same network on the same pixels: plugin, the plugin's options,
 * size of the images, and preprocess where `section` gives one. Errors: CLV_E_CONFIG "path:line:
 * [expert.X] init: …" naming what differs, with both values; CLV_E_MEMORY. */
clv_status clvi_initial_expert_match(const clvi_config *config, const char *section,
                                     const clvi_initial_expert *from, clvi_plugins *plugins,
                                     clv_error *error) CLV_MUST_CHECK;

/* Opens a checkpoint and the configuration in it, both for the caller to free. Errors: those of
 * clvi_checkpoint_open and of configurations. */
clv_status clvi_initial_run_open(const char *path, clvi_checkpoint **out, clvi_config **theirs,
                                 clv_error *error) CLV_MUST_CHECK;

/* Checks every expert whose `init` names a checkpoint: the expert there, the classes by name and
 * order, channels, and all of clvi_initial_expert_match. Other images or another split is a
 * warning. all: an `init` that is not settled yet is an error, otherwise it is passed over. Errors:
 * CLV_E_CONFIG naming both; those of the files. */
clv_status clvi_initial_run_check(const clvi_config *config, clvi_plugins *plugins,
                                  const clvi_dataset *data, bool all,
                                  clv_error *error) CLV_MUST_CHECK;

#endif
