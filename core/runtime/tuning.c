/* Tuning records: kernels/tuning/<class>.ini, lines of `key = integer` without sections, and
 * `form = wide | tiled`; and the user's own (tuned.h), which in addition names what it was measured
 * with and may give classes of products to a provider. The record decides which form and which
 * block sizes of a kernel run; nothing is timed while training. */
#include "runtime/tuned.h"

#include "base/files.h"
#include "base/process.h"
#include "runtime/kernel_sources.h"
#include "runtime/program.h"

#include <ini.h>
#include <stdio.h>

enum { GEMM_UNSAID, GEMM_NATIVE, GEMM_CLBLAST };

/* What a user's record says of itself. */
typedef enum head_key { HEAD_DEVICE, HEAD_DRIVER, HEAD_KERNELS, HEAD_DATE, HEAD_KEYS } head_key;
static const char *const head_names[HEAD_KEYS] = {"device", "driver", "kernels", "date"};

typedef struct reading {
    clvi_tuning *tuning;     /* items are added to it */
    const clvi_tuning *base; /* of a user's record: the shipped one, whose keys it may change */
    char *head[HEAD_KEYS];   /* of a user's record; in the arena */
    clv_error *error;
    clv_status status;
    char reason[200]; /* of the first bad line */
} reading;

/* What the kernels can do; others of a record's keys are any count. */
static const struct {
    const char *key;
    int least, most;
    bool power; /* of two */
} ranges[] = {
    {"vector", 4, 16, true},
    {"items", 1, 256, true},
    {"gemm_mr", 1, 16, false},
    {"gemm_nv", 1, 8, false},
    {"param_mr", 1, 16, false},
    {"group_work", 1, 1 << 30, false},
    {"cached_weights", 0, 1 << 30, false},
    {"tile_side", 8, 16, true},
    {"tile_block", 1, 8, false},
    {"prefetch", 0, 1, false},
    {"chain", 0, 1, false},
};

static const clvi_tuning_item *find(const clvi_tuning *tuning, const char *key)
{
    for (size_t i = 0; i < tuning->count; i++) {
        if (strcmp(tuning->items[i].key, key) == 0)
            return &tuning->items[i];
    }
    return NULL;
}

/* ---- Lines ---- */

/* The value of a line as a number: the form is a word. */
static bool read_value(const char *name, const char *value, int64_t *number)
{
    if (strcmp(name, "form") == 0) {
        *number = strcmp(value, "tiled") == 0 ? CLVI_FORM_TILED : CLVI_FORM_WIDE;
        return strcmp(value, "tiled") == 0 || strcmp(value, "wide") == 0;
    }
    return clvi_parse_int(value, number) && *number >= 0 && *number <= INT32_MAX;
}

static void check_range(reading *r, const char *name, int64_t number)
{
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (strcmp(ranges[i].key, name) != 0)
            continue;
        if (number < ranges[i].least || number > ranges[i].most ||
            (ranges[i].power && (number & (number - 1)) != 0))
            snprintf(r->reason, sizeof(r->reason), "%s must be %s from %d to %d", name,
                     ranges[i].power ? "a power of two" : "a number", ranges[i].least,
                     ranges[i].most);
    }
}

/* What only a user's record has. True: it was such a line. */
static bool take_own_line(reading *r, const char *name, const char *value)
{
    for (int i = 0; i < HEAD_KEYS; i++) {
        if (strcmp(name, head_names[i]) != 0)
            continue;
        r->head[i] = clvi_arena_strdup(r->tuning->arena, value);
        r->status = r->head[i] != NULL ? CLV_OK : CLV_E_MEMORY;
        return true;
    }
    for (unsigned i = 0; i < CLVI_GEMM_CLASSES; i++) {
        if (strcmp(name, clvi_gemm_class_key(i)) != 0)
            continue;
        const bool clblast = strcmp(value, "clblast") == 0;
        if (!clblast && strcmp(value, "native") != 0)
            snprintf(r->reason, sizeof(r->reason), "%s is \"%.60s\"; it is native or clblast", name,
                     value);
        r->tuning->gemm[i] = clblast ? GEMM_CLBLAST : GEMM_NATIVE;
        return true;
    }
    const clvi_tuning_item *item = find(r->base, name);
    if (item == NULL)
        snprintf(r->reason, sizeof(r->reason), "the record %s has no key \"%.60s\"",
                 r->base->record, name);
    return item == NULL;
}

