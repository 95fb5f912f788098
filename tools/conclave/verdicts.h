/* Whether the devices of the system compute rightly, and how fast: each is tried out in a process
 * of its own (self_check.c), and what came out is remembered in the cache folder for as long as
 * devices, drivers and kernels stay the same. `select = auto` takes the fastest. */
#ifndef CONCLAVE_VERDICTS_H
#define CONCLAVE_VERDICTS_H

#include "command.h"
#include "runtime/runtime.h"

typedef struct cli_verdict {
    bool known;     /* it was checked, just now or some time ago */
    bool good;      /* all results were as expected */
    double gflops;  /* a matrix product's 10^9 operations per second; of good ones */
    double seconds; /* that the check took, with starting the driver */
    char text[320]; /* what is wrong */
} cli_verdict;

typedef struct cli_verdicts {
    const clvi_runtime *runtime;
    cli_verdict *list; /* by index of the device */
    size_t count;
    char *path; /* of the file; NULL: nothing is remembered */
    char *key;  /* names these devices, drivers and kernels in the file */
} cli_verdicts;

/* Reads what is remembered. A file that cannot be read or understood counts as none. `runtime` must
 * outlive the verdicts. Errors: CLV_E_MEMORY. */
clv_status cli_verdicts_open(const clvi_runtime *runtime, cli_verdicts *out,
                             clv_error *error) CLV_MUST_CHECK;
void cli_verdicts_close(cli_verdicts *verdicts);
/* Tries device `index` out; that it fails is a result. A step of it may take `seconds`. Errors:
 * CLV_E_IO when no process can be started. */
clv_status cli_verdicts_check(cli_verdicts *verdicts, size_t index, double seconds,
                              clv_error *error) CLV_MUST_CHECK;
/* Writes all that is known. Failures are logged. */
void cli_verdicts_save(const cli_verdicts *verdicts);
/* Index of the fastest good device, of about equals (10 %) the first one; -1: none is known to be
 * good. */
int64_t cli_verdicts_best(const cli_verdicts *verdicts);

enum { CLI_CHECK_SECONDS = 120 }; /* for a step of a check */

/* The device to open for `select` ([device] select, or what --device says; NULL: auto). */
typedef struct cli_choice {
    const char *select; /* exactly this device; lives as long as the runtime */
    char note[80];      /* for the banner: ", fastest of 2 in the self-check (…)", or "" */
} cli_choice;
/* Of several devices, `auto` means the fastest, which may have to be found out first; the only one
 * is taken unchecked. Errors: CLV_E_DEVICE, also for a device that failed its last check. */
clv_status cli_choose_device(const clvi_runtime *runtime, const char *select, cli_choice *out,
                             clv_error *error) CLV_MUST_CHECK;

#endif
