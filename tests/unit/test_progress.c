/* tools/conclave: the progress line, and what reaches a terminal and a pipe. */
#define _XOPEN_SOURCE 700
#include "../../tools/conclave/progress.h"
#include "base/clock.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

static const clvi_progress training = {.phase = CLVI_PROGRESS_TRAIN,
                                       .epoch = 3,
                                       .epochs = 20,
                                       .step = 61,
                                       .steps = 100,
                                       .loss = 0.2131,
                                       .top1 = 0.934,
                                       .val_loss = NAN,
                                       .val_top1 = NAN,
                                       .images_per_second = 2310.4,
                                       .seconds = 20,
                                       .seconds_left = 12.2};

static clvi_progress epoch_end(void)
{
    clvi_progress now = training;
    now.phase = CLVI_PROGRESS_EPOCH;
    now.val_loss = 0.25;
    now.val_top1 = 0.928;
    now.seconds = 3723;
    now.best = true;
    return now;
}

static void assert_line(int columns, bool utf8, bool color, const clvi_progress *now,
                        const char *expected)
{
    const cli_progress_style style = {columns, utf8, color};
    clvi_text text = {0};
    cli_progress_line(&style, now, &text);
    assert_string_equal(clvi_text_get(&text), expected);
    clvi_text_fini(&text);
}

static void test_plain_lines(void **state)
{
    (void)state;
    assert_line(0, false, false, &training,
                "epoch  3/20   61 %  loss 0.213  acc 93.4 %  2,310 img/s  0:12 left");
    const clvi_progress end = epoch_end();
    assert_line(0, false, false, &end,
                "epoch  3/20  loss 0.213  acc 93.4 %  val loss 0.250  val acc 92.8 %  "
                "2,310 img/s  1:02:03  best");
    clvi_progress test = training;
    test.phase = CLVI_PROGRESS_TEST;
    test.epoch = 0;
    test.loss = NAN;
    test.images_per_second = 1234567;
    test.seconds_left = 3600;
    assert_line(0, false, false, &test, "test   61 %  acc 93.4 %  1,234,567 img/s  1:00:00 left");
    test.phase = CLVI_PROGRESS_PREDICT;
    test.top1 = NAN;
    assert_line(0, false, false, &test, "predict   61 %  1,234,567 img/s  1:00:00 left");
    test.phase = CLVI_PROGRESS_VAL;
    test.epoch = 20;
    test.top1 = NAN;
    test.images_per_second = 3.14;
    test.seconds_left = INFINITY;
    assert_line(0, false, false, &test, "epoch 20/20 val   61 %  3.1 img/s");
}

static void test_terminal_lines(void **state)
{
    (void)state;
    assert_line(100, false, false, &training,
                "epoch  3/20  [##############          ]   61 %  loss 0.213  acc 93.4 %  "
                "2,310 img/s  0:12 left");
    assert_line(100, true, false, &training,
                "epoch  3/20  ▕██████████████▋         ▏   61 %  loss 0.213  acc 93.4 %  "
                "2,310 img/s  0:12 left");
    assert_line(42, true, true, &training, "epoch  3/20   61 %  loss 0.213  0:12 left");
    assert_line(41, true, true, &training, "epoch  3/20   61 %  0:12 left");
    const clvi_progress end = epoch_end();
    assert_line(30, false, true, &end, "epoch  3/20  val acc 92.8 %");
    assert_line(120, false, true, &end,
                "epoch  3/20  loss 0.213  acc 93.4 %  val loss 0.250  val acc 92.8 %  "
                "2,310 img/s  1:02:03  \033[32mbest\033[0m");
    clvi_progress begin = training;
    begin.step = 0;
    begin.loss = begin.top1 = begin.images_per_second = begin.seconds_left = NAN;
    assert_line(80, false, true, &begin,
                "epoch  3/20  \033[36m[                        ]\033[0m    0 %");
    begin.steps = 0;
    assert_line(60, false, false, &begin, "epoch  3/20  [                        ]    0 %");
}

