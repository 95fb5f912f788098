/* See differences.h. */
#include "config/differences.h"

/* One line of a dump, cut in place. */
typedef struct dump_line {
    const char *section, *key, *value;
} dump_line;

typedef struct dump {
    clvi_text text;
    dump_line *lines;
    size_t count, capacity;
} dump;

static void dump_fini(dump *d)
{
    clvi_text_fini(&d->text);
    clvi_free(d->lines);
}

/* Takes the dump of a configuration apart. */
static clv_status dump_make(const clvi_config *config, dump *d, clv_error *error)
{
    clvi_config_dump(config, &d->text);
    if (d->text.failed)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to compare configurations");
    const char *section = "";
    for (char *line = d->text.data; line && *line;) {
        char *end = line + strcspn(line, "\n"), *next = *end ? end + 1 : end;
        *end = '\0';
        char *equals = strstr(line, " =");
        if (*line == '[') {
            end[-1] = '\0';
            section = line + 1;
        } else if (equals) {
            *equals = '\0';
            char *value = equals + 2;
            value += *value == ' ';
            void *lines = d->lines;
            CLV_TRY(clvi_grow(&lines, &d->capacity, d->count + 1, sizeof *d->lines, error));
            d->lines = lines;
            d->lines[d->count++] = (dump_line){section, line, value};
        }
        line = next;
    }
    return CLV_OK;
}

static const char *dump_find(const dump *d, const char *section, const char *key)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->lines[i].section, section) == 0 && strcmp(d->lines[i].key, key) == 0)
            return d->lines[i].value;
    return NULL;
}

static clv_status compare(const dump *before, const dump *now, clvi_config_difference call,
                          void *user, clv_error *error)
{
    for (size_t i = 0; i < now->count; i++) {
        const dump_line *l = &now->lines[i];
        const char *was = dump_find(before, l->section, l->key);
        if (!was || strcmp(was, l->value) != 0)
            CLV_TRY(call(user, l->section, l->key, was, l->value, error));
    }
    for (size_t i = 0; i < before->count; i++) {
        const dump_line *l = &before->lines[i];
        if (!dump_find(now, l->section, l->key))
            CLV_TRY(call(user, l->section, l->key, l->value, NULL, error));
    }
    return CLV_OK;
}

clv_status clvi_config_differences(const clvi_config *before, const clvi_config *now,
                                   clvi_config_difference call, void *user, clv_error *error)
{
    dump old = {0}, new = {0};
    clv_status status = dump_make(before, &old, error);
    if (status == CLV_OK)
        status = dump_make(now, &new, error);
    if (status == CLV_OK)
        status = compare(&old, &new, call, user, error);
    dump_fini(&old);
    dump_fini(&new);
    return status;
}
