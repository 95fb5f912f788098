/* conclave config: the shipped configurations, one of them resolved, or the reference of all keys.
 */
#include "config_args.h"

#include "config/suite.h"
#include "session.h"

#include "mixture/expert.h"
#include "train/settings.h"

#include <stdio.h>

static const cli_option options[] = {
    {"dump", NULL, "print every key, as a file that can be used again", 0, false},
    {"reference", NULL, "print every key with its range, default and meaning", 0, false},
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

static clv_status print(clvi_text *text, clv_error *error)
{
    const bool failed = text->failed;
    if (!failed)
        fputs(clvi_text_get(text), stdout);
    clvi_text_fini(text);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the text to print");
    return CLV_OK;
}

static void print_list(const clvi_config_entry *list, size_t count)
{
    int width = 0;
    for (size_t i = 0; i < count; i++)
        width = (int)strlen(list[i].name) > width ? (int)strlen(list[i].name) : width;
    for (size_t i = 0; i < count; i++)
        printf("%-*s  %s\n", width, list[i].name, list[i].description);
}

static clv_status list_shipped(clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    clvi_config_entry *list = NULL, *suites = NULL;
    size_t count = 0, suite_count = 0;
    CLV_TRY(clvi_config_list(folders, 1, &list, &count, error));
    const clv_status status = clvi_suite_list(folders, 1, &suites, &suite_count, error);
    if (status == CLV_OK) {
        print_list(list, count);
        if (suite_count > 0)
            printf("\nsuites, for conclave compare:\n");
        print_list(suites, suite_count);
    }
    if (count == 0)
        fprintf(stderr, "no configurations in %s\n", folders[0]);
    clvi_config_list_free(list, count);
    clvi_config_list_free(suites, suite_count);
    return status;
}

/* As comments behind a dump. */
static clv_status describe_pixels(const cli_args *args, const clvi_config *config, clvi_text *out,
                                  clv_error *error)
{
    const clvi_data_options data = clvi_train_data_options(config);
    cli_session session;
    CLV_TRY(cli_session_open(&session, args, error));
    clvi_text_append(out, "\n");
    const clvi_picture picture = clvi_picture_of(config, data.height, data.width, data.channels);
    clvi_experts_describe_pixels(config, session.plugins, &picture, out);
    cli_session_close(&session);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    clvi_text text = {0};
    if (cli_flag(args, "reference")) {
        clvi_config_reference(&text);
        return print(&text, error);
    }
    if (cli_count(args) == 0 && cli_flag(args, "dump"))
        CLV_FAIL(error, CLV_E_USAGE,
                 "--dump of which configuration? `conclave config` lists the shipped ones");
    if (cli_count(args) == 0)
        return list_shipped(error);
    clvi_config *config = NULL;
    CLV_TRY(cli_load_config(args, 0, &config, error));
    clv_status status = CLV_OK;
    if (cli_flag(args, "dump")) {
        clvi_config_dump(config, &text);
        status = describe_pixels(args, config, &text, error);
    } else {
        clvi_text_printf(&text, "# %s; keys not shown are at their defaults (--dump shows them)\n",
                         clvi_config_path(config));
        clvi_config_explain(config, &text);
    }
    clvi_config_destroy(config);
    if (status == CLV_OK)
        return print(&text, error);
    clvi_text_fini(&text);
    return status;
}

const cli_command cmd_config = {
    .name = "config",
    .summary = "List configurations and suites, show one resolved, explain all keys",
    .usage = "[CONFIG [SECTION.KEY=VALUE]... [--dump]] [--reference]",
    .example = "conclave config cnn-custom-only train.epochs=20 --dump",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
