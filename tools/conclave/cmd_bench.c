/* conclave bench: speed of a network or an op, against the device's measured peak, of images, and
 * of a bundle's answers. */
#include "bench.h"
#include "runtime/peak.h"
#include "session.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct bench {
    cli_session session;
    clvi_config *config;
    const cli_args *args;
    bench_model_desc model;
    bool json, paced;
} bench;

/* Prints a JSON object on one line and drops the reference. */
static clv_status print_json(json_t *json, clv_error *error)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(json);
    if (!text)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the result");
    puts(text);
    free(text);
    return CLV_OK;
}

static clv_status print_peak(bench *b, clv_error *error)
{
    double gflops, gbs;
    clvi_device *device = b->session.device;
    CLV_TRY(clvi_device_measure_peak(device, &gflops, &gbs, error));
    if (b->json)
        return print_json(json_pack("{s:s, s:f, s:f}", "device", clvi_device_get_info(device)->name,
                                    "gflops", gflops, "copy_gbs", gbs),
                          error);
    printf("multiply-add peak  %8.1f GFLOP/s (f32, a multiply-add counts as 2)\n"
           "copy               %8.1f GB/s    (read plus written)\n",
           gflops, gbs);
    return CLV_OK;
}

/* The peak is measured before and after, the larger one counts: other work may disturb either. */
static clv_status print_op(bench *b, const char *spec, clv_error *error)
{
    double gflops[2], gbs[2];
    size_t count;
    bench_op_row rows[BENCH_OP_ROWS];
    clvi_device *device = b->session.device;
    CLV_TRY(clvi_device_measure_peak(device, &gflops[0], &gbs[0], error));
    CLV_TRY(bench_op(device, spec, b->model.repeat, rows, &count, error));
    CLV_TRY(clvi_device_measure_peak(device, &gflops[1], &gbs[1], error));
    clvi_device_save_programs(device);
    const double peak = gflops[1] > gflops[0] ? gflops[1] : gflops[0];
    const double copy = gbs[1] > gbs[0] ? gbs[1] : gbs[0];
    for (size_t i = 0; i < count; i++) {
        const bench_op_row *r = &rows[i];
        const bool product = r->gflops > 0;
        const double share = product ? r->gflops / peak : r->gbs / copy;
        if (b->json) {
            CLV_TRY(print_json(json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "op", spec, "pass",
                                         r->name, "ms", r->ms, product ? "gflops" : "gbs",
                                         product ? r->gflops : r->gbs, product ? "peak" : "copy",
                                         product ? peak : copy, "share", share),
                               error));
            continue;
        }
        printf("%-8s  %9.3f ms  %8.1f %-7s  %5.1f %% of the %s of %.1f\n", r->name, r->ms,
               product ? r->gflops : r->gbs, product ? "GFLOP/s" : "GB/s", 100 * share,
               product ? "peak" : "copy", product ? peak : copy);
    }
    return CLV_OK;
}

static clv_status print_model(bench *b, clv_error *error)
{
    bench_times t;
    const bench_model_desc *m = &b->model;
    CLV_TRY(bench_model(b->session.device, b->session.plugins, b->config, m, &t, error));
    const double rate = (double)m->batch / t.median_ms * 1e3;
    if (b->json)
        return print_json(json_pack("{s:s, s:i, s:I, s:s, s:s, s:f, s:f, s:f, s:f}", "model",
                                    m->plugin, "image_size", m->width, "batch",
                                    (json_int_t)m->batch, "mode", m->train ? "train" : "infer",
                                    "device", clvi_device_get_info(b->session.device)->name,
                                    "images_per_s", rate, "ms", t.median_ms, "best_ms", t.best_ms,
                                    "first_step_s", t.warm_seconds),
                          error);
    printf("%s %dx%d, batch %lld, %s: %.1f images/s (median step %.3f ms, best %.3f ms; first step "
           "after %.2f s)\n",
           m->plugin, m->width, m->width, (long long)m->batch, m->train ? "training" : "inference",
           rate, t.median_ms, t.best_ms, t.warm_seconds);
    return CLV_OK;
}

static clv_status read_options(bench *b, const char **gemm, clv_error *error)
{
    const cli_args *args = b->args;
    const bool bundle = cli_option_value(args, "bundle") != NULL;
    int64_t size = 32, classes = 46;
    b->model = (bench_model_desc){.batch = 128, .repeat = 15, .channels = 3, .train = true};
    if (bundle)
        b->model.batch = 1, b->model.repeat = 200;
    b->json = cli_flag(args, "json");
    b->paced = cli_flag(args, "paced");
    b->model.plugin = cli_option_value(args, "model");
    CLV_TRY(cli_option_int(args, "image-size", 8, 4096, &size, error));
    CLV_TRY(cli_option_int(args, "classes", 2, 1 << 20, &classes, error));
    CLV_TRY(cli_option_int(args, "batch", 1, 1 << 20, &b->model.batch, error));
    CLV_TRY(cli_option_int(args, "repeat", 1, 100000, &b->model.repeat, error));
    b->model.height = b->model.width = (int)size;
    b->model.classes = (int)classes;
    size_t mode = 0;
    CLV_TRY(cli_option_choice(args, "mode", "train | infer", &mode, error));
    b->model.train = mode == 0;
    *gemm = cli_option_value(args, "gemm") ? cli_option_value(args, "gemm") : "auto";
    const bool images = cli_option_value(args, "images") != NULL;
    const int tasks = cli_flag(args, "peak") + (cli_option_value(args, "op") != NULL) +
                      (b->model.plugin != NULL) + images + bundle;
    if (tasks != 1)
        CLV_FAIL(
            error, CLV_E_USAGE,
            "give one of --peak, --op, --model, --images and --bundle; see conclave bench --help");
    if (b->paced && !b->model.plugin && !images)
        CLV_FAIL(error, CLV_E_USAGE, "--paced goes with --model or --images");
    return CLV_OK;
}

