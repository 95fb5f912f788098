/* The schema's tables, look-ups in them, and the reference text for people. */
#include "config/schema.h"
#include "config/config.h"

static const struct {
    const char *name;
    bool named, open, nests;
    const char *text;
} sections[] = {
#define SINGLE                        false, false, false
#define NESTING                       false, false, true
#define NESTING_OPEN                  false, true, true
#define NAMED                         true, false, false
#define NAMED_NESTING_OPEN            true, true, true
#define SECTION(id, name, kind, text) {name, kind, text},
#define KEY(id, key, type, preset, min, max, choices, count, text)
#include "config/schema.def"
#undef KEY
#undef SECTION
#undef SINGLE
#undef NESTING
#undef NESTING_OPEN
#undef NAMED
#undef NAMED_NESTING_OPEN
};

enum {
#define SECTION(id, name, kind, text) SECTION_##id,
#define KEY(id, key, type, preset, min, max, choices, count, text)
#include "config/schema.def"
#undef KEY
#undef SECTION
    SECTION_COUNT
};

/* Types of schema.def by their short names. */
enum {
    BOOL = CLV_OPTION_BOOL,
    INT = CLV_OPTION_INT,
    REAL = CLV_OPTION_REAL,
    TEXT = CLV_OPTION_TEXT,
    CHOICE = CLV_OPTION_CHOICE,
    REAL_LIST = CLV_OPTION_REAL_LIST,
    NAMES = CLVI_OPTION_NAMES,
    SIZE = CLVI_OPTION_SIZE,
};

#define EXACT     9007199254740991.0 /* 2^53 - 1: integers up to here are exact as a double */
#define UNBOUNDED 1e300

static const clvi_schema_key keys[] = {
#define SECTION(id, name, kind, text)
#define KEY(id, key, type, preset, min, max, choices, count, text)                                 \
    {{sizeof(clv_option_spec), type, #key, preset, min, max, choices, text}, count},
#include "config/schema.def"
#undef KEY
#undef SECTION
};

static const unsigned char section_of[] = {
#define SECTION(id, name, kind, text)
#define KEY(id, key, type, preset, min, max, choices, count, text) SECTION_##id,
#include "config/schema.def"
#undef KEY
#undef SECTION
};

enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

size_t clvi_schema_section_count(void)
{
    return SECTION_COUNT;
}

clvi_schema_section clvi_schema_section_at(size_t index)
{
    CLV_ASSERT(index < SECTION_COUNT);
    size_t first = 0, count = 0;
    while (first < KEY_COUNT && section_of[first] != index)
        first++;
    while (first + count < KEY_COUNT && section_of[first + count] == index)
        count++;
    return (clvi_schema_section){sections[index].name,
                                 sections[index].named,
                                 sections[index].open,
                                 sections[index].nests,
                                 sections[index].text,
                                 first,
                                 count};
}

const clvi_schema_key *clvi_schema_key_at(size_t index)
{
    CLV_ASSERT(index < KEY_COUNT);
    return &keys[index];
}

int clvi_schema_find_section(const char *full_name, const char **label)
{
    const size_t length = strcspn(full_name, ".");
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        if (strlen(sections[i].name) != length || memcmp(sections[i].name, full_name, length) != 0)
            continue;
        const bool labelled = full_name[length] == '.';
        if (labelled ? !sections[i].named && !sections[i].nests : sections[i].named)
            continue;
        *label = labelled ? full_name + length + 1 : NULL;
        return (int)i;
    }
    return CLVI_NOT_FOUND;
}

int clvi_schema_find_key(size_t section, const char *key)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (section_of[i] == section && strcmp(keys[i].spec.key, key) == 0)
            return (int)i;
    return CLVI_NOT_FOUND;
}

void clvi_schema_advise_section(const char *full_name, clvi_text *out)
{
    const char *names[SECTION_COUNT];
    for (size_t i = 0; i < SECTION_COUNT; i++)
        names[i] = sections[i].name;
    char stem[64];
    const size_t length = strcspn(full_name, ".");
    if (length >= sizeof(stem))
        return;
    memcpy(stem, full_name, length);
    stem[length] = '\0';
    const char *near = clvi_nearest(stem, names, SECTION_COUNT);
    for (size_t i = 0; near != NULL && i < SECTION_COUNT; i++) {
        if (near != sections[i].name)
            continue;
        clvi_text_printf(out, "; did you mean [%s%s]?", near, sections[i].named ? ".NAME" : "");
        return;
    }
}

void clvi_schema_advise_key(size_t section, const char *key, clvi_text *out)
{
    const char *names[KEY_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (section_of[i] == section)
            names[count++] = keys[i].spec.key;
    const char *near = clvi_nearest(key, names, count);
    if (near != NULL) {
        clvi_text_printf(out, "; did you mean %s?", near);
        return;
    }
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (!clvi_name_equal(keys[i].spec.key, key))
            continue;
        clvi_text_printf(out, "; %s stands in [%s]", keys[i].spec.key,
                         sections[section_of[i]].name);
        return;
    }
}

clv_status clvi_config_terms(clvi_config_term_call call, void *user, clv_error *error)
{
    clvi_text range = {0};
    for (size_t i = 0, s = SECTION_COUNT; i < KEY_COUNT && !range.failed; i++) {
        const clv_option_spec *spec = &keys[i].spec;
        clvi_config_term term = {.section = sections[section_of[i]].name,
                                 .named = sections[section_of[i]].named,
                                 .text = sections[section_of[i]].text};
        if (s != section_of[i])
            call(user, &term);
        s = section_of[i];
        range.length = 0;
        if (keys[i].list_count > 0)
            clvi_text_printf(&range, "%zu ", keys[i].list_count);
        clvi_value_describe(spec, &range);
        if (range.failed)
            break;
        term.spec = spec;
        term.text = spec->text;
        term.range = clvi_text_get(&range);
        call(user, &term);
    }
    const bool failed = range.failed;
    clvi_text_fini(&range);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the keys of a configuration");
    return CLV_OK;
}

static void append_term(void *user, const clvi_config_term *term)
{
    clvi_text *out = user;
    if (term->spec == NULL)
        clvi_text_printf(out, "%s# %s\n[%s%s]\n", out->length > 0 ? "\n" : "", term->text,
                         term->section, term->named ? ".NAME" : "");
    else
        clvi_text_printf(out, "# %s\n# (%s)\n%s =%s%s\n", term->text, term->range, term->spec->key,
                         term->spec->default_value[0] != '\0' ? " " : "",
                         term->spec->default_value);
}

void clvi_config_reference(clvi_text *out)
{
    if (clvi_config_terms(append_term, out, NULL) != CLV_OK)
        out->failed = true;
}
