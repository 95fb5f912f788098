/* The conclave command itself: that every subcommand explains itself, and `conclave plugins`.
 * Arguments: the command, the folder of the wrong plugins of tests/abi, tests/weights. */
#include "calling.h"

#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "../unit/image_files.h"

static char wrong_folder[PATH_MAX], weights[PATH_MAX];

static void test_every_command_explains_itself(void **state)
{
    char list[sizeof(text)];
    int commands = 0;
    (void)state;
    expect("", 0, "To begin:");
    memcpy(list, text, sizeof(list));
    const char *line = strstr(list, "\n  ");
    for (; line != NULL && strncmp(line, "\n  ", 3) == 0; line = strchr(line + 1, '\n')) {
        char name[32] = "", arguments[64];
        assert_int_equal(sscanf(line, " %31s", name), 1);
        snprintf(arguments, sizeof(arguments), "%s --help", name);
        expect(arguments, 0, "usage: conclave ");
        assert_non_null(strstr(text, "options:\n"));
        assert_non_null(strstr(text, "example:\n  "));
        commands++;
    }
    assert_true(commands >= 9);
}

static void test_plugins_listed(void **state)
{
    (void)state;
    expect("plugins", 0, "expert  cnn ");
    expect("plugins", 0, "gate    average ");
    assert_true(strstr(text, "expert") < strstr(text, "gate  "));
    expect("plugins average", 0, "no options");
    expect("plugins cnn", 0,
           "\n  widths = 32, 64, 128\n      filters of each block (integers "
           "separated by ',', 1 to 4096)\n");
    expect("plugins cn", 2, "conclave: there is no plugin \"cn\"; did you mean cnn?\n");
    expect("plugins a b", 2, "\"b\" is one too many");
    expect("plugins /no/expert_x.so", 1, "conclave: /no/expert_x.so: cannot be opened");
}

static void test_plugins_json(void **state)
{
    json_error_t problem;
    (void)state;
    assert_int_equal(conclave("plugins cnn --json 2>/dev/null"), 0);
    json_t *whole = json_loads(text, 0, &problem);
    assert_non_null(whole);
    json_t *plugin = json_array_get(json_object_get(whole, "plugins"), 0);
    assert_string_equal(json_string_value(json_object_get(plugin, "name")), "cnn");
    assert_string_equal(json_string_value(json_object_get(plugin, "kind")), "expert");
    json_t *option = json_array_get(json_object_get(plugin, "options"), 0);
    assert_string_equal(json_string_value(json_object_get(option, "key")), "widths");
    assert_string_equal(json_string_value(json_object_get(option, "type")), "int list");
    assert_true(json_number_value(json_object_get(option, "max")) == 4096);
    json_decref(whole);
}

static void test_plugin_path(void **state)
{
    char arguments[2 * PATH_MAX];
    (void)state;
    snprintf(arguments, sizeof(arguments), "plugins --plugin-path '%s' 2>/dev/null", wrong_folder);
    expect(arguments, 0, "expert  good ");
    assert_non_null(strstr(text, "expert  cnn "));
    assert_null(strstr(text, "expert  magic"));
    snprintf(arguments, sizeof(arguments), "plugins --plugin-path '%s'", wrong_folder);
    expect(arguments, 0, "conclave: warning: ");
    snprintf(arguments, sizeof(arguments), "plugins '%s/gate_no_route.so'", wrong_folder);
    expect(arguments, 0, "gate no_route 1.0: For the tests\n");
    snprintf(arguments, sizeof(arguments), "plugins '%s/expert_major.so'", wrong_folder);
    expect(arguments, 1, "clv_plugin.abi_major is 2");
}

/* `conclave inspect` of a file in folder `weights`. */
static void inspect(const char *file, const char *more, int status, const char *part)
{
    char arguments[2 * PATH_MAX];
    snprintf(arguments, sizeof(arguments), "inspect '%s/%s' %s", weights, file, more);
    expect(arguments, status, part);
}

