/* The option parser: --name value, --name=value, -o value, -ovalue, flags, and "--" after which
 * nothing is an option. */
#include "cli.h"

typedef struct given {
    const cli_option *option;
    const char *value; /* "" for a flag */
} given;

struct cli_args {
    char **typed; /* behind the command's name */
    int typed_count;
    const cli_command *command;
    const char **words; /* no options */
    size_t word_count;
    given *options;
    size_t option_count;
};

static const cli_option common[] = {
    {"quiet", NULL, "no progress and no notes, only errors and warnings", 'q', false},
    {"help", NULL, "this text", 'h', false},
};
enum { COMMON_COUNT = sizeof(common) / sizeof(common[0]) };

const cli_option *cli_option_at(const cli_command *command, size_t index)
{
    if (index < command->option_count)
        return &command->options[index];
    index -= command->option_count;
    return index < COMMON_COUNT ? &common[index] : NULL;
}

static const cli_option *find_name(const cli_command *command, const char *name, size_t length)
{
    const cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++)
        if (strlen(option->name) == length && memcmp(option->name, name, length) == 0)
            return option;
    return NULL;
}

static const cli_option *find_letter(const cli_command *command, char letter)
{
    const cli_option *option;
    for (size_t i = 0; (option = cli_option_at(command, i)) != NULL; i++)
        if (option->letter == letter)
            return option;
    return NULL;
}

static clv_status unknown(const cli_command *command, const char *word, clv_error *error)
{
    enum { MAX_NAMES = 64 };
    const char *names[MAX_NAMES];
    char shown[64], bare[64];
    const cli_option *option;
    size_t count = 0;
    while (count < MAX_NAMES && (option = cli_option_at(command, count)) != NULL)
        names[count++] = option->name;
    clvi_printable(word, shown, sizeof(shown));
    const size_t dashes = strspn(shown, "-"), length = strcspn(shown + dashes, "=");
    memcpy(bare, shown + dashes, length);
    bare[length] = '\0';
    const char *near = dashes == 2 ? clvi_nearest(bare, names, count) : NULL;
    if (near != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "%s has no option %.*s; did you mean --%s?", command->name,
                 (int)(dashes + length), shown, near);
    CLV_FAIL(error, CLV_E_USAGE, "%s has no option %.*s; see conclave %s --help", command->name,
             (int)(dashes + length), shown, command->name);
}

static void put(cli_args *args, const cli_option *option, const char *value)
{
    args->options[args->option_count++] = (given){option, value};
}

/* The word at argv[*at], which begins with '-', and its value, which may be the next word; *at is
 * left at the last word used. */
static clv_status take_option(cli_args *args, int argc, char **argv, int *at, clv_error *error)
{
    const char *word = argv[*at], *value = NULL;
    const cli_option *option;
    if (word[1] == '-') {
        const size_t length = strcspn(word + 2, "=");
        option = find_name(args->command, word + 2, length);
        value = word[2 + length] == '=' ? word + 3 + length : NULL;
    } else {
        option = find_letter(args->command, word[1]);
        value = word[2] != '\0' ? word + 2 : NULL;
    }
    if (option == NULL)
        return unknown(args->command, word, error);
    if (option->value == NULL) {
        if (value != NULL)
            CLV_FAIL(error, CLV_E_USAGE, "--%s takes no value", option->name);
        put(args, option, "");
        return CLV_OK;
    }
    if (value == NULL && *at + 1 < argc)
        value = argv[++*at];
    if (value == NULL)
        CLV_FAIL(error, CLV_E_USAGE, "--%s needs a value: --%s %s", option->name, option->name,
                 option->value);
    put(args, option, value);
    return CLV_OK;
}

static clv_status sort_words(cli_args *args, int argc, char **argv, clv_error *error)
{
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1] != '\0')
            CLV_TRY(take_option(args, argc, argv, &i, error));
        else
            args->words[args->word_count++] = argv[i];
    }
    return CLV_OK;
}

/* Help is given however wrong the rest is. */
static bool wants_help(const cli_command *command, int argc, char **argv)
{
    const cli_option *help = &common[COMMON_COUNT - 1];
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 ||
            (strcmp(argv[i], "-h") == 0 && find_letter(command, 'h') == help))
            return true;
    return false;
}

