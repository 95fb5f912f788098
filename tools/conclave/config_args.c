/* Loading the configuration that a subcommand's arguments name. */
#include "config_args.h"
#include "base/files.h"

#include <stdio.h>

/* Options of one value and the keys that they set. */
static const struct {
    const char *option, *key;
} short_forms[] = {
    {"data", "data.path"},       {"epochs", "train.epochs"},        {"batch", "train.batch"},
    {"lr", "optimizer.lr"},      {"image-size", "data.image_size"}, {"seed", "run.seed"},
    {"device", "device.select"}, {"output", "run.output"},
};

enum { SHORT_FORMS = sizeof(short_forms) / sizeof(short_forms[0]) };

clv_status cli_overrides(const cli_args *args, size_t from, clvi_arena *arena,
                         const char *const **out, size_t *count, clv_error *error)
{
    const size_t most = cli_count(args) + cli_option_times(args, "set") + SHORT_FORMS;
    const char **overrides = clvi_arena_alloc(arena, most * sizeof(*overrides));
    bool failed = overrides == NULL;
    size_t used = 0;
    for (size_t i = from; !failed && i < cli_count(args); i++)
        overrides[used++] = cli_at(args, i);
    for (size_t i = 0; !failed && i < cli_option_times(args, "set"); i++)
        overrides[used++] = cli_option_nth(args, "set", i);
    for (size_t i = 0; !failed && i < SHORT_FORMS; i++) {
        const char *value = cli_option_value(args, short_forms[i].option);
        if (value == NULL)
            continue;
        const char *text = clvi_arena_printf(arena, "%s=%s", short_forms[i].key, value);
        failed = text == NULL;
        overrides[used++] = text;
    }
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the arguments");
    *out = overrides;
    *count = used;
    return CLV_OK;
}

/* All faults to stderr where one line of `error` cannot hold them. */
static clv_status show_faults(const char *name, const clvi_text *report, clv_error *error)
{
    size_t lines = 0;
    for (const char *c = clvi_text_get(report); *c != '\0'; c++)
        lines += *c == '\n';
    if (lines < 2)
        return CLV_E_CONFIG;
    fputs(clvi_text_get(report), stderr);
    clvi_error_clear(error);
    CLV_FAIL(error, CLV_E_CONFIG, "%s: the faults above", name);
}

static clv_status load(const cli_args *args, const char *name, size_t from, clvi_arena *arena,
                       clvi_config **out, clv_error *error)
{
    const char *const *overrides;
    size_t count;
    CLV_TRY(cli_overrides(args, from, arena, &overrides, &count, error));
    const char *const folders[] = {cli_config_dir()};
    clvi_text report = {0};
    const clvi_config_source source = {.name = name,
                                       .folders = folders,
                                       .folder_count = 1,
                                       .overrides = overrides,
                                       .override_count = count,
                                       .report = &report};
    clv_status status = clvi_config_load(&source, out, error);
    if (status == CLV_E_CONFIG)
        status = show_faults(source.name, &report, error);
    clvi_text_fini(&report);
    return status;
}

clv_status cli_load_config(const cli_args *args, size_t first, clvi_config **out, clv_error *error)
{
    if (cli_count(args) <= first)
        CLV_FAIL(error, CLV_E_USAGE,
                 "which configuration? `conclave config` lists the shipped ones");
    const char *name = cli_at(args, first);
    if (strchr(name, '=') != NULL && !clvi_is_file(name))
        CLV_FAIL(error, CLV_E_USAGE, "the configuration's name comes before %s", name);
    return cli_load_named_config(args, name, first + 1, out, error);
}

clv_status cli_load_named_config(const cli_args *args, const char *name, size_t from,
                                 clvi_config **out, clv_error *error)
{
    clvi_arena *arena = NULL;
    CLV_TRY(clvi_arena_create(&arena, error));
    const clv_status status = load(args, name, from, arena, out, error);
    clvi_arena_destroy(arena);
    return status;
}

clv_status cli_parse_time(const char *text, char *out, clv_error *error)
{
    static const char units[] = "smhd";
    static const double seconds[] = {1, 60, 3600, 86400};
    double sum = 0, value = 0;
    bool good = *text != '\0';
    for (const char *at = text; good && *at != '\0';) {
        char word[32];
        const size_t length = strspn(at, "0123456789.");
        const char *unit = at[length] != '\0' ? strchr(units, at[length]) : NULL;
        good = length > 0 && length < sizeof word && (unit != NULL || at[length] == '\0');
        if (!good)
            break;
        memcpy(word, at, length);
        word[length] = '\0';
        good = clvi_parse_real(word, &value);
        sum += value * (unit != NULL ? seconds[unit - units] : 1);
        at += length + (unit != NULL);
    }
    char shown[64];
    if (!good || sum <= 0)
        CLV_FAIL(error, CLV_E_USAGE, "--max-time is \"%s\", expected a time such as 90s, 10m or 2h",
                 clvi_printable(text, shown, sizeof shown));
    snprintf(out, CLI_SECONDS_BYTES, "%.3f", sum);
    return CLV_OK;
}
