/* The names of a network's layers in weight files, as its plugin gives them. */
#ifndef CLVI_WEIGHT_NAMES_H
#define CLVI_WEIGHT_NAMES_H

#include "base/error.h"

#include <conclave/plugin.h>

/* Origins that the plugin knows; 0 also for one compiled before there were any. */
size_t clvi_weight_names_count(const clv_plugin *plugin);
/* Origin `index` and layer `index` of it, as this host knows the structs; texts are the plugin's.
 */
clv_weight_names clvi_weight_names_at(const clv_plugin *plugin, size_t index);
clv_layer_name clvi_weight_layer_at(const clv_weight_names *names, size_t index);
/* Our name of a layer in files of this origin; the same name where it is not in the list. */
const char *clvi_weight_layer_ours(const clv_weight_names *names, const char *theirs);
/* The other way round; the same name where it is not in the list. */
const char *clvi_weight_layer_theirs(const clv_weight_names *names, const char *ours);

/* What is wrong with the lists of a plugin; NULL: nothing. Static. */
const char *clvi_weight_names_fault(const clv_plugin *plugin);

#endif
