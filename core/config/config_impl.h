/* What config.c and load.c share. Internal to core/config. */
#ifndef CLVI_CONFIG_IMPL_H
#define CLVI_CONFIG_IMPL_H

#include "config/config.h"
#include "config/schema.h"

/* A layer is one file or the command line; later layers win. Layer 0: defaults. */
typedef struct clvi_slot {
    clvi_value value;
    const char *origin; /* NULL: default */
    int layer;
} clvi_slot;

/* One section that exists: all single ones always, named ones once something names them. */
typedef struct clvi_instance {
    size_t schema;     /* index of the schema's section */
    const char *name;  /* "expert.a" */
    const char *label; /* "a", NULL for single ones */
    const char *origin;
    int layer; /* the last one that touched it */
    clvi_slot *slots;
    clvi_raw_option *options; /* of the plugin */
    int *option_layers;
    size_t option_count, option_capacity, layer_capacity;
} clvi_instance;

enum {
    CLVI_MAX_EXPERTS = 64, /* of one mixture: what the ops take */
    CLVI_MAX_NAMED = 1024, /* sections with a name */
    CLVI_MAX_NESTING = 4,  /* mixtures inside each other */
    CLVI_SECTION_BYTES = 160,
    CLVI_MAX_DATA_SOURCES = 16,
    CLVI_MAX_PLUGIN_OPTIONS = 256
};

struct clvi_config {
    clvi_arena *arena; /* strings, values, slots */
    const char *path, *name;
    /* A mixture that is expert "a/b" of the whole: its [mixture] is [mixture.a/b] there. The whole:
     * NULL, "". */
    struct clvi_config *whole;
    const char *scope;
    clvi_instance *instances; /* of the whole */
    size_t instance_count, instance_capacity;
    size_t *experts;             /* indices of instances */
    struct clvi_config **nested; /* of each expert; NULL: it has a plugin */
    size_t expert_count;
    size_t *leaves; /* of the whole: indices of all experts that have a plugin */
    size_t leaf_count, leaf_capacity;
    size_t sources[CLVI_MAX_DATA_SOURCES]; /* indices of instances */
    size_t source_count;
    int layer; /* the one being applied */
};

/* Components of a name such as "a/b/c". */
int clvi_config_depth(const char *label);
/* An empty configuration: single sections, every value at its default. */
clv_status clvi_config_create(clvi_config **out, clv_error *error) CLV_MUST_CHECK;
clvi_instance *clvi_config_instance(const clvi_config *config,
                                    const char *section); /* NULL: none */
/* Finds or makes the section `name`, which belongs to the schema's `schema`. */
clv_status clvi_config_touch(clvi_config *config, size_t schema, const char *name,
                             const char *origin, clvi_instance **out,
                             clv_error *error) CLV_MUST_CHECK;
/* Sets one value in the current layer. Errors: CLV_E_CONFIG "origin: [section] key …" for an
 * unknown key, a value of the wrong kind, or (when `once`) a second value in one layer;
 * CLV_E_MEMORY. */
clv_status clvi_config_put(clvi_config *config, clvi_instance *instance,
                           const clvi_raw_option *option, bool once,
                           clv_error *error) CLV_MUST_CHECK;
/* The full name of a section in a nested mixture: its own, "gate.a" for "gate", in `out`, or the
 * same. */
const char *clvi_config_own_section(const clvi_config *config, const char *section,
                                    char out[CLVI_SECTION_BYTES]);
clvi_slot *clvi_config_slot(const clvi_instance *instance, const char *key); /* NULL: no such key */
/* The key at its default again, as if nobody had given it. Errors: CLV_E_MEMORY. */
clv_status clvi_config_reset(clvi_config *config, clvi_instance *instance, const char *key,
                             clv_error *error) CLV_MUST_CHECK;
/* Drops the options that layers before `layer` gave. */
void clvi_config_drop_options(clvi_instance *instance, int layer);
/* Whether an expert's key means something where the expert is a mixture. */
bool clvi_config_nested_key(const char *key);
/* The keys of [mixture] that mean something with several experts only. */
enum { CLVI_FUSION_KEYS = 4 };
extern const char *const clvi_fusion_keys[CLVI_FUSION_KEYS];

/* As clvi_config_list, of the folder `below` in each of the folders; NULL: in themselves. */
clv_status clvi_config_list_below(const char *below, const char *const *folders,
                                  size_t folder_count, clvi_config_entry **out, size_t *count,
                                  clv_error *error) CLV_MUST_CHECK;

#endif
