#include "verdicts.h"

#include "base/child.h"

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "runtime/tuned.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>

/* ---- What is remembered: {KEY: {SELECTOR: {"good": …, …}}} ---- */

enum { MOST_FILE_BYTES = 1 << 20, MOST_KEYS = 32 };

/* The caller frees; NULL: out of memory. */
static char *make_key(const clvi_runtime *runtime)
{
    clvi_text text = {0};
    /* Another version of the kernels is to be tried out anew. */
    clvi_text_printf(&text, "kernels %016llx", (unsigned long long)clvi_kernels_hash());
    for (size_t i = 0; i < clvi_runtime_device_count(runtime); i++) {
        const clvi_device_info *info = clvi_runtime_device(runtime, i);
        clvi_text_printf(&text, "; %s %s, %s, %s, driver %s", info->selector, info->platform,
                         info->name, info->version, info->driver);
    }
    if (!text.failed)
        return text.data;
    clvi_text_fini(&text);
    return NULL;
}

static json_t *read_file(const char *path)
{
    clv_error none = CLV_ERROR_INIT; /* most often there is no such file yet */
    char *text = NULL;
    size_t bytes = 0;
    if (path == NULL || clvi_file_read(path, MOST_FILE_BYTES, &text, &bytes, &none) != CLV_OK)
        return NULL;
    json_t *whole = json_loadb(text, bytes, 0, NULL);
    clvi_free(text);
    if (json_is_object(whole))
        return whole;
    json_decref(whole);
    return NULL;
}

static void remember(cli_verdicts *v)
{
    json_t *whole = read_file(v->path);
    json_t *devices = json_object_get(whole, v->key);
    for (size_t i = 0; i < v->count; i++) {
        const char *selector = clvi_runtime_device(v->runtime, i)->selector;
        const json_t *row = json_object_get(devices, selector);
        const json_t *good = json_object_get(row, "good"), *text = json_object_get(row, "text");
        const double gflops = json_number_value(json_object_get(row, "gflops"));
        if (!json_is_boolean(good) || (json_is_true(good) ? !(gflops > 0) : !json_is_string(text)))
            continue;
        cli_verdict *out = &v->list[i];
        *out = (cli_verdict){.known = true, .good = json_is_true(good), .gflops = gflops};
        out->seconds = json_number_value(json_object_get(row, "seconds"));
        if (!out->good)
            clvi_printable(json_string_value(text), out->text, sizeof(out->text));
    }
    json_decref(whole);
}

clv_status cli_verdicts_open(const clvi_runtime *runtime, cli_verdicts *out, clv_error *error)
{
    cli_verdicts v = {.runtime = runtime, .count = clvi_runtime_device_count(runtime)};
    char *folder = clvi_cache_folder();
    v.list = clvi_calloc(v.count + 1, sizeof(*v.list));
    v.key = make_key(runtime);
    v.path = folder != NULL ? clvi_path_join(folder, "devices.json") : NULL;
    clvi_free(folder);
    if (v.list == NULL || v.key == NULL) {
        cli_verdicts_close(&v);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the list of devices");
    }
    remember(&v);
    *out = v;
    return CLV_OK;
}

void cli_verdicts_close(cli_verdicts *verdicts)
{
    clvi_free(verdicts->list);
    clvi_free(verdicts->path);
    clvi_free(verdicts->key);
    *verdicts = (cli_verdicts){0};
}

