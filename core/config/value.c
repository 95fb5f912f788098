/* Values: parse, check, format, describe. Who calls it: config.c for the schema's keys, the plugin
 * loader for plugin options. */
#include "config/value.h"

#include <stdio.h>

enum { MOST_KEY_BYTES = 49, QUOTED_BYTES = 96, WORD_BYTES = 256, MAX_CHOICES = 64 };

/* From here on a range has no upper end: 2^53 is what a double still counts exactly. */
static const double unbounded = 9007199254740992.0;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The text between `begin` and `end` without blanks around it. */
typedef struct span {
    const char *begin;
    size_t length;
} span;

static span trim(const char *begin, const char *end)
{
    while (begin < end && is_blank(*begin))
        begin++;
    while (end > begin && is_blank(end[-1]))
        end--;
    return (span){begin, (size_t)(end - begin)};
}

const char *clvi_value_quote(const char *text, char *out, size_t bytes)
{
    CLV_ASSERT(bytes > 16);
    clvi_printable(text, out + 1, bytes - 5);
    size_t length = strlen(out + 1);
    out[0] = '"';
    if (length < strlen(text)) {
        memcpy(out + 1 + length, "...", 3);
        length += 3;
    }
    out[1 + length] = '"';
    out[2 + length] = '\0';
    return out;
}

bool clvi_value_is_storable(const char *text, const char **why)
{
    const size_t length = strlen(text);
    *why = NULL;
    if (length > 0 && (is_blank(text[0]) || is_blank(text[length - 1])))
        *why = "blanks around a value are lost";
    else if (length > 0 && text[length - 1] == '\\')
        *why = "a '\\' at the end of a value joins it with the next line";
    for (size_t i = 0; i < length && *why == NULL;) {
        const size_t step = clvi_utf8_sequence(text + i, length - i);
        const unsigned char c = (unsigned char)text[i];
        if (step == 0)
            *why = "the text is not UTF-8";
        else if ((c < 0x20 && c != '\t') || c == 0x7F)
            *why = "control characters are not allowed";
        else if (c == ';' && (i == 0 || is_blank(text[i - 1])))
            *why = "a ';' after a blank begins a comment";
        i += step;
    }
    return *why == NULL;
}

static void describe_range(const clv_option_spec *spec, clvi_text *out)
{
    if (!(spec->min < 0 || spec->min > 0 || spec->max < 0 || spec->max > 0))
        return;
    const bool low = spec->min > -unbounded, high = spec->max < unbounded;
    if (low && high) {
        clvi_text_append(out, ", ");
        clvi_text_append_real(out, spec->min);
        clvi_text_append(out, " to ");
        clvi_text_append_real(out, spec->max);
    } else if (low || high) {
        clvi_text_append(out, low ? ", at least " : ", at most ");
        clvi_text_append_real(out, low ? spec->min : spec->max);
    }
}

void clvi_value_describe(const clv_option_spec *spec, clvi_text *out)
{
    switch (spec->type) {
    case CLV_OPTION_BOOL:
        clvi_text_append(out, "yes | no");
        return;
    case CLV_OPTION_INT:
        clvi_text_append(out, "integer");
        break;
    case CLV_OPTION_REAL:
        clvi_text_append(out, "number");
        break;
    case CLV_OPTION_TEXT:
        clvi_text_append(out, "text");
        return;
    case CLV_OPTION_CHOICE:
        clvi_text_append(out, spec->choices != NULL ? spec->choices : "");
        return;
    case CLV_OPTION_INT_LIST:
        clvi_text_append(out, "integers separated by ','");
        break;
    case CLV_OPTION_REAL_LIST:
        clvi_text_append(out, "numbers separated by ','");
        break;
    case CLVI_OPTION_NAMES:
        clvi_text_append(out, "names separated by ','");
        return;
    case CLVI_OPTION_SIZE:
        clvi_text_append(out, "pixels, or HEIGHTxWIDTH");
        break;
    default:
        clvi_text_append(out, "unknown type");
        return;
    }
    describe_range(spec, out);
}

