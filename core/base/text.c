/* Strings: growing buffer, numbers, natural order, nearest name, UTF-8. */
#define _POSIX_C_SOURCE 200809L
#include "base/text.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The calling thread's locale is "C" between the two calls: a program that uses the library may
 * have set one in which 0.5 is written 0,5. newlocale of "C" takes no memory in glibc and musl. */
static locale_t enter_c_locale(void)
{
    const locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return c_locale != (locale_t)0 ? uselocale(c_locale) : (locale_t)0;
}

static void leave_c_locale(locale_t before)
{
    if (before == (locale_t)0)
        return;
    const locale_t c_locale = uselocale(before);
    if (c_locale != (locale_t)0 && c_locale != LC_GLOBAL_LOCALE)
        freelocale(c_locale);
}

/* Makes room for `more` bytes and the NUL. */
static bool reserve(clvi_text *text, size_t more)
{
    if (text->failed)
        return false;
    void *data = text->data;
    if (more >= SIZE_MAX - text->length ||
        clvi_grow(&data, &text->capacity, text->length + more + 1, 1, NULL) != CLV_OK) {
        text->failed = true;
        return false;
    }
    text->data = data;
    return true;
}

void clvi_text_append_n(clvi_text *text, const char *piece, size_t length)
{
    if (!reserve(text, length))
        return;
    if (length > 0)
        memcpy(text->data + text->length, piece, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void clvi_text_append(clvi_text *text, const char *piece)
{
    clvi_text_append_n(text, piece, strlen(piece));
}

void clvi_text_printf(clvi_text *text, const char *format, ...)
{
    const locale_t before = enter_c_locale();
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    leave_c_locale(before);
}

void clvi_text_append_real(clvi_text *text, double value)
{
    CLV_ASSERT(isfinite(value));
    const locale_t before = enter_c_locale();
    char digits[32];
    int precision = 1;
    if (fabs(value) < 1e15 && value >= floor(value) && value <= floor(value)) {
        snprintf(digits, sizeof(digits), "%.0f", value);
    } else {
        do {
            snprintf(digits, sizeof(digits), "%.*g", precision, value);
        } while (precision++ < 17 &&
                 (strtod(digits, NULL) < value || strtod(digits, NULL) > value));
    }
    leave_c_locale(before);
    clvi_text_append(text, digits);
}

void clvi_text_append_word(clvi_text *text, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./=,:+@%";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        clvi_text_append(text, word);
        return;
    }
    clvi_text_append(text, "'");
    for (; *word != '\0'; word++)
        clvi_text_append_n(text, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
    clvi_text_append(text, "'");
}

const char *clvi_shell_word(const char *word, char *out, size_t bytes)
{
    clvi_text text = {0};
    clvi_text_append_word(&text, word);
    const bool fits = !text.failed && text.length < bytes;
    snprintf(out, bytes, "%s", fits ? text.data : word);
    clvi_text_fini(&text);
    return out;
}

void clvi_text_append_base64(clvi_text *text, const void *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *from = bytes;
    for (size_t i = 0; i < count; i += 3) {
        const size_t left = count - i;
        const unsigned triple = (unsigned)from[i] << 16 |
                                (left > 1 ? (unsigned)from[i + 1] << 8 : 0) |
                                (left > 2 ? (unsigned)from[i + 2] : 0);
        const char four[4] = {digits[triple >> 18], digits[triple >> 12 & 63],
                              left > 1 ? digits[triple >> 6 & 63] : '=',
                              left > 2 ? digits[triple & 63] : '='};
        clvi_text_append_n(text, four, sizeof four);
    }
}

void clvi_text_fini(clvi_text *text)
{
    clvi_free(text->data);
    *text = (clvi_text){0};
}

const char *clvi_text_get(const clvi_text *text)
{
    return text->data != NULL ? text->data : "";
}

/* The <ctype.h> functions depend on the locale; these do not. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static const char *skip_blanks(const char *text)
{
    while (is_blank(*text))
        text++;
    return text;
}

bool clvi_parse_int(const char *text, int64_t *out)
{
    text = skip_blanks(text);
    const bool negative = *text == '-';
    if (*text == '-' || *text == '+')
        text++;
    if (!is_digit(*text))
        return false;
    const uint64_t most = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    uint64_t value = 0;
    for (; is_digit(*text); text++) {
        const uint64_t digit = (uint64_t)(*text - '0');
        if (value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (*skip_blanks(text) != '\0')
        return false;
    if (!negative)
        *out = (int64_t)value;
    else
        *out = value == most ? INT64_MIN : -(int64_t)value;
    return true;
}

/* The end of [sign] digits [. digits] [e [sign] digits] with a digit before the exponent, or NULL.
 * strtod alone would accept hexadecimal, inf and nan as well. */
static const char *scan_real(const char *text)
{
    size_t digits = 0;
    if (*text == '-' || *text == '+')
        text++;
    for (; is_digit(*text); text++)
        digits++;
    if (*text == '.')
        for (text++; is_digit(*text); text++)
            digits++;
    if (digits == 0)
        return NULL;
    if (*text == 'e' || *text == 'E') {
        text++;
        if (*text == '-' || *text == '+')
            text++;
        if (!is_digit(*text))
            return NULL;
        while (is_digit(*text))
            text++;
    }
    return text;
}

bool clvi_parse_real(const char *text, double *out)
{
    text = skip_blanks(text);
    const char *end = scan_real(text);
    if (end == NULL || *skip_blanks(end) != '\0')
        return false;
    const locale_t before = enter_c_locale();
    const double value = strtod(text, NULL);
    leave_c_locale(before);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}

bool clvi_parse_bool(const char *text, bool *out)
{
    static const char *const words[2][4] = {{"no", "false", "off", "0"},
                                            {"yes", "true", "on", "1"}};
    text = skip_blanks(text);
    size_t length = strlen(text);
    while (length > 0 && is_blank(text[length - 1]))
        length--;
    for (size_t truth = 0; truth < 2; truth++) {
        for (size_t word = 0; word < 4; word++) {
            const char *candidate = words[truth][word];
            size_t i = 0;
            while (i < length && candidate[i] != '\0' && lower(text[i]) == candidate[i])
                i++;
            if (i == length && candidate[i] == '\0') {
                *out = truth == 1;
                return true;
            }
        }
    }
    return false;
}

int clvi_natural_compare(const char *a, const char *b)
{
    const char *whole_a = a, *whole_b = b;
    while (*a != '\0' && *b != '\0') {
        if (!is_digit(*a) || !is_digit(*b)) {
            if (*a != *b)
                return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
            a++;
            b++;
            continue;
        }
        while (*a == '0')
            a++;
        while (*b == '0')
            b++;
        size_t length_a = 0, length_b = 0;
        while (is_digit(a[length_a]))
            length_a++;
        while (is_digit(b[length_b]))
            length_b++;
        if (length_a != length_b)
            return length_a < length_b ? -1 : 1;
        const int order = memcmp(a, b, length_a);
        if (order != 0)
            return order < 0 ? -1 : 1;
        a += length_a;
        b += length_b;
    }
    if (*a != *b)
        return *a == '\0' ? -1 : 1;
    return strcmp(whole_a, whole_b);
}

int clvi_natural_compare_p(const void *a, const void *b)
{
    return clvi_natural_compare(*(const char *const *)a, *(const char *const *)b);
}

static char fold(char c)
{
    return c == '_' ? '-' : lower(c);
}

bool clvi_name_equal(const char *a, const char *b)
{
    while (*a != '\0' && fold(*a) == fold(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

enum { NAME_MAX_LENGTH = 63 }; /* longer names are not compared */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance with insertions, deletions, changes and swaps of neighbours (optimal string
 * alignment). Lengths at most NAME_MAX_LENGTH. */
static size_t distance(const char *a, size_t length_a, const char *b, size_t length_b)
{
    size_t rows[3][NAME_MAX_LENGTH + 1];
    for (size_t j = 0; j <= length_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= length_a; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *above_2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            const size_t change = fold(a[i - 1]) != fold(b[j - 1]) ? 1 : 0;
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + change);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                row[j] = least(row[j], above_2[j - 2] + 1);
        }
    }
    return rows[length_a % 3][length_b];
}

const char *clvi_nearest(const char *name, const char *const *candidates, size_t count)
{
    const size_t length = strlen(name);
    if (length > NAME_MAX_LENGTH)
        return NULL;
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const size_t candidate_length = strlen(candidates[i]);
        if (candidate_length > NAME_MAX_LENGTH)
            continue;
        const size_t letters = length > candidate_length ? length : candidate_length;
        const size_t edits = distance(name, length, candidates[i], candidate_length);
        if (edits * 3 <= letters && edits < best_distance) {
            best = candidates[i];
            best_distance = edits;
        }
    }
    return best;
}

bool clvi_is_plain_name(const char *name, size_t most)
{
    const size_t length = name != NULL ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
    return length > 0 && length <= most && name[length] == '\0';
}

bool clvi_has_ending(const char *text, const char *ending)
{
    const size_t length = strlen(text), tail = strlen(ending);
    return length > tail && strcmp(text + length - tail, ending) == 0;
}

int clvi_text_columns(const char *text)
{
    int columns = 0;
    for (; *text != '\0'; text++)
        columns += ((unsigned char)*text & 0xC0) != 0x80;
    return columns;
}

size_t clvi_utf8_sequence(const char *text, size_t available)
{
    if (available == 0)
        return 0;
    const unsigned char first = (unsigned char)text[0];
    if (first < 0x80)
        return 1;
    const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || available < length)
        return 0;
    uint32_t point = first & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        const unsigned char next = (unsigned char)text[i];
        if ((next & 0xC0) != 0x80)
            return 0;
        point = point << 6 | (next & 0x3Fu);
    }
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < smallest[length] || surrogate || point > 0x10FFFF ? 0 : length;
}

