/* conclave manual, hidden: the man pages, of the same texts as --help and config --reference. The
 * build writes them with it. Pages use the macros of man(7); what is not ASCII is written as
 * \[uXXXX], so that any roff reads it. */
#include "cli.h"

#include "base/process.h"
#include "config/config.h"

#include <ctype.h>
#include <stdio.h>

static const char config_page[] = "conclave-config.5", main_page[] = "conclave.1",
                  reader_page[] = "conclave-h5.1";

/* ---- Writing roff ---- */

/* The code of the UTF-8 sequence of `length` bytes. */
static unsigned code_point(const char *text, size_t length)
{
    unsigned point = (unsigned char)text[0];
    if (length > 1)
        point &= 0x7Fu >> length;
    for (size_t i = 1; i < length; i++)
        point = point << 6 | ((unsigned char)text[i] & 0x3Fu);
    return point;
}

/* `length` bytes of text within a line. Every '-' is one that can be copied. */
static void put_n(const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        const size_t bytes = clvi_utf8_sequence(text + i, length - i);
        if (bytes > 1)
            printf("\\[u%04X]", code_point(text + i, bytes));
        else if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (text[i] == '-')
            fputs("\\-", stdout);
        else if (text[i] == '\'')
            fputs("\\(aq", stdout);
        else if (text[i] == '`')
            fputs("\\(ga", stdout);
        else if (text[i] == '^')
            fputs("\\(ha", stdout);
        else if (text[i] == '~')
            fputs("\\(ti", stdout);
        else
            putchar(text[i]);
        i += bytes > 0 ? bytes : 1;
    }
}

static void put(const char *text)
{
    put_n(text, strlen(text));
}

/* A line that begins with text: neither '.' nor '\'' there is a request. */
static void put_line(const char *text)
{
    fputs("\\&", stdout);
    put(text);
    putchar('\n');
}

static void bold(const char *text)
{
    fputs("\\fB", stdout);
    put(text);
    fputs("\\fR", stdout);
}

static void italic(const char *text)
{
    fputs("\\fI", stdout);
    put(text);
    fputs("\\fR", stdout);
}

/* A synopsis: options bold, words of capitals, which stand for something, italic. */
static void put_synopsis(const char *usage)
{
    for (size_t i = 0; usage[i] != '\0';) {
        const bool start = i == 0 || strchr(" [(|=", usage[i - 1]) != NULL;
        size_t length = strcspn(usage + i, " []()|=,.:;");
        if (start && usage[i] == '-' && length > 1)
            fputs("\\fB", stdout);
        else if (length > 0 && isupper((unsigned char)usage[i]))
            fputs("\\fI", stdout);
        else
            length = 0;
        if (length == 0) {
            put_n(usage + i++, 1);
            continue;
        }
        put_n(usage + i, length);
        fputs("\\fR", stdout);
        i += length;
    }
}

static void put_usage(const char *usage)
{
    put_synopsis(usage);
    putchar('\n');
}

/* Lines of which an empty one ends a paragraph. */
static void put_paragraphs(const char *text)
{
    while (*text != '\0') {
        const size_t length = strcspn(text, "\n");
        if (length == 0) {
            fputs(".PP\n", stdout);
        } else {
            fputs("\\&", stdout);
            put_n(text, length);
            putchar('\n');
        }
        text += length + (text[length] == '\n');
    }
}

/* Lines as they are. */
static void put_example(const char *text)
{
    fputs(".nf\n", stdout);
    put_paragraphs(text);
    fputs(".fi\n", stdout);
}

/* .TH and .SH NAME of a page; name in small letters, without the section. */
static void head(const char *name, int section, const char *summary)
{
    fputs(".TH \"", stdout);
    for (const char *c = name; *c != '\0'; c++) {
        const char upper = (char)toupper((unsigned char)*c);
        put_n(&upper, 1);
    }
    printf("\" %d \"\" \"Conclave " CLV_VERSION "\" \"Conclave\"\n.SH NAME\n", section);
    put(name);
    fputs(" \\- ", stdout);
    put(summary);
    putchar('\n');
}

