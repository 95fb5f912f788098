/* conclave complete, hidden: what may stand next on a command line, for the shell's completion
 * (tools/conclave/conclave.bash). Commands, options and arguments follow from the same tables as
 * --help: which argument is what, from the words in capitals of a command's usage. */
#include "cli.h"
#include "driver_cache.h"

#include "config/config.h"
#include "config/suite.h"
#include "plugin/plugin_host.h"
#include "runtime/runtime.h"
#include "train/run_dir.h"

#include <ctype.h>
#include <stdio.h>

/* What the shell is to offer itself; lines in place of a candidate, at the end. */
static const char files_line[] = "<files>", folders_line[] = "<folders>";
typedef struct places {
    bool files, folders;
} places;

/* A call: the words behind "conclave", the last one, "" or begun, to be completed. */
typedef struct job {
    const cli_args *args;
    size_t count; /* of words, at least 1 */
    const cli_command *command;
    const char *before; /* put before every candidate: "--device=" of "--device=cp" */
    const char *begun;  /* behind it */
    const char *output; /* folder of the runs */
    places *places;
} job;

static const char *word_at(const job *j, size_t index)
{
    return cli_at(j->args, index);
}

static void offer_n(const job *j, const char *candidate, size_t length)
{
    const size_t begun = strlen(j->begun);
    if (begun <= length && memcmp(candidate, j->begun, begun) == 0)
        printf("%s%.*s\n", j->before, (int)length, candidate);
}

static void offer(const job *j, const char *candidate)
{
    offer_n(j, candidate, strlen(candidate));
}

/* ---- What there is ---- */

static clv_status offer_entries(const job *j, bool suites, clv_error *error)
{
    const char *const folders[] = {cli_config_dir()};
    clvi_config_entry *list = NULL;
    size_t count = 0;
    CLV_TRY(suites ? clvi_suite_list(folders, 1, &list, &count, error)
                   : clvi_config_list(folders, 1, &list, &count, error));
    for (size_t i = 0; i < count; i++)
        offer(j, list[i].name);
    clvi_config_list_free(list, count);
    return CLV_OK;
}

static clv_status offer_runs(const job *j, clv_error *error)
{
    char **names = NULL;
    size_t count = 0;
    CLV_TRY(clvi_run_list(j->output, &names, &count, error));
    for (size_t i = 0; i < count; i++)
        offer(j, names[i]);
    if (count > 0)
        offer(j, "last");
    clvi_names_free(names, count);
    return CLV_OK;
}

static clv_status offer_devices(const job *j, clv_error *error)
{
    clvi_runtime *runtime = NULL;
    offer(j, "auto");
    offer(j, "cpu");
    offer(j, "gpu");
    CLV_TRY(cli_runtime_create(&runtime, error));
    for (size_t i = 0; i < clvi_runtime_device_count(runtime); i++)
        offer(j, clvi_runtime_device(runtime, i)->selector);
    clvi_runtime_destroy(runtime);
    return CLV_OK;
}

static clv_status offer_plugins(const job *j, clv_error *error)
{
    clvi_plugins *plugins = NULL;
    const clvi_plugin *const *list = NULL;
    size_t count = 0;
    CLV_TRY(clvi_plugins_create(NULL, cli_plugin_dir(), &plugins, error));
    const clv_status status = clvi_plugins_scan(plugins, &list, &count, error);
    for (size_t i = 0; status == CLV_OK && i < count; i++)
        offer(j, list[i]->table->name);
    clvi_plugins_destroy(plugins);
    return status;
}

/* The words of "a | b | c". */
static void offer_choices(const job *j, const char *choices)
{
    while (*(choices += strspn(choices, " |")) != '\0') {
        const size_t length = strcspn(choices, " |");
        offer_n(j, choices, length);
        choices += length;
    }
}

/* section.key=, or behind the '=' the values that a key may have. */
static void offer_term(void *user, const clvi_config_term *term)
{
    const job *j = user;
    char key[128], before[160];
    if (term->spec == NULL || term->named)
        return;
    snprintf(key, sizeof(key), "%s.%s=", term->section, term->spec->key);
    if (strncmp(j->begun, key, strlen(key)) != 0) {
        offer(j, key);
        return;
    }
    job value = *j;
    snprintf(before, sizeof(before), "%s%s", j->before, key);
    value.before = before;
    value.begun = j->begun + strlen(key);
    if (term->spec->type == CLV_OPTION_BOOL)
        offer_choices(&value, "yes no");
    else if (term->spec->choices != NULL)
        offer_choices(&value, term->spec->choices);
    else if (strcmp(term->spec->key, "path") == 0)
        j->places->files = true;
}

