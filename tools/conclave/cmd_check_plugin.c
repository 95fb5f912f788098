/* conclave check-plugin: everything that can be found out about a plugin without its author. The
 * checks (check/) run in a child process, so that a plugin that crashes, hangs or ends the process
 * is found and named like any other fault. */
#include "base/child.h"
#include "driver_cache.h"
#include "verdicts.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>

/* What came back. */
typedef struct verdicts {
    bool json;
    json_t *list;
    char now[64]; /* the check that was begun */
    bool said;    /* it has its line */
    bool ended;
    int good, bad;
} verdicts;

static void show(verdicts *v, const char *result, const char *name, const char *text)
{
    const bool bad = strcmp(result, "bad") == 0, note = strcmp(result, "note") == 0;
    v->bad += bad;
    v->good += !bad && !note;
    if (v->json)
        json_array_append_new(
            v->list, json_pack("{s:s, s:s, s:s}", "check", name, "result", result, "text", text));
    else
        printf("%-5s  %-12s  %s\n", bad ? "WRONG" : note ? "-" : "ok", name, text);
    fflush(stdout);
}

/* One line of the child's report; see check/check.h. */
static void take_line(void *user, const char *line)
{
    verdicts *v = user;
    static const char *const results[] = {"ok", "bad", "note"};
    if (strncmp(line, "begin ", 6) == 0) {
        snprintf(v->now, sizeof(v->now), "%s", line + 6);
        v->said = false;
        return;
    }
    if (strcmp(line, "end") == 0) {
        v->ended = true;
        return;
    }
    const size_t length = strlen(v->now);
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        const size_t word = strlen(results[i]);
        if (strncmp(line, results[i], word) != 0 || line[word] != ' ' ||
            strncmp(line + word + 1, v->now, length) != 0 || line[word + 1 + length] != ' ')
            continue;
        show(v, results[i], v->now, line + word + 2 + length);
        v->said = true;
    }
}

/* How the child died, when it did not come to its end. */
static void take_end(verdicts *v, const clvi_child_end *end, int64_t seconds)
{
    char text[200];
    const char *during = v->now[0] != '\0' ? v->now : "table";
    if (end->silent)
        snprintf(text, sizeof(text), "hang: nothing happened for %lld s", (long long)seconds);
    else if (end->signal == SIGXCPU)
        snprintf(text, sizeof(text), "hang: it used up its processor time");
    else if (end->signal != 0)
        snprintf(text, sizeof(text), "crash: the process was ended by signal %d (%s)", end->signal,
                 strsignal(end->signal));
    else if (!v->ended)
        snprintf(text, sizeof(text), "exit: something ended the process with status %d",
                 end->status);
    else if (end->status != 0)
        snprintf(text, sizeof(text), "the process ended with status %d after all checks",
                 end->status);
    else
        return;
    show(v, "bad", during, text);
}

