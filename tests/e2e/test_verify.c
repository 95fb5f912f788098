/* conclave verify on two PoCL devices, on PoCL and Mesa's rusticl (skipped where that is not
 * installed), with right and wrong kernels, for configurations and a run. Arguments: the command,
 * the folder kernels. */
#include "../cli/calling.h"
#include "../cli/spoil.h"
#include "../unit/image_files.h"
#include "base/files.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

static char kernels[PATH_MAX];
static char *home;

static const char tiny[] = "[data]\nimage_size = 11\nchannels = 1\n"
                           "[mixture]\nexperts = a\n"
                           "[expert.a]\nplugin = cnn\nwidths = 3, 5\ndropout = 0.25\n"
                           "[train]\nbatch = 6\nepochs = 1\n";

static json_t *parse(void)
{
    json_error_t problem;
    json_t *whole = json_loads(text, 0, &problem);
    if (whole == NULL)
        fail_msg("%s in: %s", problem.text, text);
    return whole;
}

static int set_up(void **state)
{
    (void)state;
    setenv("POCL_DEVICES", "pthread pthread", 1);
    setenv("RUSTICL_ENABLE", "llvmpipe", 1);
    unsetenv("CONCLAVE_KERNEL_DIR");
    home = folder_make();
    if (chdir(home) != 0)
        return -1;
    file_put(".", "tiny.ini", tiny, sizeof(tiny) - 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    const int status = chdir("/");
    folder_remove(home);
    return status;
}

/* Rows of a table as JSON, by kind. */
static void count_rows(const json_t *whole, int *outputs, int *gradients, int *states)
{
    size_t i;
    const json_t *row;
    *outputs = *gradients = *states = 0;
    json_array_foreach(json_object_get(whole, "rows"), i, row)
    {
        const char *of = json_string_value(json_object_get(row, "of"));
        *outputs += strcmp(of, "output") == 0;
        *gradients += strcmp(of, "gradient") == 0;
        *states += strcmp(of, "state") == 0;
        assert_true(json_number_value(json_object_get(row, "largest")) > 0);
    }
}

static void test_same_device_kind(void **state)
{
    int outputs, gradients, states;
    (void)state;
    expect("verify tiny.ini --device 0:0 --against 0:1", 0, "gradient  expert.a ");
    assert_non_null(strstr(text, "output    logits "));
    expect("verify tiny.ini --device 0:0 --against 0:1 --json --quiet 2>/dev/null", 0, "");
    json_t *whole = parse();
    assert_true(json_is_true(json_object_get(whole, "good")));
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(whole, "rows"), i, row)
        assert_true(json_number_value(json_object_get(row, "absolute")) == 0);
    count_rows(whole, &outputs, &gradients, &states);
    assert_int_equal(outputs, 2);
    assert_int_equal(gradients, 1);
    assert_int_equal(states, 1);
    json_decref(whole);
    expect("verify tiny.ini --device 0:0 --against 0:1 --json --quiet --layers 2>/dev/null", 0, "");
    whole = parse();
    count_rows(whole, &outputs, &gradients, &states);
    assert_int_equal(gradients, 8); /* two convolutions with norms, a head: weights and biases */
    assert_int_equal(states, 4);
    json_decref(whole);
}

static bool has_rusticl(void)
{
    const char *required = getenv("CONCLAVE_REQUIRE_DEVICE");
    assert_int_equal(conclave("devices --no-check --quiet"), 0);
    const bool found = strstr(text, "rusticl") != NULL;
    if (!found && required != NULL && strcmp(required, "1") == 0)
        fail_msg("Mesa's rusticl (mesa-opencl-icd) is not installed");
    if (!found)
        fputs("# Mesa's rusticl is not installed (mesa-opencl-icd)\n", stderr);
    return found;
}

