/* The installed tree, moved to another place: the command finds what belongs to it, projects of
 * `conclave new-plugin` build with pkg-config alone, and every command of the pages of
 * plugins/README.md works as it stands there. Arguments: meson, the build's root, the source's
 * root, and as configured: prefix, folders of commands and of libraries. Exit 77 where there is no
 * OpenCL device, no pkg-config, or a folder outside the prefix. */
#define _XOPEN_SOURCE 700
#include "calls.h"

#include "../unit/image_files.h"

#include <conclave/plugin.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE_BYTES = 1 << 16 };

static char place[] = "/tmp/conclave-install-XXXXXX";
static char moved[64]; /* where the tree is now */
static const char *build_root, *source_root, *bin_dir, *lib_dir;

/* Runs a line of shell; fills call_out with all that it prints. */
static int shell(const char *line)
{
    char whole[2 * PATH_MAX];
    snprintf(whole, sizeof whole, "{ %s\n} >shell.txt 2>&1 </dev/null", line);
    const int status = system(whole);
    read_whole("shell.txt", call_out, sizeof call_out);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void works(const char *line)
{
    if (shell(line) != 0) {
        fprintf(stderr, "%s\n", call_out); /* longer than a message of cmocka's */
        fail_msg("%s: failed", line);
    }
}

/* ---- The tree ---- */

static void test_own_place(void **state)
{
    char line[2 * PATH_MAX], path[PATH_MAX];
    (void)state;
    expect("plugins", 0);
    contains(call_out, "expert  cnn ");
    contains(call_out, "gate    noisy_topk ");
    snprintf(path, sizeof path, "%s/%s/conclave/plugins/expert_cnn.so", moved, lib_dir);
    assert_true(exists(path));
    expect("config", 0);
    contains(call_out, "cnn-custom-only ");
    expect("config demo-mixture", 0);
    contains(call_out, "widths");
    /* Nothing that was installed knows where it was built. */
    snprintf(line, sizeof line, "grep -rlF -e '%s' -e '%s' %s", build_root, source_root, moved);
    if (shell(line) != 1)
        fail_msg("these name the build tree: %s", call_out);
}

static void test_without_plugins(void **state)
{
    char line[PATH_MAX];
    (void)state;
    /* No plugins beside the command: none are found elsewhere. */
    snprintf(line, sizeof line, "mv %s/%s/conclave/plugins %s/hidden", moved, lib_dir, moved);
    works(line);
    conclave("plugins");
    const bool none = strstr(call_out, "cnn") == NULL;
    snprintf(line, sizeof line, "mv %s/hidden %s/%s/conclave/plugins", moved, moved, lib_dir);
    works(line);
    assert_true(none);
}

static void test_pkg_config(void **state)
{
    static const char *const variables[] = {"program",   "plugindir",  "configdir",
                                            "kerneldir", "includedir", "libdir"};
    char line[PATH_MAX], abi[16];
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        snprintf(
            line, sizeof line,
            "p=$(pkg-config --variable=%s conclave) && ls -d \"$p\" && cd \"$(dirname \"$p\")\" "
            "&& pwd -P | grep '^%s'",
            variables[i], moved);
        works(line);
    }
    works("pkg-config --variable=abi conclave");
    snprintf(abi, sizeof abi, "%d.%d\n", CLV_ABI_MAJOR, CLV_ABI_MINOR);
    assert_string_equal(call_out, abi);
    works("pkg-config --modversion conclave");
}

/* ---- new-plugin ---- */

static void test_new_plugin_refuses(void **state)
{
    static const struct {
        const char *arguments, *part;
    } cases[] = {
        {"new-plugin", "a kind and a name"},
        {"new-plugin expert", "a kind and a name"},
        {"new-plugin thing mine", "\"thing\" is no kind"},
        {"new-plugin expert Mine", "\"Mine\" is no name"},
        {"new-plugin expert ''", "is no name"},
        {"new-plugin expert a/b", "is no name"},
        {"new-plugin gate linear", "the gate linear is there already"},
        {"new-plugin gate there -o there", "there exists already"},
        {"new-plugin gate there -o file", "file exists already"},
    };
    (void)state;
    assert_int_equal(mkdir("there", 0755), 0);
    put("file", "x");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refusal(cases[i].arguments, 2, cases[i].part);
    expect_refusal("new-plugin gate mine -o no/such/folder", 1, "no/such/folder: cannot be made");
    assert_int_equal(shell("ls there; ls | grep -c ''"), 0);
    /* A file has the name, though it is no plugin. */
    put("there/expert_broken.so", "x");
    assert_int_equal(setenv("CONCLAVE_PLUGIN_PATH", "there", 1), 0);
    expect_refusal("new-plugin expert broken", 2, "the expert broken is there already");
    assert_int_equal(unsetenv("CONCLAVE_PLUGIN_PATH"), 0);
    works("rm -r there");
    expect("new-plugin gate mine -o \"it's mine\"", 0);
    contains(call_out, "\n    cd 'it'\\''s mine' && meson setup build");
    works("rm -r \"it's mine\"");
}

