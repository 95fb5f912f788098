/* conclave tune on a tiny network: the record appears, is used, warns when broken, is shown and
 * deleted, and a stop leaves the old one. Arguments: the command. */
#define _GNU_SOURCE
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char command[PATH_MAX], folder[] = "/tmp/conclave-tune-XXXXXX";
static char output[1 << 16]; /* of the last call, with stderr */

/* One block of 4 filters on 8×8 pictures. */
#define TINY "cnn-custom-only expert.cnn.widths=4 --image-size 8 --batch 4"

/* Runs "conclave ARGUMENTS", standard error first; its exit status. */
static int call(const char *arguments)
{
    char line[PATH_MAX + 512];
    snprintf(line, sizeof(line), "'%s' %s 2>&1", command, arguments);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    output[fread(output, 1, sizeof(output) - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void call_says(const char *arguments, int status, const char *part)
{
    const int got = call(arguments);
    if (got != status || strstr(output, part) == NULL)
        fail_msg("%s: status %d, expected %d and \"%s\" in:\n%s", arguments, got, status, part,
                 output);
}

/* The path of the record, from what the last call wrote. */
static void written_path(char path[PATH_MAX])
{
    const char *at = strstr(output, "written: ");
    assert_non_null(at);
    at += strlen("written: ");
    const size_t length = strcspn(at, "\n");
    assert_true(length > 0 && length < PATH_MAX);
    memcpy(path, at, length);
    path[length] = '\0';
}

static void read_file(const char *path, char *text, size_t bytes)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, bytes - 1, file)] = '\0';
    fclose(file);
}

static void append(const char *path, const char *line)
{
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_true(fputs(line, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Starts a long search, and stops it as it says the first time what it found. */
static void stop_a_search(void)
{
    int ends[2];
    char piece[256];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(command, command, "tune", "--quiet", "--max-time", "10m", "cnn-custom-only",
              "expert.cnn.widths=4", "--image-size", "8", "--batch", "4", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    bool found = false;
    size_t used = 0;
    output[0] = '\0';
    for (ssize_t n; (n = read(ends[0], piece, sizeof(piece))) > 0;) {
        if (used + (size_t)n < sizeof(output)) {
            memcpy(output + used, piece, (size_t)n);
            used += (size_t)n;
            output[used] = '\0';
        }
        if (!found && strstr(output, "times as fast") != NULL) {
            found = true;
            assert_int_equal(kill(child, SIGINT), 0);
        }
    }
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(found);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_null(strstr(output, "written"));
}

static void test_life_of_a_record(void **state)
{
    char path[PATH_MAX], line[PATH_MAX + 64], before[8192], after[8192];
    (void)state;
    call_says("tune --show", 0, "no record of this device; the shipped record ");
    call_says("tune --remove", 0, "there is no record of this device");
    call_says("tune --quick --max-time 2s " TINY, 0, "8x8, batch 4: ");
    written_path(path);
    assert_non_null(strstr(path, folder));
    read_file(path, before, sizeof(before));
    static const char *const parts[] = {"\ndevice = ",
                                        "\ndriver = ",
                                        "\nkernels = ",
                                        "\ndate = 2",
                                        "# conclave tune --quick --max-time 2s cnn-custom-only",
                                        "# cnn-custom-only, 8x8, batch 4: "};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strstr(before, parts[i]) == NULL)
            fail_msg("no \"%s\" in:\n%s", parts[i], before);

    call_says("tune --show", 0, before);
    call_says("devices --no-check", 0, path);
    /* What is said when it is used, by any command; and that it counts. */
    call_says("profile --repeat 1 --top 1 " TINY, 0, path);
    append(path, "# by hand\nvector = 4\n");
    call_says("tune --show", 0, "4-wide, tuned ");
    call_says("devices --no-check", 0, "(tuned ");

    read_file(path, before, sizeof(before));
    stop_a_search();
    read_file(path, after, sizeof(after));
    assert_string_equal(before, after);

    append(path, "gemm_mr = 77\n");
    size_t number = 1;
    for (const char *at = before; (at = strchr(at, '\n')) != NULL; at++)
        number++;
    snprintf(line, sizeof(line), "%s:%zu: gemm_mr must be a number from 1 to 16; the shipped", path,
             number);
    call_says("tune --show", 0, line);
    assert_null(strstr(output, ", tuned "));
    assert_non_null(strstr(output, "(not in force)"));
    call_says("tune --remove", 0, path);
    call_says("tune --show", 0, "no record of this device");
}

static void test_wrong_use(void **state)
{
    (void)state;
    call_says("tune --show cnn-custom-only", 2, "--show and --remove stand alone");
    call_says("tune --show --remove", 2, "--show and --remove stand alone");
    call_says("tune --max-time never " TINY, 2, "--max-time is \"never\"");
    call_says("tune no-such-config", 2, "no-such-config");
    assert_int_equal(setenv("CONCLAVE_CACHE", "0", 1), 0);
    call_says("tune --max-time 1s " TINY, 1, "there is no cache folder");
    assert_int_equal(unsetenv("CONCLAVE_CACHE"), 0);
    assert_int_equal(setenv("CONCLAVE_TUNING", "cpu8", 1), 0);
    call_says("tune --max-time 1s " TINY, 2, "CONCLAVE_TUNING chooses another record");
    assert_int_equal(unsetenv("CONCLAVE_TUNING"), 0);
}

static int clean(void **state)
{
    char line[128];
    (void)state;
    snprintf(line, sizeof(line), "rm -rf '%s'", folder);
    return system(line);
}

int main(int argc, char **argv)
{
    if (argc != 2 || realpath(argv[1], command) == NULL || mkdtemp(folder) == NULL)
        return 2;
    /* Other tests must not find the record; compiled kernels may be found. */
    setenv("CONCLAVE_CACHE_DIR", folder, 1);
    unsetenv("CONCLAVE_TUNING");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_record),
        cmocka_unit_test(test_wrong_use),
    };
    return cmocka_run_group_tests_name("tune", tests, NULL, clean);
}
