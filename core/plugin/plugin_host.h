/* Plugins in the host: finding, opening and checking them, validating their options, building their
 * graphs. */
#ifndef CLVI_PLUGIN_HOST_H
#define CLVI_PLUGIN_HOST_H

#include "config/value.h"

#include <conclave/plugin.h>

/* One opened plugin. */
typedef struct clvi_plugin {
    const clv_plugin *table; /* checked; valid until the library is destroyed */
    const char *path;        /* of its file, or, linked in, what stands for it */
    bool builtin;
    const struct clvi_op_set *ops; /* of all plugins of its set; NULL: none */
} clvi_plugin;

/* A set of opened plugins and the search path. */
typedef struct clvi_plugins clvi_plugins;

/* path: folders separated by ':' (--plugin-path), NULL: none; then CONCLAVE_PLUGIN_PATH; then
 * `fallback` (build tree or install folder, NULL: none). Only remembers; nothing is opened. */
clv_status clvi_plugins_create(const char *path, const char *fallback, clvi_plugins **out,
                               clv_error *error) CLV_MUST_CHECK;
/* Closes every plugin (dlclose unless CONCLAVE_KEEP_PLUGINS=1): graphs built by them must be gone.
 */
void clvi_plugins_destroy(clvi_plugins *plugins);
/* The plugin of a kind and name (or a path to a .so). One that is linked in (builtin.h) comes after
 * the folders that the user gave, and in the place of `fallback`. Opened once. Errors: CLV_E_PLUGIN
 * naming path, field and both versions; not found: the folders looked in and the nearest name; two
 * of one name: both paths. */
clv_status clvi_plugins_find(clvi_plugins *plugins, clv_kind kind, const char *name,
                             const clvi_plugin **out, clv_error *error) CLV_MUST_CHECK;
/* Where the plugin's name begins in the name of a file without folders, "expert_cnn.so", and its
 * bytes; NULL where that is no plugin of this kind. */
const char *clvi_plugin_name_in_file(const char *file, clv_kind kind, size_t *length);
/* *out: whether a plugin of that kind and name, not a path, is linked in or has a file in one of
 * the folders, sound or not. Opens nothing. Errors: CLV_E_MEMORY. */
clv_status clvi_plugins_has(const clvi_plugins *plugins, clv_kind kind, const char *name, bool *out,
                            clv_error *error) CLV_MUST_CHECK;
/* Opens all that can be found, sorted by kind and name. Refused files are logged as warnings. */
clv_status clvi_plugins_scan(clvi_plugins *plugins, const clvi_plugin *const **list, size_t *count,
                             clv_error *error) CLV_MUST_CHECK;

/* Whether a name can be a plugin's, and the rule for a sentence (its %d: the bytes). */
enum { CLVI_PLUGIN_NAME_BYTES = 64 };
#define CLVI_PLUGIN_NAME_RULE "at most %d of a-z, 0-9 and _"
bool clvi_is_plugin_name(const char *name);

/* Option `index` of a plugin as this host knows the struct; strings belong to the plugin. */
clv_option_spec clvi_plugin_option(const clv_plugin *plugin, size_t index);

/* Validates a section's options by the plugin's schema, fills in defaults; of equal keys the last
 * one counts. Errors: CLV_E_CONFIG, "origin: [section] key: …" with the nearest known key. Copies
 * everything. */
clv_status clvi_options_create(const clv_plugin *plugin, const char *section,
                               const clvi_raw_option *raw, size_t count, clv_options **out,
                               clv_error *error) CLV_MUST_CHECK;
void clvi_options_destroy(clv_options *options);

/* The slot `fail` of the tables. `file` is not kept: it lies in the plugin, which may be closed
 * before the error is read. */
clv_status clvi_host_fail(clv_error *error, clv_status status, const char *file, int line,
                          const char *format, ...) CLV_PRINTF(5, 6);

/* The table that plugins call through. Static. */
const clv_host *clvi_host_table(void);

/* Builds a plugin's graph, in which the ops of all plugins of its set can be, and checks what it
 * declared: an expert offers "logits" [N, classes] (and "features" [N, F]); a gate "route" [N,
 * experts] (and "gate_logits", "load_prob") and its route; one image input at most. Errors name
 * plugin path and what is wrong; error->file is "plugin" when build itself said so. */
clv_status clvi_plugin_build(const clvi_plugin *plugin, const clv_options *options,
                             const clv_build_input *input, const char *label, clv_graph **out,
                             clv_error *error) CLV_MUST_CHECK;

#endif
