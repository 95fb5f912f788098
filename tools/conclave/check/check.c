/* conclave check-plugin-child: runs the checks one after the other and reports. Not for use by
 * hand: `conclave check-plugin` starts it. */
#include "check/check.h"
#include "driver_cache.h"

#include "command.h"

#include "base/child.h"

/* ---- Reporting ---- */

CLV_PRINTF(3, 0)
static void say(check *c, const char *verdict, const char *format, va_list arguments)
{
    char text[700], shown[700];
    if (c->said)
        return;
    c->said = true;
    c->wrong = strcmp(verdict, "bad") == 0;
    vsnprintf(text, sizeof(text), format, arguments);
    fprintf(c->report, "%s %s %s\n", verdict, c->now, clvi_printable(text, shown, sizeof(shown)));
    fflush(c->report);
}

void check_begin(check *c, const char *name)
{
    c->now = name;
    c->said = false;
    fprintf(c->report, "begin %s\n", name);
    fflush(c->report);
}

void check_ok(check *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(c, "ok", format, arguments);
    va_end(arguments);
}

void check_bad(check *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(c, "bad", format, arguments);
    va_end(arguments);
}

void check_note(check *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(c, "note", format, arguments);
    va_end(arguments);
}

bool check_works(check *c, clv_status status, const clv_error *error)
{
    if (status != CLV_OK)
        check_bad(c, "%s", error->message[0] != '\0' ? error->message : clv_status_text(status));
    return status == CLV_OK;
}

/* ---- The checks in order ---- */

/* What a check needs to have gone well before. */
typedef enum check_after {
    AFTER_NOTHING,
    AFTER_TABLE,
    AFTER_OPTIONS,
    AFTER_BUILD,
    ON_DEVICE
} check_after;

typedef struct check_row {
    const char *name;
    void (*run)(check *c);
    check_after after;
    bool stops; /* found wrong, it leaves nothing to be said by the ones that run the network */
} check_row;

clv_status check_open_device(check *c, clv_error *error)
{
    const clvi_device_options options = {.select = c->select != NULL ? c->select : "auto"};
    CLV_TRY(cli_runtime_create(&c->runtime, error));
    return clvi_device_open(c->runtime, &options, &c->device, error);
}

/* Opens the device and builds the two graphs. */
static void open_device(check *c)
{
    clv_error error = CLV_ERROR_INIT;
    clv_status status = check_open_device(c, &error);
    if (status == CLV_OK)
        status = check_build(c, &c->input, CLV_MODE_TRAIN, &c->train, &error);
    if (status == CLV_OK)
        status = check_build(c, &c->input, CLV_MODE_INFER, &c->infer, &error);
    if (check_works(c, status, &error))
        check_ok(c, "%s", clvi_device_banner(c->device));
}

static const check_row rows[] = {
    {"table", check_table, AFTER_NOTHING, false},
    {"options", check_options, AFTER_TABLE, false},
    {"shapes", check_shapes, AFTER_OPTIONS, false},
    {"repeats", check_repeats, AFTER_BUILD, false},
    {"leaks", check_leaks, AFTER_BUILD, false},
    {"device", open_device, AFTER_BUILD, false},
    {"own ops", check_own_ops, ON_DEVICE, true},
    {"memory", check_memory, ON_DEVICE, true},
    {"again", check_again, ON_DEVICE, true},
    {"modes", check_modes, ON_DEVICE, false},
    {"route", check_route, ON_DEVICE, false},
    {"after step", check_after_step, ON_DEVICE, false},
    {"gradients", check_gradients, ON_DEVICE, false},
    {"running leaks", check_device_leaks, ON_DEVICE, false},
};

/* With --golden. */
static const check_row golden_rows[] = {
    {"table", check_table, AFTER_NOTHING, false},
    {"options", check_options, AFTER_TABLE, false},
    {"golden", check_golden, AFTER_OPTIONS, false},
};

static bool is_possible(const check *c, check_after after)
{
    switch (after) {
    case AFTER_NOTHING:
        return true;
    case AFTER_TABLE:
        return c->plugin != NULL;
    case AFTER_OPTIONS:
        return c->options != NULL;
    case AFTER_BUILD:
        return c->builds;
    case ON_DEVICE:
        return c->train != NULL && c->infer != NULL && !c->stopped;
    }
    return false;
}

static void run_all(check *c, const check_row *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_possible(c, list[i].after))
            continue;
        check_begin(c, list[i].name);
        list[i].run(c);
        check_ok(c, "done");
        c->stopped |= list[i].stops && c->wrong;
    }
}

static void close_all(check *c)
{
    clvi_graph_destroy(c->train);
    clvi_graph_destroy(c->infer);
    if (c->device != NULL)
        clvi_device_save_programs(c->device);
    clvi_device_close(c->device);
    clvi_runtime_destroy(c->runtime);
    clvi_options_destroy(c->options);
    clvi_plugins_destroy(c->plugins);
}

/* "key=value" of argument `index`. */
static clv_status take_option(const char *text, clvi_raw_option *out, clvi_arena *arena,
                              clv_error *error)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        CLV_FAIL(error, CLV_E_USAGE, "\"%s\" is no option=value", text);
    char *key = clvi_arena_strdup(arena, text);
    if (key == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the options");
    key[equals - text] = '\0';
    *out = (clvi_raw_option){key, key + (equals - text) + 1, "command line"};
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    enum { CPU_SECONDS = 3600 }; /* should the parent be gone */
    clvi_raw_option raw[64];
    const char *tolerance = cli_option_value(args, "tolerance");
    check c = {.file = cli_at(args, 0),
               .raw = raw,
               .select = cli_option_value(args, "device"),
               .golden = cli_option_value(args, "golden"),
               .tolerance = 1e-3};
    clvi_arena *arena = NULL;
    if (cli_count(args) < 1 || cli_count(args) > 64)
        CLV_FAIL(error, CLV_E_USAGE, "check-plugin-child takes a file and at most 63 options");
    if (tolerance != NULL && !clvi_parse_real(tolerance, &c.tolerance))
        CLV_FAIL(error, CLV_E_USAGE, "--tolerance %s is no number", tolerance);
    const clvi_child_limits limits = {.cpu_seconds = CPU_SECONDS};
    CLV_TRY(clvi_child_begin(&limits, &c.report, error));
    check_count_blocks();
    clv_status status = clvi_arena_create(&arena, error);
    for (size_t i = 1; i < cli_count(args) && status == CLV_OK; i++)
        status = take_option(cli_at(args, i), &raw[c.raw_count++], arena, error);
    if (status == CLV_OK) {
        if (c.golden != NULL)
            run_all(&c, golden_rows, sizeof(golden_rows) / sizeof(golden_rows[0]));
        else
            run_all(&c, rows, sizeof(rows) / sizeof(rows[0]));
        check_begin(&c, "close");
        close_all(&c);
        fputs("end\n", c.report);
    }
    clvi_arena_destroy(arena);
    fclose(c.report);
    return status;
}

static const cli_option options[] = {
    {"device", "DEVICE", "where to run", 0, false},
    {"golden", "FILE", "compare with a file", 0, false},
    {"tolerance", "T", "of that", 0, false},
};

const cli_command cmd_check_plugin_child = {
    .name = "check-plugin-child",
    .summary = "The part of check-plugin that may die",
    .usage = "FILE.so [option=value]...",
    .example = "conclave check-plugin ./expert_mine.so",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