/* ---- What a word stands for ---- */

static bool is_word(const char *kind, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(kind, wanted, length) == 0;
}

static bool begins(const char *kind, size_t length, const char *wanted)
{
    return strlen(wanted) <= length && memcmp(kind, wanted, strlen(wanted)) == 0;
}

/* Offers what `kind` stands for, a word of a usage or of the value of an option: in small letters
 * itself. */
static clv_status offer_kind(const job *j, const char *kind, size_t length, clv_error *error)
{
    if (length > 0 && islower((unsigned char)kind[0])) {
        offer_n(j, kind, length);
        return CLV_OK;
    }
    if (is_word(kind, length, "CONFIG")) {
        j->places->files = true;
        return offer_entries(j, false, error);
    }
    if (is_word(kind, length, "SUITE"))
        return offer_entries(j, true, error);
    if (begins(kind, length, "RUN")) {
        j->places->folders = true;
        return offer_runs(j, error);
    }
    if (is_word(kind, length, "DEVICE"))
        return offer_devices(j, error);
    if (is_word(kind, length, "PLUGIN"))
        return offer_plugins(j, error);
    if (begins(kind, length, "SECTION.KEY") || is_word(kind, length, "KEY=A,B"))
        return clvi_config_terms(offer_term, (void *)j, error);
    if (is_word(kind, length, "FOLDERS"))
        j->places->folders = true;
    else if (begins(kind, length, "FILE") || begins(kind, length, "IMAGE") ||
             is_word(kind, length, "FOLDER") || is_word(kind, length, "PATH"))
        j->places->files = true;
    return CLV_OK;
}

/* The same of each word of "CONFIG|SUITE|RUN". */
static clv_status offer_kinds(const job *j, const char *kinds, size_t length, clv_error *error)
{
    for (size_t from = 0; from < length;) {
        const char *bar = memchr(kinds + from, '|', length - from);
        const size_t to = bar != NULL ? (size_t)(bar - kinds) : length;
        CLV_TRY(offer_kind(j, kinds + from, to - from, error));
        from = to + 1;
    }
    return CLV_OK;
}

static clv_status offer_value(const job *j, const cli_option *option, clv_error *error)
{
    return offer_kinds(j, option->value, strlen(option->value), error);
}

static void offer_options(const job *j)
{
    char name[64];
    const cli_option *option;
    for (size_t i = 0; (option = cli_option_at(j->command, i)) != NULL; i++) {
        snprintf(name, sizeof(name), "--%s", option->name);
        offer(j, name);
    }
}

/* The option that word `index` names, if it takes a value that stands in the next word. */
static const cli_option *valued_option(const job *j, size_t index)
{
    const char *word = word_at(j, index);
    const cli_option *option;
    for (size_t i = 0; (option = cli_option_at(j->command, i)) != NULL; i++) {
        const bool named = strncmp(word, "--", 2) == 0 && strcmp(word + 2, option->name) == 0;
        const bool lettered =
            word[0] == '-' && option->letter != 0 && word[1] == option->letter && word[2] == '\0';
        if (option->value != NULL && (named || lettered))
            return option;
    }
    return NULL;
}

/* ---- Arguments, by the usage ---- */

/* An argument of a usage: "CONFIG|SUITE|RUN...", without brackets. */
typedef struct slot {
    const char *text;
    size_t length;
    bool repeated;
} slot;

/* The next argument of a usage; false at its end. Options and their values are passed over, and
 * words in small letters, which stand for nothing unless it is one of several, "expert|gate". */
static bool next_slot(const char **usage, slot *out)
{
    for (const char *at = *usage; *(at += strspn(at, " (|)")) != '\0';) {
        const char *text = at + strspn(at, "[");
        const size_t whole = strcspn(text, " ");
        size_t length = strcspn(text, " ]");
        at = text + whole;
        if (text[0] == '-' && text > *usage && text[-1] == '[') {
            at = text + strcspn(text, "]");
            at += strcspn(at, " ");
        } else if (text[0] == '-' && isupper((unsigned char)at[strspn(at, " ")])) {
            at += strspn(at, " ");
            at += strcspn(at, " ");
        }
        const bool words = whole == length && memchr(text, '|', length) != NULL &&
                           strspn(text, "abcdefghijklmnopqrstuvwxyz|") == length;
        if (!isupper((unsigned char)text[0]) && !words)
            continue;
        while (text[length - 1] == '.')
            length--;
        *out = (slot){text, length, whole > 3 && memcmp(text + whole - 3, "...", 3) == 0};
        *usage = at;
        return true;
    }
    return false;
}

