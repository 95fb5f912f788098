/* The schema as tables, made from schema.def. Internal to core/config. */
#ifndef CLVI_SCHEMA_H
#define CLVI_SCHEMA_H

#include "config/value.h"

typedef struct clvi_schema_section {
    const char *name;
    bool named; /* [name.X] */
    bool open;  /* takes a plugin's options beside its keys */
    bool
        nests; /* an expert that is a mixture has it as well, as [name.EXPERT] or [name.EXPERT/X] */
    const char *text;
    size_t first_key, key_count; /* in the table of keys */
} clvi_schema_section;

typedef struct clvi_schema_key {
    clv_option_spec spec;
    size_t list_count; /* elements that a list must have; 0: any number */
} clvi_schema_key;

enum { CLVI_NOT_FOUND = -1 };

size_t clvi_schema_section_count(void);
clvi_schema_section clvi_schema_section_at(size_t index);
const clvi_schema_key *clvi_schema_key_at(size_t index);

/* Index of the section that [full_name] belongs to, CLVI_NOT_FOUND when there is none. *label: what
 * stands behind the '.' of a named section, or of one of a nested mixture (within full_name), NULL
 * for the others. */
int clvi_schema_find_section(const char *full_name, const char **label);
/* Index in the table of keys, CLVI_NOT_FOUND when the section has no such key. */
int clvi_schema_find_key(size_t section, const char *key);

/* Appends advice about a name that the schema does not know: "; did you mean epochs?", "; lr stands
 * in [optimizer]", or nothing. */
void clvi_schema_advise_section(const char *full_name, clvi_text *out);
void clvi_schema_advise_key(size_t section, const char *key, clvi_text *out);

#endif
