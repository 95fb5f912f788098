/* Notes on GPUs that give no device, on made-up systems. */
#include "runtime/notes.h"

#include "base/files.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];
static clvi_text notes;

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/try-notes-XXXXXX");
    notes = (clvi_text){0};
    return mkdtemp(root) == NULL;
}

static int tear_down(void **state)
{
    char line[256];
    (void)state;
    clvi_text_fini(&notes);
    snprintf(line, sizeof(line), "rm -rf '%s'", root);
    return system(line);
}

static int not_allowed(const char *path, int mode)
{
    (void)path;
    (void)mode;
    return -1;
}

/* A render node that the kernel driver makes. */
static void add_node(const char *node, const char *driver)
{
    char line[512];
    snprintf(line, sizeof(line),
             "mkdir -p %s/dev/dri %s/sys/class/drm/%s/device && : >%s/dev/dri/%s && "
             "ln -s ../../bus/pci/drivers/%s %s/sys/class/drm/%s/device/driver",
             root, root, node, root, node, driver, root, node);
    assert_int_equal(system(line), 0);
}

static void expect(const char *part)
{
    if (strstr(clvi_text_get(&notes), part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, clvi_text_get(&notes));
}

static void test_none(void **state)
{
    (void)state;
    clvi_note_gpus(&notes, root, false, access);
    add_node("card0", "amdgpu");          /* a screen, no render node */
    add_node("renderD128", "virtio-pci"); /* of a virtual machine */
    clvi_note_gpus(&notes, root, false, access);
    assert_string_equal(clvi_text_get(&notes), "");
}

static void test_not_served(void **state)
{
    (void)state;
    add_node("renderD128", "amdgpu");
    add_node("renderD129", "i915");
    clvi_note_gpus(&notes, root, true, access);
    assert_string_equal(clvi_text_get(&notes), "");
    clvi_note_gpus(&notes, root, false, access);
    expect("/dev/dri/renderD128, driver amdgpu) that no OpenCL implementation serves: install "
           "mesa-opencl-icd and set RUSTICL_ENABLE=radeonsi");
    expect("/dev/dri/renderD129, driver i915) that no OpenCL implementation serves: install "
           "intel-opencl-icd");
}

static void test_not_allowed(void **state)
{
    (void)state;
    add_node("renderD128", "amdgpu");
    clvi_note_gpus(&notes, root, true, not_allowed);
    expect("you may not use: ");
    expect("/dev/dri/renderD128 is not readable and writable; join the group");
}

static void test_nvidia(void **state)
{
    char line[256];
    (void)state;
    snprintf(line, sizeof(line), "mkdir %s/dev && : >%s/dev/nvidia0", root, root);
    assert_int_equal(system(line), 0);
    clvi_note_gpus(&notes, root, true, access);
    assert_string_equal(clvi_text_get(&notes), "");
    clvi_note_gpus(&notes, root, false, access);
    expect("/dev/nvidia0, driver nvidia) that no OpenCL implementation serves: install "
           "nvidia-opencl-icd");
}

static void test_platforms(void **state)
{
    (void)state;
    unsetenv("RUSTICL_ENABLE");
    clvi_note_platform(&notes, "rusticl", "OpenCL 3.0", CL_DEVICE_NOT_FOUND);
    expect("rusticl (Mesa) is installed but offers devices only when asked: set RUSTICL_ENABLE=");
    setenv("RUSTICL_ENABLE", "iris", 1);
    clvi_note_platform(&notes, "rusticl", "OpenCL 3.0", CL_DEVICE_NOT_FOUND);
    expect("no hardware fits RUSTICL_ENABLE=iris");
    clvi_note_platform(&notes, "Clover", "OpenCL 1.1", CL_DEVICE_NOT_FOUND);
    expect("Clover (Mesa) is installed but offers no device");
    clvi_note_platform(&notes, "Acme", "OpenCL 2.0", CL_OUT_OF_HOST_MEMORY);
    expect("Acme (OpenCL 2.0) is installed but cannot list its devices: CL_OUT_OF_HOST_MEMORY");
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ROW(test_none),   ROW(test_not_served), ROW(test_not_allowed),
        ROW(test_nvidia), ROW(test_platforms),
    };
    return cmocka_run_group_tests_name("notes", tests, NULL, NULL);
}