static void test_rusticl(void **state)
{
    (void)state;
    if (!has_rusticl())
        skip();
    expect("verify tiny.ini --device pocl --against llvmpipe --json --quiet 2>/dev/null", 0, "");
    json_t *whole = parse();
    const json_t *losses = json_object_get(whole, "loss");
    const double a = json_number_value(json_array_get(losses, 0));
    const double b = json_number_value(json_array_get(losses, 1));
    assert_true(a > 0 && fabs(a - b) < 1e-4);
    json_decref(whole);
    expect("verify tiny.ini --device pocl --against llvmpipe device.gemm=clblast", 0, "ok");
    expect("verify tiny.ini --device pocl --against llvmpipe device.gemm=native", 0, "ok");
}

/* Copies the kernels; where vectors have 4 floats, as on rusticl, the file's kernels do nothing in
 * their first work-group. */
static void spoil(const char *file)
{
    static const char statement[] = "\n#if CLV_V == 4\n    if (get_group_id(0) == 0)\n"
                                    "        return;\n#endif\n";
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(clvi_dir_list(kernels, &names, &count, NULL), CLV_OK);
    for (size_t i = 0; i < count; i++) {
        char *from = clvi_path_join(kernels, names[i]), name[PATH_MAX], *source = NULL;
        size_t bytes = 0;
        clvi_text out = {0};
        if (clvi_is_file(from) && strstr(names[i], ".cl") != NULL) {
            assert_int_equal(clvi_file_read(from, 1 << 20, &source, &bytes, NULL), CLV_OK);
            append_spoiled(&out, source, strcmp(names[i], file) == 0 ? statement : "");
            snprintf(name, sizeof(name), "kernels/%s", names[i]);
            file_put(".", name, out.data, out.length);
        }
        clvi_text_fini(&out);
        clvi_free(source);
        clvi_free(from);
    }
    clvi_names_free(names, count);
    setenv("CONCLAVE_KERNEL_DIR", "kernels", 1);
}

static void test_wrong_kernel(void **state)
{
    (void)state;
    if (!has_rusticl())
        skip();
    spoil("batch_norm.cl");
    expect("verify tiny.ini --device pocl --against llvmpipe", 1, "WRONG");
    assert_non_null(strstr(text, "conclave: the devices differ: "));
    /* A difference may be allowed. */
    spoil("no such file");
    expect("verify tiny.ini --device pocl --against llvmpipe --tolerance 1e-12", 1, "WRONG");
    expect("verify tiny.ini --device pocl --against llvmpipe --tolerance 0.01", 0, "ok");
}

static void test_run(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 24; i++) {
        char path[64];
        snprintf(path, sizeof(path), "data/train/class%u/%u.png", i % 3, i);
        png_put(".", path, 11, i + 1);
    }
    expect("train tiny.ini --data data --device 0:0 data.val_fraction=0.25", 0, "best epoch");
    expect("verify last --device 0:0 --against 0:1", 0, "made up");
    expect("verify last --device 0:0 --against 0:1 --data data --batch 5", 0, "\n5 pictures, ");
    expect("verify last --device 0:0 --against 0:1 optimizer.lr=1", 2, "is a run, which");
    expect("verify tiny.ini --device 0:0 --against 0:1 --data data", 0, "logits         18 ");
}

static void test_use(void **state)
{
    (void)state;
    expect("verify tiny.ini --device 0:0", 2, "which two devices?");
    expect("verify tiny.ini --device 0:0 --against 7:7", 1, "no OpenCL device is meant by \"7:7\"");
    expect("verify tiny.ini --device 0:0 --against 0:1 --tolerance x", 2, "--tolerance x");
    expect("verify", 2, "which configuration?");
}

int main(int argc, char **argv)
{
    if (argc != 3 || realpath(argv[1], command) == NULL || realpath(argv[2], kernels) == NULL) {
        fputs("usage: test_verify CONCLAVE KERNELS\n", stderr);
        return 2;
    }
#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ROW(test_same_device_kind),
        ROW(test_rusticl),
        ROW(test_wrong_kernel),
        ROW(test_run),
        ROW(test_use),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