clv_status cli_args_parse(const cli_command *command, int argc, char **argv, cli_args **out,
                          bool *help, clv_error *error)
{
    cli_args *args = clvi_calloc(1, sizeof(*args));
    if (args != NULL) {
        args->command = command;
        args->typed = argv;
        args->typed_count = argc;
        args->words = clvi_calloc((size_t)argc + 1, sizeof(*args->words));
        args->options = clvi_calloc((size_t)argc + 1, sizeof(*args->options));
    }
    if (args == NULL || args->words == NULL || args->options == NULL) {
        cli_args_destroy(args);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the arguments");
    }
    *help = wants_help(command, argc, argv);
    const clv_status status = *help ? CLV_OK : sort_words(args, argc, argv, error);
    if (status != CLV_OK) {
        cli_args_destroy(args);
        return status;
    }
    *out = args;
    return CLV_OK;
}

void cli_args_destroy(cli_args *args)
{
    if (args == NULL)
        return;
    clvi_free(args->words);
    clvi_free(args->options);
    clvi_free(args);
}

/* ---- Questions of the commands
 * ------------------------------------------------------------------- */

size_t cli_count(const cli_args *args)
{
    return args->word_count;
}

const char *cli_at(const cli_args *args, size_t index)
{
    return index < args->word_count ? args->words[index] : NULL;
}

size_t cli_option_times(const cli_args *args, const char *name)
{
    size_t times = 0;
    for (size_t i = 0; i < args->option_count; i++)
        times += strcmp(args->options[i].option->name, name) == 0;
    return times;
}

const char *cli_option_nth(const cli_args *args, const char *name, size_t index)
{
    for (size_t i = 0; i < args->option_count; i++)
        if (strcmp(args->options[i].option->name, name) == 0 && index-- == 0)
            return args->options[i].value;
    return NULL;
}

const char *cli_option_value(const cli_args *args, const char *name)
{
    const size_t times = cli_option_times(args, name);
    CLV_ASSERT(find_name(args->command, name, strlen(name)) != NULL);
    return times > 0 ? cli_option_nth(args, name, times - 1) : NULL;
}

bool cli_flag(const cli_args *args, const char *name)
{
    return cli_option_value(args, name) != NULL;
}

void cli_command_line(const cli_args *args, clvi_text *out)
{
    clvi_text_printf(out, "conclave %s", args->command->name);
    for (int i = 0; i < args->typed_count; i++) {
        clvi_text_append(out, " ");
        clvi_text_append_word(out, args->typed[i]);
    }
}

bool cli_quiet(const cli_args *args)
{
    return cli_flag(args, "quiet");
}

clv_status cli_option_int(const cli_args *args, const char *name, int64_t min, int64_t max,
                          int64_t *out, clv_error *error)
{
    const char *text = cli_option_value(args, name);
    char shown[64];
    int64_t value = 0;
    if (text == NULL)
        return CLV_OK;
    if (!clvi_parse_int(text, &value) || value < min || value > max)
        CLV_FAIL(error, CLV_E_USAGE, "--%s is \"%s\", expected an integer from %lld to %lld", name,
                 clvi_printable(text, shown, sizeof(shown)), (long long)min, (long long)max);
    *out = value;
    return CLV_OK;
}

clv_status cli_option_choice(const cli_args *args, const char *name, const char *choices,
                             size_t *index, clv_error *error)
{
    enum { MOST = 8, WORD_BYTES = 32 };
    char words[MOST][WORD_BYTES], shown[64];
    const char *names[MOST], *value = cli_option_value(args, name);
    size_t count = 0;
    for (const char *at = choices; value != NULL && *(at += strspn(at, " |")) != '\0'; count++) {
        const size_t length = strcspn(at, " |");
        CLV_ASSERT(count < MOST && length < WORD_BYTES);
        memcpy(words[count], at, length);
        words[count][length] = '\0';
        names[count] = words[count];
        if (clvi_name_equal(value, words[count])) {
            *index = count;
            return CLV_OK;
        }
        at += length;
    }
    if (value == NULL)
        return CLV_OK;
    const char *near = clvi_nearest(value, names, count);
    CLV_FAIL(error, CLV_E_USAGE, "--%s is \"%s\", expected %s%s%s%s", name,
             clvi_printable(value, shown, sizeof(shown)), choices,
             near != NULL ? "; did you mean " : "", near != NULL ? near : "",
             near != NULL ? "?" : "");
}
