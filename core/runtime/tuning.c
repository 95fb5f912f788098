/* Tuning records: kernels/tuning/<class>.ini, lines of `key = integer` without sections,
 * and `form = wide | tiled`. The record
 * decides which form and which block sizes of a kernel run; nothing is timed while training. */
#include "base/process.h"
#include "runtime/program.h"

#include <ini.h>
#include <stdio.h>

typedef struct reading {
    clvi_device *device;
    clv_error *error;
    clv_status status;
    char reason[200]; /* of the first bad line */
} reading;

static const clvi_tuning_item *find(const clvi_tuning *tuning, const char *key)
{
    for (size_t i = 0; i < tuning->count; i++) {
        if (strcmp(tuning->items[i].key, key) == 0)
            return &tuning->items[i];
    }
    return NULL;
}

static bool is_key(const char *name)
{
    const size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && name[length] == '\0';
}

/* The value of a line as a number: the form is a word. */
static bool read_value(const char *name, const char *value, int64_t *number)
{
    if (strcmp(name, "form") == 0) {
        *number = strcmp(value, "tiled") == 0 ? CLVI_FORM_TILED : CLVI_FORM_WIDE;
        return strcmp(value, "tiled") == 0 || strcmp(value, "wide") == 0;
    }
    return clvi_parse_int(value, number) && *number >= 0 && *number <= INT32_MAX;
}

/* inih's handler: 0 makes ini_parse_string return the line's number. */
static int take_line(void *user, const char *section, const char *name, const char *value)
{
    reading *r = user;
    clvi_tuning *tuning = &r->device->tuning;
    int64_t number = 0;
    if (r->status != CLV_OK || r->reason[0] != '\0')
        return 0;
    if (section[0] != '\0')
        snprintf(r->reason, sizeof(r->reason), "tuning records have no sections");
    else if (!is_key(name))
        snprintf(r->reason, sizeof(r->reason), "\"%.60s\" is no key", name);
    else if (!read_value(name, value, &number))
        snprintf(r->reason, sizeof(r->reason), "%.60s: \"%.60s\" is no %s", name, value,
                 strcmp(name, "form") == 0 ? "form; these are wide and tiled" : "count");
    else if (find(tuning, name) != NULL)
        snprintf(r->reason, sizeof(r->reason), "%.60s is given twice", name);
    if (r->reason[0] != '\0')
        return 0;
    r->status = clvi_grow((void **)&tuning->items, &tuning->capacity, tuning->count + 1,
                          sizeof(*tuning->items), r->error);
    char *key = r->status == CLV_OK ? clvi_arena_strdup(r->device->arena, name) : NULL;
    if (key == NULL) {
        r->status = CLV_E_MEMORY;
        return 0;
    }
    tuning->items[tuning->count++] = (clvi_tuning_item){key, (int)number};
    return 1;
}

static bool is_power_of_two(const clvi_tuning_item *item, int most)
{
    return item != NULL && item->value >= 1 && item->value <= most &&
           (item->value & (item->value - 1)) == 0;
}

/* What the kernels rely on. */
static clv_status check_record(const clvi_tuning *tuning, const char *file, clv_error *error)
{
    const clvi_tuning_item *vector = find(tuning, "vector");
    if (vector == NULL || (vector->value != 4 && vector->value != 8 && vector->value != 16))
        CLV_FAIL(error, CLV_E_CONFIG, "%s: vector must be 4, 8 or 16", file);
    if (find(tuning, "form") == NULL)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: form must be wide or tiled", file);
    if (!is_power_of_two(find(tuning, "items"), 256))
        CLV_FAIL(error, CLV_E_CONFIG, "%s: items must be a power of two, at most 256", file);
    return CLV_OK;
}

clv_status clvi_tuning_load(clvi_device *device, clv_error *error)
{
    char file[64];
    char *text = NULL;
    size_t bytes = 0;
    snprintf(file, sizeof(file), "tuning/%s.ini", device->tuning.record);
    CLV_TRY(clvi_source_load(file, &text, &bytes, error));
    reading r = {.device = device, .error = error};
    const int line = ini_parse_string(text, take_line, &r);
    clvi_free(text);
    if (r.status != CLV_OK)
        CLV_FAIL(error, r.status, "out of memory: the tuning record %s", file);
    if (line != 0)
        CLV_FAIL(error, CLV_E_CONFIG, "%s:%d: %s", file, line,
                 r.reason[0] != '\0' ? r.reason : "neither `key = integer` nor a comment");
    return check_record(&device->tuning, file, error);
}

int clvi_tuning_int(const clvi_device *device, const char *key)
{
    const clvi_tuning_item *item = find(&device->tuning, key);
    CLV_ASSERT(item != NULL);
    return item != NULL ? item->value : 0;
}