static clv_status print_json(const verdicts *v, const char *file, clv_error *error)
{
    json_t *whole =
        json_pack("{s:s, s:b, s:O}", "file", file, "good", v->bad == 0, "checks", v->list);
    char *text = whole != NULL ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    json_decref(whole);
    if (text == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the list of checks");
    puts(text);
    free(text);
    return CLV_OK;
}

/* The child's arguments: everything but what is the parent's own. Freed with clvi_free. */
static const char **child_arguments(const cli_args *args, const char *device)
{
    static const char *const handed_on[][2] = {{"golden", "--golden"},
                                               {"tolerance", "--tolerance"}};
    const char **list = clvi_calloc(cli_count(args) + 12, sizeof(*list));
    size_t at = 0;
    if (list == NULL)
        return NULL;
    list[at++] = "check-plugin-child";
    if (cli_quiet(args))
        list[at++] = "--quiet";
    if (device != NULL) {
        list[at++] = "--device";
        list[at++] = device;
    }
    for (size_t i = 0; i < sizeof(handed_on) / sizeof(*handed_on); i++)
        if (cli_option_value(args, handed_on[i][0]) != NULL) {
            list[at++] = handed_on[i][1];
            list[at++] = cli_option_value(args, handed_on[i][0]);
        }
    list[at++] = "--";
    for (size_t i = 0; i < cli_count(args); i++)
        list[at++] = cli_at(args, i);
    return list;
}

static clv_status check(const cli_args *args, const char *device, int64_t seconds, verdicts *v,
                        clv_error *error)
{
    /* Guard bands around every tensor; a failing kernel is named. */
    static const char *const environment[] = {"CONCLAVE_ARENA=0", "CONCLAVE_SYNC=1", NULL};
    clvi_child_end end;
    const char **arguments = child_arguments(args, device);
    if (arguments == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the arguments");
    const clvi_child_desc desc = {.arguments = arguments,
                                  .environment = environment,
                                  .silence_seconds = (double)seconds,
                                  .line = take_line,
                                  .user = v};
    const clv_status status = clvi_child_run(&desc, &end, error);
    clvi_free(arguments);
    CLV_TRY(status);
    take_end(v, &end, seconds);
    if (v->json)
        CLV_TRY(print_json(v, cli_at(args, 0), error));
    if (v->bad > 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: %d of %d checks found something wrong", cli_at(args, 0),
                 v->bad, v->bad + v->good);
    if (!v->json && !cli_quiet(args))
        printf("%s: all %d checks passed\n", cli_at(args, 0), v->good);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    int64_t seconds = 300;
    if (cli_count(args) < 1)
        CLV_FAIL(error, CLV_E_USAGE, "check-plugin wants a file: conclave check-plugin FILE.so");
    for (size_t i = 1; i < cli_count(args); i++)
        if (strchr(cli_at(args, i), '=') == NULL)
            CLV_FAIL(error, CLV_E_USAGE,
                     "\"%s\" is no option=value; check-plugin takes one file and options of it",
                     cli_at(args, i));
    const char *tolerance = cli_option_value(args, "tolerance");
    double value;
    if (tolerance != NULL && (!clvi_parse_real(tolerance, &value) || !(value > 0)))
        CLV_FAIL(error, CLV_E_USAGE, "--tolerance %s: give a number above 0, such as 0.001",
                 tolerance);
    if (tolerance != NULL && cli_option_value(args, "golden") == NULL)
        CLV_FAIL(error, CLV_E_USAGE, "--tolerance is of --golden FILE, which is not given");
    CLV_TRY(cli_option_int(args, "time-limit", 1, 86400, &seconds, error));
    verdicts v = {.json = cli_flag(args, "json"), .list = json_array()};
    clvi_runtime *runtime = NULL;
    cli_choice choice = {0};
    clv_status status = cli_runtime_create(&runtime, error);
    if (status == CLV_OK)
        status = cli_choose_device(runtime, cli_option_value(args, "device"), &choice, error);
    if (status == CLV_OK)
        status = check(args, choice.select, seconds, &v, error);
    clvi_runtime_destroy(runtime);
    json_decref(v.list);
    return status;
}

static const cli_option options[] = {
    {"device", "DEVICE", "where to run the plugin's networks", 0, false},
    {"golden", "FILE.safetensors", "only compare with the inputs, weights and outputs in a file", 0,
     false},
    {"tolerance", "T", "of --golden: largest difference, of the largest output; 0.001 if not given",
     0, false},
    {"time-limit", "SECONDS", "a check that takes longer hangs; 300 if not given", 0, false},
    {"json", NULL, "one JSON object instead of text", 0, false},
};

const cli_command cmd_check_plugin = {
    .name = "check-plugin",
    .summary = "Check an expert or gate: shapes, gradients, memory, leaks",
    .usage = "FILE.so [option=value]... [options]",
    .details =
        "The checks: table, options, shapes (many sizes, classes and choices), the same graph\n"
        "each time, leaks, every operation of the plugin's own against its reference and central\n"
        "differences, memory full of NaN before, the same bits each time, training against\n"
        "inference, what a gate declares of its route, and every gradient.\n"
        "\n"
        "In the file of --golden lie input.image [N, height, width, channels], as the network\n"
        "sees it (N, channels, height, width where the metadata says layout = NCHW), or\n"
        "input.features; the outputs, output.logits, output.features, output.route and so on; and\n"
        "a tensor for each variable, called and ordered as in PyTorch's files.",
    .example = "conclave check-plugin ./expert_mine.so\n"
               "conclave check-plugin build/plugins/expert_cnn.so widths=8,16 activation=silu\n"
               "conclave check-plugin ./expert_mine.so --golden mine.safetensors",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
