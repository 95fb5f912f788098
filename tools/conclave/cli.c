/* The frame: finds the command, prints help and errors, turns a status into the exit code. */
#include "cli.h"

#include "base/process.h"

#include <conclave/plugin.h>

#include <errno.h>
#include <stdio.h>

#ifndef CLV_VERSION
#error "CLV_VERSION must be defined by the build"
#endif

/* ---- Help
 * ---------------------------------------------------------------------------------------- */

const char cli_about[] =
    "Conclave trains image classifiers, alone and as mixtures of experts, on OpenCL.";

const char *const cli_first_steps[][2] = {
    {"conclave devices", "what there is to compute on"},
    {"conclave train cnn-custom-only --data PICTURES", "train a small network"},
    {"conclave eval last", "how well it does"},
    {"conclave predict last IMAGE", "what it takes a picture for"},
    {"conclave config", "other networks, and mixtures"},
    {"conclave COMMAND --help", "what it takes, an example"},
    {NULL, NULL},
};

const char cli_pictures[] =
    "PICTURES is a folder or an archive that holds one folder of images per class.";

static void print_commands(FILE *to, const cli_command *const *list)
{
    int width = 0;
    for (size_t i = 0; list[i] != NULL; i++)
        if ((int)strlen(list[i]->name) > width)
            width = (int)strlen(list[i]->name);
    fprintf(to, "%s\n\nusage: conclave COMMAND [ARGUMENTS]\n\n", cli_about);
    for (size_t i = 0; list[i] != NULL; i++)
        fprintf(to, "  %-*s  %s\n", width, list[i]->name, list[i]->summary);
    fputs("\nTo begin:\n", to);
    for (size_t i = 0; cli_first_steps[i][0] != NULL; i++)
        fprintf(to, "  %-46s  %s\n", cli_first_steps[i][0], cli_first_steps[i][1]);
    fprintf(to, "%s\n", cli_pictures);
}

/* "  -o, --output FOLDER"; returns its width. `to` NULL: only measures. */
static int print_option_head(FILE *to, const cli_option *option)
{
    char head[128];
    const char letter[] = {'-', option->letter, ',', ' ', '\0'};
    const int width = snprintf(
        head, sizeof(head), "  %s--%s%s%s", option->letter != 0 ? letter : "", option->name,
        option->value != NULL ? " " : "", option->value != NULL ? option->value : "");
    if (to != NULL)
        fputs(head, to);
    return width;
}

static void print_option(const cli_option *option, int width)
{
    const int used = print_option_head(stdout, option);
    printf("%*s  %s%s\n", width - used, "", option->text,
           option->repeated ? " (may be repeated)" : "");
}

static void print_help(const cli_command *command)
{
    const cli_option *option;
    int width = 0;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++) {
        const int wide = print_option_head(NULL, option);
        width = wide > width ? wide : width;
    }
    printf("%s.\n\nusage: conclave %s %s\n\noptions:\n", command->summary, command->name,
           command->usage);
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++)
        print_option(option, width);
    if (command->details != NULL)
        printf("\n%s\n", command->details);
    printf("\nexample:\n");
    for (const char *line = command->example; *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        printf("  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

/* ---- Running
 * --------------------------------------------------------------------------------------- */

const cli_command *cli_find(const cli_command *const *list, const char *name)
{
    for (size_t i = 0; list[i] != NULL; i++)
        if (strcmp(list[i]->name, name) == 0)
            return list[i];
    return NULL;
}

static clv_status unknown_command(const cli_command *const *list, const char *name,
                                  clv_error *error)
{
    enum { MAX_NAMES = 64 };
    const char *names[MAX_NAMES];
    char shown[64];
    size_t known = 0;
    for (size_t i = 0; list[i] != NULL && known < MAX_NAMES; i++)
        names[known++] = list[i]->name;
    if (name[0] == '-') {
        names[0] = "--help";
        names[1] = "--version";
        known = 2;
    }
    const char *near = clvi_nearest(name, names, known);
    clvi_printable(name, shown, sizeof(shown));
    if (near != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "there is no %s \"%s\"; did you mean %s?",
                 name[0] == '-' ? "option" : "command", shown, near);
    if (name[0] == '-')
        CLV_FAIL(error, CLV_E_USAGE,
                 "there is no option \"%s\" before a command; conclave --help lists these", shown);
    CLV_FAIL(error, CLV_E_USAGE, "there is no command \"%s\"; conclave --help lists them", shown);
}

/* The library's log, on stderr. user: not NULL when --quiet was given. */
static void write_log(void *user, clvi_log_level level, const char *line)
{
    if (level == CLVI_LOG_DEBUG || (level == CLVI_LOG_INFO && user != NULL))
        return;
    fprintf(stderr, "%s%s\n",
            level == CLVI_LOG_ERROR  ? "conclave: "
            : level == CLVI_LOG_WARN ? "conclave: warning: "
                                     : "",
            line);
}

/* What was printed must have arrived, on a full disk too. */
static clv_status finish_output(clv_error *error)
{
    errno = 0;
    const bool failed = fflush(stdout) != 0 || ferror(stdout);
    if (failed)
        return clvi_fail_errno(error, errno != 0 ? errno : EIO, CLV_HERE,
                               "cannot write to the standard output");
    return CLV_OK;
}

static clv_status run_command(const cli_command *command, int argc, char **argv, clv_error *error)
{
    static char quiet_mark;
    cli_args *args = NULL;
    bool help = false;
    CLV_TRY(cli_args_parse(command, argc, argv, &args, &help, error));
    clv_status status = CLV_OK;
    if (help) {
        print_help(command);
    } else {
        clvi_set_log_sink(write_log, cli_quiet(args) ? &quiet_mark : NULL);
        status = command->run(args, error);
        clvi_set_log_sink(NULL, NULL);
    }
    cli_args_destroy(args);
    return status;
}

static clv_status run(const cli_table *table, int argc, char **argv, clv_error *error)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--version") == 0) {
        printf("conclave %s (plugin ABI %d.%d)\n", CLV_VERSION, CLV_ABI_MAJOR, CLV_ABI_MINOR);
        return CLV_OK;
    }
    const bool help = strcmp(word, "help") == 0;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (help && argc < 3)) {
        print_commands(stdout, table->listed);
        return CLV_OK;
    }
    const char *name = help ? argv[2] : word;
    const cli_command *command = cli_find(table->listed, name);
    if (command == NULL)
        command = cli_find(table->hidden, name);
    if (command == NULL)
        return unknown_command(table->listed, name, error);
    if (help) {
        print_help(command);
        return CLV_OK;
    }
    return run_command(command, argc - 2, argv + 2, error);
}

int cli_main(const cli_table *table, int argc, char **argv)
{
    clv_error error = CLV_ERROR_INIT;
    clv_status status = run(table, argc, argv, &error);
    if (status == CLV_OK)
        status = finish_output(&error);
    else
        fflush(stdout);
    if (status != CLV_OK)
        fprintf(stderr, "conclave: %s\n",
                error.message[0] != '\0' ? error.message : clv_status_text(status));
    return clv_status_exit_code(status);
}
