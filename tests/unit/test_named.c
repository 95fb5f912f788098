/* core/weights/named.c: names of weights, and the folders where other tools keep them. */
#include "base/files.h"
#include "base/text.h"
#include "weights/named.h"
#include "weights/safetensors.h"
#include "weights/weights.h"

#include <setjmp.h>
#include <sha2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char home[] = "/tmp/conclave-named-XXXXXX";

static int set_up(void **state)
{
    static const char *const others[] = {"TORCH_HOME",      "KERAS_HOME",     "HF_HOME",
                                         "HF_HUB_CACHE",    "XDG_CACHE_HOME", "XDG_DATA_HOME",
                                         "CONCLAVE_WEIGHTS"};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        unsetenv(others[i]);
    return mkdtemp(home) && setenv("HOME", home, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", home);
    return system(command);
}

/* Writes a file, with its folders, below the home folder; returns its path. */
static const char *put(const char *place, const void *data, size_t bytes)
{
    static char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", home, place);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(clvi_make_dirs(path, 0755, NULL), CLV_OK);
    *slash = '/';
    assert_int_equal(clvi_file_write(path, data, bytes, NULL), CLV_OK);
    return path;
}

static void expect_fault(const char *name, clv_status status, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    char *path = NULL, *note = NULL;
    assert_int_equal(clvi_named_find(name, &path, &note, &error), status);
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
    assert_null(path);
    assert_null(note);
}

static void expect_found(const char *name, const char *place, const char *part)
{
    clv_error error = CLV_ERROR_INIT;
    char *path = NULL, *note = NULL, wanted[512];
    (void)snprintf(wanted, sizeof wanted, "%s/%s", home, place);
    if (clvi_named_find(name, &path, &note, &error) != CLV_OK)
        fail_msg("%s", error.message);
    assert_string_equal(path, wanted);
    if (!strstr(note, part))
        fail_msg("'%s' is not in '%s'", part, note);
    clvi_free(path);
    clvi_free(note);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(clvi_named_is("torchvision:vgg16"));
    assert_true(clvi_named_is("timm:anything"));
    assert_false(clvi_named_is("torchvision/vgg16.pth"));
    const char *value = NULL;
    assert_null(clvi_named_option("timm:efficientnet_b0", &value));
    assert_string_equal(clvi_named_option("timm:tf_efficientnet_b0.ns_jft_in1k", &value),
                        "variant");
    assert_string_equal(value, "keras");
    assert_false(clvi_named_is("./keras:vgg16"));
    expect_fault("torchvision:vgg61", CLV_E_CONFIG, "did you mean torchvision:vgg16?");
    expect_fault("keras:resnet50", CLV_E_CONFIG, "there are no weights 'keras:resnet50'");
    expect_fault("timm:../../etc.x", CLV_E_CONFIG, "there are no weights");
}

static void test_nowhere(void **state)
{
    (void)state;
    expect_fault("torchvision:efficientnet_b0", CLV_E_DATA,
                 "get efficientnet_b0_rwightman-7f5810bc.pth (21 MB) from "
                 "https://download.pytorch.org/models/");
    expect_fault("torchvision:vgg16", CLV_E_DATA, ".local/share/conclave/weights");
    expect_fault("keras:vgg16", CLV_E_DATA, "vgg16_weights_tf_dim_ordering_tf_kernels.h5 (553 MB)");
    expect_fault("timm:vgg16", CLV_E_DATA,
                 "get https://huggingface.co/timm/vgg16.tv_in1k/resolve/main/model.safetensors");
    setenv("CONCLAVE_WEIGHTS", "/nowhere/at/all", 1);
    expect_fault("timm:a.b", CLV_E_DATA, "put it at /nowhere/at/all/a.b.safetensors");
    unsetenv("CONCLAVE_WEIGHTS");
}

/* Files of the right name that are something else. */
static void test_damaged(void **state)
{
    (void)state;
    (void)put(".cache/torch/hub/checkpoints/vgg16-397923af.pth", "abc", 3);
    expect_fault("torchvision:vgg16", CLV_E_DATA,
                 "has the SHA-256 ba7816bf… and should have "
                 "397923af…; delete it and get it again");
    (void)put("torch/hub/checkpoints/efficientnet_b0_rwightman-3dd342df.pth", "abc", 3);
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s/torch", home);
    setenv("TORCH_HOME", folder, 1);
    expect_fault("torchvision:efficientnet_b0", CLV_E_DATA, "should have 3dd342df");
    unsetenv("TORCH_HOME");
    (void)put(".keras/models/efficientnetb0.h5", "abc", 3);
    expect_fault("keras:efficientnet_b0", CLV_E_DATA,
                 "has the MD5 90015098… and should have 902e53a9");
}

/* Files of three bytes that are what the list says, or what later took their place. */
static void test_hashes(void **state)
{
    (void)state;
    static const clvi_named_weights list[] = {
        {"torchvision:a", CLVI_KEPT_BY_TORCH, "3 B", "u", {"a.pth", NULL}, {"ba7816bf", NULL}},
        {"torchvision:b",
         CLVI_KEPT_BY_TORCH,
         "3 B",
         "u",
         {"none.pth", "a.pth"},
         {"01234567", "ba7816bf"}},
        {"keras:a",
         CLVI_KEPT_BY_KERAS,
         "3 B",
         "u",
         {"a.h5", NULL},
         {"900150983cd24fb0d6963f7d28e17f72", NULL}},
    };
    static const char *const notes[] = {"SHA-256 ba7816bf as it should be",
                                        "SHA-256 ba7816bf, which later replaced 01234567",
                                        "MD5 90015098 as it should be"};
    (void)put(".cache/torch/hub/checkpoints/a.pth", "abc", 3);
    (void)put(".keras/models/a.h5", "abc", 3);
    for (size_t i = 0; i < 3; i++) {
        char *path = NULL, *note = NULL;
        clv_error error = CLV_ERROR_INIT;
        if (clvi_named_find_in(list, 3, list[i].name, &path, &note, &error) != CLV_OK)
            fail_msg("%s", error.message);
        assert_string_equal(note, notes[i]);
        clvi_free(path);
        clvi_free(note);
    }
    expect_fault("torchvision:a", CLV_E_CONFIG, "there are no weights 'torchvision:a'");
}

/* Without a home folder there is no folder of Conclave's own unless one is named. */
static void test_no_home(void **state)
{
    (void)state;
    unsetenv("HOME");
    expect_fault("keras:vgg16", CLV_E_DATA, "set CONCLAVE_WEIGHTS to a folder and put it there");
    setenv("TORCH_HOME", "/nowhere", 1);
    expect_fault("torchvision:vgg16", CLV_E_DATA, "vgg16-397923af.pth; set CONCLAVE_WEIGHTS");
    unsetenv("TORCH_HOME");
    setenv("HF_HUB_CACHE", "/nowhere", 1);
    expect_fault("timm:a.b", CLV_E_DATA, "put it there as a.b.safetensors");
    unsetenv("HF_HUB_CACHE");
    setenv("HOME", home, 1);
}

static void sha_of(const char *data, char out[65])
{
    SHA2_CTX state;
    SHA256Init(&state);
    SHA256Update(&state, (const uint8_t *)data, strlen(data));
    SHA256End(&state, out);
}

/* Blobs by their hash, and links to them in revisions: the one that main means counts. */
static void test_hub(void **state)
{
    (void)state;
    char sha[65], place[512], target[128];
    static const char hub[] = ".cache/huggingface/hub/models--timm--vgg16.tv_in1k";
    for (int i = 0; i < 2; i++) {
        const char *data = i ? "weights" : "older";
        sha_of(data, sha);
        (void)snprintf(place, sizeof place, "%s/blobs/%s", hub, sha);
        (void)put(place, data, strlen(data));
        (void)snprintf(place, sizeof place, "%s/snapshots/%s/config.json", hub, i ? "aaa" : "bbb");
        (void)put(place, "{}", 2);
        (void)snprintf(place, sizeof place, "%s/%s/snapshots/%s/model.safetensors", home, hub,
                       i ? "aaa" : "bbb");
        (void)snprintf(target, sizeof target, "../../blobs/%s", sha);
        assert_int_equal(symlink(target, place), 0);
    }
    (void)snprintf(place, sizeof place, "%s/refs/main", hub);
    (void)put(place, "aaa", 3);
    (void)snprintf(place, sizeof place, "%s/snapshots/aaa/model.safetensors", hub);
    expect_found("timm:vgg16", place, "as it should be");
    expect_found("timm:vgg16.tv_in1k", place, "as it should be");
    /* The blob is changed: the other revision is taken. */
    (void)snprintf(place, sizeof place, "%s/blobs/%s", hub, sha);
    (void)put(place, "weighty", 7);
    (void)snprintf(place, sizeof place, "%s/snapshots/bbb/model.safetensors", hub);
    expect_found("timm:vgg16", place, "as it should be");
    (void)snprintf(place, sizeof place, "%s/refs/main", hub);
    (void)put(place, "../../../../x", 13);
    (void)snprintf(place, sizeof place, "%s/snapshots/bbb/model.safetensors", hub);
    expect_found("timm:vgg16", place, "as it should be");
}

static void test_own_folder(void **state)
{
    (void)state;
    static const char place[] = ".local/share/conclave/weights/efficientnet_b0.ra_in1k.safetensors";
    const char *path = put(place, "", 0);
    clvi_tensor_writer *writer;
    assert_int_equal(clvi_tensor_writer_create(path, &writer, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_declare(writer, "w", CLVI_FILE_U8, 0, NULL, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_append(writer, "x", 1, NULL), CLV_OK);
    assert_int_equal(clvi_tensor_writer_commit(writer, NULL), CLV_OK);
    clvi_tensor_writer_destroy(writer);
    expect_found("timm:efficientnet_b0", place, "no hash to compare");
    clvi_weights *file;
    assert_int_equal(clvi_weights_open("timm:efficientnet_b0", &file, NULL), CLV_OK);
    assert_non_null(strstr(clvi_weights_path(file), place));
    assert_non_null(strstr(clvi_weights_note(file), "no hash"));
    clvi_weights_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),      cmocka_unit_test(test_nowhere),
        cmocka_unit_test(test_damaged),    cmocka_unit_test(test_hub),
        cmocka_unit_test(test_own_folder), cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_no_home),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
