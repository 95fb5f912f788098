/* conclave devices: every OpenCL device of the system, the string that selects it, why one cannot
 * be used, and what is installed but gives no device. */
#include "command.h"
#include "runtime/runtime.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char *type_name(clvi_device_type type)
{
    return type == CLVI_DEVICE_CPU ? "CPU" : type == CLVI_DEVICE_GPU ? "GPU" : "other";
}

static void print_device(const clvi_device_info *info, bool chosen)
{
    printf("%s%-5s %s\n", chosen ? "* " : "  ", info->selector, info->name);
    printf("        %s, %s, %s, driver %s\n", type_name(info->type), info->platform, info->version,
           info->driver);
    printf("        %u compute units, %.1f GB of memory, at most %.1f GB in one buffer\n",
           info->compute_units, (double)info->global_bytes / (1 << 30),
           (double)info->max_alloc_bytes / (1 << 30));
    if (info->refused != NULL)
        printf("        refused: %s\n", info->refused);
}

static void print_text(const clvi_runtime *runtime, const clvi_device_info *chosen, bool quiet)
{
    const size_t count = clvi_runtime_device_count(runtime);
    for (size_t i = 0; i < count; i++) {
        const clvi_device_info *info = clvi_runtime_device(runtime, i);
        print_device(info, info == chosen);
    }
    if (count == 0)
        puts("no OpenCL device");
    const char *notes = clvi_runtime_notes(runtime);
    for (const char *line = notes; !quiet && *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        printf("note: %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    if (!quiet && chosen != NULL)
        printf("* is taken by select = auto; choose with --device or [device] select, by %s, cpu, "
               "gpu or a part of a name\n",
               chosen->selector);
}

static json_t *device_json(const clvi_device_info *info, bool chosen)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:b, s:s?}", "select",
                     info->selector, "name", info->name, "type", type_name(info->type), "platform",
                     info->platform, "vendor", info->vendor, "version", info->version, "driver",
                     info->driver, "global_bytes", (json_int_t)info->global_bytes,
                     "max_alloc_bytes", (json_int_t)info->max_alloc_bytes, "compute_units",
                     (int)info->compute_units, "auto", chosen, "refused", info->refused);
}

/* {"devices": [ … ], "notes": [ … ]} */
static clv_status print_json(const clvi_runtime *runtime, const clvi_device_info *chosen,
                             clv_error *error)
{
    json_t *devices = json_array(), *notes = json_array();
    for (size_t i = 0; i < clvi_runtime_device_count(runtime); i++) {
        const clvi_device_info *info = clvi_runtime_device(runtime, i);
        json_array_append_new(devices, device_json(info, info == chosen));
    }
    for (const char *line = clvi_runtime_notes(runtime); *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        json_array_append_new(notes, json_stringn(line, length));
        line += length + (line[length] == '\n');
    }
    json_t *whole = json_pack("{s:o, s:o}", "devices", devices, "notes", notes);
    char *text = whole != NULL ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    json_decref(whole);
    if (text == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the list of devices");
    puts(text);
    free(text);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    if (cli_count(args) > 0)
        CLV_FAIL(error, CLV_E_USAGE, "devices takes no argument: \"%s\"", cli_at(args, 0));
    clvi_runtime *runtime = NULL;
    CLV_TRY(clvi_runtime_create(&runtime, error));
    const clvi_device_info *chosen = NULL;
    clv_error none = CLV_ERROR_INIT; /* that there is no device is a result here */
    const bool found = clvi_runtime_find(runtime, "auto", &chosen, &none) == CLV_OK;
    clv_status status = CLV_OK;
    if (cli_flag(args, "json"))
        status = print_json(runtime, found ? chosen : NULL, error);
    else
        print_text(runtime, found ? chosen : NULL, cli_quiet(args));
    clvi_runtime_destroy(runtime);
    return status;
}

static const cli_option options[] = {
    {"json", NULL, "one JSON object instead of text", 0, false},
};

const cli_command cmd_devices = {
    .name = "devices",
    .summary = "List the OpenCL devices and how to select them",
    .usage = "[--json]",
    .example = "conclave devices",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
