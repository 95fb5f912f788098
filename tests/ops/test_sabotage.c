/* The operations' tests notice a wrong kernel: test_sabotage KERNELS TEST_OPS FOLDER. Copies the
 * folder KERNELS to FOLDER, changes one place in one kernel and runs TEST_OPS on the copy, which
 * must fail; on the unchanged copy it must pass. */
#include "base/files.h"
#include "base/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

extern char **environ;

static const char *kernels, *test_ops, *folder;

enum { LIMIT = 1 << 22, NO_DEVICE = 77 };

/* One wrong place: `from` becomes `to` where it first occurs in `file`. */
typedef struct sabotage {
    const char *op, *file, *from, *to;
} sabotage;

static const sabotage acts[] = {
    {"conv2d", "wide.clh", "fma(scalar, column[j], acc", "fma(-scalar, column[j], acc"},
    {"add", "add.cl", "left, 0) + clv_load", "left, 0) - clv_load"},
    {"relu", "activation.clh", "x > (floatV)(0) ? (floatV)(1)", "x > (floatV)(0) ? (floatV)(-1)"},
    {"max_pool2d", "max_pool2d.cl", "place == here", "place <= here"},
    {"avg_pool2d", "avg_pool2d.cl", "begin + kernel_size", "begin + kernel_size + 1"},
    {"cross_entropy", "cross_entropy.cl", "out[label] -=", "out[label] +="},
    {"multiply", "multiply.cl", "fma(v, clv_load(a + a_at + at + k",
     "fma(-v, clv_load(a + a_at + at + k"},
    {"topk_mask", "topk_mask.cl", "ranked > key", "ranked < key"},
    {"topk_mask", "topk_mask.cl", "q + clv_load(bias", "q - clv_load(bias"},
    {"below_mean", "below_mean.cl", "sum - (float)columns", "(float)columns - sum"},
    {"column_topk", "column_topk.cl", "ties > 0", "ties >= 0"},
    {"dropout", "philox.clh", "(p1 >> 32) ^ k.x", "(p1 >> 32) ^ k.y"},
};

/* In what only the tuning record of GPUs runs. */
static const sabotage tiled_acts[] = {
    {"dense", "tiled.clh", "fma(left[i], right[j]", "fma(-left[i], right[j]"},
    {"softmax", "group.clh", "+= scratch[CLV_ITEM + reach];", "-= scratch[CLV_ITEM + reach];"},
};

static void read_text(const char *from, const char *name, char **text)
{
    char *path = clvi_path_join(from, name);
    size_t bytes = 0;
    assert_non_null(path);
    assert_int_equal(clvi_file_read(path, LIMIT, text, &bytes, NULL), CLV_OK);
    clvi_free(path);
}

static void write_text(const char *name, const char *text)
{
    char *path = clvi_path_join(folder, name);
    assert_non_null(path);
    assert_int_equal(clvi_file_write(path, text, strlen(text), NULL), CLV_OK);
    clvi_free(path);
}

/* Copies the files of KERNELS/below (below may be "") to FOLDER/below. */
static void copy_files(const char *below)
{
    char **names = NULL;
    size_t count = 0;
    char *from = clvi_path_join(kernels, below), *to = clvi_path_join(folder, below);
    assert_int_equal(clvi_make_dirs(to, 0755, NULL), CLV_OK);
    assert_int_equal(clvi_dir_list(from, &names, &count, NULL), CLV_OK);
    for (size_t i = 0; i < count; i++) {
        char *file = clvi_path_join(from, names[i]), *name = clvi_path_join(below, names[i]);
        if (clvi_is_file(file)) {
            char *text = NULL;
            read_text(kernels, *below != '\0' ? name : names[i], &text);
            write_text(*below != '\0' ? name : names[i], text);
            clvi_free(text);
        }
        clvi_free(file);
        clvi_free(name);
    }
    clvi_names_free(names, count);
    clvi_free(from);
    clvi_free(to);
}

static void change(const sabotage *act)
{
    char *text = NULL;
    read_text(kernels, act->file, &text);
    const char *place = strstr(text, act->from);
    clvi_text changed = {0};
    if (place == NULL)
        fail_msg("%s has no \"%s\" any more; change the sabotage", act->file, act->from);
    clvi_text_append_n(&changed, text, (size_t)(place - text));
    clvi_text_append(&changed, act->to);
    clvi_text_append(&changed, place + strlen(act->from));
    assert_false(changed.failed);
    write_text(act->file, changed.data);
    clvi_text_fini(&changed);
    clvi_free(text);
}

/* Exit status of TEST_OPS op on the copy of the kernels; its output goes to FOLDER/log. */
static int run(const char *op)
{
    char *log = clvi_path_join(folder, "log");
    char *const arguments[] = {(char *)(uintptr_t)test_ops, (char *)(uintptr_t)op, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, 1, 2), 0);
    assert_int_equal(posix_spawn(&child, test_ops, &actions, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    posix_spawn_file_actions_destroy(&actions);
    clvi_free(log);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void is_noticed(const sabotage *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const sabotage *act = &all[i];
        const int before = run(act->op);
        if (before == NO_DEVICE)
            exit(NO_DEVICE);
        assert_int_equal(before, 0);
        change(act);
        const int after = run(act->op);
        char *log = NULL, *text = NULL;
        read_text(folder, "log", &log);
        /* It must be the comparison that fails, not the compiler. */
        if (after != 1 || (strstr(log, "differ") == NULL && strstr(log, "differences") == NULL))
            fail_msg("nobody noticed that %s has \"%s\" for \"%s\"", act->file, act->to, act->from);
        clvi_free(log);
        read_text(kernels, act->file, &text);
        write_text(act->file, text);
        clvi_free(text);
    }
}

static void test_sabotage(void **state)
{
    (void)state;
    is_noticed(acts, sizeof acts / sizeof *acts);
}

static void test_tiled_sabotage(void **state)
{
    (void)state;
    assert_int_equal(setenv(clvi_env_name(CLVI_ENV_TUNING), "gpu", 1), 0);
    is_noticed(tiled_acts, sizeof tiled_acts / sizeof *tiled_acts);
    assert_int_equal(unsetenv(clvi_env_name(CLVI_ENV_TUNING)), 0);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: test_sabotage KERNELS TEST_OPS FOLDER\n");
        return 2;
    }
    kernels = argv[1];
    test_ops = argv[2];
    folder = argv[3];
    copy_files("");
    copy_files("tuning");
    if (setenv(clvi_env_name(CLVI_ENV_KERNEL_DIR), folder, 1) != 0)
        return EXIT_FAILURE;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sabotage),
        cmocka_unit_test(test_tiled_sabotage),
    };
    return cmocka_run_group_tests_name("sabotage", tests, NULL, NULL);
}
