/* conclave runs: the trainings that there are, and how they ended. */
#include "show.h"

#include "command.h"
#include "config/config.h"
#include "train/run_dir.h"
#include "train/run_files.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_METRICS_BYTES = 64 << 20 };

static const cli_option options[] = {
    {"output", "FOLDER", "folder of the runs; runs if not given", 'o', false},
    {"json", NULL, "one JSON array; shares are fractions", 0, false},
};

/* What is known of a run. */
typedef struct entry {
    char name[256], experts[256], plugins[256];
    int64_t epochs, best_epoch, wanted; /* wanted: train.epochs; 0: unknown */
    double val, test, seconds;          /* NAN: unknown */
    bool finished;
} entry;

static void append(char *list, size_t bytes, const char *word)
{
    const size_t used = strlen(list);
    snprintf(list + used, bytes - used, "%s%s", used > 0 ? ", " : "", word);
}

/* A configuration that cannot be read any more leaves its fields empty. */
static void read_config(const char *path, entry *e)
{
    clvi_config *config = NULL;
    clv_error none = CLV_ERROR_INIT;
    const clvi_config_source source = {.name = path};
    if (clvi_config_load(&source, &config, &none) != CLV_OK)
        return;
    for (size_t i = 0; i < clvi_config_leaf_count(config); i++) {
        append(e->experts, sizeof e->experts, clvi_config_leaf_name(config, i));
        append(e->plugins, sizeof e->plugins,
               clvi_config_text(config, clvi_config_leaf_section(config, i), "plugin"));
    }
    e->wanted = clvi_config_int(config, "train", "epochs");
    clvi_config_destroy(config);
}

static double score_of(json_t *summary, const char *split)
{
    json_t *top1 = json_object_get(json_object_get(summary, split), "top1");
    return json_is_number(top1) ? json_number_value(top1) : NAN;
}

/* summary.json is written at the very end. */
static void read_summary(const char *path, entry *e)
{
    json_t *summary = json_load_file(path, 0, NULL);
    if (!json_is_object(summary)) {
        json_decref(summary);
        return;
    }
    e->finished = true;
    e->epochs = json_integer_value(json_object_get(summary, "epochs"));
    e->best_epoch = json_integer_value(json_object_get(summary, "best_epoch"));
    e->seconds = json_number_value(json_object_get(summary, "seconds"));
    e->val = score_of(summary, "val");
    e->test = score_of(summary, "test");
    json_decref(summary);
}

/* The numbers of one row of metrics.csv that matter here. */
static bool read_row(char *row, int64_t *epoch, char **split, double *top1, double *seconds)
{
    enum { EPOCH, STEP, SPLIT, LOSS, TOP1, TOP5, LR, SECONDS, FIELDS };
    char *fields[FIELDS] = {0};
    for (int i = 0; i < FIELDS && row != NULL; i++) {
        fields[i] = row;
        row = strchr(row, ',');
        if (row != NULL)
            *row++ = '\0';
    }
    if (fields[SECONDS] == NULL || !clvi_parse_int(fields[EPOCH], epoch))
        return false;
    *split = fields[SPLIT];
    if (!clvi_parse_real(fields[TOP1], top1))
        *top1 = NAN;
    if (!clvi_parse_real(fields[SECONDS], seconds))
        *seconds = 0;
    return true;
}

/* Of an unfinished run the rows written so far tell epochs, time and the best accuracy. */
static void read_metrics(const char *path, entry *e)
{
    char *text = NULL;
    size_t bytes = 0;
    clv_error none = CLV_ERROR_INIT;
    if (clvi_file_read(path, MOST_METRICS_BYTES, &text, &bytes, &none) != CLV_OK)
        return;
    e->seconds = 0;
    for (char *line = text, *next; line != NULL; line = next) {
        int64_t epoch;
        char *split;
        double top1, seconds;
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (!read_row(line, &epoch, &split, &top1, &seconds))
            continue;
        e->epochs = epoch;
        e->seconds += seconds;
        if (strcmp(split, "val") == 0 && (isnan(e->val) || top1 > e->val)) {
            e->val = top1;
            e->best_epoch = epoch;
        }
    }
    clvi_free(text);
}

