/* The frame of the command with commands of its own: parser, help, errors, exit codes. */
#include "../../tools/conclave/cli.h"
#include "base/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <conclave/plugin.h>

/* ---- Commands to try
 * ------------------------------------------------------------------------------ */

static clv_status run_echo(const cli_args *args, clv_error *error)
{
    int64_t top = -1;
    CLV_TRY(cli_option_int(args, "top", 1, 100, &top, error));
    printf("top %lld|", (long long)top);
    for (size_t i = 0; i < cli_count(args); i++)
        printf("word %s|", cli_at(args, i));
    for (size_t i = 0; i < cli_option_times(args, "set"); i++)
        printf("set %s|", cli_option_nth(args, "set", i));
    const char *output = cli_option_value(args, "output");
    printf("output %s|json %d|quiet %d", output != NULL ? output : "none", cli_flag(args, "json"),
           cli_quiet(args));
    if (cli_at(args, cli_count(args)) != NULL || cli_option_nth(args, "set", 99) != NULL)
        printf("|too much");
    clvi_log(CLVI_LOG_WARN, "a warning");
    clvi_log(CLVI_LOG_INFO, "a note");
    clvi_log(CLVI_LOG_DEBUG, "a detail");
    return CLV_OK;
}

static clv_status run_unseen(const cli_args *args, clv_error *error)
{
    (void)error;
    printf("quiet %d", cli_quiet(args));
    return CLV_OK;
}

static clv_status run_fail(const cli_args *args, clv_error *error)
{
    (void)args;
    printf("half a result");
    CLV_FAIL(error, CLV_E_DATA, "the image is torn");
}

static clv_status run_silent(const cli_args *args, clv_error *error)
{
    (void)args, (void)error;
    return CLV_E_CONFIG;
}

static const cli_option echo_options[] = {
    {"top", "N", "how many", 't', false},
    {"set", "KEY=VALUE", "change a value", 0, true},
    {"output", "FOLDER", "where to", 'o', false},
    {"json", NULL, "as JSON", 0, false},
};
static const cli_command cmd_echo = {
    .name = "echo",
    .summary = "Say it again",
    .usage = "WORD... [options]",
    .example = "conclave echo one\nconclave echo two --top 3",
    .options = echo_options,
    .option_count = 4,
    .run = run_echo,
};
static const cli_command cmd_fail = {
    .name = "fail", .summary = "Fail", .usage = "", .example = "conclave fail", .run = run_fail};
static const cli_command cmd_silent = {.name = "silent",
                                       .summary = "Fail without a word",
                                       .usage = "",
                                       .example = "conclave silent",
                                       .run = run_silent};
static const cli_command cmd_unseen = {
    .name = "unseen", .summary = "Say it unseen", .usage = "", .example = "", .run = run_unseen};
static const cli_command *const listed[] = {&cmd_echo, &cmd_fail, &cmd_silent, NULL};
static const cli_command *const hidden[] = {&cmd_unseen, NULL};
static const cli_table table = {listed, hidden};

/* ---- Running them
 * ----------------------------------------------------------------------------------- */

static char out[8192], err[8192];

/* Sends a stream to a new file; returns what brings it back. */
static int divert(FILE *stream, const char *path)
{
    fflush(stream);
    const int before = dup(fileno(stream));
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(before >= 0 && file >= 0);
    assert_true(dup2(file, fileno(stream)) >= 0);
    close(file);
    return before;
}

static void restore(FILE *stream, int before, const char *path, char *text, size_t bytes)
{
    fflush(stream);
    assert_true(dup2(before, fileno(stream)) >= 0);
    close(before);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    text[fread(text, 1, bytes - 1, file)] = '\0';
    fclose(file);
    unlink(path);
}

/* Runs "conclave WORDS" (split at blanks); fills out and err. */
static int conclave(const char *words)
{
    char line[512], out_path[64], err_path[64];
    char *argv[32] = {"conclave"};
    int argc = 1;
    snprintf(line, sizeof(line), "%s", words);
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    snprintf(out_path, sizeof(out_path), "/tmp/conclave-frame-%d.out", (int)getpid());
    snprintf(err_path, sizeof(err_path), "/tmp/conclave-frame-%d.err", (int)getpid());
    const int out_before = divert(stdout, out_path), err_before = divert(stderr, err_path);
    const int status = cli_main(&table, argc, argv);
    restore(stdout, out_before, out_path, out, sizeof(out));
    restore(stderr, err_before, err_path, err, sizeof(err));
    return status;
}

static void expect(const char *words, int status, const char *on_out, const char *on_err)
{
    const int got = conclave(words);
    if (got != status || strcmp(out, on_out) != 0 || strcmp(err, on_err) != 0)
        fail_msg("conclave %s: exit %d, out \"%s\", err \"%s\"", words, got, out, err);
}

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define ABI      TEXT(CLV_ABI_MAJOR) "." TEXT(CLV_ABI_MINOR)

#define LOG "conclave: warning: a warning\na note\n"

