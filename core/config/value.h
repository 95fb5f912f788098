/* One value of a configuration: from text to a typed value and back, checked against a
 * clv_option_spec. The keys of the schema and the options of plugins both go through here, so that
 * both give the same messages. */
#ifndef CLVI_VALUE_H
#define CLVI_VALUE_H

#include "base/text.h"

#include <conclave/plugin.h>

/* Types of the core's own schema beside clv_option_type; plugins cannot use them. */
enum {
    CLVI_OPTION_NAMES = 64, /* comma-separated words of letters, digits, '_', '-' */
    CLVI_OPTION_SIZE,       /* HEIGHTxWIDTH in pixels, or one number for both; each min … max */
};

/* A parsed value. Which member holds it depends on the type; all pointers lie in the arena given
 * to clvi_value_parse. */
typedef struct clvi_value {
    uint32_t type;            /* as in the spec */
    bool boolean;             /* BOOL */
    int64_t integer;          /* INT */
    double real;              /* REAL */
    const char *text;         /* TEXT, CHOICE (spelled as in the spec) */
    size_t count;             /* of the three below */
    const int64_t *integers;  /* INT_LIST; SIZE: height, width */
    const double *reals;      /* REAL_LIST */
    const char *const *names; /* NAMES */
} clvi_value;

/* One option of an INI section as it stands there, for a plugin to judge. */
typedef struct clvi_raw_option {
    const char *key, *value;
    const char *origin; /* "configs/a.ini:14" or "command line", for messages */
} clvi_raw_option;

/* Parses and checks `text` (surrounding blanks ignored). `out` is untouched on failure.
 * Errors: CLV_E_CONFIG with a sentence that begins with the quoted text and says what was expected,
 * for the caller to put place and key before; CLV_E_MEMORY. */
clv_status clvi_value_parse(const clv_option_spec *spec, const char *text, clvi_arena *arena,
                            clvi_value *out, clv_error *error) CLV_MUST_CHECK;

/* Appends the value in the one spelling that dumps use; it parses back to the same value. */
void clvi_value_format(const clvi_value *value, clvi_text *out);

/* Appends type and range for people: "integer, 1 to 100", "none | characters". */
void clvi_value_describe(const clv_option_spec *spec, clvi_text *out);

/* Checks a spec that a plugin brings: key of lower-case letters, digits and '_', a known type, a
 * default that is itself allowed. Errors: CLV_E_PLUGIN naming the key, CLV_E_MEMORY. */
clv_status clvi_value_check_spec(const clv_option_spec *spec, clv_error *error) CLV_MUST_CHECK;

/* True when an INI line can carry the text: no ';' that begins a comment, no '\' at the end, no
 * control character, valid UTF-8, no blanks around it. Otherwise *why says what is wrong. */
bool clvi_value_is_storable(const char *text, const char **why);

/* True for a word of letters, digits, '_' and '-', such as the name of an expert. */
bool clvi_value_is_name(const char *text);

/* `text` in double quotes, printable, shortened to fit `out` of `bytes` bytes; returns `out`. */
const char *clvi_value_quote(const char *text, char *out, size_t bytes);

#endif
