/* What main.c asks of the frame; subcommands see command.h only. */
#ifndef CONCLAVE_CLI_H
#define CONCLAVE_CLI_H

#include "command.h"

/* Commands, in the order in which they are printed; each list ends with NULL. */
typedef struct cli_table {
    const cli_command *const *listed;
    const cli_command *const
        *hidden; /* found by their names only: parts of others in processes of
                  * their own (base/child.h), and what builds and shells call */
} cli_table;

/* Runs "conclave COMMAND ARGUMENTS" with one of a table's commands and returns the exit status: 0
 * done, 1 failed, 2 wrong use. Prints help, version and errors itself; sends the library's log to
 * stderr while the command runs. */
int cli_main(const cli_table *table, int argc, char **argv);

/* The commands that are listed: main.c's. The last is NULL. */
const cli_command *const *cli_commands(void);
/* The one of that name in a list; NULL: none. */
const cli_command *cli_find(const cli_command *const *list, const char *name);

/* What the list of commands begins and ends with: a sentence; lines "COMMAND" and what it does. */
extern const char cli_about[], cli_pictures[];
extern const char *const cli_first_steps[][2]; /* the last is {NULL, NULL} */

/* Sorts argv[0..argc) by the command's options into *out, which cli_args_destroy frees.
 * *help: --help stands there; then nothing else is checked. Errors: CLV_E_USAGE with the nearest
 * option. */
clv_status cli_args_parse(const cli_command *command, int argc, char **argv, cli_args **out,
                          bool *help, clv_error *error) CLV_MUST_CHECK;
void cli_args_destroy(cli_args *args); /* NULL allowed */

/* Option `index` of a command, its own first, then those that every command has; NULL behind the
 * last. */
const cli_option *cli_option_at(const cli_command *command, size_t index);

#endif
