/* See pages.h. */
#include "pages.h"

#include "calls.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

char page[PAGE_BYTES];

/* The name of the tag at `at`, behind '<' or '</'. */
static void tag_name(const char *at, char *out, size_t size)
{
    size_t length = strcspn(at, " \t\n/>");
    length = length < size ? length : size - 1;
    memcpy(out, at, length);
    out[length] = '\0';
}

/* Attributes are in double quotes, up to '>'. Returns its place. */
static const char *past_attributes(const char *at)
{
    while (*at != '\0' && *at != '>') {
        if (*at == '"') {
            at = strchr(at + 1, '"');
            assert_non_null(at);
        }
        assert_true(*at != '<' && *at != '\'');
        at++;
    }
    assert_int_equal(*at, '>');
    return at;
}

/* As XML has it: every tag is closed, in turn, and & begins one of the five names. */
static void check_form(const char *text)
{
    enum { DEEPEST = 64 };
    char open[DEEPEST][16], name[16];
    size_t depth = 0;
    assert_memory_equal(text, "<!DOCTYPE html>\n", 16);
    for (const char *at = text + 16; *at != '\0'; at++) {
        if (*at == '&')
            assert_true(strncmp(at, "&amp;", 5) == 0 || strncmp(at, "&lt;", 4) == 0 ||
                        strncmp(at, "&gt;", 4) == 0 || strncmp(at, "&quot;", 6) == 0);
        assert_true((unsigned char)*at >= 0x20 || *at == '\n' || *at == '\t');
        if (*at != '<')
            continue;
        const bool closes = at[1] == '/';
        tag_name(at + 1 + closes, name, sizeof name);
        assert_true(isalpha((unsigned char)name[0]));
        at = past_attributes(at + 1);
        if (closes && (depth == 0 || strcmp(open[--depth], name) != 0))
            fail_msg("</%s> closes <%s>", name, depth > 0 ? open[depth] : "nothing");
        if (!closes && at[-1] != '/') {
            assert_true(depth < DEEPEST);
            memcpy(open[depth++], name, sizeof name);
        }
    }
    assert_int_equal(depth, 0);
}

int times(const char *part)
{
    int n = 0;
    for (const char *at = page; (at = strstr(at, part)) != NULL; at += strlen(part))
        n++;
    return n;
}

/* The sentence instead of a failure that prints the whole page. */
void has(const char *part)
{
    if (strstr(page, part) == NULL)
        fail_msg("\"%s\" is not in the page", part);
}

void lacks(const char *part)
{
    if (strstr(page, part) != NULL)
        fail_msg("\"%s\" is in the page", part);
}

void look(const char *path)
{
    read_whole(path, page, sizeof page);
    check_form(page);
    static const char *const never[] = {"http:", "https:", "url(",  "@import", "<link",
                                        ">nan",  " nan",   ">-nan", ">inf"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        lacks(never[i]);
    assert_int_equal(times(" src=\""), times(" src=\"data:image/png;base64,"));
    has("prefers-color-scheme:dark");
    has("name=\"viewport\"");
    has("</html>\n");
}
