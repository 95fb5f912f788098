/* The frame of the conclave command: one file per subcommand, one table, one option parser. */
#ifndef CONCLAVE_COMMAND_H
#define CONCLAVE_COMMAND_H

#include "base/text.h"

/* An option of a subcommand: "--top N". */
typedef struct cli_option {
    const char *name; /* "top", without dashes */
    const char
        *value; /* in the help: what it is called, "N", or may be, "best|last"; NULL: a flag */
    const char *text; /* one line of help */
    char letter;      /* short form, such as 'o' for -o; 0: none */
    bool repeated;    /* may be given several times */
} cli_option;

/* What was typed, sorted. Strings belong to argv. */
typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name, *summary; /* "train", "Train a configuration" */
    const char *usage;          /* "CONFIG [section.key=value]... [options]" */
    const char *example;        /* one or more lines, each a full command */
    const char *details;        /* paragraphs, an empty line between; NULL: none */
    const cli_option *options;
    size_t option_count;
    /* Returns a status; on failure the frame prints "conclave: <message>" to stderr and exits with
     * clv_status_exit_code. Results go to stdout. */
    clv_status (*run)(const cli_args *args, clv_error *error);
} cli_command;

/* Arguments that are no options, in order. */
size_t cli_count(const cli_args *args);
const char *cli_at(const cli_args *args, size_t index);
/* Value of an option, NULL when not given; for a flag "" when given. The last one wins. */
const char *cli_option_value(const cli_args *args, const char *name);
bool cli_flag(const cli_args *args, const char *name);
/* All values of a repeated option: returns the count, value i by cli_option_nth. */
size_t cli_option_times(const cli_args *args, const char *name);
const char *cli_option_nth(const cli_args *args, const char *name, size_t index);
/* Option as a number; CLV_E_USAGE naming option and value. *out untouched when not given. */
clv_status cli_option_int(const cli_args *args, const char *name, int64_t min, int64_t max,
                          int64_t *out, clv_error *error) CLV_MUST_CHECK;
/* Which word of `choices`, "train | infer", the option's value is, in any case: *index. Untouched
 * when it is not given. Errors: CLV_E_USAGE with the nearest one. */
clv_status cli_option_choice(const cli_args *args, const char *name, const char *choices,
                             size_t *index, clv_error *error) CLV_MUST_CHECK;
/* Appends what was typed, "conclave COMMAND …", as a shell takes it. */
void cli_command_line(const cli_args *args, clvi_text *out);
/* --quiet was given (every command has it, beside --help). */
bool cli_quiet(const cli_args *args);

/* Folders where the build tree or the installation keeps plugins, configs and the headers that
 * kernels of plugins may include; from the command's own place. Static storage. */
const char *cli_plugin_dir(void);
const char *cli_config_dir(void);
const char *cli_kernel_dir(void);

extern const cli_command cmd_bench, cmd_check_plugin, cmd_check_plugin_child, cmd_compare,
    cmd_complete, cmd_config, cmd_devices, cmd_devices_child, cmd_embed, cmd_eval, cmd_explain,
    cmd_export, cmd_inspect, cmd_kernels_child, cmd_manual, cmd_new_plugin, cmd_plugins,
    cmd_predict, cmd_profile, cmd_report, cmd_runs, cmd_summary, cmd_train, cmd_train_child,
    cmd_tune, cmd_verify;

/* The line on which cmd_train_child says, before the sentence, that the configuration of a new
 * training was refused. */
#define CLI_TRAIN_REFUSED "refused"

#endif