static void check_line(reading *r, const char *name, const char *value, int64_t *number)
{
    if (!clvi_is_plain_name(name, SIZE_MAX))
        snprintf(r->reason, sizeof(r->reason), "\"%.60s\" is no key", name);
    else if (find(r->tuning, name) != NULL)
        snprintf(r->reason, sizeof(r->reason), "%.60s is given twice", name);
    else if (!read_value(name, value, number))
        snprintf(r->reason, sizeof(r->reason), "%.60s: \"%.60s\" is no %s", name, value,
                 strcmp(name, "form") == 0 ? "form; these are wide and tiled" : "count");
    else if (r->base != NULL && strcmp(name, "form") == 0 && *number != find(r->base, name)->value)
        snprintf(r->reason, sizeof(r->reason), "the record %s has another form", r->base->record);
    else
        check_range(r, name, *number);
}

/* inih's handler: 0 makes ini_parse_string return the line's number. */
static int take_line(void *user, const char *section, const char *name, const char *value)
{
    reading *r = user;
    clvi_tuning *tuning = r->tuning;
    int64_t number = 0;
    if (r->status != CLV_OK || r->reason[0] != '\0')
        return 0;
    if (section[0] != '\0')
        snprintf(r->reason, sizeof(r->reason), "tuning records have no sections");
    else if (r->base != NULL && clvi_is_plain_name(name, SIZE_MAX) && take_own_line(r, name, value))
        return r->status == CLV_OK && r->reason[0] == '\0';
    else
        check_line(r, name, value, &number);
    if (r->reason[0] != '\0')
        return 0;
    r->status = clvi_grow((void **)&tuning->items, &tuning->capacity, tuning->count + 1,
                          sizeof(*tuning->items), r->error);
    char *key = r->status == CLV_OK ? clvi_arena_strdup(tuning->arena, name) : NULL;
    if (key == NULL) {
        r->status = CLV_E_MEMORY;
        return 0;
    }
    tuning->items[tuning->count++] = (clvi_tuning_item){key, (int)number};
    return 1;
}

/* `file` is for messages. */
static clv_status parse(reading *r, const char *file, const char *text, clv_error *error)
{
    r->error = error;
    const int line = ini_parse_string(text, take_line, r);
    if (r->status != CLV_OK)
        CLV_FAIL(error, r->status, "out of memory: the tuning record %s", file);
    if (line != 0)
        CLV_FAIL(error, CLV_E_CONFIG, "%s:%d: %s", file, line,
                 r->reason[0] != '\0' ? r->reason : "neither `key = integer` nor a comment");
    return CLV_OK;
}

/* ---- The shipped record ---- */

bool clvi_tuning_gpu_class(const clvi_found_device *found)
{
    return found->info.type != CLVI_DEVICE_CPU || found->rusticl;
}

/* Which record of kernels/tuning is made for the device's class. */
static const char *class_of(const clvi_found_device *found)
{
    if (clvi_tuning_gpu_class(found))
        return found->info.max_group < 256 ? "gpu64" : "gpu";
    return found->vector >= 16 ? "cpu16" : found->vector >= 8 ? "cpu8" : "cpu4";
}

/* Which of them answers for the device, and so which form of the kernels it runs. */
static clv_status choose_record(const clvi_found_device *found, const char **record,
                                clv_error *error)
{
    static const char *const records[] = {"cpu16", "cpu8", "cpu4", "gpu", "gpu64"};
    const char *wanted = clvi_env_get(CLVI_ENV_TUNING);
    *record = class_of(found);
    if (wanted == NULL)
        return CLV_OK;
    for (size_t i = 0; i < sizeof(records) / sizeof(*records); i++) {
        if (strcmp(wanted, records[i]) == 0) {
            *record = records[i];
            return CLV_OK;
        }
    }
    CLV_FAIL(error, CLV_E_CONFIG,
             "%s is \"%.60s\"; the tuning records are cpu16, cpu8, cpu4, gpu and gpu64",
             clvi_env_name(CLVI_ENV_TUNING), wanted);
}

/* What the kernels rely on. */
static clv_status load_shipped(clvi_tuning *tuning, clv_error *error)
{
    char file[64];
    char *text = NULL;
    size_t bytes = 0;
    snprintf(file, sizeof(file), "tuning/%s.ini", tuning->record);
    CLV_TRY(clvi_source_load(file, &text, &bytes, error));
    reading r = {.tuning = tuning};
    const clv_status status = parse(&r, file, text, error);
    clvi_free(text);
    CLV_TRY(status);
    if (find(tuning, "vector") == NULL)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: there is no vector", file);
    if (find(tuning, "form") == NULL)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: form must be wide or tiled", file);
    if (find(tuning, "items") == NULL)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: there are no items", file);
    return CLV_OK;
}

/* ---- The user's ---- */

enum { HEAD_BYTES = 150, MOST_RECORD_BYTES = 1 << 16 };

