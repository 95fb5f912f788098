/* One configuration on PoCL and on Mesa's rusticl with llvmpipe: only [device] select differs.
 * 10 classes of 60 demo pictures, 16×16. Skipped where rusticl is not installed. Arguments: the
 * demo data's program, the folder of the plugins. */
#include "../unit/image_files.h"
#include "../unit/test_device.h"
#include "base/process.h"
#include "train/train.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char program[PATH_MAX], plugin_folder[PATH_MAX];

static const char text[] = "[data]\npath = demo\nimage_size = 16\nworkers = 1\n"
                           "[mixture]\nexperts = a\n"
                           "[expert.a]\nplugin = cnn\nwidths = 8, 16, 32\n"
                           "[optimizer]\nlr = 0.03\n"
                           "[schedule]\nkind = cosine\nwarmup_epochs = 1\n"
                           "[train]\nepochs = 3\nbatch = 10\nlog_every = 1\n";

/* What came out on one device. */
typedef struct course {
    double first_loss; /* of the first step */
    clvi_train_result result;
} course;

static void take_progress(void *user, const clvi_progress *now)
{
    course *c = user;
    if (now->phase == CLVI_PROGRESS_TRAIN && now->epoch == 1 && now->step == 1)
        c->first_loss = now->loss;
}

static void say(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    (void)level;
    fprintf(stderr, "# %s\n", line);
}

static void train_on(clvi_runtime *runtime, const char *select, course *out)
{
    char whole[2048], run[64];
    clvi_config *config = NULL;
    clvi_plugins *plugins = NULL;
    clvi_dataset *data = NULL;
    clvi_device *device = NULL;
    snprintf(whole, sizeof(whole), "[device]\nselect = %s\n%s", select, text);
    snprintf(run, sizeof(run), "run-%s", select);
    const clvi_config_source source = {
        .name = "tiny.ini", .text = whole, .text_bytes = strlen(whole)};
    OK(clvi_config_load(&source, &config, error));
    OK(clvi_plugins_create(plugin_folder, NULL, &plugins, error));
    const clvi_data_options options = clvi_train_data_options(config);
    OK(clvi_dataset_open(&options, &data, error));
    const clvi_device_options wanted = {.select = clvi_config_text(config, "device", "select")};
    OK(clvi_device_open(runtime, &wanted, &device, error));
    OK(clvi_make_dirs(run, 0755, error));
    *out = (course){.first_loss = NAN};
    const clvi_train_desc desc = {.config = config,
                                  .data = data,
                                  .plugins = plugins,
                                  .device = device,
                                  .run_dir = run,
                                  .progress = take_progress,
                                  .user = out};
    OK(clvi_train(&desc, &out->result, error));
    clvi_device_save_programs(device);
    clvi_dataset_close(data);
    clvi_device_close(device);
    clvi_plugins_destroy(plugins);
    clvi_config_destroy(config);
    fprintf(stderr, "# %s: first loss %.6f, top-1 %.2f %% train, %.2f %% test, %.0f s\n", select,
            out->first_loss, 100 * out->result.train.top1, 100 * out->result.test.top1,
            out->result.seconds);
}

static void test_same_course(void **state)
{
    const char *required = getenv("CONCLAVE_REQUIRE_DEVICE");
    const clvi_device_info *info = NULL;
    clv_error none = CLV_ERROR_INIT;
    clvi_runtime *runtime = NULL;
    course pocl, rusticl;
    (void)state;
    OK(clvi_runtime_create(&runtime, error));
    if (clvi_runtime_find(runtime, "llvmpipe", &info, &none) != CLV_OK) {
        clvi_runtime_destroy(runtime);
        if (required != NULL && strcmp(required, "1") == 0)
            fail_msg("%s", none.message);
        fprintf(stderr, "# Mesa's rusticl is not installed (mesa-opencl-icd): %s\n", none.message);
        skip();
    }
    train_on(runtime, "pthread", &pocl);
    train_on(runtime, "llvmpipe", &rusticl);
    clvi_runtime_destroy(runtime);
    if (!(fabs(pocl.first_loss - rusticl.first_loss) < 1e-4))
        fail_msg("losses of the first step: %.7f and %.7f", pocl.first_loss, rusticl.first_loss);
    const clvi_score_summary *a[] = {&pocl.result.train, &pocl.result.test};
    const clvi_score_summary *b[] = {&rusticl.result.train, &rusticl.result.test};
    for (int i = 0; i < 2; i++) {
        assert_true(a[i]->top1 > 0.4); /* chance is 0.1 */
        if (!(fabs(a[i]->top1 - b[i]->top1) <= 0.03))
            fail_msg("top-1 %.4f and %.4f", a[i]->top1, b[i]->top1);
    }
}

static char *home;

static int set_up(void **state)
{
    char line[2 * PATH_MAX];
    (void)state;
    setenv("RUSTICL_ENABLE", "llvmpipe", 1);
    clvi_set_log_sink(say, NULL);
    home = folder_make();
    snprintf(line, sizeof(line),
             "'%s' --out demo --size 16 --train 60 --test 20 --classes 10 --quiet", program);
    return chdir(home) != 0 || system(line) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    clvi_set_log_sink(NULL, NULL);
    const int status = chdir("/");
    folder_remove(home);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3 || realpath(argv[1], program) == NULL ||
        realpath(argv[2], plugin_folder) == NULL) {
        fputs("usage: test_portable DEMO_DATA PLUGINS\n", stderr);
        return 2;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_course, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("portable", tests, NULL, NULL);
}