static void test_options(void **state)
{
    (void)state;
    expect("echo", 0, "top -1|output none|json 0|quiet 0", LOG);
    expect("echo a --top 3 b -o x", 0, "top 3|word a|word b|output x|json 0|quiet 0", LOG);
    expect("echo --top=4 -ox=1 --json", 0, "top 4|output x=1|json 1|quiet 0", LOG);
    expect("echo --set=a=1 --set b=2 -o 1 -o 2", 0,
           "top -1|set a=1|set b=2|output 2|json 0|quiet 0", LOG);
    expect("echo -- --top -o --", 0, "top -1|word --top|word -o|word --|output none|json 0|quiet 0",
           LOG);
    expect("echo - --output=", 0, "top -1|word -|output |json 0|quiet 0", LOG);
    expect("echo --output --json", 0, "top -1|output --json|json 0|quiet 0", LOG);
    expect("echo train.lr=0.1 --quiet", 0, "top -1|word train.lr=0.1|output none|json 0|quiet 1",
           "conclave: warning: a warning\n");
    expect("echo -q", 0, "top -1|output none|json 0|quiet 1", "conclave: warning: a warning\n");
}

static void test_wrong_options(void **state)
{
    (void)state;
    expect("echo --tpo 3", 2, "", "conclave: echo has no option --tpo; did you mean --top?\n");
    expect("echo --tpo=3", 2, "", "conclave: echo has no option --tpo; did you mean --top?\n");
    expect("echo --hlep", 2, "", "conclave: echo has no option --hlep; did you mean --help?\n");
    expect("echo --telescope", 2, "",
           "conclave: echo has no option --telescope; see conclave echo --help\n");
    expect("echo -x", 2, "", "conclave: echo has no option -x; see conclave echo --help\n");
    expect("echo --json=yes", 2, "", "conclave: --json takes no value\n");
    expect("echo --top", 2, "", "conclave: --top needs a value: --top N\n");
    expect("echo -o", 2, "", "conclave: --output needs a value: --output FOLDER\n");
    expect("echo --top ten", 2, "",
           "conclave: --top is \"ten\", expected an integer from 1 to 100\n");
    expect("echo --top 101", 2, "",
           "conclave: --top is \"101\", expected an integer from 1 to 100\n");
    expect("echo --=3", 2, "", "conclave: echo has no option --; see conclave echo --help\n");
}

static void test_failures(void **state)
{
    (void)state;
    expect("fail", 1, "half a result", "conclave: the image is torn\n");
    expect("silent", 2, "", "conclave: wrong configuration\n");
    expect("ehco", 2, "", "conclave: there is no command \"ehco\"; did you mean echo?\n");
    expect("--verbose", 2, "",
           "conclave: there is no option \"--verbose\" before a command; conclave --help lists "
           "these\n");
    expect("--hlep", 2, "", "conclave: there is no option \"--hlep\"; did you mean --help?\n");
    expect("help ehco", 2, "", "conclave: there is no command \"ehco\"; did you mean echo?\n");
}

/* Found by its name, neither listed nor proposed. */
static void test_hidden(void **state)
{
    (void)state;
    expect("unseen --quiet", 0, "quiet 1", "");
    expect("unsean", 2, "",
           "conclave: there is no command \"unsean\"; conclave --help lists them\n");
    assert_int_equal(conclave("--help"), 0);
    assert_null(strstr(out, "unseen"));
}

static void test_help(void **state)
{
    (void)state;
    const char *help = "Say it again.\n\n"
                       "usage: conclave echo WORD... [options]\n\n"
                       "options:\n"
                       "  -t, --top N          how many\n"
                       "  --set KEY=VALUE      change a value (may be repeated)\n"
                       "  -o, --output FOLDER  where to\n"
                       "  --json               as JSON\n"
                       "  -q, --quiet          no progress and no notes, only errors and warnings\n"
                       "  -h, --help           this text\n\n"
                       "example:\n"
                       "  conclave echo one\n"
                       "  conclave echo two --top 3\n";
    expect("echo --help", 0, help, "");
    expect("echo --nonsense --help", 0, help, "");
    expect("help echo", 0, help, "");
    expect("echo -- --help", 0, "top -1|word --help|output none|json 0|quiet 0", LOG);
    assert_int_equal(conclave(""), 0);
    assert_non_null(strstr(out, "usage: conclave COMMAND"));
    assert_non_null(strstr(out, "  silent  Fail without a word\n"));
    assert_non_null(strstr(out, "To begin:"));
    assert_string_equal(err, "");
    assert_int_equal(conclave("--help"), 0);
    assert_non_null(strstr(out, "To begin:"));
    expect("--version", 0, "conclave 1.2.3 (plugin ABI " ABI ")\n", "");
}

static void test_full_disk(void **state)
{
    char *argv[] = {"conclave", "--version"};
    (void)state;
    fflush(stdout);
    const int before = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY);
    if (full < 0)
        skip();
    assert_true(dup2(full, STDOUT_FILENO) >= 0);
    const int err_before = divert(stderr, "/tmp/conclave-frame.err");
    const int status = cli_main(&table, 2, argv);
    restore(stderr, err_before, "/tmp/conclave-frame.err", err, sizeof(err));
    assert_true(dup2(before, STDOUT_FILENO) >= 0);
    clearerr(stdout);
    close(before);
    close(full);
    assert_int_equal(status, 1);
    assert_non_null(strstr(err, "conclave: cannot write to the standard output: No space left"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),  cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_help),     cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