/* Any width and any figures: never a line as wide as the terminal. */
static void test_every_width(void **state)
{
    (void)state;
    static const double figures[] = {0, 1, 0.5, 1e9, 1e300, -1e300, NAN, INFINITY};
    for (int columns = 1; columns < 200; columns++) {
        for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
            clvi_progress now = training;
            now.loss = now.top1 = now.images_per_second = now.seconds_left = figures[i];
            now.step = i % 2 == 0 ? INT64_MAX : -5;
            for (int phase = CLVI_PROGRESS_TRAIN; phase <= CLVI_PROGRESS_EPOCH; phase++) {
                now.phase = (clvi_progress_phase)phase;
                const cli_progress_style style = {columns, true, false};
                clvi_text text = {0};
                cli_progress_line(&style, &now, &text);
                int used = 0;
                for (size_t j = 0; j < text.length; j++)
                    used += ((unsigned char)text.data[j] & 0xC0) != 0x80 ? 1 : 0;
                assert_in_range(used, 0, columns - 1);
                clvi_text_fini(&text);
            }
        }
    }
}

/* Shows five states of one epoch at once, and its end. */
static void show_epoch(FILE *stream, bool quiet)
{
    cli_progress *display = NULL;
    assert_int_equal(cli_progress_create(stream, quiet, &display, NULL), CLV_OK);
    for (int i = 0; i < 5; i++)
        cli_progress_show(display, &training);
    const clvi_progress end = epoch_end();
    cli_progress_show(display, &end);
    cli_progress_show(display, &training);
    cli_progress_destroy(display);
    cli_progress_destroy(NULL);
}

/* A pipe gets the epoch's line only: the rest came within ten seconds. */
static void test_pipe(void **state)
{
    (void)state;
    for (int quiet = 0; quiet < 2; quiet++) {
        char got[512] = "";
        FILE *stream = tmpfile();
        assert_non_null(stream);
        show_epoch(stream, quiet == 1);
        rewind(stream);
        got[fread(got, 1, sizeof(got) - 1, stream)] = '\0';
        fclose(stream);
        assert_string_equal(got, quiet == 1
                                     ? ""
                                     : "epoch  3/20  loss 0.213  acc 93.4 %  val loss "
                                       "0.250  val acc 92.8 %  2,310 img/s  1:02:03  best\n");
    }
}

/* A terminal of 43 columns: one drawing, the epoch's line over it, nothing left standing. */
static void test_terminal(void **state)
{
    (void)state;
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
        skip(); /* no pseudo terminals here */
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    const struct winsize size = {.ws_row = 25, .ws_col = 43};
    assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
    struct termios raw;
    assert_int_equal(tcgetattr(slave, &raw), 0);
    raw.c_oflag &= ~(tcflag_t)OPOST;
    assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
    setenv("NO_COLOR", "1", 1);
    setenv("LC_ALL", "C", 1);
    FILE *stream = fdopen(slave, "w");
    assert_non_null(stream);
    const double began = clvi_now();
    show_epoch(stream, false);
    const bool at_once = clvi_now() - began < 0.09; /* else a busy machine drew more often */
    char got[4096] = "";
    for (size_t length = 0; strchr(got, '\n') == NULL;) {
        const ssize_t more = read(master, got + length, sizeof(got) - 1 - length);
        assert_true(more > 0);
        length += (size_t)more;
    }
    const char *last = strrchr(got, '\r');
    assert_non_null(last);
    assert_string_equal(last, "\repoch  3/20  loss 0.213  val acc 92.8 %  \n");
    const char *first = "\repoch  3/20   61 %  loss 0.213  0:12 left";
    assert_memory_equal(got, first, strlen(first));
    assert_true(got + strlen(first) == last || !at_once);
    fclose(stream);
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_lines), cmocka_unit_test(test_terminal_lines),
        cmocka_unit_test(test_every_width), cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
