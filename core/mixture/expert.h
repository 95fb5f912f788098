/* One expert of a configuration: the graph that its plugin builds, and what it wants to be given.
 */
#ifndef CLVI_EXPERT_H
#define CLVI_EXPERT_H

#include "graph/graph.h"
#include "mixture/input_form.h"
#include "plugin/plugin_host.h"

/* All zero is empty. */
typedef struct clvi_expert {
    const char *section; /* "expert.NAME", the configuration's */
    clv_options *options;
    clv_graph *graph;
    const char *plugin_path; /* of its file, NULL: linked in; lives as long as the plugins */
    clvi_input_form form;
} clvi_expert;

/* Finds the plugin of the expert [section], checks its options and lets it build. *out is the
 * caller's, for clvi_expert_fini, and must be empty. Needs no device. Errors: those of plugins and
 * options, with file and line where the configuration is to blame. */
clv_status clvi_expert_build(const clvi_config *config, clvi_plugins *plugins, const char *section,
                             const clv_build_input *input, clvi_expert *out,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_expert_fini(clvi_expert *expert);

/* Appends a line for each expert that has a plugin, "# expert.NAME: what is done to a pixel" of
 * such pictures, as clvi_input_form_describe says it; where that cannot be known, why. Channels 0:
 * not known (taken for colour). */
void clvi_experts_describe_pixels(const clvi_config *config, clvi_plugins *plugins,
                                  const clvi_picture *picture, clvi_text *out);

#endif