static void test_inspect(void **state)
{
    (void)state;
    inspect("zip.pth", "", 0, "turned     F32   [4, 3]\n");
    assert_non_null(strstr(text, "PyTorch file, 12 tensors, 102 numbers, in model_state_dict\n"));
    inspect("module.pth", "", 1, "names torch.nn.modules.linear.Linear");
    inspect("nothing.pth", "", 1, "No such file");
    inspect("zip.pth", "more", 2, "takes one file, 2 are given");
    inspect("plain.pth", "--json", 0, "{");
    json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *tensor = json_array_get(json_object_get(all, "tensors"), 4);
    assert_string_equal(json_string_value(json_object_get(all, "format")), "PyTorch");
    assert_string_equal(json_string_value(json_object_get(all, "place")), "model_state_dict");
    assert_string_equal(json_string_value(json_object_get(tensor, "name")), "i64");
    assert_string_equal(json_string_value(json_object_get(tensor, "dtype")), "I64");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(tensor, "shape"), 1)), 3);
    json_decref(all);
    char file[] = "/tmp/conclave-\xff-XXXXXX", copy[2 * PATH_MAX];
    const int made = mkstemp(file);
    assert_true(made >= 0);
    close(made);
    snprintf(copy, sizeof copy, "cp '%s/zip.pth' '%s'", weights, file);
    assert_int_equal(system(copy), 0);
    snprintf(copy, sizeof copy, "inspect --json '%s'", file);
    expect(copy, 1, "its path is no UTF-8");
    unlink(file);
}

/* Runs `bench --paced ARGUMENTS`, asks for three steps, and wants a line with each of these keys.
 */
static void follow(const char *arguments, const char *const *keys, size_t count)
{
    char line[2 * PATH_MAX];
    snprintf(line, sizeof line, "printf '\\n\\n\\n' | '%s' bench --paced -q %s", command,
             arguments);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(fgets(text, sizeof text, pipe));
        json_t *object = json_loads(text, 0, NULL);
        if (!(json_number_value(json_object_get(object, keys[i])) > 0))
            fail_msg("line %zu has no %s: %s", i + 1, keys[i], text);
        json_decref(object);
    }
    assert_null(fgets(text, sizeof text, pipe));
    assert_int_equal(pclose(pipe), 0);
}

/* A line for each step: two before anybody asks, one for each line asked; two about memory. */
static void test_bench_at_another_pace(void **state)
{
    (void)state;
    static const char *const keys[] = {"base_mib", "first_ms", "ready",   "ms",
                                       "ms",       "ms",       "peak_mib"};
    follow("--model cnn widths=4 --image-size 8 --batch 2", keys, sizeof keys / sizeof *keys);
    expect("bench --paced --peak", 2, "--paced goes with --model");
    expect("bench --model nosuch", 1, "command line: [expert.bench] plugin: there is no");
    expect("bench --model cnn --mode trian", 2, "did you mean train?");
    expect("config --dump", 2, "--dump of which configuration?");
    expect("train cnn-custom-only.ini", 2, "the shipped configuration is called cnn-custom-only");
    expect("profile cnn-custom-only --channels 2", 2, "--channels 2: it is 1 or 3");
}

static void test_bench_of_images(void **state)
{
    (void)state;
    static const char *const keys[] = {"first_ms", "ready", "ms", "ms", "ms", "peak_mib"};
    char *folder = folder_make(), line[PATH_MAX + 256];
    put_class(folder, "a", 3, 1);
    put_class(folder, "b", 3, 100);
    snprintf(line, sizeof line, "--images '%s' --batch 4", folder);
    follow(line, keys, sizeof keys / sizeof *keys);
    snprintf(line, sizeof line, "bench --images '%s' --repeat 2 --json", folder);
    expect(line, 0, "{\"images\":6,\"image_size\":32,\"images_per_s\":");
    snprintf(line, sizeof line, "bench --images '%s' --batch 4 --repeat 2", folder);
    expect(line, 0, "4 images to 32 pixels on one thread: ");
    expect("bench --images /nowhere", 1, "/nowhere");
    folder_remove(folder);
}

/* Sizes may be left out at the end. */
static void test_bench_of_an_op(void **state)
{
    (void)state;
    expect("bench -q --repeat 1 --op conv2d:1,8,8,4,4,3", 0, "GFLOP/s");
    expect("bench -q --repeat 1 --op depthwise_conv2d:1,8,8,4,3", 0, "GB/s");
    expect("bench -q --op conv2d:1,8,8,4", 2, "conv2d takes N,H,W,CIN,COUT,KERNEL");
}

int main(int argc, char **argv)
{
    if (argc != 4 || realpath(argv[1], command) == NULL || realpath(argv[3], weights) == NULL ||
        realpath(argv[2], wrong_folder) == NULL) {
        fputs("usage: test_command CONCLAVE FOLDER_OF_THE_WRONG_PLUGINS WEIGHTS\n", stderr);
        return 2;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_explains_itself),
        cmocka_unit_test(test_plugins_listed),
        cmocka_unit_test(test_plugins_json),
        cmocka_unit_test(test_plugin_path),
        cmocka_unit_test(test_inspect),
        cmocka_unit_test(test_bench_at_another_pace),
        cmocka_unit_test(test_bench_of_images),
        cmocka_unit_test(test_bench_of_an_op),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