/* Whether the last alternative of an argument is an option, whose own argument comes next. */
static bool is_instead(const slot *what)
{
    for (size_t i = 0; i + 2 < what->length; i++)
        if (memcmp(what->text + i, "|--", 3) == 0)
            return true;
    return false;
}

/* How many arguments stand before the word that is completed. */
static size_t arguments_before(const job *j)
{
    size_t count = 0;
    for (size_t i = 1; i + 1 < j->count; i++) {
        if (word_at(j, i)[0] != '-')
            count++;
        else if (valued_option(j, i) != NULL)
            i++;
    }
    return count;
}

static clv_status offer_arguments(const job *j, clv_error *error)
{
    const size_t index = arguments_before(j);
    const char *usage = j->command->usage;
    slot what;
    for (size_t first = 0; next_slot(&usage, &what);) {
        if (what.repeated ? index >= first : index == first)
            CLV_TRY(offer_kinds(j, what.text, what.length, error));
        first += !is_instead(&what); /* "CONFIG|--resume [RUN]": either */
    }
    return CLV_OK;
}

/* ---- The command ---- */

static void offer_commands(const job *j)
{
    const cli_command *const *commands = cli_commands();
    for (size_t i = 0; commands[i] != NULL; i++)
        offer(j, commands[i]->name);
    offer(j, "help");
    if (j->begun[0] == '-') {
        offer(j, "--help");
        offer(j, "--version");
    }
}

/* The name of the option that says where the runs are; explain's --output is for its page. */
static const char *runs_option(const cli_command *command)
{
    const cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++)
        if (strcmp(option->name, "runs") == 0)
            return option->name;
    return "output";
}

static clv_status offer_of_command(job *j, clv_error *error)
{
    const char *equals = strchr(j->begun, '=');
    char head[64];
    const char *runs = runs_option(j->command);
    const cli_option *option;
    for (size_t i = 1; i + 2 < j->count; i++)
        if ((option = valued_option(j, i)) != NULL && strcmp(option->name, runs) == 0)
            j->output = word_at(j, i + 1);
    option = j->count > 2 ? valued_option(j, j->count - 2) : NULL;
    if (option != NULL)
        return offer_value(j, option, error);
    if (strncmp(j->begun, "--", 2) == 0 && equals != NULL) {
        const size_t length = (size_t)(equals - j->begun) + 1;
        for (size_t i = 0; (option = cli_option_at(j->command, i)) != NULL; i++) {
            snprintf(head, sizeof(head), "--%s=", option->name);
            if (option->value == NULL || strncmp(j->begun, head, length) != 0)
                continue;
            j->before = head;
            j->begun += length;
            return offer_value(j, option, error);
        }
        return CLV_OK;
    }
    if (j->begun[0] == '-') {
        offer_options(j);
        return CLV_OK;
    }
    return offer_arguments(j, error);
}

static clv_status run(const cli_args *args, clv_error *error)
{
    places asked = {false, false};
    job j = {
        .args = args, .count = cli_count(args), .before = "", .output = "runs", .places = &asked};
    if (j.count == 0)
        CLV_FAIL(error, CLV_E_USAGE, "which words? give them behind --, the last one to complete");
    j.begun = word_at(&j, j.count - 1);
    if (j.count == 1 || (j.count == 2 && strcmp(word_at(&j, 0), "help") == 0)) {
        offer_commands(&j);
        return CLV_OK;
    }
    j.command = cli_find(cli_commands(), word_at(&j, 0));
    if (j.command != NULL)
        CLV_TRY(offer_of_command(&j, error));
    if (asked.files || asked.folders)
        puts(asked.files ? files_line : folders_line);
    return CLV_OK;
}

const cli_command cmd_complete = {
    .name = "complete",
    .summary = "List what a command line may go on with",
    .usage = "-- WORD...",
    .example = "conclave complete -- train cnn",
    .run = run,
};