/* The sentence of a value that is wrong: `"ten": expected integer, 1 to 100`. */
static clv_status refuse(const clv_option_spec *spec, const char *text, clv_error *error)
{
    char quoted[QUOTED_BYTES];
    clvi_value_quote(text, quoted, sizeof(quoted));
    clvi_text expected = {0};
    clvi_value_describe(spec, &expected);
    const char *hint = strstr(text, " #") != NULL ? "; a comment needs a line of its own" : "";
    const clv_status status = clvi_fail(error, CLV_E_CONFIG, CLV_HERE, "%s: expected %s%s", quoted,
                                        clvi_text_get(&expected), hint);
    clvi_text_fini(&expected);
    return status;
}

/* Written so that a range of 0 to 0 lets everything pass. */
static bool in_range(const clv_option_spec *spec, double value)
{
    const bool any = !(spec->min < 0 || spec->min > 0 || spec->max < 0 || spec->max > 0);
    return any || (value >= spec->min && value <= spec->max);
}

/* Copies a span to a buffer of WORD_BYTES for the number parsers; false when it is too long. */
static bool copy_word(span word, char *buffer)
{
    if (word.length >= WORD_BYTES)
        return false;
    memcpy(buffer, word.begin, word.length);
    buffer[word.length] = '\0';
    return true;
}

static bool read_int(const clv_option_spec *spec, span word, int64_t *out)
{
    char buffer[WORD_BYTES];
    int64_t value = 0;
    if (!copy_word(word, buffer) || !clvi_parse_int(buffer, &value) ||
        !in_range(spec, (double)value))
        return false;
    *out = value;
    return true;
}

static bool read_real(const clv_option_spec *spec, span word, double *out)
{
    char buffer[WORD_BYTES];
    double value = 0;
    if (!copy_word(word, buffer) || !clvi_parse_real(buffer, &value) || !in_range(spec, value))
        return false;
    *out = value;
    return true;
}

static bool is_name(span word)
{
    for (size_t i = 0; i < word.length; i++) {
        const char c = word.begin[i];
        const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!good)
            return false;
    }
    return word.length > 0;
}

bool clvi_value_is_name(const char *text)
{
    return is_name((span){text, strlen(text)});
}

static char *keep(clvi_arena *arena, span word)
{
    char *copy = clvi_arena_alloc(arena, word.length + 1);
    if (copy != NULL)
        memcpy(copy, word.begin, word.length);
    return copy;
}

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: a configuration value");
}

/* The choices of "a | b | c", as spans into spec->choices. */
static size_t split_choices(const char *choices, span out[MAX_CHOICES])
{
    size_t count = 0;
    while (choices != NULL && *choices != '\0' && count < MAX_CHOICES) {
        const char *end = choices + strcspn(choices, "|");
        out[count++] = trim(choices, end);
        choices = *end == '|' ? end + 1 : end;
    }
    return count;
}

/* A choice is matched as names are: any case, '-' and '_' alike. */
static clv_status parse_choice(const clv_option_spec *spec, span word, clvi_arena *arena,
                               const char **out, clv_error *error)
{
    span choices[MAX_CHOICES];
    char words[MAX_CHOICES][QUOTED_BYTES];
    const char *names[MAX_CHOICES];
    char wanted[WORD_BYTES];
    size_t count = split_choices(spec->choices, choices), usable = 0;
    const bool short_enough = copy_word(word, wanted);
    for (size_t i = 0; i < count; i++) {
        if (choices[i].length >= QUOTED_BYTES)
            continue;
        memcpy(words[usable], choices[i].begin, choices[i].length);
        words[usable][choices[i].length] = '\0';
        names[usable] = words[usable];
        if (short_enough && clvi_name_equal(wanted, names[usable])) {
            *out = keep(arena, choices[i]);
            return *out != NULL ? CLV_OK : no_memory(error);
        }
        usable++;
    }
    const char *near = short_enough ? clvi_nearest(wanted, names, usable) : NULL;
    if (near == NULL)
        return refuse(spec, short_enough ? wanted : "...", error);
    char quoted[QUOTED_BYTES];
    CLV_FAIL(error, CLV_E_CONFIG, "%s: expected %s; did you mean %s?",
             clvi_value_quote(wanted, quoted, sizeof(quoted)), spec->choices, near);
}

