/* tools/embed.c as the build uses it. The program's path is the first argument. */
#define _XOPEN_SOURCE 700
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char embed_program[4096];

/* The folder of one test, and what the last run of embed left there. */
typedef struct folder {
    char path[64];
    char out[65536];    /* the C file, "" when there is none */
    char errors[16384]; /* what it wrote to stderr */
} folder;

static int make_folder(void **state)
{
    folder *here = calloc(1, sizeof(*here));
    if (!here)
        return -1;
    strcpy(here->path, "/tmp/conclave-embed-XXXXXX");
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

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void get(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t length = 0;
    if (file) {
        length = fread(text, 1, size - 1, file);
        fclose(file);
    }
    text[length] = '\0';
}

/* Runs embed in the test's folder; returns its exit status. */
static int embed(folder *here, const char *arguments)
{
    char command[8192];
    snprintf(command, sizeof(command), "'%s' %s 2>errors", embed_program, arguments);
    const int status = system(command);
    get("out.c", here->out, sizeof(here->out));
    get("errors", here->errors, sizeof(here->errors));
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The bytes of array text_INDEX in the written C file, which must end in a NUL; it is not counted.
 */
static void assert_text(const folder *here, int index, const char *expected)
{
    char head[64], text[4096];
    snprintf(head, sizeof(head), "static const unsigned char text_%d[] = {", index);
    const char *at = strstr(here->out, head);
    assert_non_null(at);
    at += strlen(head);
    size_t length = 0;
    for (;;) {
        at += strspn(at, " \n,");
        if (*at == '}')
            break;
        char *end;
        text[length++] = (char)strtol(at, &end, 10);
        assert_true(end != at && length < sizeof(text));
        at = end;
    }
    assert_true(length > 0 && text[length - 1] == '\0');
    assert_string_equal(text, expected);
    assert_int_equal(length - 1, strlen(expected));
}

static void assert_refused(folder *here, const char *arguments, const char *sentence)
{
    assert_int_equal(embed(here, arguments), 1);
    if (!strstr(here->errors, sentence))
        fail_msg("expected \"%s\" in \"%s\"", sentence, here->errors);
    assert_int_equal(access("out.c", F_OK), -1);
    assert_int_equal(access("out.c.tmp", F_OK), -1);
}

static void test_flattens_each_header_once(void **state)
{
    folder *here = *state;
    assert_int_equal(mkdir("inc", 0755), 0);
    put("inc/a.clh", "A\n");
    put("inc/b.clh", "#include \"a.clh\"\n#include \"../c.clh\"\nB");
    put("c.clh", "C\n");
    put("one.cl", "#include \"inc/b.clh\"\n  #  include\t\"./inc/a.clh\"\nkernel\n");
    put("two.cl", "#include \"inc/a.clh\"\n");
    assert_int_equal(embed(here, "out.c one.cl two.cl"), 0);
    assert_text(here, 0,
                "#line 1 \"one.cl\"\n#line 1 \"b.clh\"\n#line 1 \"a.clh\"\nA\n"
                "#line 2 \"b.clh\"\n#line 1 \"c.clh\"\nC\n#line 3 \"b.clh\"\nB\n"
                "#line 2 \"one.cl\"\n\nkernel\n");
    assert_text(here, 1, /* "once" is per program */
                "#line 1 \"two.cl\"\n#line 1 \"a.clh\"\nA\n#line 2 \"two.cl\"\n");
    assert_non_null(strstr(here->out, "{\"one\", text_0, 128},"));
    assert_non_null(strstr(here->out, "{\"two\", text_1, 52},"));
    assert_non_null(strstr(here->out, "clvi_kernel_source_count = 2;"));
}

static void test_other_files_stay_as_they_are(void **state)
{
    folder *here = *state;
    put("gpu.ini", "#include \"nothing.clh\"\r\n\xc3\xa9\"\\?\?/");
    put("empty.ini", "");
    assert_int_equal(embed(here, "out.c gpu.ini ./empty.ini"), 0);
    assert_text(here, 0, "#include \"nothing.clh\"\r\n\xc3\xa9\"\\?\?/");
    assert_text(here, 1, "");
    assert_non_null(strstr(here->out, "{\"gpu.ini\", text_0, "));
    assert_non_null(strstr(here->out, "{\"empty.ini\", text_1, 0},"));
}

static void test_includes_in_comments_are_text(void **state)
{
    folder *here = *state;
    const char *text =
        "/* as in\n#include \"none.clh\"\n*/ // and /* not\n// #include \"none.clh\"\n";
    put("a.clh", "A\n");
    char source[512];
    snprintf(source, sizeof(source), "%s#include \"a.clh\"\n", text);
    put("one.cl", source);
    assert_int_equal(embed(here, "out.c one.cl"), 0);
    snprintf(source, sizeof(source),
             "#line 1 \"one.cl\"\n%s#line 1 \"a.clh\"\nA\n#line 6 \"one.cl\"\n", text);
    assert_text(here, 0, source);
}

static void test_refusals_name_file_and_line(void **state)
{
    folder *here = *state;
    put("a.clh", "\n\n#include \"b.clh\"\n");
    put("b.clh", "#include \"a.clh\"\n");
    put("circle.cl", "#include \"a.clh\"\n");
    assert_refused(here, "out.c circle.cl", "b.clh:1: a.clh is being included already");
    put("self.cl", "//\n#include \"./self.cl\"\n");
    assert_refused(here, "out.c self.cl", "self.cl:2: ./self.cl is being included already");
    put("missing.cl", "\n#include \"none.clh\"\n");
    assert_refused(here, "out.c missing.cl", "missing.cl:2: cannot read none.clh: No such file");
    put("system.cl", "#include <math.h>\n");
    assert_refused(here, "out.c system.cl", "system.cl:1: a kernel may only #include");
    put("open.cl", "#include \"none.clh\n");
    assert_refused(here, "out.c open.cl", "open.cl:1: a kernel may only #include");
    assert_refused(here, "out.c none.cl", "cannot read none.cl: No such file");
    assert_refused(here, "out.c none.ini", "cannot read none.ini: No such file");
    assert_int_equal(mkdir("sub", 0755), 0);
    put("same.cl", "");
    put("sub/same.cl", "");
    assert_refused(here, "out.c same.cl sub/same.cl", "would both be named \"same\"");
    assert_refused(here, "none/out.c same.cl", "cannot write none/out.c.tmp");
}

/* Two files may not have one array; names that differ in the header may be alike without ".cl". */
static void test_names_in_a_header(void **state)
{
    folder *here = *state;
    put("a-b.cl", "1\n");
    put("a_b.cl", "2\n");
    put("a_b", "3\n");
    put("\"q\".cl", "4\n");
    assert_refused(here, "--array out.c a-b.cl a_b.cl",
                   "a-b.cl and a_b.cl would both be named \"a_b_cl\"");
    assert_int_equal(embed(here, "--array out.c a_b a_b.cl '\"q\".cl'"), 0);
    assert_non_null(strstr(here->out, "char a_b[] = {"));
    assert_non_null(strstr(here->out, "char a_b_cl[] = {"));
    assert_non_null(strstr(here->out, "char _q__cl[] = {"));
    assert_int_equal(unlink("out.c"), 0);
    assert_refused(here, "out.c a_b a_b.cl", "would both be named \"a_b\"");
    assert_refused(here, "out.c '\"q\".cl'", "cannot be embedded");
}

static void test_what_is_read_is_not_written(void **state)
{
    folder *here = *state;
    char text[64];
    put("a.clh", "A\n");
    put("one.cl", "#include \"a.clh\"\n");
    assert_int_equal(symlink("one.cl", "link"), 0);
    assert_refused(here, "--array one.cl one.cl", "one.cl is read: it would be written over");
    assert_refused(here, "--array ./link one.cl", "./link is read");
    assert_refused(here, "--array a.clh one.cl", "a.clh is read");
    assert_refused(here, "--depfile a.clh out.c one.cl", "a.clh is read");
    assert_refused(here, "--depfile out.c out.c one.cl", "out.c is written already");
    assert_refused(here, "--depfile out.c.tmp out.c one.cl", "out.c.tmp is written already");
    get("one.cl", text, sizeof(text));
    assert_string_equal(text, "#include \"a.clh\"\n");
    get("a.clh", text, sizeof(text));
    assert_string_equal(text, "A\n");
}

/* The sentence says why; neither the file nor a part of it stays. */
static void test_a_full_disk_is_named(void **state)
{
    folder *here = *state;
    char command[8192], text[1 << 15];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    put("long.txt", text);
    snprintf(command, sizeof(command),
             "(trap '' XFSZ; ulimit -f 8; '%s' out.c long.txt) 2>&1 | cat >errors", embed_program);
    assert_int_equal(system(command), 0);
    get("errors", here->errors, sizeof(here->errors));
    if (!strstr(here->errors, "cannot write out.c.tmp: File too large"))
        fail_msg("%s", here->errors);
    assert_int_equal(access("out.c", F_OK), -1);
    assert_int_equal(access("out.c.tmp", F_OK), -1);
}

static void test_a_failure_leaves_the_old_file(void **state)
{
    folder *here = *state;
    put("good.cl", "good\n");
    put("bad.cl", "#include <bad>\n");
    assert_int_equal(embed(here, "out.c good.cl"), 0);
    assert_int_equal(embed(here, "out.c good.cl bad.cl"), 1);
    assert_text(here, 0, "#line 1 \"good.cl\"\ngood\n");
    assert_int_equal(access("out.c.tmp", F_OK), -1);
}

static void test_depfile_names_every_file(void **state)
{
    folder *here = *state;
    char rule[512];
    assert_int_equal(mkdir("k", 0755), 0);
    put("k/a b.clh", "A\n");
    put("k/one.cl", "#include \"a b.clh\"\n");
    put("cpu.ini", "");
    assert_int_equal(embed(here, "--depfile out.d out.c k/one.cl cpu.ini"), 0);
    get("out.d", rule, sizeof(rule));
    assert_string_equal(rule, "out.c: \\\n k/one.cl \\\n k/a\\ b.clh \\\n cpu.ini\n");
}

/* The form for plugins: a header that compiles by itself, with headers from a folder of their own.
 */
static void test_arrays_for_plugins(void **state)
{
    folder *here = *state;
    assert_int_equal(mkdir("common", 0755), 0);
    put("common/half.clh", "float half_of(float x);\n");
    put("2nd-scale.cl", "#include \"half.clh\"\n");
    put("note.txt", "\xC3\xBC");
    assert_int_equal(embed(here, "--array out.c 2nd-scale.cl"), 1);
    assert_non_null(strstr(here->errors, "2nd-scale.cl:1: cannot read half.clh: No such file"));
    assert_int_equal(embed(here, "--include common --array out.c 2nd-scale.cl note.txt"), 0);
    assert_non_null(strstr(here->out, "static const unsigned char _2nd_scale_cl[] = {"));
    assert_non_null(
        strstr(here->out, "static const unsigned char note_txt[] = {\n    195,188,\n    0,\n};"));
    assert_null(strstr(here->out, "#include"));
    assert_null(strstr(here->out, "clvi_"));
}

static void test_wrong_use(void **state)
{
    folder *here = *state;
    assert_int_equal(embed(here, ""), 2);
    assert_non_null(strstr(here->errors, "usage: embed"));
    assert_int_equal(embed(here, "out.c"), 2);
    assert_int_equal(embed(here, "--help"), 2);
    assert_int_equal(embed(here, "--depfile out.d out.c"), 2);
}

int main(int argc, char **argv)
{
    if (argc != 2 || !realpath(argv[1], embed_program)) {
        fputs("usage: test_embed PATH_OF_EMBED\n", stderr);
        return 2;
    }
#define EMBED_TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        EMBED_TEST(test_flattens_each_header_once),
        EMBED_TEST(test_other_files_stay_as_they_are),
        EMBED_TEST(test_includes_in_comments_are_text),
        EMBED_TEST(test_refusals_name_file_and_line),
        EMBED_TEST(test_names_in_a_header),
        EMBED_TEST(test_what_is_read_is_not_written),
        EMBED_TEST(test_a_full_disk_is_named),
        EMBED_TEST(test_a_failure_leaves_the_old_file),
        EMBED_TEST(test_depfile_names_every_file),
        EMBED_TEST(test_arrays_for_plugins),
        EMBED_TEST(test_wrong_use),
    };
    return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