/* A text as it can stand in a line of a record: one line, no comment in it, not too long. */
static const char *plain(const char *text, char out[HEAD_BYTES])
{
    char shown[4 * HEAD_BYTES];
    clvi_printable(text + strspn(text, " \t"), shown, sizeof(shown));
    for (char *c = shown; *c != '\0'; c++)
        *c = *c == ';' || *c == '#' || *c == '"' ? ',' : *c;
    size_t length = strlen(shown) < HEAD_BYTES - 1 ? strlen(shown) : HEAD_BYTES - 1;
    while (length > 0 &&
           (shown[length - 1] == ' ' || ((unsigned char)shown[length] & 0xC0) == 0x80))
        length--;
    memcpy(out, shown, length);
    out[length] = '\0';
    return out;
}

static uint64_t hash(uint64_t from, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        from = (from ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return from;
}

enum { KERNELS_BYTES = 17 };
static const char *kernels_text(char out[KERNELS_BYTES])
{
    snprintf(out, KERNELS_BYTES, "%016llx", (unsigned long long)clvi_kernels_hash());
    return out;
}

uint64_t clvi_kernels_hash(void)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < clvi_kernel_source_count; i++) {
        clv_error none = CLV_ERROR_INIT; /* a loose file that is broken counts by its name */
        char *text = NULL;
        size_t bytes = 0;
        sum = hash(sum, clvi_kernel_sources[i].name, strlen(clvi_kernel_sources[i].name));
        if (clvi_source_load(clvi_kernel_sources[i].name, &text, &bytes, &none) == CLV_OK)
            sum = hash(sum, text, bytes);
        clvi_free(text);
    }
    return sum;
}

char *clvi_tuned_path(const clvi_device_info *info)
{
    const char *const parts[] = {info->platform, info->name, info->version, info->driver};
    uint64_t sum = 0xcbf29ce484222325u;
    char name[64];
    size_t used = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        sum = hash(sum, parts[i], strlen(parts[i]) + 1);
    for (const char *c = info->name; *c != '\0' && used < 40; c++) {
        const bool good =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (good || (used > 0 && name[used - 1] != '-'))
            name[used++] = (char)(good ? *c : '-');
    }
    snprintf(name + used, sizeof(name) - used, "-%08x.ini", (unsigned)(sum ^ sum >> 32));
    char *cache = clvi_cache_folder();
    char *folder = cache != NULL ? clvi_path_join(cache, "tuning") : NULL;
    char *path = folder != NULL ? clvi_path_join(folder, name) : NULL;
    clvi_free(folder);
    clvi_free(cache);
    return path;
}

void clvi_tuned_head(const clvi_device_info *info, const char *date, clvi_text *out)
{
    char device[HEAD_BYTES], driver[HEAD_BYTES], kernels[KERNELS_BYTES];
    clvi_text_printf(out, "device = %s\ndriver = %s\nkernels = %s\ndate = %s\n",
                     plain(info->name, device), plain(info->driver, driver), kernels_text(kernels),
                     date);
}

/* Whether a record is of this device, driver and these kernels; else a note says why not. */
static bool is_meant(const reading *r, const clvi_device_info *info, const char *path)
{
    char device[HEAD_BYTES], driver[HEAD_BYTES], kernels[KERNELS_BYTES];
    const char *const wanted[] = {plain(info->name, device), plain(info->driver, driver),
                                  kernels_text(kernels)};
    static const char *const what[] = {"on another device", "with another driver",
                                       "with another version of the kernels"};
    for (int i = 0; i < HEAD_DATE; i++) {
        if (strcmp(r->head[i], wanted[i]) == 0)
            continue;
        clvi_log(CLVI_LOG_INFO,
                 "tuning: %s was measured %s, the shipped record %s is taken; `conclave tune` "
                 "measures anew",
                 path, what[i], r->base->record);
        return false;
    }
    return true;
}

/* Puts what `mine` says over what stands in `tuning`. */
static void change(clvi_tuning *tuning, const clvi_tuning *mine)
{
    for (size_t i = 0; i < tuning->count; i++) {
        const clvi_tuning_item *item = find(mine, tuning->items[i].key);
        if (item == NULL)
            continue;
        tuning->changed = tuning->changed || item->value != tuning->items[i].value;
        tuning->items[i].value = item->value;
    }
    memcpy(tuning->gemm, mine->gemm, sizeof(tuning->gemm));
}

static clv_status take_given(clvi_tuning *tuning, const char *text, clv_error *error)
{
    clvi_tuning mine = {.arena = tuning->arena};
    reading r = {.tuning = &mine, .base = tuning};
    const clv_status status = parse(&r, "tuning record", text, error);
    if (status == CLV_OK)
        change(tuning, &mine);
    clvi_free(mine.items);
    return status;
}