/* One element of a list into its array; `text` is the whole list, for the message. */
static clv_status parse_element(const clv_option_spec *spec, span word, const char *text,
                                clvi_arena *arena, void *array, size_t index, clv_error *error)
{
    bool good = false;
    if (spec->type == CLV_OPTION_INT_LIST) {
        good = read_int(spec, word, (int64_t *)array + index);
    } else if (spec->type == CLV_OPTION_REAL_LIST) {
        good = read_real(spec, word, (double *)array + index);
    } else if (is_name(word)) {
        char *name = keep(arena, word);
        if (name == NULL)
            return no_memory(error);
        ((const char **)array)[index] = name;
        good = true;
    }
    return good ? CLV_OK : refuse(spec, text, error);
}

static clv_status parse_list(const clv_option_spec *spec, const char *text, clvi_arena *arena,
                             clvi_value *value, clv_error *error)
{
    const char *end = text + strlen(text);
    if (trim(text, end).length == 0)
        return CLV_OK;
    size_t count = 1;
    for (const char *c = text; c < end; c++)
        count += *c == ',';
    /* The three element types are at most 8 bytes wide. */
    void *array = count <= SIZE_MAX / 8 ? clvi_arena_alloc(arena, count * 8) : NULL;
    if (array == NULL)
        return no_memory(error);
    const char *at = text;
    for (size_t i = 0; i < count; i++) {
        const char *comma = at + strcspn(at, ",");
        CLV_TRY(parse_element(spec, trim(at, comma), text, arena, array, i, error));
        at = comma + 1;
    }
    value->count = count;
    if (spec->type == CLV_OPTION_INT_LIST)
        value->integers = array;
    else if (spec->type == CLV_OPTION_REAL_LIST)
        value->reals = array;
    else
        value->names = array;
    return CLV_OK;
}

static clv_status parse_size(const clv_option_spec *spec, span word, const char *text,
                             clvi_arena *arena, clvi_value *value, clv_error *error)
{
    const char *end = word.begin + word.length, *cross = word.begin;
    while (cross < end && *cross != 'x' && *cross != 'X')
        cross++;
    const span width = cross < end ? trim(cross + 1, end) : word;
    int64_t *sides = clvi_arena_alloc(arena, 2 * sizeof(*sides));
    if (sides == NULL)
        return no_memory(error);
    if (!read_int(spec, trim(word.begin, cross), &sides[0]) || !read_int(spec, width, &sides[1]))
        return refuse(spec, text, error);
    value->integers = sides;
    value->count = 2;
    return CLV_OK;
}

