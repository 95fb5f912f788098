#include "trainings.h"

#include "../unit/image_files.h"
#include "../unit/test_device.h"
#include "base/csv.h"
#include "base/process.h"
#include "weights/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static clvi_device *device;
static clvi_plugins *plugins;
static char *home;

static void say(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    if (level <= CLVI_LOG_WARN)
        fprintf(stderr, "# %s\n", line);
}

int trainings_begin(const char *plugin_folder)
{
    int status = 0;
    clv_error error = CLV_ERROR_INIT;
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    clvi_set_log_sink(say, NULL);
    home = folder_make();
    if (clvi_plugins_create(plugin_folder, NULL, &plugins, &error) != CLV_OK || chdir(home) != 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    for (unsigned i = 0; i < TRAINING_IMAGES; i++) {
        char path[64];
        snprintf(path, sizeof path, "data/train/class%u/%u.png", i % TRAINING_CLASSES, i);
        png_put(".", path, TRAINING_SIDE, i + 1);
    }
    return 0;
}

int trainings_end(void)
{
    clvi_plugins_destroy(plugins);
    clvi_set_log_sink(NULL, NULL);
    if (chdir("/") == 0)
        folder_remove(home);
    return test_device_close();
}

int trainings_run(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s PLUGINS\n", argv[0]);
        return 2;
    }
    const int status = trainings_begin(argv[1]);
    if (status != 0)
        return status;
    const int failed = _cmocka_run_group_tests("tests", tests, count, NULL, NULL);
    return trainings_end() != 0 || failed != 0;
}

clvi_device *trainings_device(void)
{
    return device;
}

clvi_plugins *trainings_plugins(void)
{
    return plugins;
}

clvi_config *trainings_config(const char *text)
{
    static const char base[] = "[data]\npath = data\nimage_size = 8\nval_fraction = 0.25\n"
                               "workers = 2\n"
                               "[mixture]\nexperts = small\n"
                               "[expert.small]\nplugin = cnn\nwidths = 4, 6\ndropout = 0.3\n";
    static const char name[] = "base.ini";
    clvi_text whole = {0};
    clvi_config *config = NULL;
    file_put(".", name, base, sizeof base - 1);
    clvi_text_printf(&whole, "[run]\nbase = %s\n%s", name, text);
    const clvi_config_source source = {
        .name = "test.ini", .text = whole.data, .text_bytes = whole.length};
    OK(clvi_config_load(&source, &config, error));
    clvi_text_fini(&whole);
    return config;
}

clvi_mixture_desc trainings_mixture(const clvi_config *config, int64_t max_batch, bool train)
{
    return (clvi_mixture_desc){.config = config,
                               .plugins = trainings_plugins(),
                               .device = trainings_device(),
                               .classes = TRAINING_CLASSES,
                               .height = TRAINING_SIDE,
                               .width = TRAINING_SIDE,
                               .channels = 1,
                               .max_batch = max_batch,
                               .train = train};
}

clvi_dataset *trainings_data(const clvi_config *config)
{
    const clvi_data_options options = clvi_train_data_options(config);
    clvi_dataset *data = NULL;
    OK(clvi_dataset_open(&options, &data, error));
    return data;
}

static volatile sig_atomic_t stop;

static void count_progress(void *user, const clvi_progress *now)
{
    training *t = user;
    t->calls++;
    if (t->calls == t->stop_at)
        stop = 1;
    if (t->progress)
        t->progress(t->user, now);
}

clv_status training_run(training *t)
{
    clvi_config *config = trainings_config(t->config);
    clvi_dataset *data = trainings_data(config);
    const clvi_train_desc desc = {.config = config,
                                  .data = data,
                                  .plugins = plugins,
                                  .device = device,
                                  .run_dir = t->run,
                                  .resume = t->resume,
                                  .stop = &stop,
                                  .progress = count_progress,
                                  .user = t};
    OK(clvi_make_dirs(t->run, 0755, error));
    stop = 0;
    t->calls = 0;
    t->error = (clv_error)CLV_ERROR_INIT;
    const clv_status status = clvi_train(&desc, &t->result, &t->error);
    clvi_dataset_close(data);
    clvi_config_destroy(config);
    return status;
}