/* The tree in a place with a blank in its name: a project builds and installs there. */
static void test_blank(void **state)
{
    char line[2 * PATH_MAX], other[80];
    (void)state;
    snprintf(other, sizeof other, "%s tree", moved);
    assert_int_equal(rename(moved, other), 0);
    snprintf(line, sizeof line,
             "export PATH='%s/%s':\"$PATH\" PKG_CONFIG_PATH='%s/%s/pkgconfig' && "
             "conclave new-plugin gate blank && cd gate_blank && meson setup build && "
             "meson install -C build && conclave plugins blank && meson test -C build",
             other, bin_dir, other, lib_dir);
    const int status = shell(line);
    assert_int_equal(rename(other, moved), 0);
    if (status != 0)
        fail_msg("%s", call_out);
    contains(call_out, "that a dense layer weighs most");
}

/* Kernels may include what is installed for them, from the tree as it lies now. */
static void test_embed(void **state)
{
    static char header[CALL_BYTES];
    (void)state;
    put("a.cl", "#include \"philox.clh\"\n__kernel void a(void) {}\n");
    put("b.cl", "__kernel void b(void) {}\n");
    expect("embed b.cl", 0);
    read_whole("b.cl.h", header, sizeof header);
    contains(header, "static const unsigned char b_cl[] = {");
    expect("embed a.cl b.cl -o both.h --depfile both.d", 0);
    read_whole("both.h", header, sizeof header);
    contains(header, "a_cl[]");
    contains(header, "b_cl[]");
    read_whole("both.d", header, sizeof header);
    contains(header, "conclave/kernels/philox.clh");
    contains(header, moved);
    expect_refusal("embed", 2, "embed wants a file");
    expect_refusal("embed a.cl b.cl", 2, "which header shall hold 2 files?");
    expect_refusal("embed c.cl", 1, "c.cl");
    expect_refusal("embed a.cl --include nowhere", 1, "philox.clh");
    assert_false(exists("c.cl.h"));
}

/* ---- Pages ---- */

/* The name of the file that a block of code says it is, in its first line: a comment that begins
 * with "NAME.ext:" or is that name alone. False: it is no file. */
