/* The train command under rough treatment: killed at random moments and while it writes a
 * checkpoint, interrupted, without room on the disk; resumed each time, it ends with the bytes of
 * an unbroken run. And what --dry-run, --max-time and refusals say. Arguments: the command, the
 * folder of plugins. Exit 77 where there is no OpenCL device. */
#define _GNU_SOURCE
#include "trainings.h"

#include "../unit/image_files.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

static char command[PATH_MAX];
static char out[1 << 16], err[1 << 16]; /* of the last call */

/* ---- Calling ---- */

enum { MOST_WORDS = 32 };

/* Starts "conclave WORDS"; file_limit: bytes a file may have, 0: any. */
static pid_t start(const char *words, rlim_t file_limit)
{
    char line[1024], *argv[MOST_WORDS] = {command};
    int count = 1;
    snprintf(line, sizeof line, "%s", words);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[count++] = word;
    argv[count] = NULL;
    const pid_t child = fork();
    if (child != 0)
        return child;
    if (file_limit > 0) {
        const struct rlimit limit = {file_limit, file_limit};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(98);
    }
    if (freopen("out.txt", "w", stdout) == NULL || freopen("err.txt", "w", stderr) == NULL)
        _exit(97);
    execv(command, argv);
    _exit(99);
}

static void read_whole(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* Waits for the end; fills out and err. Returns the exit code, or minus the signal. */
static int finish(pid_t child)
{
    int status = 0;
    assert_true(waitpid(child, &status, 0) == child);
    read_whole("out.txt", out, sizeof out);
    read_whole("err.txt", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int conclave(const char *words)
{
    return finish(start(words, 0));
}

static void expect(const char *words, int code)
{
    const int got = conclave(words);
    if (got != code)
        fail_msg("conclave %s: %d, not %d\n%s%s", words, got, code, out, err);
}

static void contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

/* One sentence on stderr, and that holds `part`. */
static void expect_sentence(const char *part)
{
    contains(err, part);
    const char *first = strstr(err, "conclave: ");
    assert_non_null(first);
    assert_null(strstr(first + 1, "conclave: "));
    assert_true(strchr(first, '\n') == err + strlen(err) - 1);
}

static void pause_for(double seconds)
{
    const struct timespec time = {(time_t)seconds,
                                  (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- The training ---- */

/* Augmentation, dropout, averages; 24 images in batches of 7, the last one of 3. */
static const char config[] = "[data]\npath = data\nimage_size = 8\nval_fraction = 0.25\n"
                             "augment = characters\nworkers = 2\n"
                             "[mixture]\nexperts = small\n"
                             "[expert.small]\nplugin = cnn\nwidths = 4, 6\ndropout = 0.3\n"
                             "[optimizer]\nlr = 0.01\n"
                             "[train]\nepochs = 40\nbatch = 7\nlog_every = 3\nema = 0.98\n";
static double whole_seconds; /* that the unbroken run took */

static int set_up(void **state)
{
    (void)state;
    file_put(".", "tiny.ini", config, sizeof config - 1);
    expect("train tiny.ini -q", 0); /* also fills the caches */
    const double begin = now();
    expect("train tiny.ini -q run.name=whole", 0);
    whole_seconds = now() - begin;
    return 0;
}

static void expect_as(const char *whole, const char *run)
{
    static const char *const names[] = {"last.safetensors", "best.safetensors"};
    for (int i = 0; i < 2; i++) {
        char a[128], b[128];
        snprintf(a, sizeof a, "%s/%s", whole, names[i]);
        snprintf(b, sizeof b, "%s/%s", run, names[i]);
        assert_true(weights_apart(a, b) == 0);
    }
    assert_true(same_metrics(whole, run));
}

static void expect_as_whole(const char *run)
{
    expect_as("runs/whole", run);
}

static unsigned random_state = 7;
static double chance(void)
{
    random_state = random_state * 1103515245u + 12345u;
    return (double)(random_state >> 8) / (double)(1u << 24);
}

/* Begins the run or goes on with it, whatever there is of it. */
static pid_t begin_or_resume(const char *name)
{
    char path[128], words[256];
    snprintf(path, sizeof path, "runs/%s/config.ini", name);
    if (clvi_is_file(path)) {
        snprintf(words, sizeof words, "train --resume runs/%s -q", name);
        return start(words, 0);
    }
    snprintf(words, sizeof words, "rm -rf runs/%s", name);
    assert_int_equal(system(words), 0);
    snprintf(words, sizeof words, "train tiny.ini -q run.name=%s", name);
    return start(words, 0);
}

static void go_to_the_end(const char *name)
{
    char path[128];
    if (finish(begin_or_resume(name)) != 0)
        fail_msg("%s: %s", name, err);
    snprintf(path, sizeof path, "runs/%s", name);
    expect_as_whole(path);
    snprintf(path, sizeof path, "ls runs/%s | grep tmp >/dev/null", name);
    assert_int_not_equal(system(path), 0); /* nothing half written is left */
}

static void test_random_kills(void **state)
{
    (void)state;
    double reach = 0.7 * whole_seconds;
    int kills = 0;
    for (int round = 0; round < 3; round++) {
        char name[32], line[64];
        snprintf(name, sizeof name, "killed%d", round);
        snprintf(line, sizeof line, "rm -rf runs/%s", name);
        for (int i = 0; i < 6; i++) {
            const pid_t child = begin_or_resume(name);
            pause_for(reach * chance());
            (void)kill(child, SIGKILL);
            const int code = finish(child);
            assert_true(code == 0 || code == -SIGKILL);
            kills += code == -SIGKILL;
            if (code == 0) { /* the machine has become faster: from the beginning */
                reach *= 0.6;
                assert_int_equal(system(line), 0);
            }
        }
        go_to_the_end(name);
    }
    assert_true(kills >= 6);
}

/* Kills at the moment when a file of this name appears in the run's folder, `delay` seconds later.
 * Returns whether it did. */
static bool kill_when_appears(const char *name, const char *file, uint32_t event, double delay)
{
    char folder[128];
    snprintf(folder, sizeof folder, "runs/%s", name);
    const int notes = inotify_init1(IN_CLOEXEC);
    assert_true(notes >= 0 && inotify_add_watch(notes, folder, event) >= 0);
    const pid_t child = begin_or_resume(name);
    bool seen = false;
    while (!seen) {
        _Alignas(struct inotify_event) char bytes[4096];
        fd_set set;
        struct timeval patience = {1, 0};
        FD_ZERO(&set);
        FD_SET(notes, &set);
        int status;
        if (select(notes + 1, &set, NULL, NULL, &patience) <= 0) {
            if (waitpid(child, &status, WNOHANG) == child) {
                close(notes);
                return false; /* it came to its end */
            }
            continue;
        }
        const ssize_t length = read(notes, bytes, sizeof bytes);
        for (char *at = bytes; at < bytes + length;) {
            const struct inotify_event *e = (const struct inotify_event *)(void *)at;
            seen |= e->len > 0 && strncmp(e->name, file, strlen(file)) == 0;
            at += sizeof *e + e->len;
        }
    }
    close(notes);
    pause_for(delay);
    (void)kill(child, SIGKILL);
    (void)finish(child);
    return true;
}

static void test_kills_at_checkpoints(void **state)
{
    (void)state;
    /* A run with a folder to watch. */
    const pid_t child = begin_or_resume("cut");
    while (!clvi_is_file("runs/cut/last.safetensors"))
        pause_for(0.002);
    (void)kill(child, SIGKILL);
    (void)finish(child);
    static const struct {
        const char *file;
        uint32_t event;
    } moments[] = {{"last.safetensors.tmp", IN_CREATE}, {"last.safetensors.tmp", IN_MODIFY},
                   {"last.safetensors", IN_MOVED_TO},   {"best.safetensors.tmp", IN_CREATE},
                   {"best.safetensors", IN_MOVED_TO},   {"last.safetensors.tmp", IN_CLOSE_WRITE}};
    int kills = 0;
    for (int i = 0; i < 12; i++)
        kills += kill_when_appears("cut", moments[i % 6].file, moments[i % 6].event,
                                   i < 6 ? 0 : 0.002 * chance());
    assert_true(kills >= 6);
    go_to_the_end("cut");
}

/* ---- Signals ---- */

/* Lines of a run's metrics, the heading counted where there is none yet. */
static int metrics_lines(const char *name)
{
    char path[128];
    int lines = 0;
    snprintf(path, sizeof path, "runs/%s/metrics.csv", name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 1;
    for (int c = fgetc(file); c != EOF; c = fgetc(file))
        lines += c == '\n';
    fclose(file);
    return lines > 1 ? lines : 1;
}

/* Whether the child has not ended yet; leaves its end to finish(). */
static bool is_running(pid_t child)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == 0;
}

/* A signal after the first epoch of five trainings, each going on with the one before. */
static void interrupt(int number)
{
    char name[32], line[128];
    int stops = 0;
    snprintf(name, sizeof name, "asked%d", number);
    snprintf(line, sizeof line, "conclave train --resume runs/%s", name);
    for (int i = 0; i < 5; i++) {
        const int before = metrics_lines(name);
        const pid_t child = begin_or_resume(name);
        while (metrics_lines(name) <= before && is_running(child))
            pause_for(0.001);
        pause_for(0.005 * chance());
        (void)kill(child, number);
        const int code = finish(child);
        if (code == 1) {
            stops++;
            expect_sentence(line);
        } else {
            assert_true(code == 0 || code == -number); /* before it listened, or at its end */
        }
    }
    assert_true(stops >= 1);
    go_to_the_end(name);
}

static void test_interrupt(void **state)
{
    (void)state;
    interrupt(SIGINT);
}

static void test_terminate(void **state)
{
    (void)state;
    interrupt(SIGTERM);
}

/* The second signal kills, even where the first one has to wait: here for large pictures. */
static void test_second_interrupt(void **state)
{
    (void)state;
    const pid_t child = start("train tiny.ini run.name=twice data.image_size=400", 0);
    do {
        pause_for(0.002);
        read_whole("err.txt", err, sizeof err);
    } while (strstr(err, "training: ") == NULL);
    (void)kill(child, SIGINT);
    pause_for(0.02);
    (void)kill(child, SIGINT);
    const int code = finish(child);
    if (code != -SIGINT && code != 1) /* 1: it was quicker */
        fail_msg("%d: %s", code, err);
    assert_int_equal(system("rm -rf runs/twice"), 0);
}

/* ---- Disks ---- */

/* Copies the state of a run, to see that a failure loses nothing. */
static void keep(const char *run)
{
    char line[256];
    snprintf(line, sizeof line, "rm -rf kept && cp -r %s kept", run);
    assert_int_equal(system(line), 0);
}

/* Files may not grow beyond what a checkpoint takes, but configuration and log may be written. */
static void test_no_room_for_a_checkpoint(void **state)
{
    (void)state;
    /* Checkpoints of some 6 MB: half of that is enough for what PoCL writes to build a program. */
#define LARGER "train tiny.ini -q expert.small.widths=160,256 run.name="
    expect(LARGER "roomy", 0);
    expect(LARGER "limited --epochs 2", 0);
    keep("runs/limited");
    struct stat facts;
    assert_int_equal(stat("runs/limited/last.safetensors", &facts), 0);
    const rlim_t length = (rlim_t)facts.st_size;
    const int code = finish(start("train --resume runs/limited -q --epochs 40", length / 2));
    assert_int_equal(code, 1);
    expect_sentence("saving a checkpoint: runs/limited/");
    contains(err, "File too large");
    assert_true(same_file("runs/limited/last.safetensors", "kept/last.safetensors"));
    assert_true(same_file("runs/limited/best.safetensors", "kept/best.safetensors"));
    assert_int_not_equal(system("ls runs/limited | grep tmp >/dev/null"), 0);
    /* Nor may the page of a comparison, which has no curves here: their script is a file too. */
    setenv("CONCLAVE_GNUPLOT", "none", 1);
    assert_int_equal(finish(start("compare runs/whole runs/limited -q -o limit", 4096)), 1);
    contains(err, "comparison.html: cannot write");
    contains(err, "File too large");
    expect("train --resume runs/limited -q --epochs 40", 0);
    expect_as("runs/roomy", "runs/limited");
    /* A run that cannot save its first checkpoint leaves nothing. */
    assert_int_equal(finish(start(LARGER "none", length / 2)), 1);
    expect_sentence("saving a checkpoint");
    assert_false(clvi_is_dir("runs/none"));
#undef LARGER
}

static bool put_line(const char *path, const char *line)
{
    FILE *file = fopen(path, "w");
    const bool written = file != NULL && fputs(line, file) >= 0;
    return file != NULL && fclose(file) == 0 && written;
}

/* Who is not root becomes that of a user namespace of its own, where the system lets users have
 * one, so as to mount a disk. Before there are threads. */
static void become_root(void)
{
    char users[64], groups[64];
    snprintf(users, sizeof users, "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
    if (geteuid() == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return;
    if (!put_line("/proc/self/setgroups", "deny") || !put_line("/proc/self/uid_map", users) ||
        !put_line("/proc/self/gid_map", groups))
        fputs("a user namespace without users\n", stderr);
}

/* A disk that is full when the run goes on; then one that may only be read. */
static void test_full_disk(void **state)
{
    (void)state;
    assert_int_equal(system("mkdir -p small"), 0);
    if (mount("none", "small", "tmpfs", 0, "size=256k") != 0) {
        print_message("no tmpfs may be mounted: %s\n", strerror(errno));
        skip();
    }
    expect("train tiny.ini -q -o small run.name=full --epochs 2", 0);
    keep("small/full");
    /* What goes at once when the run goes on would leave room for a checkpoint. */
    assert_int_equal(system("cd small/full && rm predictions.csv per_class.csv confusion.csv "
                            "report.html"),
                     0);
    assert_int_not_equal(system("dd if=/dev/zero of=small/filler bs=4k 2>/dev/null"), 0);
    const int code = conclave("train --resume small/full -q --epochs 40");
    const bool same = same_file("small/full/last.safetensors", "kept/last.safetensors");
    assert_int_equal(system("rm small/filler"), 0);
    const int later =
        code == 1 && same ? finish(start("train --resume small/full -q --epochs 40", 0)) : -1;
    if (later == 0)
        expect_as_whole("small/full");
    keep("small/full");
    const bool fixed = mount("none", "small", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0;
    const int refused = conclave("train --resume small/full -q --epochs 41");
    const int differs = system("diff -r small/full kept");
    assert_int_equal(umount("small"), 0);
    assert_int_equal(code, 1);
    assert_true(same);
    assert_int_equal(later, 0);
    assert_true(fixed);
    assert_int_equal(refused, 1);
    expect_sentence("Read-only file system");
    contains(err, "small/full");
    assert_int_equal(differs, 0);
}

static void test_read_only(void **state)
{
    (void)state;
    expect("train tiny.ini -q -o /proc/runs", 1);
    expect_sentence("/proc/runs");
    expect("train tiny.ini -q -o tiny.ini/runs", 1);
    expect_sentence("tiny.ini");
}

/* ---- Options ---- */

static void test_dry_run(void **state)
{
    (void)state;
    expect("train tiny.ini --dry-run -o dry", 0);
    contains(out, "memory  ");
    contains(out, "epoch   4 steps of 7 images, about ");
    contains(out, "all     40 epochs, about ");
    assert_false(clvi_is_dir("dry"));
    expect("train tiny.ini --dry-run -q optimizer.lr_multiplier=nothing.*=2", 2);
    expect_sentence("'nothing.*' fits the name of no parameter");
    expect("train --resume --dry-run", 2);
    expect_sentence("--dry-run");
}

/* How long a run has trained in all. */
static double seconds_of(const char *run)
{
    char path[128];
    snprintf(path, sizeof path, "%s/summary.json", run);
    json_t *summary = json_load_file(path, 0, NULL);
    assert_non_null(summary);
    const double seconds = json_number_value(json_object_get(summary, "seconds"));
    json_decref(summary);
    return seconds;
}

/* train.max_seconds of a run. */
static double limit_of(const char *run)
{
    static const char key[] = "max_seconds = ";
    char path[128], line[512];
    double limit = -1;
    snprintf(path, sizeof path, "%s/config.ini", run);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    while (fgets(line, sizeof line, stream) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            limit = strtod(line + strlen(key), NULL);
    fclose(stream);
    return limit;
}

static void test_max_time(void **state)
{
    (void)state;
    const double begin = now();
    expect("train tiny.ini -q --max-time 1s --epochs 100000 run.name=timed", 0);
    assert_true(now() - begin < 60);
    contains(out, "(stopped)");
    /* What goes on has what is left of the run's own limit; another one counts anew. */
    for (int i = 0; i < 4; i++)
        expect("train --resume runs/timed -q", 0);
    contains(out, "(stopped)");
    const double own = seconds_of("runs/timed");
    if (own > 2)
        fail_msg("%g s of training within 1 s", own);
    expect("train --resume runs/timed -q --max-time 3s", 0);
    contains(out, "(stopped)");
    assert_true(seconds_of("runs/timed") > own);
    /* The limit that the run notes is of all its time. */
    const double limit = limit_of("runs/timed");
    if (limit < own + 2.5 || limit > own + 3.01)
        fail_msg("max_seconds = %g after %g s and --max-time 3s", limit, own);
    expect("train tiny.ini --max-time soon", 2);
    expect_sentence("--max-time is \"soon\"");
    expect("train tiny.ini --max-time 5y", 2);
    expect("train tiny.ini -q --max-time 1h2m3.5s --epochs 1 run.name=long", 0);
    assert_int_equal(system("grep -q '^max_seconds = 3723.5$' runs/long/config.ini"), 0);
}

static void test_resume_words(void **state)
{
    (void)state;
    expect("train tiny.ini -q --epochs 1 run.name=words", 0);
    expect("train --resume", 0);
    contains(out, "runs/words is finished after 1 epoch; --epochs N goes on");
    expect("train --resume train.epochs=2 -q", 0);
    expect("train --resume words --epochs 3 -q", 0);
    expect("train --resume words --lr 1", 2);
    expect_sentence("[optimizer] lr: '1' would change the course of the run");
    expect("train --resume nothing", 2);
    expect_sentence("no run 'nothing'");
    expect("train --resume words --epochs 1", 2);
    expect_sentence("3 epochs are behind already");
}

/* The number of bytes in "TEXT … (N bytes)". */
static long bytes_after(const char *part)
{
    const char *at = strstr(out, part), *open = at ? strchr(at, '(') : NULL;
    assert_non_null(open);
    return strtol(open + 1, NULL, 10);
}

/* What summary plans is what the device holds while the training of --dry-run runs, and at most. */
static void test_memory_as_planned(void **state)
{
    (void)state;
    static const char *const options[] = {
        "", "optimizer.name=sgd optimizer.momentum=0", "train.accumulate=2 --batch 3",
        "loss.label_smoothing=0.1 loss.class_weights=balanced --batch 24"};
    for (int i = 0; i < 4; i++) {
        char words[256];
        json_error_t problem;
        snprintf(words, sizeof words, "summary tiny.ini %s", options[i]);
        expect(words, 0);
        const long planned = bytes_after("training in batches of ");
        snprintf(words, sizeof words, "train tiny.ini --dry-run -q %s", options[i]);
        expect(words, 0);
        assert_int_equal(planned, bytes_after("memory  "));
        snprintf(words, sizeof words, "train tiny.ini --epochs 1 -q run.name=held%d %s", i,
                 options[i]);
        expect(words, 0);
        snprintf(words, sizeof words, "runs/held%d/summary.json", i);
        json_t *summary = json_load_file(words, 0, &problem);
        assert_int_equal(json_integer_value(json_object_get(summary, "peak_device_bytes")),
                         planned);
        json_decref(summary);
    }
}

/* What does not fit is refused with the largest tensors and a batch that fits. */
static void test_memory_refused(void **state)
{
    (void)state;
    static const char question[] = "summary tiny.ini data.image_size=4096 --batch ";
    char words[256];
    snprintf(words, sizeof words, "%s1000000", question);
    expect(words, 0);
    contains(out, "are needed in one piece where");
    contains(out, "; largest: features.");
    const char *advice = strstr(out, "train.batch = ");
    assert_non_null(advice);
    const long batch = strtol(advice + strlen("train.batch = "), NULL, 10);
    assert_true(batch >= 1 && batch < 1000000);
    snprintf(words, sizeof words, "%s%ld", question, batch);
    expect(words, 0);
    const char *line = strstr(out, "training in batches of ");
    assert_non_null(line);
    char first[256];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(line, "\n"), line);
    assert_null(strstr(first, "needed"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_kills),      cmocka_unit_test(test_kills_at_checkpoints),
        cmocka_unit_test(test_interrupt),         cmocka_unit_test(test_terminate),
        cmocka_unit_test(test_second_interrupt),  cmocka_unit_test(test_no_room_for_a_checkpoint),
        cmocka_unit_test(test_full_disk),         cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_dry_run),           cmocka_unit_test(test_max_time),
        cmocka_unit_test(test_resume_words),      cmocka_unit_test(test_memory_refused),
        cmocka_unit_test(test_memory_as_planned),
    };
    if (argc != 3 || realpath(argv[1], command) == NULL) {
        fprintf(stderr, "usage: test_kill CONCLAVE PLUGINS\n");
        return 2;
    }
    become_root();
    const int status = trainings_begin(argv[2]);
    if (status != 0)
        return status;
    const int failed = cmocka_run_group_tests(tests, set_up, NULL);
    return trainings_end() != 0 || failed != 0;
}
