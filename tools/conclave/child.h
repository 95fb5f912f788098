/* Risky work in a process of its own: a plugin that crashes, hangs or leaks, a driver that takes
 * the process with it. The command starts itself again by a hidden subcommand, which reports line
 * by line on CLI_CHILD_REPORT. posix_spawn only: never a fork once OpenCL is up. */
#ifndef CONCLAVE_CHILD_H
#define CONCLAVE_CHILD_H

#include "command.h"

#include <signal.h>
#include <stdio.h>

/* The descriptor on which a child reports. Its standard output is the parent's standard error. */
enum { CLI_CHILD_REPORT = 3 };

typedef struct cli_child_desc {
    const char *const *arguments;   /* without the program; the last one is NULL */
    const char *const *environment; /* "NAME=value" to set, the last one is NULL; NULL: none */
    double silence_seconds;         /* killed when it reports nothing for so long */
    void (*line)(void *user, const char *line); /* each line that it reports */
    void *user;
    bool errors; /* its standard error is the report, its standard output is dropped */
    /* NULL, or not 0 as soon as it shall end: it gets SIGTERM once. It is in a group of its own
     * then, so that the terminal's signals reach it only by this way. */
    const volatile sig_atomic_t *stop;
} cli_child_desc;

typedef struct cli_child_end {
    bool silent; /* it was killed after silence_seconds */
    int signal;  /* that ended it, 0: none */
    int status;  /* its exit status, when no signal ended it */
} cli_child_end;

/* Runs the child to its end. Errors: CLV_E_IO when it cannot be started. */
clv_status cli_child_run(const cli_child_desc *desc, cli_child_end *end,
                         clv_error *error) CLV_MUST_CHECK;

/* In the child: no core files, at most cpu_seconds of processor time, and at most memory_bytes of
 * memory of its own (0: no limit); *report is where to write lines to, which the caller closes.
 * Errors: CLV_E_USAGE when nobody listens. */
clv_status cli_child_begin(unsigned cpu_seconds, uint64_t memory_bytes, FILE **report,
                           clv_error *error) CLV_MUST_CHECK;

#endif
