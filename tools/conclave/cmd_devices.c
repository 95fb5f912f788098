/* conclave devices: every OpenCL device of the system, the string that selects it, whether it
 * computes rightly and how fast, why one cannot be used, and what is installed but gives no device.
 */
#include "show.h"
#include "driver_cache.h"
#include "verdicts.h"

#include "base/process.h"
#include "runtime/tuned.h"

static const char *type_name(clvi_device_type type)
{
    return type == CLVI_DEVICE_CPU ? "CPU" : type == CLVI_DEVICE_GPU ? "GPU" : "other";
}

/* Which tuning record counts; the caller frees. NULL: none can be said. */
static char *tuning_of(const clvi_runtime *runtime, size_t index)
{
    clvi_text text = {0};
    clv_error none = CLV_ERROR_INIT; /* opening the device would report it */
    if (clvi_runtime_tuning(runtime, index, &text, &none) == CLV_OK && !text.failed)
        return text.data;
    clvi_text_fini(&text);
    return NULL;
}

static void print_device(const cli_verdicts *verdicts, size_t index, bool chosen)
{
    const clvi_device_info *info = clvi_runtime_device(verdicts->runtime, index);
    const cli_verdict *verdict = &verdicts->list[index];
    printf("%s%-5s %s\n", chosen ? "* " : "  ", info->selector, info->name);
    printf("        %s, %s, %s, driver %s\n", type_name(info->type), info->platform, info->version,
           info->driver);
    printf("        %u compute units, %.1f GB of memory, at most %.1f GB in one buffer\n",
           info->compute_units, (double)info->global_bytes / (1 << 30),
           (double)info->max_alloc_bytes / (1 << 30));
    char *tuning = info->refused == NULL ? tuning_of(verdicts->runtime, index) : NULL;
    if (tuning != NULL)
        printf("        tuning: %s\n", tuning);
    clvi_free(tuning);
    if (info->refused != NULL)
        printf("        refused: %s\n", info->refused);
    else if (verdict->known && verdict->good)
        printf("        self-check: good, matrix product %.3g GFLOP/s (%.1f s)\n", verdict->gflops,
               verdict->seconds);
    else if (verdict->known)
        printf("        refused: self-check: %s\n", verdict->text);
    fflush(stdout);
}

