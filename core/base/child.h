/* Risky work in a process of its own: a plugin that crashes, hangs or leaks, a driver that takes
 * the process with it, a library that dies of a damaged file. The child reports line by line on
 * CLVI_CHILD_REPORT. posix_spawn only: never a fork once OpenCL is up. */
#ifndef CLVI_CHILD_H
#define CLVI_CHILD_H

#include "memory.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

/* Descriptors of a child: where it reports, and clvi_child_desc.output. Its standard output is the
 * parent's standard error. */
enum { CLVI_CHILD_REPORT = 3, CLVI_CHILD_OUTPUT = 4 };

typedef struct clvi_child_desc {
    const char *program;            /* its path; NULL: the running program again */
    const char *const *arguments;   /* without the program; the last one is NULL */
    const char *const *environment; /* "NAME=value" to set, the last one is NULL; NULL: none */
    int input;  /* descriptor to be its standard input; 0: the parent's standard input */
    int output; /* descriptor to be its CLVI_CHILD_OUTPUT; 0: none */
    double silence_seconds;                     /* killed when it reports nothing for so long */
    void (*line)(void *user, const char *line); /* each line that it reports */
    void *user;
    bool errors; /* its standard error is the report, its standard output is dropped */
    /* NULL, or not 0 as soon as it shall end: it gets SIGTERM once. It is in a group of its own
     * then, so that the terminal's signals reach it only by this way. */
    const volatile sig_atomic_t *stop;
} clvi_child_desc;

typedef struct clvi_child_end {
    bool silent; /* it was killed after silence_seconds */
    int signal;  /* that ended it, 0: none */
    int status;  /* its exit status, when no signal ended it */
} clvi_child_end;

/* Runs the child to its end. Errors: CLV_E_IO when it cannot be started. */
clv_status clvi_child_run(const clvi_child_desc *desc, clvi_child_end *end,
                          clv_error *error) CLV_MUST_CHECK;

/* What a child takes at most; there are no core files in any case. */
typedef struct clvi_child_limits {
    unsigned cpu_seconds; /* of processor time */
    uint64_t memory;      /* bytes of its own, not counting what drivers only reserve; 0: any */
    uint64_t file;        /* bytes of a file that it writes; 0: any */
} clvi_child_limits;

/* In the child: sets the limits; *report is where to write lines to, which the caller closes.
 * Errors: CLV_E_USAGE when nobody listens. */
clv_status clvi_child_begin(const clvi_child_limits *limits, FILE **report,
                            clv_error *error) CLV_MUST_CHECK;

#endif
