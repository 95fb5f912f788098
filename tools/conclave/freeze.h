/* Completing a configuration before it is trained. */
#ifndef CONCLAVE_FREEZE_H
#define CONCLAVE_FREEZE_H

#include "config/config.h"
#include "plugin/plugin_host.h"

/* Checks the options of every section that has a plugin, then writes the plugin's defaults of the
 * others into it, and the name of the run: a run must mean the same when a plugin has got other
 * defaults. Errors: those of finding plugins, CLV_E_CONFIG. */
clv_status cli_freeze_config(clvi_config *config, clvi_plugins *plugins,
                             clv_error *error) CLV_MUST_CHECK;

#endif