/* The file at `path`. Errors: what is wrong with it, by file and line. */
static clv_status take_file(clvi_tuning *tuning, const clvi_device_info *info, const char *path,
                            clv_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    CLV_TRY(clvi_file_read(path, MOST_RECORD_BYTES, &text, &bytes, error));
    clvi_tuning mine = {.arena = tuning->arena};
    reading r = {.tuning = &mine, .base = tuning};
    clv_status status = parse(&r, path, text, error);
    for (int i = 0; status == CLV_OK && i < HEAD_KEYS; i++)
        if (r.head[i] == NULL)
            status = clvi_fail(error, CLV_E_CONFIG, CLV_HERE, "%s:1: there is no line `%s = …`",
                               path, head_names[i]);
    if (status == CLV_OK && is_meant(&r, info, path)) {
        tuning->path = clvi_arena_strdup(tuning->arena, path);
        tuning->date = r.head[HEAD_DATE];
        if (tuning->path == NULL)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: %s", path);
        else
            change(tuning, &mine);
    }
    clvi_free(mine.items);
    clvi_free(text);
    return status;
}

/* The record in the cache folder, where there is one. What is wrong with it never ends anything. */
static void take_own(clvi_tuning *tuning, const clvi_device_info *info)
{
    clv_error error = CLV_ERROR_INIT;
    char *path = clvi_tuned_path(info);
    if (path != NULL && clvi_is_file(path) && take_file(tuning, info, path, &error) != CLV_OK)
        clvi_log(CLVI_LOG_WARN,
                 "%s; the shipped tuning record %s is taken (`conclave tune` writes a new one, "
                 "`conclave tune --remove` deletes it)",
                 error.message, tuning->record);
    clvi_free(path);
}

static uint32_t digest_of(const clvi_tuning *tuning)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < tuning->count; i++) {
        sum = hash(sum, tuning->items[i].key, strlen(tuning->items[i].key) + 1);
        sum = hash(sum, &tuning->items[i].value, sizeof(tuning->items[i].value));
    }
    sum = hash(sum, tuning->gemm, sizeof(tuning->gemm));
    return (uint32_t)(sum ^ sum >> 32);
}

clv_status clvi_tuning_load(const clvi_found_device *found, const char *given, clvi_arena *arena,
                            clvi_tuning *out, clv_error *error)
{
    clvi_tuning tuning = {.arena = arena};
    CLV_TRY(choose_record(found, &tuning.record, error));
    clv_status status = load_shipped(&tuning, error);
    if (status == CLV_OK && given != NULL)
        status = take_given(&tuning, given, error);
    else if (status == CLV_OK && clvi_env_get(CLVI_ENV_TUNING) == NULL)
        take_own(&tuning, &found->info);
    if (status != CLV_OK) {
        clvi_free(tuning.items);
        return status;
    }
    const bool gpu = clvi_tuning_gpu_class(found);
    for (unsigned i = 0; i < CLVI_GEMM_CLASSES; i++)
        tuning.changed = tuning.changed || tuning.gemm[i] == (gpu ? GEMM_NATIVE : GEMM_CLBLAST);
    tuning.digest = digest_of(&tuning);
    *out = tuning;
    return CLV_OK;
}

/* ---- Questions ---- */

uint32_t clvi_tuning_clblast(const clvi_tuning *tuning, bool otherwise)
{
    uint32_t classes = 0;
    for (unsigned i = 0; i < CLVI_GEMM_CLASSES; i++)
        if (tuning->gemm[i] == GEMM_CLBLAST || (tuning->gemm[i] == GEMM_UNSAID && otherwise))
            classes |= 1u << i;
    return classes;
}

int clvi_tuning_int(const clvi_device *device, const char *key)
{
    const clvi_tuning_item *item = find(&device->tuning, key);
    CLV_ASSERT(item != NULL);
    return item != NULL ? item->value : 0;
}

clvi_tuning_state clvi_device_tuning(const clvi_device *device)
{
    const clvi_tuning *t = &device->tuning;
    return (clvi_tuning_state){t->record, t->path, t->date, t->changed, t->digest};
}

static void describe(const clvi_tuning *t, clvi_text *out)
{
    if (t->path == NULL)
        clvi_text_printf(out, "shipped record %s", t->record);
    else if (t->changed)
        clvi_text_printf(out, "%s of %s (tuned %08x), over the shipped record %s", t->path, t->date,
                         (unsigned)t->digest, t->record);
    else
        clvi_text_printf(out, "%s of %s, which found the shipped record %s best", t->path, t->date,
                         t->record);
}

clv_status clvi_runtime_tuning(const clvi_runtime *runtime, size_t index, clvi_text *out,
                               clv_error *error)
{
    clvi_arena *arena = NULL;
    clvi_tuning tuning = {0};
    CLV_TRY(clvi_arena_create(&arena, error));
    const clv_status status = clvi_tuning_load(&runtime->found[index], NULL, arena, &tuning, error);
    if (status == CLV_OK)
        describe(&tuning, out);
    clvi_free(tuning.items);
    clvi_arena_destroy(arena);
    return status;
}
