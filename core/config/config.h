/* The configuration of a run: an INI file, what it inherits, and what the command line changes,
 * checked against the schema (schema.def). Knows nothing of plugins: their options are kept as text
 * for the plugin host to judge. */
#ifndef CLVI_CONFIG_H
#define CLVI_CONFIG_H

#include "config/value.h"

typedef struct clvi_config clvi_config;

/* Where a configuration comes from. Zero-initialise. Everything is borrowed during the call. */
typedef struct clvi_config_source {
    const char *name;           /* a path (has a '/' or ends in .ini) or a shipped configuration */
    const char *const *folders; /* of shipped configurations, after CONCLAVE_CONFIG_PATH */
    size_t folder_count;
    const char *const *overrides; /* "section.key=value"; of equal ones the last one counts */
    size_t override_count;
    const char *text; /* not NULL: the file's content, `name` serves only for messages and as the
                         place that [run] base is relative to */
    size_t text_bytes;
    clvi_text *report; /* not NULL: every fault is appended here, one per line, at most 20 */
} clvi_config_source;

/* Reads a configuration. All faults are found in one go: `error` holds the first and says how many
 * more there are, source->report all of them. Each is "path:line: …" with the nearest known name.
 * Rules beside the schema's: [run] base is applied first (at most 8 deep; in a circle: refused); a
 * section whose plugin differs from the inherited one drops the inherited options; mixture.experts
 * decides which [expert.NAME] count and in which order, an inherited one that it does not name is
 * left out; one expert takes no [gate], several need one; an expert that names a mixture gets the
 * sections of that configuration under names of its own, which the file and the command line
 * override; of data.path and the sections [data.NAME]
 * the later layer counts, and in one layer there cannot be both.
 * Errors: CLV_E_CONFIG; CLV_E_USAGE (no such shipped configuration); CLV_E_IO; CLV_E_MEMORY.
 * The caller destroys *out. */
clv_status clvi_config_load(const clvi_config_source *source, clvi_config **out,
                            clv_error *error) CLV_MUST_CHECK;
void clvi_config_destroy(clvi_config *config); /* NULL allowed */

/* Path that was read (or source->name with source->text). Lives as long as the configuration. */
const char *clvi_config_path(const clvi_config *config);
/* run.name, or when that is empty the file's name without folder and .ini. Same lifetime. */
const char *clvi_config_name(const clvi_config *config);

/* Values. Section and key must be in the schema and the type must be the key's (CLV_ASSERT; in
 * release builds 0, "" and NULL come back). A named section is given in full, "expert.a". Pointers
 * live as long as the configuration. */
bool clvi_config_bool(const clvi_config *config, const char *section, const char *key);
int64_t clvi_config_int(const clvi_config *config, const char *section, const char *key);
double clvi_config_real(const clvi_config *config, const char *section, const char *key);
/* Of text and of a choice; a choice is spelled as in the schema. */
const char *clvi_config_text(const clvi_config *config, const char *section, const char *key);
const double *clvi_config_reals(const clvi_config *config, const char *section, const char *key,
                                size_t *count);
/* Pixels of an image size. */
void clvi_config_size(const clvi_config *config, const char *section, const char *key, int *height,
                      int *width);
/* Whether a file, the command line or clvi_config_set gave the value. */
bool clvi_config_given(const clvi_config *config, const char *section, const char *key);
/* Who gave it, for messages: "path:line", "command line", or "default". */
const char *clvi_config_origin(const clvi_config *config, const char *section, const char *key);

/* The experts in the order of mixture.experts: at least one. Names, and full section names. */
size_t clvi_config_expert_count(const clvi_config *config);
const char *clvi_config_expert_name(const clvi_config *config, size_t index);
const char *clvi_config_expert_section(const clvi_config *config, size_t index);
/* An expert that is a mixture: the configuration as it sees it. [mixture], [gate], [loss] and the
 * experts are its own there, all the rest is that of the whole. NULL: the expert has a plugin.
 * Lives as long as the whole; not for clvi_config_set. */
const clvi_config *clvi_config_nested(const clvi_config *config, size_t index);
/* The experts that have a plugin, those of nested mixtures in the place of these: full section
 * names, "expert.a", "expert.b/x". And their names, "b/x". Of the whole. */
size_t clvi_config_leaf_count(const clvi_config *config);
const char *clvi_config_leaf_section(const clvi_config *config, size_t index);
const char *clvi_config_leaf_name(const clvi_config *config, size_t index);
/* What mixture this is: "" of the whole, "a/b" of an expert of it. */
const char *clvi_config_scope(const clvi_config *config);
/* The full name of a section that a nested mixture has of its own: "gate", "gate.a/b". */
const char *clvi_config_section(const clvi_config *config, const char *section);
/* Seed of an expert's random numbers, or, section NULL, of the mixture's own gate and head: what
 * its section or the nearest one around it says; -1: run.seed counts. */