clv_status clvi_value_parse(const clv_option_spec *spec, const char *text, clvi_arena *arena,
                            clvi_value *out, clv_error *error)
{
    const span word = trim(text, text + strlen(text));
    char buffer[WORD_BYTES];
    clvi_value value = {.type = spec->type};
    bool good = true;
    switch (spec->type) {
    case CLV_OPTION_BOOL:
        good = copy_word(word, buffer) && clvi_parse_bool(buffer, &value.boolean);
        break;
    case CLV_OPTION_INT:
        good = read_int(spec, word, &value.integer);
        break;
    case CLV_OPTION_REAL:
        good = read_real(spec, word, &value.real);
        break;
    case CLV_OPTION_TEXT:
        value.text = keep(arena, word);
        if (value.text == NULL)
            return no_memory(error);
        break;
    case CLV_OPTION_CHOICE:
        CLV_TRY(parse_choice(spec, word, arena, &value.text, error));
        break;
    case CLV_OPTION_INT_LIST:
    case CLV_OPTION_REAL_LIST:
    case CLVI_OPTION_NAMES:
        CLV_TRY(parse_list(spec, text, arena, &value, error));
        break;
    case CLVI_OPTION_SIZE:
        CLV_TRY(parse_size(spec, word, text, arena, &value, error));
        break;
    default:
        good = false;
    }
    if (!good)
        return refuse(spec, text, error);
    *out = value;
    return CLV_OK;
}

static void format_element(const clvi_value *value, size_t index, clvi_text *out)
{
    if (value->type == CLV_OPTION_INT_LIST)
        clvi_text_printf(out, "%lld", (long long)value->integers[index]);
    else if (value->type == CLV_OPTION_REAL_LIST)
        clvi_text_append_real(out, value->reals[index]);
    else
        clvi_text_append(out, value->names[index]);
}

void clvi_value_format(const clvi_value *value, clvi_text *out)
{
    switch (value->type) {
    case CLV_OPTION_BOOL:
        clvi_text_append(out, value->boolean ? "yes" : "no");
        break;
    case CLV_OPTION_INT:
        clvi_text_printf(out, "%lld", (long long)value->integer);
        break;
    case CLV_OPTION_REAL:
        clvi_text_append_real(out, value->real);
        break;
    case CLV_OPTION_TEXT:
    case CLV_OPTION_CHOICE:
        clvi_text_append(out, value->text);
        break;
    case CLVI_OPTION_SIZE:
        clvi_text_printf(out, "%lld", (long long)value->integers[0]);
        if (value->integers[0] != value->integers[1])
            clvi_text_printf(out, "x%lld", (long long)value->integers[1]);
        break;
    default:
        for (size_t i = 0; i < value->count; i++) {
            clvi_text_append(out, i > 0 ? ", " : "");
            format_element(value, i, out);
        }
    }
}

clv_status clvi_value_check_spec(const clv_option_spec *spec, clv_error *error)
{
    if (spec->key == NULL || spec->key[0] == '\0')
        CLV_FAIL(error, CLV_E_PLUGIN, "an option without a key");
    char quoted[QUOTED_BYTES];
    clvi_value_quote(spec->key, quoted, sizeof(quoted));
    if (!clvi_is_plain_name(spec->key, MOST_KEY_BYTES))
        CLV_FAIL(error, CLV_E_PLUGIN, "option %s: a key has at most %d letters a-z, digits and '_'",
                 quoted, MOST_KEY_BYTES);
    if (spec->type < CLV_OPTION_BOOL || spec->type > CLV_OPTION_REAL_LIST)
        CLV_FAIL(error, CLV_E_PLUGIN, "option %s: type %u is unknown", quoted,
                 (unsigned)spec->type);
    if (spec->default_value == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "option %s: no default value", quoted);
    const char *why = NULL;
    if (!clvi_value_is_storable(spec->default_value, &why))
        CLV_FAIL(error, CLV_E_PLUGIN, "option %s: its default cannot stand in an INI file: %s",
                 quoted, why);
    clvi_arena *arena = NULL;
    CLV_TRY(clvi_arena_create(&arena, error));
    clvi_value value;
    clv_error cause = CLV_ERROR_INIT;
    const clv_status status = clvi_value_parse(spec, spec->default_value, arena, &value, &cause);
    clvi_arena_destroy(arena);
    if (status != CLV_OK)
        return clvi_fail(error, status == CLV_E_MEMORY ? status : CLV_E_PLUGIN, CLV_HERE,
                         "option %s: its default %s", quoted, cause.message);
    return CLV_OK;
}