static void see_also(const char *page, int section)
{
    fputs(".BR ", stdout);
    put(page);
    printf(" (%d)", section);
}

/* ---- Pages ---- */

static void put_exit_status(void)
{
    fputs(
        ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong use. A failure is one sentence on the standard "
        "error.\n",
        stdout);
}

static void put_options(const cli_command *command)
{
    const cli_option *option;
    fputs(".SH OPTIONS\n", stdout);
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++) {
        const char letter[] = {'-', option->letter, '\0'};
        fputs(".TP\n", stdout);
        if (option->letter != 0) {
            bold(letter);
            fputs(", ", stdout);
        }
        fputs("\\fB\\-\\-", stdout);
        put(option->name);
        fputs("\\fR", stdout);
        if (option->value != NULL) {
            putchar(' ');
            put_synopsis(option->value);
        }
        putchar('\n');
        fputs("\\&", stdout);
        put(option->text);
        puts(option->repeated ? " (may be repeated)." : ".");
    }
}

static void command_page(const cli_command *command)
{
    char name[64];
    snprintf(name, sizeof(name), "conclave-%s", command->name);
    head(name, 1, command->summary);
    fputs(".SH SYNOPSIS\n\\fBconclave ", stdout);
    put(command->name);
    fputs("\\fR ", stdout);
    put_usage(command->usage);
    fputs(".SH DESCRIPTION\n", stdout);
    put(command->summary);
    puts(".");
    if (command->details != NULL) {
        fputs(".PP\n", stdout);
        put_paragraphs(command->details);
    }
    put_options(command);
    fputs(".SH EXAMPLES\n", stdout);
    put_example(command->example);
    put_exit_status();
    fputs(".SH SEE ALSO\n", stdout);
    see_also("conclave", 1);
    fputs(",\n", stdout);
    see_also("conclave-config", 5);
    putchar('\n');
}

static void put_environment(void)
{
    fputs(".SH ENVIRONMENT\n", stdout);
    for (int v = 0; v < CLVI_ENV_COUNT; v++) {
        fputs(".TP\n", stdout);
        bold(clvi_env_name((clvi_env)v));
        putchar('\n');
        put_line(clvi_env_text((clvi_env)v));
    }
}

static void put_files(void)
{
    static const char *const files[][2] = {
        {"runs/NAME", "a training: its configuration, figures, checkpoints and report.html"},
        {"runs/last", "a link to the newest of them"},
        {"~/.cache/conclave", "compiled kernels, tuning records and what devices are worth; "
                              "everything there can be made again"},
    };
    fputs(".SH FILES\n", stdout);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        fputs(".TP\n", stdout);
        italic(files[i][0]);
        putchar('\n');
        put_line(files[i][1]);
    }
}

static void whole_page(const cli_command *const *commands)
{
    head("conclave", 1, "train, compare and run image classifiers and mixtures of them");
    fputs(".SH SYNOPSIS\n\\fBconclave\\fR ", stdout);
    put_usage("COMMAND [ARGUMENTS]");
    fputs(".SH DESCRIPTION\n", stdout);
    put_line(cli_about);
    fputs(".PP\nTo begin:\n", stdout);
    for (size_t i = 0; cli_first_steps[i][0] != NULL; i++) {
        fputs(".TP\n\\&", stdout);
        put_usage(cli_first_steps[i][0]);
        put_line(cli_first_steps[i][1]);
    }
    fputs(".PP\n", stdout);
    put_line(cli_pictures);
    fputs(".SH COMMANDS\nEach has a page of its own, such as\n", stdout);
    see_also("conclave-train", 1);
    fputs(".\n", stdout);
    for (size_t i = 0; commands[i] != NULL; i++) {
        fputs(".TP\n", stdout);
        bold(commands[i]->name);
        putchar('\n');
        put_line(commands[i]->summary);
    }
    put_environment();
    put_files();
    put_exit_status();
    fputs(".SH SEE ALSO\n", stdout);
    for (size_t i = 0; commands[i] != NULL; i++) {
        char name[64];
        snprintf(name, sizeof(name), "conclave-%s", commands[i]->name);
        see_also(name, 1);
        fputs(",\n", stdout);
    }
    see_also("conclave-config", 5);
    putchar('\n');
}