int64_t clvi_config_seed(const clvi_config *config, const char *expert_section);
/* The sources of images, [data.NAME], in the order in which the sections first stand; none where
 * data.path names the one there is. Names, and full section names. */
size_t clvi_config_source_count(const clvi_config *config);
const char *clvi_config_source_name(const clvi_config *config, size_t index);
const char *clvi_config_source_section(const clvi_config *config, size_t index);
/* The plugin options that "expert.NAME" or "gate" gives, in order; *count may be 0. */
const clvi_raw_option *clvi_config_options(const clvi_config *config, const char *section,
                                           size_t *count);

/* Changes a value, or a plugin option of a section that takes them; origin: "conclave". Not for
 * mixture.experts and run.base. Errors: CLV_E_CONFIG, CLV_E_MEMORY; nothing is changed then. */
clv_status clvi_config_set(clvi_config *config, const char *section, const char *key,
                           const char *value, clv_error *error) CLV_MUST_CHECK;

/* As clvi_config_set, in the name of who gave the value before: what was meant by it. */
clv_status clvi_config_replace(clvi_config *config, const char *section, const char *key,
                               const char *value, clv_error *error) CLV_MUST_CHECK;

/* Called with a value as text, as a dump has it, and its origin as clvi_config_origin says it. */
typedef clv_status (*clvi_config_visitor)(void *user, const char *section, const char *key,
                                          const char *value, const char *origin, clv_error *error);
/* Calls for every key of the sections of the whole and of the sources of images; experts and nested
 * mixtures are passed over. Errors: what a call returns, and then no more calls; CLV_E_MEMORY. */
clv_status clvi_config_visit(const clvi_config *config, clvi_config_visitor call, void *user,
                             clv_error *error) CLV_MUST_CHECK;

/* Records CLV_E_CONFIG "path:line: [section] key: sentence" for a value that the schema allows and
 * its user cannot take; returns it. Any key, also a plugin's. */
clv_status clvi_config_fail(const clvi_config *config, const char *section, const char *key,
                            clv_error *error, const char *format, ...) CLV_PRINTF(5, 6);

/* Appends the resolved configuration: every section and key with its value, one per line, nothing
 * inherited any more. Loading it gives the same values, dumping those the same text. */
void clvi_config_dump(const clvi_config *config, clvi_text *out);
/* Appends what somebody gave, for people: as the dump, but without the keys at their defaults, and
 * behind each value, as "(origin)", where it comes from. */
void clvi_config_explain(const clvi_config *config, clvi_text *out);
/* A section of the schema, or a key of one. */
typedef struct clvi_config_term {
    const char *section, *text;
    const clv_option_spec *spec; /* of the key; NULL: the section itself */
    const char *range;           /* type and range for people; until the call returns */
    bool named;                  /* [section.NAME] */
} clvi_config_term;
typedef void (*clvi_config_term_call)(void *user, const clvi_config_term *term);
/* Calls for every section and key, each section before its keys. Errors: CLV_E_MEMORY. */
clv_status clvi_config_terms(clvi_config_term_call call, void *user,
                             clv_error *error) CLV_MUST_CHECK;
/* Appends every key of the schema with type, range, default and meaning, as an INI file. */
void clvi_config_reference(clvi_text *out);

/* A shipped configuration. */
typedef struct clvi_config_entry {
    char *name; /* without folder and .ini */
    char *path;
    char *description; /* its first comment line, "" when it has none */
} clvi_config_entry;
/* All of them: the folders of CONCLAVE_CONFIG_PATH, then `folders`, each in natural order; of two
 * of one name the first counts; folders that do not exist are passed over. The caller frees with
 * clvi_config_list_free. Errors: CLV_E_MEMORY. */
clv_status clvi_config_list(const char *const *folders, size_t folder_count,
                            clvi_config_entry **out, size_t *count,
                            clv_error *error) CLV_MUST_CHECK;
void clvi_config_list_free(clvi_config_entry *list, size_t count);
/* The path that `name` means: itself when it has a '/' or ends in .ini, otherwise that of the
 * shipped configuration of that name (any case, '-' and '_' alike, efficient and efficent alike).
 * The caller frees *path. Errors: CLV_E_USAGE with the nearest name, CLV_E_MEMORY. */
clv_status clvi_config_find(const char *name, const char *const *folders, size_t folder_count,
                            char **path, clv_error *error) CLV_MUST_CHECK;

#endif
