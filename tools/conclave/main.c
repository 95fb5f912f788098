/* The conclave command: the list of its subcommands. Each has a file of its own, cmd_NAME.c. The
 * build makes a man page of each that is listed. */
#include "cli.h"

#include <locale.h>

/* clang-format off */
static const cli_command *const listed[] = {
    &cmd_devices,
    &cmd_plugins,
    &cmd_config,
    &cmd_summary,
    &cmd_train,
    &cmd_compare,
    &cmd_runs,
    &cmd_report,
    &cmd_eval,
    &cmd_predict,
    &cmd_explain,
    &cmd_export,
    &cmd_profile,
    &cmd_inspect,
    &cmd_verify,
    &cmd_bench,
    &cmd_tune,
    &cmd_new_plugin,
    &cmd_embed,
    &cmd_check_plugin,
    NULL,
};
static const cli_command *const hidden[] = {
    &cmd_check_plugin_child,
    &cmd_devices_child,
    &cmd_kernels_child,
    &cmd_train_child,
    &cmd_manual,
    &cmd_complete,
    NULL,
};
/* clang-format on */

const cli_command *const *cli_commands(void)
{
    return listed;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); /* what the terminal can show; numbers stay as in C */
    const cli_table table = {listed, hidden};
    return cli_main(&table, argc, argv);
}