static void put_term(void *user, const clvi_config_term *term)
{
    (void)user;
    if (term->spec == NULL) {
        fputs(".SS \"[", stdout);
        put(term->section);
        printf("%s]\"\n", term->named ? ".NAME" : "");
        put_line(term->text);
        return;
    }
    fputs(".TP\n", stdout);
    bold(term->spec->key);
    fputs(" = ", stdout);
    italic(term->range);
    putchar('\n');
    fputs("\\&", stdout);
    put(term->text);
    if (term->spec->default_value[0] != '\0') {
        fputs("; default: ", stdout);
        put(term->spec->default_value);
    }
    putchar('\n');
}

static clv_status keys_page(clv_error *error)
{
    head("conclave-config", 5, "configurations of Conclave: every section and key");
    fputs(".SH DESCRIPTION\n", stdout);
    put_paragraphs(
        "A configuration is an INI file: a line [SECTION], then lines KEY = VALUE; a line "
        "that begins with '#' or ';' is a comment. An unknown section or key is an error.\n"
        "\n"
        "On the command line a value is given as SECTION.KEY=VALUE. `conclave config` "
        "lists the configurations that are shipped, `conclave config NAME --dump` prints "
        "one of them complete.\n"
        "\n"
        "Options of experts and gates stand in the sections of these: `conclave plugins "
        "NAME` explains them.\n");
    fputs(".SH SECTIONS\n", stdout);
    CLV_TRY(clvi_config_terms(put_term, NULL, error));
    fputs(".SH SEE ALSO\n", stdout);
    see_also("conclave", 1);
    fputs(",\n", stdout);
    see_also("conclave-config", 1);
    putchar('\n');
    return CLV_OK;
}

/* Of the program that core/weights/h5.c starts, where it is built. */
static void helper_page(void)
{
    head("conclave-h5", 1, "read a file of weights in HDF5 for conclave");
    fputs(".SH SYNOPSIS\n", stdout);
    bold("conclave-h5");
    fputs("\n.SH DESCRIPTION\n", stdout);
    put_paragraphs(
        "This program is started by conclave where weights lie in an .h5 file, with limits on time "
        "and memory: a damaged file may end it, and nothing else. It is not for use by hand; "
        "`conclave inspect FILE.h5` shows what such a file holds.\n");
    fputs(".SH SEE ALSO\n", stdout);
    see_also("conclave-inspect", 1);
    putchar('\n');
}

/* ---- The command ---- */

static void list_pages(const cli_command *const *commands)
{
    puts(main_page);
    puts(config_page);
    if (CLV_H5_READER)
        puts(reader_page);
    for (size_t i = 0; commands[i] != NULL; i++)
        printf("conclave-%s.1\n", commands[i]->name);
}

static clv_status run(const cli_args *args, clv_error *error)
{
    const cli_command *const *commands = cli_commands();
    const char *page = cli_at(args, 0);
    char name[64];
    if (page == NULL) {
        list_pages(commands);
        return CLV_OK;
    }
    if (strcmp(page, main_page) == 0) {
        whole_page(commands);
        return CLV_OK;
    }
    if (CLV_H5_READER && strcmp(page, reader_page) == 0) {
        helper_page();
        return CLV_OK;
    }
    if (strcmp(page, config_page) == 0)
        return keys_page(error);
    for (size_t i = 0; commands[i] != NULL; i++) {
        snprintf(name, sizeof(name), "conclave-%s.1", commands[i]->name);
        if (strcmp(page, name) != 0)
            continue;
        command_page(commands[i]);
        return CLV_OK;
    }
    CLV_FAIL(error, CLV_E_USAGE, "there is no page %s; `conclave manual` lists them", page);
}

const cli_command cmd_manual = {
    .name = "manual",
    .summary = "Write a man page, or the list of them",
    .usage = "[PAGE]",
    .example = "conclave manual conclave-train.1 | man -l -",
    .run = run,
};
