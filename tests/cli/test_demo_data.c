/* tools/demo_data.c as a user calls it. The program's path is the first argument. Needs two
 * Devanagari font families, which tools/setup.sh installs. */
#define _XOPEN_SOURCE 700
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <turbojpeg.h>
#include <unistd.h>

static char program[4096];

/* The folder of one test, and what the last run printed. */
typedef struct folder {
    char path[64];
    char output[16384];
} folder;

static int make_folder(void **state)
{
    folder *here = calloc(1, sizeof(*here));
    if (!here)
        return -1;
    strcpy(here->path, "/tmp/conclave-demo-XXXXXX");
    *state = here;
    return mkdtemp(here->path) && chdir(here->path) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    folder *here = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", here->path);
    const int status = chdir("/") == 0 ? system(command) : -1;
    free(here);
    return status;
}

static int shell(const char *command)
{
    const int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static size_t get(const char *path, void *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t length = fread(bytes, 1, size, file);
    fclose(file);
    return length;
}

/* Runs the program; returns its exit status. stdout and stderr go to here->output. */
static int make(folder *here, const char *arguments)
{
    char command[8192];
    snprintf(command, sizeof(command), "'%s' %s >output 2>&1", program, arguments);
    const int status = shell(command);
    here->output[get("output", here->output, sizeof(here->output) - 1)] = '\0';
    return status;
}

static void assert_says(const folder *here, const char *sentence)
{
    if (!strstr(here->output, sentence))
        fail_msg("expected \"%s\" in \"%s\"", sentence, here->output);
}

#define SMALL "--size 24 --train 5 --test 3 --classes 3 "

static void test_makes_class_folders(void **state)
{
    folder *here = *state;
    assert_int_equal(make(here, SMALL "--out set --quiet"), 0);
    assert_string_equal(here->output, "");
    assert_int_equal(shell("test $(find set -type f | wc -l) = 25"), 0); /* and the manifest */
    assert_int_equal(shell("test $(ls set/train set/test | grep -c character_) = 6"), 0);
    assert_int_equal(shell("test -f set/train/character_3_ga/0004.jpg"), 0);
    assert_int_equal(shell("test -f set/test/character_1_ka/0002.jpg"), 0);
    assert_int_equal(access("set.tmp", F_OK), -1);

    unsigned char bytes[65536], pixels[24 * 24];
    const size_t length = get("set/test/character_2_kha/0001.jpg", bytes, sizeof(bytes));
    tjhandle jpeg = tjInitDecompress();
    int width, height, sampling, space;
    assert_int_equal(tjDecompressHeader3(jpeg, bytes, length, &width, &height, &sampling, &space),
                     0);
    assert_int_equal(width, 24);
    assert_int_equal(height, 24);
    assert_int_equal(space, TJCS_GRAY);
    assert_int_equal(tjDecompress2(jpeg, bytes, length, pixels, 24, 0, 24, TJPF_GRAY, 0), 0);
    tjDestroy(jpeg);
    int light = 0; /* a light character on dark ground */
    for (int i = 0; i < 24 * 24; i++)
        light += pixels[i] > 110;
    assert_in_range(light, 20, 24 * 24 / 2);
}

static void test_same_seed_same_pictures(void **state)
{
    folder *here = *state;
    assert_int_equal(make(here, SMALL "--out a --seed 7"), 0);
    assert_int_equal(make(here, SMALL "--out b --seed 7"), 0);
    assert_int_equal(make(here, SMALL "--out c --seed 8"), 0);
    assert_int_equal(shell("diff -r a b"), 0);
    assert_int_equal(
        shell("cmp -s a/train/character_1_ka/0000.jpg c/train/character_1_ka/0000.jpg"), 1);
    assert_int_equal(
        shell("cmp -s a/train/character_1_ka/0000.jpg a/train/character_1_ka/0001.jpg"), 1);
    /* More pictures begin with the same ones. */
    assert_int_equal(make(here, "--size 24 --train 6 --test 3 --classes 4 --out d --seed 7"), 0);
    assert_int_equal(shell("diff -r a/train/character_2_kha d/train/character_2_kha | "
                           "grep -qx 'Only in d/train/character_2_kha: 0005.jpg'"),
                     0);
}

/* Runs with no fonts but those of the named families, one file each. */
static int make_with(folder *here, const char *families, const char *arguments)
{
    char command[1024], config[128];
    snprintf(
        command, sizeof(command),
        "rm -rf fonts && mkdir fonts && for family in %s; do "
        "cp \"$(fc-list \"$family\" file | sort | sed -n '1s/: *$//p')\" fonts || exit; done && "
        "echo '<?xml version=\"1.0\"?><fontconfig><dir>'\"$PWD\"'/fonts</dir></fontconfig>' "
        ">fonts.conf",
        families);
    assert_int_equal(shell(command), 0);
    snprintf(config, sizeof(config), "%s/fonts.conf", here->path);
    assert_int_equal(setenv("FONTCONFIG_FILE", config, 1), 0);
    const int status = make(here, arguments);
    unsetenv("FONTCONFIG_FILE");
    return status;
}

/* With another font to train on, the test pictures stay and the training pictures change. */
static void test_test_fonts_are_others(void **state)
{
    folder *here = *state;
    char families[320];
    assert_int_equal(make(here, SMALL "--out set --quiet"), 0);
    assert_int_equal(
        shell("sed -n 's/^fonts for training: //p' set/manifest.txt | sed 's/, /\\n/g' "
              ">train && "
              "sed -n 's/^fonts for the test: //p' set/manifest.txt | sed 's/, /\\n/g' "
              ">test && "
              "test -s train && test -s test && ! grep -Fxf train test && "
              "printf '\"%s\" \"%s\"' \"$(sed -n 1p test)\" \"$(sed -n 1p train)\" >a && "
              "printf '\"%s\" \"%s\"' \"$(sed -n 1p test)\" \"$(sed -n '$p' train)\" >b"),
        0);
    for (const char *run = "ab"; *run; run++) {
        const char name[2] = {*run, '\0'};
        char arguments[128];
        families[get(name, families, sizeof(families) - 1)] = '\0';
        snprintf(arguments, sizeof(arguments), SMALL "--out set_%s", name);
        assert_int_equal(make_with(here, families, arguments), 0);
    }
    assert_int_equal(shell("diff -r set_a/test set_b/test"), 0);
    assert_int_equal(shell("cmp -s set_a/train/character_1_ka/0000.jpg "
                           "set_b/train/character_1_ka/0000.jpg"),
                     1);
    assert_int_equal(shell("cmp -s set_a/train/character_1_ka/0000.jpg "
                           "set_a/train/character_1_ka/0001.jpg"),
                     1);
}

static void test_finished_set_is_left_alone(void **state)
{
    folder *here = *state;
    assert_int_equal(make(here, SMALL "--out set"), 0);
    assert_int_equal(shell("rm set/train/character_1_ka/0000.jpg"), 0);
    assert_int_equal(make(here, SMALL "--out set"), 0);
    assert_says(here, "set has these pictures already");
    assert_int_equal(access("set/train/character_1_ka/0000.jpg", F_OK), -1);
    /* Other parameters: the old set gives way, and what an interrupted run left is cleared. */
    assert_int_equal(shell("cp -r set set.tmp && rm -r set.tmp/test"), 0);
    assert_int_equal(make(here, SMALL "--out set --seed 1"), 0);
    assert_int_equal(access("set/train/character_1_ka/0000.jpg", F_OK), 0);
    assert_int_equal(access("set.tmp", F_OK), -1);
}

/* "set/" and "./set//" are the same folder; it gives way only when the new set is whole. */
static void test_slash_at_the_end(void **state)
{
    folder *here = *state;
    assert_int_equal(make(here, SMALL "--out set/"), 0);
    assert_int_equal(make(here, SMALL "--out ./set//"), 0);
    assert_says(here, "./set has these pictures already");
    assert_int_equal(make(here, SMALL "--out set/ --seed 1"), 0);
    assert_int_equal(shell("test $(find set -type f | wc -l) = 25 && test $(ls | wc -l) = 2"), 0);
    assert_int_equal(make_with(here, "':charset=915 917 96f'", SMALL "--out set/ --seed 2"), 1);
    assert_int_equal(shell("grep -qx 'seed 1' set/manifest.txt"), 0);
    assert_int_equal(make(here, SMALL "--out set/. --seed 2"), 2);
    assert_int_equal(make(here, SMALL "--out .."), 2);
    assert_says(here, "--out takes a folder by its name, not \"..\"");
    assert_int_equal(shell("grep -qx 'seed 1' set/manifest.txt"), 0);
}

/* Killed while the new set took the old one's place: the old one comes back, then goes. */
static void test_set_aside_comes_back(void **state)
{
    folder *here = *state;
    assert_int_equal(make(here, SMALL "--out set"), 0);
    assert_int_equal(shell("mv set set.tmp.old"), 0);
    assert_int_equal(make(here, SMALL "--out set"), 0);
    assert_says(here, "set has these pictures already");
    assert_int_equal(shell("mv set set.tmp.old"), 0);
    assert_int_equal(make(here, SMALL "--out set --seed 1"), 0);
    assert_int_equal(access("set.tmp.old", F_OK), -1);
    assert_int_equal(shell("grep -qx 'seed 1' set/manifest.txt"), 0);
}

/* A set to which a user has added something is the user's. */
static void test_set_with_other_files_stays(void **state)
{
    static const char *const additions[] = {"train/character_1_ka/mine.jpg", "train/mine/1.jpg",
                                            "test/digit_0", "notes"};
    folder *here = *state;
    assert_int_equal(make(here, SMALL "--out set"), 0);
    for (size_t i = 0; i < sizeof additions / sizeof *additions; i++) {
        char command[256];
        snprintf(command, sizeof command, "mkdir -p \"$(dirname set/%s)\" && touch set/%s",
                 additions[i], additions[i]);
        assert_int_equal(shell(command), 0);
        assert_int_equal(make(here, SMALL "--out set --seed 1"), 1);
        assert_says(here, "set exists and holds what this program did not make");
        snprintf(command, sizeof command, "rm set/%s && { rmdir set/train/mine 2>/dev/null || :; }",
                 additions[i]);
        assert_int_equal(shell(command), 0);
    }
    assert_int_equal(make(here, SMALL "--out set --seed 1"), 0);
}

static void test_foreign_folders_are_not_touched(void **state)
{
    folder *here = *state;
    assert_int_equal(shell("mkdir -p own/train other.tmp && touch own/train/mine other.tmp/mine && "
                           "echo mine >other.tmp/manifest.txt"),
                     0);
    assert_int_equal(make(here, SMALL "--out own"), 1);
    assert_says(here, "own exists and holds what this program did not make");
    assert_int_equal(make(here, SMALL "--out other"), 1);
    assert_says(here, "other.tmp exists and holds what this program did not make");
    assert_int_equal(shell("test -f own/train/mine && test -f other.tmp/mine"), 0);
    assert_int_equal(shell("touch file"), 0);
    assert_int_equal(make(here, SMALL "--out file"), 1);
    assert_says(here, "file exists and holds what this program did not make");
    assert_int_equal(make(here, SMALL "--out file/below"), 1);
    assert_says(here, "file/below: Not a directory");
}

static void test_wrong_use(void **state)
{
    folder *here = *state;
    assert_int_equal(make(here, ""), 2);
    assert_says(here, "--out DIR is missing");
    assert_int_equal(make(here, "--out set --classes 47"), 2);
    assert_says(here, "--classes takes a whole number from 2 to 46, not \"47\"");
    assert_int_equal(make(here, "--out set --train many"), 2);
    assert_int_equal(make(here, "--out set --speed 3"), 2);
    assert_int_equal(make(here, "--out set more"), 2);
    assert_int_equal(make(here, "--help"), 0);
    assert_says(here, "usage: conclave-demo-data");
    assert_int_equal(access("set", F_OK), -1);
}

static void test_one_font_family_is_not_enough(void **state)
{
    folder *here = *state;
    assert_int_equal(make_with(here, "':charset=915 917 96f'", SMALL "--out set"), 1);
    assert_says(here, "found 1 font families");
    assert_int_equal(access("set", F_OK), -1);
}

int main(int argc, char **argv)
{
    if (argc != 2 || !realpath(argv[1], program)) {
        fputs("usage: test_demo_data PATH_OF_CONCLAVE_DEMO_DATA\n", stderr);
        return 2;
    }
#define DEMO_TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        DEMO_TEST(test_makes_class_folders),
        DEMO_TEST(test_same_seed_same_pictures),
        DEMO_TEST(test_test_fonts_are_others),
        DEMO_TEST(test_finished_set_is_left_alone),
        DEMO_TEST(test_slash_at_the_end),
        DEMO_TEST(test_set_aside_comes_back),
        DEMO_TEST(test_set_with_other_files_stays),
        DEMO_TEST(test_foreign_folders_are_not_touched),
        DEMO_TEST(test_wrong_use),
        DEMO_TEST(test_one_font_family_is_not_enough),
    };
    return cmocka_run_group_tests_name("demo data", tests, NULL, NULL);
}