static bool file_name(const char *code, char out[64])
{
    const size_t lead = strspn(code, "/*#; ");
    const size_t length = strspn(code + lead, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    const char after = code[lead + length];
    if (lead == 0 || length == 0 || length >= 64 || (after != ':' && after != '\n') ||
        memchr(code + lead, '.', length) == NULL)
        return false;
    memcpy(out, code + lead, length);
    out[length] = '\0';
    return true;
}

static void add(char *script, const char *text, size_t length)
{
    const size_t at = strlen(script);
    assert_true(at + length < PAGE_BYTES);
    memcpy(script + at, text, length);
    script[at + length] = '\0';
}

/* Each line of an excerpt has to stand in a C file of the folder. */
static void add_excerpt(char *script, const char *code, const char *end)
{
    char line[256];
    for (const char *next; code < end; code = next) {
        code += strspn(code, " ");
        next = strchr(code, '\n') + 1;
        const int wrote =
            snprintf(line, sizeof line, "grep -qF -- '%.*s' *.c\n", (int)(next - 1 - code), code);
        add(script, line, (size_t)wrote);
    }
}

/* Every block of the section "## HEADING": commands as they stand, files written where they are
 * named; other code is an excerpt. */
static void page_script(const char *readme, const char *heading, char *script)
{
    char title[128], name[64], line[128];
    snprintf(title, sizeof title, "\n## %s\n", heading);
    const char *at = strstr(readme, title);
    assert_non_null(at);
    const char *end = strstr(at + 4, "\n## ");
    assert_non_null(end);
    for (; (at = strstr(at, "\n```")) != NULL && at < end;) {
        const bool commands = strncmp(at, "\n```sh\n", 7) == 0;
        const char *code = strchr(at + 1, '\n') + 1, *close = strstr(code, "\n```");
        assert_non_null(close);
        if (commands) {
            add(script, code, (size_t)(close + 1 - code));
        } else if (file_name(code, name)) {
            snprintf(line, sizeof line, "cat >%s <<'END_OF_FILE'\n", name);
            add(script, line, strlen(line));
            add(script, code, (size_t)(close + 1 - code));
            add(script, "END_OF_FILE\n", 12);
        } else {
            add_excerpt(script, code, close + 1);
        }
        at = close + 4;
    }
}

static void run_page(const char *heading)
{
    static char readme[PAGE_BYTES], script[PAGE_BYTES];
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/plugins/README.md", source_root);
    read_whole(path, readme, sizeof readme);
    script[0] = '\0';
    page_script(readme, heading, script);
    put("page.sh", script);
    works("sh -eux page.sh");
}

static void test_expert_page(void **state)
{
    (void)state;
    draw_set("pictures", 16);
    run_page("An expert of your own");
    contains(call_out, "mine");
    assert_true(exists("expert_mine/build/expert_mine.so"));
    assert_true(exists("expert_mine/runs/last/best.safetensors"));
    assert_true(exists("gate_choosy/build/gate_choosy.so"));
    assert_true(exists("runs/last/best.safetensors"));
    expect("plugins mine", 0);
    contains(call_out, "residual");
}

/* The header made by meson, as the page says, in a project of new-plugin. */
static void build_by_meson(void)
{
    static char readme[PAGE_BYTES], line[PAGE_BYTES];
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/plugins/README.md", source_root);
    read_whole(path, readme, sizeof readme);
    const char *target = strstr(readme, "`custom_target(");
    assert_non_null(target);
    const char *end = strchr(target + 1, '`');
    assert_non_null(end);
    snprintf(line, sizeof line, "header = %.*s\n", (int)(end - target - 1), target + 1);
    put("target.txt", line);
    works("conclave new-plugin expert scaled -o project && cp scaled.cl project && "
          "cp scaled.c project/expert_scaled.c && cd project && "
          "sed -i -e '/^program =/r ../target.txt' -e \"s/'expert_scaled.c',/& header,/\" "
          "meson.build && meson setup build && meson test -C build && ls build/scaled.cl.h");
}

static void test_operation_page(void **state)
{
    (void)state;
    char line[PATH_MAX];
    run_page("An operation of your own");
    contains(call_out, "checks passed");
    /* The files of the page are those that the other tests know. */
    snprintf(line, sizeof line,
             "cmp scaled.c %s/tests/abi/own_op/scaled.c && cmp scaled.cl "
             "%s/tests/abi/own_op/scaled.cl",
             source_root, source_root);
    works(line);
    build_by_meson();
}

/* A program, linked as pkg-config says, that opens what was trained with the plugin. */
static void test_library(void **state)
{
    char line[PATH_MAX];
    (void)state;
    snprintf(line, sizeof line,
             "cc -std=c11 -o classify '%s/core/examples/classify.c' "
             "$(pkg-config --cflags --libs conclave) "
             "\"-Wl,-rpath,$(pkg-config --variable=libdir conclave)\" && "
             "./classify expert_mine/runs/last pictures/disc/0.png",
             source_root);
    works(line);
    contains(call_out, "pictures/disc/0.png");
}

/* ---- The program ---- */

/* Installs into a staging folder and moves the tree away. Returns the exit status for main where
 * that cannot be done. */
static int install(const char *meson, const char *prefix)
{
    char line[4 * PATH_MAX];
    if (mkdtemp(place) == NULL)
        return 1;
    snprintf(moved, sizeof moved, "%s/moved", place);
    snprintf(line, sizeof line,
             "cd %s && '%s' install -C '%s' --no-rebuild --strip --quiet --destdir %s/stage && "
             "mv '%s/stage/%s' %s && rm -r stage",
             place, meson, build_root, place, place, prefix, moved);
    return system(line) != 0;
}

static void add_to_path(const char *variable, const char *folder)
{
    char value[2 * PATH_MAX];
    const char *before = getenv(variable);
    snprintf(value, sizeof value, "%s/%s%s%s", moved, folder, before ? ":" : "",
             before ? before : "");
    setenv(variable, value, 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_place),      cmocka_unit_test(test_without_plugins),
        cmocka_unit_test(test_pkg_config),     cmocka_unit_test(test_new_plugin_refuses),
        cmocka_unit_test(test_blank),          cmocka_unit_test(test_embed),
        cmocka_unit_test(test_expert_page),    cmocka_unit_test(test_library),
        cmocka_unit_test(test_operation_page),
    };
    char command[PATH_MAX], folder[PATH_MAX], line[128];
    if (argc != 7) {
        fputs("usage: test_install MESON BUILD_ROOT SOURCE_ROOT PREFIX BINDIR LIBDIR\n", stderr);
        return 2;
    }
    unsetenv("LD_LIBRARY_PATH"); /* meson's, of the build tree */
    build_root = argv[2], source_root = argv[3], bin_dir = argv[5], lib_dir = argv[6];
    if (bin_dir[0] == '/' || lib_dir[0] == '/' || system("pkg-config --version >/dev/null") != 0)
        return 77;
    if (install(argv[1], argv[4]) != 0)
        return 1;
    add_to_path("PATH", bin_dir);
    snprintf(folder, sizeof folder, "%s/pkgconfig", lib_dir);
    add_to_path("PKG_CONFIG_PATH", folder);
    snprintf(command, sizeof command, "%s/%s/conclave", moved, bin_dir);
    char *given[] = {argv[0], command};
    const int status = calls_begin(2, given);
    const int failed =
        status == 0 ? cmocka_run_group_tests(tests, calls_enter, calls_leave) : status;
    snprintf(line, sizeof line, "rm -r %s", place);
    return system(line) != 0 ? 1 : failed;
}