static clv_status read_run(const char *output, const char *name, entry *e, clv_error *error)
{
    *e = (entry){.val = NAN, .test = NAN, .seconds = NAN};
    clvi_printable(name, e->name, sizeof e->name);
    char *folder = clvi_path_join(output, name);
    static const char *const files[] = {CLVI_RUN_CONFIG, CLVI_RUN_SUMMARY, CLVI_RUN_METRICS};
    char *paths[3] = {0};
    for (int i = 0; i < 3 && folder != NULL; i++)
        paths[i] = clvi_path_join(folder, files[i]);
    const bool failed = paths[0] == NULL || paths[1] == NULL || paths[2] == NULL;
    if (!failed) {
        read_config(paths[0], e);
        read_summary(paths[1], e);
        if (!e->finished)
            read_metrics(paths[2], e);
    }
    for (int i = 0; i < 3; i++)
        clvi_free(paths[i]);
    clvi_free(folder);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the runs in %s", output);
    return CLV_OK;
}

static json_t *entry_json(const char *output, const entry *e)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:b}", "name", e->name,
                     "output", output, "experts", e->experts, "plugins", e->plugins, "epochs",
                     (json_int_t)e->epochs, "epochs_wanted", (json_int_t)e->wanted, "best_epoch",
                     (json_int_t)e->best_epoch, "val_top1", clvi_json_real(e->val), "test_top1",
                     clvi_json_real(e->test), "seconds", clvi_json_real(e->seconds), "finished",
                     e->finished);
}

static void add_row(cli_table *table, const entry *e)
{
    char number[CLI_NUMBER_BYTES];
    cli_table_cell(table, "%s", e->name);
    cli_table_cell(table, "%s", e->plugins[0] != '\0' ? e->plugins : "?");
    if (e->wanted > 0)
        cli_table_cell(table, "%lld/%lld", (long long)e->epochs, (long long)e->wanted);
    else
        cli_table_cell(table, "%lld", (long long)e->epochs);
    if (e->best_epoch > 0)
        cli_table_cell(table, "%lld", (long long)e->best_epoch);
    else
        cli_table_cell(table, "-");
    cli_table_cell(table, "%s", cli_show_percent(e->val, number));
    cli_table_cell(table, "%s", cli_show_percent(e->test, number));
    cli_table_cell(table, "%s", cli_show_seconds(e->seconds, number));
    cli_table_cell(table, "%s", e->finished ? "finished" : "unfinished");
}

static clv_status print_json(const char *output, char *const *names, size_t count, clv_error *error)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        entry e;
        const clv_status status = read_run(output, names[i], &e, error);
        if (status != CLV_OK) {
            json_decref(list);
            return status;
        }
        json_array_append_new(list, entry_json(output, &e));
    }
    return cli_show_json(list, 2, error);
}

static clv_status print_table(const char *output, char *const *names, size_t count,
                              clv_error *error)
{
    static const cli_column columns[] = {{"run", false, true},    {"experts", false, false},
                                         {"epochs", true, false}, {"best", true, false},
                                         {"val", true, false},    {"test", true, false},
                                         {"time", true, false},   {"state", false, false}};
    cli_table table;
    CLV_TRY(cli_table_init(&table, columns, sizeof columns / sizeof *columns, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        entry e;
        status = read_run(output, names[i], &e, error);
        if (status == CLV_OK)
            add_row(&table, &e);
    }
    const clv_status printed = cli_table_print(&table, stdout, error);
    return status != CLV_OK ? status : printed;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    const char *given = cli_option_value(args, "output");
    const char *output = given != NULL ? given : "runs";
    char **names = NULL;
    size_t count = 0;
    if (cli_count(args) > 0)
        CLV_FAIL(error, CLV_E_USAGE, "runs takes no argument: \"%s\"; -o names another folder",
                 cli_at(args, 0));
    CLV_TRY(clvi_run_list(output, &names, &count, error));
    clv_status status = CLV_OK;
    if (cli_flag(args, "json"))
        status = print_json(output, names, count, error);
    else if (count == 0)
        clvi_log(CLVI_LOG_INFO, "no runs in %s/ yet; `conclave train` makes them", output);
    else
        status = print_table(output, names, count, error);
    clvi_names_free(names, count);
    return status;
}

const cli_command cmd_runs = {
    .name = "runs",
    .summary = "List the trainings, with their accuracy on validation and test images",
    .usage = "[-o FOLDER] [--json]",
    .example = "conclave runs",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