static void print_notes(const clvi_runtime *runtime)
{
    for (const char *line = clvi_runtime_notes(runtime); *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        printf("note: %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void print_text(const cli_verdicts *verdicts, int64_t chosen, bool quiet)
{
    for (size_t i = 0; i < verdicts->count; i++)
        print_device(verdicts, i, (int64_t)i == chosen);
    if (verdicts->count == 0)
        puts("no OpenCL device");
    if (quiet)
        return;
    print_notes(verdicts->runtime);
    if (chosen >= 0)
        printf("* is taken by select = auto; choose with --device or [device] select, by %s, cpu, "
               "gpu or a part of a name\n",
               clvi_runtime_device(verdicts->runtime, (size_t)chosen)->selector);
}

static json_t *verdict_json(const cli_verdict *verdict)
{
    if (!verdict->known)
        return json_null();
    if (!verdict->good)
        return json_pack("{s:b, s:s}", "good", false, "reason", verdict->text);
    return json_pack("{s:b, s:f, s:f}", "good", true, "gflops", verdict->gflops, "seconds",
                     verdict->seconds);
}

static json_t *device_json(const cli_verdicts *verdicts, size_t index, bool chosen)
{
    const clvi_device_info *info = clvi_runtime_device(verdicts->runtime, index);
    char *tuning = info->refused == NULL ? tuning_of(verdicts->runtime, index) : NULL;
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:s?, s:b, s:s?, s:o}",
                  "select", info->selector, "name", info->name, "type", type_name(info->type),
                  "platform", info->platform, "vendor", info->vendor, "version", info->version,
                  "driver", info->driver, "global_bytes", (json_int_t)info->global_bytes,
                  "max_alloc_bytes", (json_int_t)info->max_alloc_bytes, "compute_units",
                  (int)info->compute_units, "tuning", tuning, "auto", chosen, "refused",
                  info->refused, "self_check", verdict_json(&verdicts->list[index]));
    clvi_free(tuning);
    return json;
}

/* {"devices": [ … ], "notes": [ … ]} */
static clv_status print_json(const cli_verdicts *verdicts, int64_t chosen, clv_error *error)
{
    json_t *devices = json_array(), *notes = json_array();
    for (size_t i = 0; i < verdicts->count; i++)
        json_array_append_new(devices, device_json(verdicts, i, (int64_t)i == chosen));
    for (const char *line = clvi_runtime_notes(verdicts->runtime); *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        json_array_append_new(notes, json_stringn(line, length));
        line += length + (line[length] == '\n');
    }
    return cli_show_json(json_pack("{s:o, s:o}", "devices", devices, "notes", notes), 2, error);
}

/* What select = auto takes, -1: none. A device that is alone need not have been checked. */
static int64_t find_auto(const cli_verdicts *verdicts)
{
    const clvi_device_info *info = NULL;
    clv_error none = CLV_ERROR_INIT; /* that there is no device is a result here */
    const bool open = strcmp(clvi_runtime_wanted("auto"), "auto") == 0;
    const int64_t best = open ? cli_verdicts_best(verdicts) : -1;
    if (best >= 0 || clvi_runtime_find(verdicts->runtime, "auto", &info, &none) != CLV_OK)
        return best;
    for (size_t i = 0; i < verdicts->count; i++) {
        const cli_verdict *v = &verdicts->list[i];
        if (clvi_runtime_device(verdicts->runtime, i) == info && (!v->known || v->good))
            return (int64_t)i;
    }
    return -1;
}

static clv_status check_all(cli_verdicts *verdicts, const cli_args *args, clv_error *error)
{
    int64_t seconds = CLI_CHECK_SECONDS;
    CLV_TRY(cli_option_int(args, "time-limit", 1, 86400, &seconds, error));
    if (cli_flag(args, "no-check"))
        return CLV_OK;
    for (size_t i = 0; i < verdicts->count; i++) {
        const clvi_device_info *info = clvi_runtime_device(verdicts->runtime, i);
        if (info->refused != NULL)
            continue;
        clvi_log(CLVI_LOG_INFO, "trying out %s, %s (%zu of %zu)", info->selector, info->name, i + 1,
                 verdicts->count);
        CLV_TRY(cli_verdicts_check(verdicts, i, (double)seconds, error));
    }
    cli_verdicts_save(verdicts);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    if (cli_count(args) > 0)
        CLV_FAIL(error, CLV_E_USAGE, "devices takes no argument: \"%s\"", cli_at(args, 0));
    clvi_runtime *runtime = NULL;
    cli_verdicts verdicts = {0};
    CLV_TRY(cli_runtime_create(&runtime, error));
    clv_status status = cli_verdicts_open(runtime, &verdicts, error);
    if (status == CLV_OK)
        status = check_all(&verdicts, args, error);
    if (status == CLV_OK && cli_flag(args, "json"))
        status = print_json(&verdicts, find_auto(&verdicts), error);
    else if (status == CLV_OK)
        print_text(&verdicts, find_auto(&verdicts), cli_quiet(args));
    cli_verdicts_close(&verdicts);
    clvi_runtime_destroy(runtime);
    return status;
}

static const cli_option options[] = {
    {"no-check", NULL, "list only; shows what an earlier check found", 0, false},
    {"time-limit", "SECONDS", "a step of a check that takes longer hangs; 120 if not given", 0,
     false},
    {"json", NULL, "one JSON object instead of text", 0, false},
};

const cli_command cmd_devices = {
    .name = "devices",
    .summary = "List and try out the OpenCL devices, and how to select them",
    .usage = "[--no-check] [--json]",
    .example = "conclave devices",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
