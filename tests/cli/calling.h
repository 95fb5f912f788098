/* Calling the command through a shell, for tests that look at what it says. */
#ifndef CLV_TEST_CALLING_H
#define CLV_TEST_CALLING_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static char command[PATH_MAX]; /* the path of conclave: set by main */
static char text[1 << 17];     /* what the last call said */

/* Runs "conclave ARGUMENTS", which may redirect; stdout and stderr fill text. Returns the exit
 * code. */
static int conclave(const char *arguments)
{
    char line[3 * PATH_MAX];
    snprintf(line, sizeof(line), "{ '%s' %s ; } 2>&1", command, arguments);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The exit code must be `status`, and `part` must be said. */
static void expect(const char *arguments, int status, const char *part)
{
    const int got = conclave(arguments);
    if (got != status || strstr(text, part) == NULL)
        fail_msg("conclave %s: exit %d, \"%s\"; expected %d and \"%s\"", arguments, got, text,
                 status, part);
}

#endif