static clv_status measure(bench *b, clv_error *error)
{
    const char *images = cli_option_value(b->args, "images");
    if (images) {
        const bench_images_desc desc = {.path = images,
                                        .size = b->model.width,
                                        .count = b->model.batch,
                                        .repeat = b->model.repeat,
                                        .paced = b->paced,
                                        .json = b->json};
        return bench_images(&desc, error);
    }
    const char *bundle = cli_option_value(b->args, "bundle");
    if (bundle) {
        const bench_bundle_desc desc = {.path = bundle,
                                        .device = cli_option_value(b->args, "device"),
                                        .images = b->model.options,
                                        .image_count = b->model.option_count,
                                        .batch = b->model.batch,
                                        .repeat = b->model.repeat,
                                        .json = b->json};
        return bench_bundle(&b->session, &desc, error);
    }
    CLV_TRY(cli_session_open_device(&b->session, b->config, cli_option_value(b->args, "device"),
                                    error));
    if (cli_flag(b->args, "peak"))
        return print_peak(b, error);
    const char *op = cli_option_value(b->args, "op");
    if (op)
        return print_op(b, op, error);
    if (b->paced)
        return bench_paced(b->session.device, b->session.plugins, b->config, &b->model, error);
    return print_model(b, error);
}

static clv_status run(const cli_args *args, clv_error *error)
{
    bench b = {.args = args};
    const char *gemm = "auto";
    CLV_TRY(read_options(&b, &gemm, error));
    const char *options[32];
    for (size_t i = 0; i < cli_count(args); i++) {
        if (i == sizeof options / sizeof *options)
            CLV_FAIL(error, CLV_E_USAGE, "at most %zu options of a plugin, or pictures", i);
        options[b.model.option_count++] = cli_at(args, i);
    }
    b.model.options = options;
    bench_model_desc described = b.model;
    if (!described.plugin)
        described.plugin = "cnn";
    if (cli_option_value(args, "bundle") == NULL)
        CLV_TRY(bench_config(&described, gemm, &b.config, error));
    clv_status status = cli_session_open(&b.session, args, error);
    if (status == CLV_OK) {
        status = measure(&b, error);
        cli_session_close(&b.session);
    }
    clvi_config_destroy(b.config);
    return status;
}

static const cli_option options_of_bench[] = {
    {"peak", NULL, "measure the device: multiply-add peak and copy bandwidth", 0, false},
    {"op", "OP:SIZES", "time an op, such as gemm:1024,1024,1024 or conv2d:4,28,28,512,512,3", 0,
     false},
    {"model", "PLUGIN", "time an expert plugin with inputs in memory", 0, false},
    {"images", "PATH", "time decoding and resizing of the first --batch training images", 0, false},
    {"bundle", "FILE", "time a bundle's (or a run's) answers, from a picture's bytes", 0, false},
    {"image-size", "PIXELS", "side of the images (32)", 0, false},
    {"batch", "N", "images per step (128), or per call of a bundle (1)", 0, false},
    {"classes", "N", "classes (46)", 0, false},
    {"mode", "train|infer", "train: with loss, backward and AdamW; or infer (train)", 0, false},
    {"repeat", "N", "steps or calls that count, after two that do not (15, 200)", 0, false},
    {"gemm", "auto|native|clblast", "who multiplies matrices (auto)", 0, false},
    {"json", NULL, "one JSON object per line", 0, false},
    {"paced", NULL,
     "with --model or --images: a step for each line of standard input, its ms as JSON", 0, false},
    CLI_PLUGIN_OPTION,
    CLI_DEVICE_OPTION,
};

const cli_command cmd_bench = {
    .name = "bench",
    .summary = "Measure the speed of the device, an op, a network or of reading images",
    .usage = "(--peak | --op OP:SIZES | --model PLUGIN [plugin option=value]... | --images PATH | "
             "--bundle FILE [IMAGE]...) "
             "[options]",
    .example = "conclave bench --peak\n"
               "conclave bench --op conv2d:4,28,28,512,512,3\n"
               "conclave bench --model cnn --image-size 32 --batch 128 --mode train --json\n"
               "conclave bench --images photos.tar --image-size 224\n"
               "conclave bench --bundle characters.safetensors photo.jpg --batch 8",
    .options = options_of_bench,
    .option_count = sizeof options_of_bench / sizeof *options_of_bench,
    .run = run,
};