/* ---- Comparing ---- */

bool same_file(const char *a, const char *b)
{
    char *texts[2];
    size_t bytes[2];
    OK(clvi_file_read(a, 1 << 24, &texts[0], &bytes[0], error));
    OK(clvi_file_read(b, 1 << 24, &texts[1], &bytes[1], error));
    const bool same =
        bytes[0] > 0 && bytes[0] == bytes[1] && memcmp(texts[0], texts[1], bytes[0]) == 0;
    clvi_free(texts[0]);
    clvi_free(texts[1]);
    return same;
}

/* All rows without "seconds,images_per_second". */
static void read_rows(const char *run, clvi_text *out)
{
    char path[256], *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/metrics.csv", run);
    OK(clvi_file_read(path, 1 << 20, &text, &bytes, error));
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n');
        assert_non_null(end); /* rows are whole */
        const char *at = line;
        for (int comma = 0; comma < 7; comma++)
            at = strchr(at, ',') + 1;
        clvi_text_append_n(out, line, (size_t)(at - line));
        for (int comma = 7; comma < 9; comma++)
            at = strchr(at, ',') + 1;
        clvi_text_append_n(out, at, (size_t)(end - at));
        clvi_text_append(out, "\n");
        line = end + 1;
    }
    clvi_free(text);
}

bool same_metrics(const char *run_a, const char *run_b)
{
    clvi_text a = {0}, b = {0};
    read_rows(run_a, &a);
    read_rows(run_b, &b);
    const bool same = strcmp(clvi_text_get(&a), clvi_text_get(&b)) == 0;
    if (!same)
        fprintf(stderr, "%s:\n%s%s:\n%s", run_a, clvi_text_get(&a), run_b, clvi_text_get(&b));
    clvi_text_fini(&a);
    clvi_text_fini(&b);
    return same;
}

int read_numbers(const char *run, const char *table, int epoch, size_t names, size_t width,
                 double *rows)
{
    char path[256], *text, *fields[16];
    size_t bytes;
    int count = 0;
    snprintf(path, sizeof path, "%s/%s", run, table);
    OK(clvi_file_read(path, 1 << 20, &text, &bytes, error));
    char *at = text;
    for (size_t n; (n = clvi_csv_next(&at, fields, 16)) > 0;) {
        assert_int_equal(n, 1 + names + width);
        if (strtol(fields[0], NULL, 10) != epoch)
            continue;
        assert_true(((size_t)count + 1) * width <= TABLE_NUMBERS);
        for (size_t i = 0; i < width; i++) {
            const char *field = fields[1 + names + i];
            rows[(size_t)count * width + i] = *field ? strtod(field, NULL) : NAN;
        }
        count++;
    }
    clvi_free(text);
    return count;
}

void expect_close(double a, double b)
{
    if (!(fabs(a - b) <= 1e-5 * (fabs(b) + 1e-3)))
        fail_msg("%.9g for %.9g", a, b);
}

double weights_apart(const char *path_a, const char *path_b)
{
    enum { MOST = 1 << 19 };
    static float a[MOST], b[MOST];
    clvi_safetensors *files[2];
    double worst = 0;
    OK(clvi_safetensors_open(path_a, &files[0], error));
    OK(clvi_safetensors_open(path_b, &files[1], error));
    for (size_t i = 0; i < clvi_safetensors_count(files[0]); i++) {
        const clvi_file_tensor *t = clvi_safetensors_at(files[0], i);
        const int64_t other = clvi_safetensors_find(files[1], t->name);
        if (strncmp(t->name, "optimizer.", 10) == 0)
            continue;
        assert_true(other >= 0 && t->elements <= MOST);
        OK(clvi_safetensors_read_f32(files[0], i, a, error));
        OK(clvi_safetensors_read_f32(files[1], (size_t)other, b, error));
        for (int64_t k = 0; k < t->elements; k++) {
            const double apart = fabs((double)a[k] - (double)b[k]);
            worst = apart <= worst ? worst : apart; /* NaN is taken over */
        }
    }
    clvi_safetensors_close(files[0]);
    clvi_safetensors_close(files[1]);
    return worst;
}