/* Control characters, and the marks that reorder what stands around them on a terminal. */
static bool is_unprintable(const char *sequence, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)sequence;
    if (length == 1)
        return bytes[0] < 0x20 || bytes[0] == 0x7F;
    if (length == 2) /* U+0080 to U+009F */
        return bytes[0] == 0xC2 && bytes[1] < 0xA0;
    if (length == 3 && bytes[0] == 0xE2) /* U+2028 to U+202E, U+2066 to U+2069 */
        return (bytes[1] == 0x80 && bytes[2] >= 0xA8 && bytes[2] <= 0xAE) ||
               (bytes[1] == 0x81 && bytes[2] >= 0xA6 && bytes[2] <= 0xA9);
    return false;
}

const char *clvi_printable(const char *text, char *out, size_t bytes)
{
    CLV_ASSERT(bytes > 0);
    size_t left = strlen(text), used = 0;
    while (left > 0) {
        const size_t length = clvi_utf8_sequence(text, left);
        const bool bad = length == 0 || is_unprintable(text, length);
        const size_t written = bad ? 1 : length;
        if (used + written >= bytes)
            break;
        if (bad)
            out[used] = '?';
        else
            memcpy(out + used, text, length);
        used += written;
        text += length > 0 ? length : 1;
        left -= length > 0 ? length : 1;
    }
    out[used] = '\0';
    return out;
}