static clv_status write_file(const cli_verdicts *v, const json_t *whole, clv_error *error)
{
    char *text = json_dumps(whole, JSON_INDENT(1));
    char *folder = clvi_strdup(v->path);
    clv_status status = CLV_OK;
    if (text == NULL || folder == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory");
    if (status == CLV_OK) {
        *strrchr(folder, '/') = '\0';
        status = clvi_make_dirs(folder, 0700, error);
    }
    if (status == CLV_OK)
        status = clvi_file_write(v->path, text, strlen(text), error);
    clvi_free(folder);
    free(text);
    return status;
}

void cli_verdicts_save(const cli_verdicts *verdicts)
{
    clv_error error = CLV_ERROR_INIT;
    if (verdicts->path == NULL)
        return;
    json_t *whole = read_file(verdicts->path), *devices = json_object();
    if (whole == NULL)
        whole = json_object();
    json_object_del(whole, verdicts->key);
    while (json_object_size(whole) >= MOST_KEYS) /* those of drivers that are gone */
        json_object_del(whole, json_object_iter_key(json_object_iter(whole)));
    for (size_t i = 0; i < verdicts->count; i++) {
        const cli_verdict *row = &verdicts->list[i];
        if (row->known)
            json_object_set_new(devices, clvi_runtime_device(verdicts->runtime, i)->selector,
                                json_pack("{s:b, s:f, s:f, s:s}", "good", row->good, "gflops",
                                          row->gflops, "seconds", row->seconds, "text", row->text));
    }
    json_object_set_new(whole, verdicts->key, devices);
    if (write_file(verdicts, whole, &error) != CLV_OK)
        clvi_log(CLVI_LOG_WARN, "what the self-check found is not remembered: %s", error.message);
    json_decref(whole);
}

/* ---- Trying a device out ---- */

/* What the child said; see self_check.c. */
typedef struct report {
    cli_verdict *verdict;
    char now[64]; /* the step that was begun */
    bool ended;
} report;

static void take_line(void *user, const char *line)
{
    report *r = user;
    if (strncmp(line, "begin ", 6) == 0)
        snprintf(r->now, sizeof(r->now), "%s", line + 6);
    else if (strncmp(line, "bad ", 4) == 0)
        snprintf(r->verdict->text, sizeof(r->verdict->text), "%s: %s", r->now, line + 4);
    else if (strncmp(line, "speed ", 6) == 0)
        (void)!clvi_parse_real(line + 6, &r->verdict->gflops);
    else if (strcmp(line, "end") == 0)
        r->ended = true;
}

/* How the child died, when it did not come to its end. */
static void take_end(report *r, const clvi_child_end *end, double seconds)
{
    cli_verdict *v = r->verdict;
    const char *during = r->now[0] != '\0' ? r->now : "start";
    v->good = v->text[0] == '\0' && r->ended && end->status == 0 && end->signal == 0 &&
              !end->silent && v->gflops > 0;
    if (v->good || v->text[0] != '\0')
        return;
    if (end->silent)
        snprintf(v->text, sizeof(v->text), "%s: nothing came back within %.0f s", during, seconds);
    else if (end->signal == SIGXCPU || end->signal == SIGKILL)
        snprintf(v->text, sizeof(v->text), "%s: it used up its processor time", during);
    else if (end->signal != 0)
        snprintf(v->text, sizeof(v->text), "%s: the process was ended by signal %d (%s)", during,
                 end->signal, strsignal(end->signal));
    else
        snprintf(v->text, sizeof(v->text), "%s: the process ended with status %d", during,
                 end->status);
}

clv_status cli_verdicts_check(cli_verdicts *verdicts, size_t index, double seconds,
                              clv_error *error)
{
    const clvi_device_info *info = clvi_runtime_device(verdicts->runtime, index);
    const char *const arguments[] = {"devices-child", "--quiet", info->selector, NULL};
    cli_verdict *verdict = &verdicts->list[index];
    *verdict = (cli_verdict){.known = true};
    report r = {.verdict = verdict};
    const clvi_child_desc desc = {
        .arguments = arguments, .silence_seconds = seconds, .line = take_line, .user = &r};
    clvi_child_end end;
    const double began = clvi_now();
    if (info->refused != NULL) {
        snprintf(verdict->text, sizeof(verdict->text), "%s", info->refused);
        return CLV_OK;
    }
    const clv_status status = clvi_child_run(&desc, &end, error);
    if (status != CLV_OK) {
        verdict->known = false;
        return status;
    }
    verdict->seconds = clvi_now() - began;
    take_end(&r, &end, seconds);
    return CLV_OK;
}

/* ---- Choosing ---- */

int64_t cli_verdicts_best(const cli_verdicts *verdicts)
{
    double most = 0;
    for (size_t i = 0; i < verdicts->count; i++) {
        const cli_verdict *v = &verdicts->list[i];
        if (v->known && v->good && v->gflops > most)
            most = v->gflops;
    }
    for (size_t i = 0; i < verdicts->count; i++) {
        const cli_verdict *v = &verdicts->list[i];
        if (v->known && v->good && v->gflops >= 0.9 * most)
            return (int64_t)i;
    }
    return -1;
}

/* Devices that are not refused at once. */
static size_t count_usable(const clvi_runtime *runtime)
{
    size_t usable = 0;
    for (size_t i = 0; i < clvi_runtime_device_count(runtime); i++)
        usable += clvi_runtime_device(runtime, i)->refused == NULL;
    return usable;
}

/* The device that is named, or the only one: unless it is known to be bad. */
static clv_status take_named(const cli_verdicts *v, const char *select, cli_choice *out,
                             clv_error *error)
{
    const clvi_device_info *info = NULL;
    CLV_TRY(clvi_runtime_find(v->runtime, select, &info, error));
    for (size_t i = 0; i < v->count; i++) {
        if (clvi_runtime_device(v->runtime, i) == info && v->list[i].known && !v->list[i].good)
            CLV_FAIL(error, CLV_E_DEVICE,
                     "device %s (%s, %s) failed its self-check: %s; `conclave devices` tries it "
                     "again",
                     info->selector, info->platform, info->name, v->list[i].text);
    }
    *out = (cli_choice){.select = info->selector};
    return CLV_OK;
}

static clv_status check_unknown(cli_verdicts *v, clv_error *error)
{
    bool checked = false;
    for (size_t i = 0; i < v->count; i++) {
        const clvi_device_info *info = clvi_runtime_device(v->runtime, i);
        if (v->list[i].known || info->refused != NULL)
            continue;
        if (!checked)
            clvi_log(CLVI_LOG_INFO, "device: trying out which of %zu is fastest, once",
                     count_usable(v->runtime));
        checked = true;
        CLV_TRY(cli_verdicts_check(v, i, CLI_CHECK_SECONDS, error));
        if (!v->list[i].good)
            clvi_log(CLVI_LOG_WARN, "device %s (%s, %s) is not used, it fails its self-check: %s",
                     info->selector, info->platform, info->name, v->list[i].text);
    }
    if (checked)
        cli_verdicts_save(v);
    return CLV_OK;
}

static clv_status take_fastest(cli_verdicts *v, cli_choice *out, clv_error *error)
{
    const size_t usable = count_usable(v->runtime);
    CLV_TRY(check_unknown(v, error));
    const int64_t best = cli_verdicts_best(v);
    if (best < 0)
        CLV_FAIL(error, CLV_E_DEVICE,
                 "all %zu OpenCL devices fail their self-check; `conclave devices` says how",
                 usable);
    *out = (cli_choice){.select = clvi_runtime_device(v->runtime, (size_t)best)->selector};
    snprintf(out->note, sizeof(out->note), ", fastest of %zu in the self-check (%.3g GFLOP/s)",
             usable, v->list[best].gflops);
    return CLV_OK;
}

clv_status cli_choose_device(const clvi_runtime *runtime, const char *select, cli_choice *out,
                             clv_error *error)
{
    const char *wanted = clvi_runtime_wanted(select);
    cli_verdicts verdicts;
    CLV_TRY(cli_verdicts_open(runtime, &verdicts, error));
    const bool open = strcmp(wanted, "auto") == 0 && count_usable(runtime) > 1;
    const clv_status status =
        open ? take_fastest(&verdicts, out, error) : take_named(&verdicts, wanted, out, error);
    cli_verdicts_close(&verdicts);
    return status;
}
