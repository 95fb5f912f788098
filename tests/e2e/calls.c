/* See calls.h. */
#define _XOPEN_SOURCE 700
#include "calls.h"

#include "../unit/image_files.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIDE = 16 };
const char *const class_names[CLASSES] = {"checks", "columns", "disc", "rows"};

char call_out[CALL_BYTES], call_err[CALL_BYTES];
static char command[PATH_MAX];

/* ---- Where ---- */

char *home;

int calls_enter(void **state)
{
    (void)state;
    home = folder_make();
    return chdir(home);
}

int calls_leave(void **state)
{
    (void)state;
    const int status = chdir("/");
    folder_remove(home);
    return status;
}

void put(const char *name, const char *text)
{
    file_put(".", name, text, strlen(text));
}

/* ---- Calling ---- */

void read_whole(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* Runs "conclave ARGUMENTS" and fills call_out and call_err; returns the exit code. */
int conclave(const char *arguments)
{
    char line[2 * PATH_MAX];
    snprintf(line, sizeof line, "'%s' %s >out.txt 2>err.txt", command, arguments);
    const int status = system(line);
    read_whole("out.txt", call_out, sizeof call_out);
    read_whole("err.txt", call_err, sizeof call_err);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void expect(const char *arguments, int status)
{
    const int got = conclave(arguments);
    if (got != status)
        fail_msg("conclave %s: exit %d, not %d\n%s%s", arguments, got, status, call_out, call_err);
}

/* A failure: nothing but one sentence on stderr, which holds `part`. */
void expect_refusal(const char *arguments, int status, const char *part)
{
    expect(arguments, status);
    const char *last = strstr(call_err, "conclave: ");
    if (last == NULL || strstr(call_err, part) == NULL)
        fail_msg("conclave %s: \"%s\" is not in: %s", arguments, part, call_err);
}

void contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

int count(const char *text, const char *part)
{
    int times = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        times++;
    return times;
}

bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

json_t *parse(const char *text)
{
    json_error_t problem;
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (value == NULL)
        fail_msg("%s in: %s", problem.text, text);
    return value;
}

double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("no number %s", key);
    return json_number_value(value);
}

const char *word(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    assert_non_null(value);
    return value;
}

/* ---- Pictures ---- */

static unsigned random_state = 1;
static int chance(int below)
{
    random_state = random_state * 1103515245u + 12345u;
    return (int)(random_state >> 16) % below;
}

/* Whether (x, y) is bright in a picture of the class, moved by (dx, dy). */
static bool bright(int label, int x, int y, int dx, int dy)
{
    const int u = x + dx, v = y + dy;
    switch (label) {
    case 0:
        return (u / 4 + v / 4) % 2 == 0;
    case 1:
        return u / 3 % 2 == 0;
    case 2:
        return (u - 9) * (u - 9) + (v - 9) * (v - 9) < 25;
    default:
        return v / 3 % 2 == 0;
    }
}

static void draw(const char *folder, int label, int index)
{
    uint8_t pixels[SIDE * SIDE];
    char path[128];
    const int dx = chance(6), dy = chance(6), light = 130 + chance(100), dark = chance(60);
    for (int i = 0; i < SIDE * SIDE; i++)
        pixels[i] =
            (uint8_t)((bright(label, i % SIDE, i / SIDE, dx, dy) ? light : dark) + chance(25));
    const png_form form = {.width = SIDE, .height = SIDE, .bits = 8};
    blob png = png_make(&form, pixels);
    snprintf(path, sizeof path, "%s/%s/%d.png", folder, class_names[label], index);
    file_put(".", path, png.bytes, png.length);
    blob_free(&png);
}

void draw_set(const char *folder, int count)
{
    for (int label = 0; label < CLASSES; label++)
        for (int i = 0; i < count; i++)
            draw(folder, label, i);
}

/* ---- The program ---- */

int calls_begin(int argc, char **argv)
{
    char line[PATH_MAX + 64];
    if (argc != 2 || realpath(argv[1], command) == NULL) {
        fprintf(stderr, "usage: %s CONCLAVE\n", argv[0]);
        return 2;
    }
    snprintf(line, sizeof line, "'%s' devices --json | grep -q '\"auto\": true'", command);
    return system(line) != 0 ? 77 : 0;
}
