/* Training with the plugins of ABI 1.0, the host being today's: an expert and one with operations
 * of its own in a mixture, by each rule of the gate. Arguments: the command, the plugins' folder.
 * Exit 77 where there is no OpenCL device. */
#include "../e2e/calls.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static char folder[PATH_MAX];

static void test_trains(void **state)
{
    static const char *const rules[] = {
        "gate.rule=top gate.balance_bias=0.01 gate.capacity_factor=1.25 gate.k=2",
        "gate.rule=noisy gate.k=2",
        "gate.rule=handicap",
        "gate.rule=columns",
        "gate.rule=soft",
    };
    char line[2 * PATH_MAX];
    (void)state;
    draw_set("pictures", 8);
    put("first.ini", "[mixture]\nexperts = a, b, c\nscores = logits\n[expert.a]\nplugin = first\n"
                     "[expert.b]\nplugin = first_own\n[expert.c]\nplugin = first\nwidth = 6\n"
                     "[gate]\nplugin = first\n[loss]\nterms = ce\n[train]\nepochs = 1\nbatch = 8\n"
                     "[data]\nimage_size = 16\n");
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        snprintf(line, sizeof line, "train first.ini %s --plugin-path '%s' --data pictures",
                 rules[i], folder);
        expect(line, 0);
        contains(call_out, "best epoch");
        snprintf(line, sizeof line, "eval last --plugin-path '%s' --data pictures", folder);
        expect(line, 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trains)};
    if (argc != 3) {
        fputs("usage: test_first CONCLAVE FOLDER\n", stderr);
        return 2;
    }
    snprintf(folder, sizeof folder, "%s", argv[2]);
    const int status = calls_begin(2, argv);
    return status != 0 ? status : cmocka_run_group_tests(tests, calls_enter, calls_leave);
}
