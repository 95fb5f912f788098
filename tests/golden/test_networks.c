/* EfficientNet-B0 and VGG16 against torchvision and Keras, and what they must count: test_networks
 * FOLDER PLUGINS [winograd]. Each file of FOLDER/MANIFEST holds the answers of one network whose
 * values follow from their names (networks/formula.py). Exit status 77: there is no device. */
#include "golden.h"
#include "network_values.h"
#include "training.h"

#include "../ops/compare.h"
#include "../unit/test_device.h"
#include "base/files.h"
#include "plugin/plugin_host.h"
#include "weights/safetensors.h"
#include "weights/transfer.h"

#include <conclave/ops.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* How far f32 may lie from double precision: a share of the logits' root mean square, of a
 * tensor's norm, of its elements' root mean square, of a loss in the first four steps and after up
 * to nine, when branches of relu that went the other way have grown by the optimiser; of the
 * largest norm. Single elements of gradients are reached to within 4e-5 of their tensor's root mean
 * square. They are not compared with themselves: in one that is near zero only by chance, a sum of
 * larger numbers, f32 keeps the digits of these (one sample in 30 is then off by more than 1e-4 of
 * itself, whatever the program). */
static double LOGITS = 1e-4, ROWS = 1e-4, SAMPLES = 1e-4, BEGIN = 1e-4, LOSSES = 3e-3, FLOOR = 1e-6;

static clvi_device *device;
static clvi_plugins *plugins;
static const char *folder;
static golden_entry entries[GOLDEN_MAX_ENTRIES];
static size_t entry_count;

static float *allocate(int64_t elements)
{
    float *memory = malloc((size_t)elements * sizeof *memory);
    assert_non_null(memory);
    return memory;
}

/* ---- A network and its values ---- */

typedef struct network {
    const clvi_plugin *plugin;
    clv_options *options;
    clv_build_input input;
    clvi_store *store;
    clv_graph *train, *infer;
    uint32_t base;
    int64_t n, image_elements;
} network;

static int32_t whole(const golden *g, const char *name)
{
    const clv_attr *a = golden_attr(g, name);
    if (a == NULL || a->type != CLV_ATTR_INT)
        fail_msg("there is no attribute %s that is a whole number", name);
    return (int32_t)a->i;
}

/* The options of the plugin are attributes option.KEY. */
static void open_options(network *w, const golden *g)
{
    clvi_raw_option raw[GOLDEN_MAX_ATTRS];
    char reals[GOLDEN_MAX_ATTRS][32];
    size_t count = 0;
    for (uint32_t i = 0; i < g->attr_count; i++) {
        const clv_attr *a = &g->attrs[i];
        if (strncmp(a->name, "option.", 7) != 0)
            continue;
        snprintf(reals[count], sizeof reals[count], "%g", a->real);
        raw[count] = (clvi_raw_option){
            a->name + 7, a->type == CLV_ATTR_REAL ? reals[count] : a->text, "the file"};
        count++;
    }
    OK(clvi_plugins_find(plugins, CLV_KIND_EXPERT, golden_attr(g, "plugin")->text, &w->plugin,
                         error));
    OK(clvi_options_create(w->plugin->table, "expert", raw, count, &w->options, error));
}

static void build(network *w, clv_mode mode, clv_graph **out)
{
    w->input.mode = mode;
    OK(clvi_plugin_build(w->plugin, w->options, &w->input, "network", out, error));
}

/* Every variable gets the values of its name. */
static void fill(const network *w)
{
    for (size_t i = 0; i < clvi_store_count(w->store); i++) {
        const clvi_segment *s = clvi_store_segment(w->store, i);
        float *values = allocate(s->elements);
        network_variable(s, values);
        OK(clvi_store_write(w->store, i, CLVI_STORE_VALUE, values, error));
        free(values);
    }
}

/* As the file of a network whose convolutions have biases besides: running means come from such a
 * file, those of the formula plus the biases. Convolution and normalisation stand next to each
 * other in the store. */
static void write_biased(const network *w, const char *path)
{
    enum { MEAN_AFTER_WEIGHT = 3, MOST = 512 };
    clvi_tensor_writer *file;
    float values[MOST], bias[MOST];
    OK(clvi_tensor_writer_create(path, &file, error));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i + MEAN_AFTER_WEIGHT < clvi_store_count(w->store); i++) {
            const clvi_segment *conv = clvi_store_segment(w->store, i);
            clvi_segment mean = *clvi_store_segment(w->store, i + MEAN_AFTER_WEIGHT);
            char name[128];
            if (!mean.is_state || strstr(mean.name, "running_mean") == NULL)
                continue;
            snprintf(name, sizeof name, "%.*s.bias", (int)(strrchr(conv->name, '.') - conv->name),
                     conv->name);
            assert_true(mean.elements <= MOST);
            if (pass == 0) {
                OK(clvi_tensor_writer_declare(file, mean.name, CLVI_FILE_F32, 1, &mean.elements,
                                              error));
                OK(clvi_tensor_writer_declare(file, name, CLVI_FILE_F32, 1, &mean.elements, error));
                continue;
            }
            network_variable(&mean, values);
            mean.name = name;
            network_variable(&mean, bias);
            for (int64_t k = 0; k < mean.elements; k++)
                values[k] += bias[k];
            OK(clvi_tensor_writer_append(file, values, mean.elements, error));
            OK(clvi_tensor_writer_append(file, bias, mean.elements, error));
        }
    OK(clvi_tensor_writer_commit(file, error));
    clvi_tensor_writer_destroy(file);
}

static void read_biased(const network *w)
{
    char path[] = "/tmp/conclave-networks-XXXXXX";
    const int made = mkstemp(path);
    clvi_weights *file;
    clvi_transfer *transfer;
    assert_true(made >= 0);
    close(made);
    write_biased(w, path);
    OK(clvi_weights_open(path, &file, error));
    const clvi_transfer_desc desc = {
        .file = file, .graph = w->train, .plugin = w->plugin->table, .prefix = ""};
    OK(clvi_transfer_plan(&desc, &transfer, error));
    OK(clvi_transfer_run(transfer, w->store, error));
    clvi_transfer_destroy(transfer);
    clvi_weights_close(file);
    unlink(path);
}

static void network_open(network *w, const golden *g)
{
    *w = (network){.n = whole(g, "batch"),
                   .input = {.struct_size = sizeof w->input,
                             .classes = whole(g, "classes"),
                             .experts = 1,
                             .image_height = whole(g, "height"),
                             .image_width = whole(g, "width"),
                             .image_channels = 3}};
    w->image_elements = (int64_t)w->input.image_height * w->input.image_width * 3;
    open_options(w, g);
    build(w, CLV_MODE_TRAIN, &w->train);
    build(w, CLV_MODE_INFER, &w->infer);
    OK(clvi_store_create(device, &w->store, error));
    OK(clvi_store_add(w->store, w->train, "", NULL, NULL, &w->base, error));
    OK(clvi_store_commit(w->store, golden_find(g, GOLDEN_LOSS, 0) != NULL, error));
    fill(w);
    const clv_attr *bn = golden_attr(g, "option.batch_norm");
    if (bn != NULL && strcmp(bn->text, "yes") == 0)
        read_biased(w);
}

static void network_close(network *w)
{
    clvi_store_destroy(w->store);
    clvi_graph_destroy(w->train);
    clvi_graph_destroy(w->infer);
    clvi_options_destroy(w->options);
}

/* ---- Against the file ---- */

static void check_logits(const network *w, const golden_tensor *wanted, clvi_view given,
                         const char *what)
{
    const int64_t elements = w->n * w->input.classes;
    float *values = allocate(elements);
    double squares = 0;
    compare_result result;
    char text[256];
    assert_true(wanted->elements == elements && wanted->d != NULL);
    for (int64_t i = 0; i < elements; i++)
        squares += wanted->d[i] * wanted->d[i];
    OK(clvi_download(device, given.buf, (size_t)given.offset * 4, values, (size_t)elements * 4,
                     error));
    if (!compare(values, wanted->d, elements, LOGITS * sqrt(squares / (double)elements), 0,
                 &result))
        fail_msg("logits in %s: %s", what, compare_text(&result, text));
    free(values);
}

static void check_inference(const network *w, const golden *g)
{
    const clv_tensor logits = clvi_graph_find_output(w->infer, "logits");
    const clvi_plan_desc desc = {.graph = w->infer,
                                 .store = w->store,
                                 .base = w->base,
                                 .mode = CLV_MODE_INFER,
                                 .max_batch = w->n,
                                 .outputs = &logits,
                                 .output_count = 1};
    float *images = allocate(w->n * w->image_elements);
    clvi_plan *plan;
    clvi_buf *image;
    const size_t bytes = (size_t)(w->n * w->image_elements) * 4;
    OK(clvi_plan_create(&desc, &plan, error));
    OK(clvi_buf_create(device, bytes, "image", &image, error));
    network_images(0, w->n * w->image_elements, images);
    OK(clvi_upload(device, image, 0, images, bytes, error));
    clvi_plan_bind(plan, 0, (clvi_view){image, 0}, (clvi_view){NULL, 0});
    OK(clvi_plan_forward(plan, w->n, NULL, error));
    check_logits(w, golden_find(g, GOLDEN_INFER, 0), clvi_plan_output(plan, 0, w->n), "inference");
    clvi_plan_destroy(plan);
    clvi_buf_destroy(image);
    free(images);
}

/* One row: size, norm and product to within a share of the norm, single elements to within a
 * share of their root mean square. `floor` bounds a gradient that is the rounding of a sum that
 * cancels, such as of a bias that a normalisation takes away again. */
static void check_row(const char *name, const double *given, const double *wanted, double floor)
{
    const double norm = wanted[2], root = sqrt(wanted[1]), bound = ROWS * norm + floor;
    if (given[1] != wanted[1])
        fail_msg("%s has %g elements, wanted are %g", name, given[1], wanted[1]);
    if (!(fabs(given[2] - norm) <= bound && fabs(given[3] - wanted[3]) <= bound))
        fail_msg("%s: norm %.9g and product %.9g, wanted are %.9g and %.9g", name, given[2],
                 given[3], norm, wanted[3]);
    for (int k = 4; k < NETWORK_COLUMNS; k++)
        if (!(fabs(given[k] - wanted[k]) <= (SAMPLES * norm + floor) / root))
            fail_msg("%s: sample %d is %.9g, wanted is %.9g; the root mean square is %.3g", name,
                     k - 4, given[k], wanted[k], norm / root);
}

/* All trainable variables' gradients, or all states' values. */
static void check_rows(const network *w, const golden_tensor *wanted, bool states)
{
    int64_t count = 0;
    double largest = 0;
    for (int64_t k = 0; wanted != NULL && k < wanted->dims[0]; k++)
        largest = fmax(largest, wanted->d[k * NETWORK_COLUMNS + 2]);
    for (size_t i = 0; i < clvi_store_count(w->store); i++) {
        const clvi_segment *s = clvi_store_segment(w->store, i);
        const double *row = NULL;
        double given[NETWORK_COLUMNS];
        if (s->is_state != states)
            continue;
        float *values = allocate(s->elements);
        OK(clvi_store_read(w->store, i, states ? CLVI_STORE_VALUE : CLVI_STORE_GRADIENT, values,
                           error));
        network_row(s->name, values, s->elements, given);
        for (int64_t k = 0; wanted != NULL && k < wanted->dims[0] && row == NULL; k++)
            if (wanted->d[k * NETWORK_COLUMNS] == given[0])
                row = wanted->d + k * NETWORK_COLUMNS;
        if (row == NULL)
            fail_msg("the file knows no variable %s", s->name);
        check_row(s->name, given, row, FLOOR * largest);
        free(values);
        count++;
    }
    assert_int_equal(count, wanted == NULL ? 0 : wanted->dims[0]);
}

/* A loss is put behind the network, and it is trained. */
static void check_training(const network *w, const golden *g)
{
    const golden_tensor *losses = golden_find(g, GOLDEN_LOSS, 0);
    const clv_shape labels_shape = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    const clvi_optimizer_desc adamw = {.kind = CLVI_ADAMW,
                                       .betas = {0.9, 0.999},
                                       .eps = 1e-8,
                                       .weight_decay = golden_real(g, "weight_decay"),
                                       .decay_all = true};
    float *images = allocate(w->n * w->image_elements), labels[64];
    training t = {.device = device,
                  .graph = w->train,
                  .store = w->store,
                  .base = w->base,
                  .n = w->n,
                  .image_elements = w->image_elements};
    clv_tensor loss_of[2] = {clvi_graph_find_output(w->train, "logits"), 0};
    clv_error failure = CLV_ERROR_INIT;
    OK(clvi_graph_input_tensor(w->train, "labels", &labels_shape, &loss_of[1], error));
    clv_builder b = clv_builder_begin(clvi_host_table(), w->train, &failure);
    t.outputs[0] = clv_op(&b, "cross_entropy", "loss", loss_of, 2, NULL, 0);
    t.outputs[1] = loss_of[0];
    assert_int_equal(clv_builder_end(&b), CLV_OK);
    training_open(&t, &adamw);
    for (int step = 0; step < (int)losses->elements; step++) {
        network_images(step, w->n * w->image_elements, images);
        network_labels(step, w->n, w->input.classes, labels);
        const double loss = training_gradients(&t, images, labels);
        if (step == 0) {
            check_logits(w, golden_find(g, GOLDEN_TRAIN, 0), clvi_plan_output(t.plan, 1, w->n),
                         "training");
            check_rows(w, golden_find(g, GOLDEN_GRAD_IN, 0), false);
            check_rows(w, golden_find(g, GOLDEN_AFTER, 0), true);
        }
        const double most = step < 4 ? BEGIN : LOSSES;
        if (!(fabs(loss - losses->d[step]) <= most * losses->d[step]))
            fail_msg("the loss of step %d is %.9g, wanted is %.9g", step, loss, losses->d[step]);
        OK(clvi_optimizer_step(t.optimizer, golden_real(g, "lr"), NULL, error));
    }
    training_close(&t);
    free(images);
}

static void replay(void **state)
{
    const golden_entry *e = *state;
    char *path = clvi_path_join(folder, e->name);
    network w;
    golden g;
    assert_non_null(path);
    golden_read(&g, path, e->sha256);
    network_open(&w, &g);
    check_inference(&w, &g);
    if (golden_find(&g, GOLDEN_LOSS, 0) != NULL)
        check_training(&w, &g);
    network_close(&w);
    golden_fini(&g);
    clvi_free(path);
}

/* ---- What they count ---- */

static void check_count(const char *plugin, const char *key, const char *value, int32_t classes,
                        int64_t wanted)
{
    const clvi_raw_option raw = {key, value, "the test"};
    network w = {.input = {.struct_size = sizeof w.input,
                           .classes = classes,
                           .experts = 1,
                           .image_height = 224,
                           .image_width = 224,
                           .image_channels = 3}};
    int64_t count = 0;
    OK(clvi_plugins_find(plugins, CLV_KIND_EXPERT, plugin, &w.plugin, error));
    OK(clvi_options_create(w.plugin->table, "expert", &raw, key ? 1 : 0, &w.options, error));
    build(&w, CLV_MODE_TRAIN, &w.train);
    OK(clvi_store_create(device, &w.store, error));
    OK(clvi_store_add(w.store, w.train, "", NULL, NULL, &w.base, error));
    for (size_t i = 0; i < clvi_store_count(w.store); i++) {
        const clvi_segment *s = clvi_store_segment(w.store, i);
        count += s->is_state ? 0 : s->elements;
    }
    if (count != wanted)
        fail_msg("%s of %d classes has %lld parameters, wanted are %lld", plugin, classes,
                 (long long)count, (long long)wanted);
    network_close(&w);
}

static void test_counts(void **state)
{
    (void)state;
    check_count("efficientnet_b0", NULL, NULL, 1000, 5288548);
    check_count("efficientnet_b0", NULL, NULL, 46, 4066474);
    check_count("efficientnet_b0", "variant", "keras", 1000, 5288548);
    check_count("vgg16", NULL, NULL, 1000, 138357544);
    check_count("vgg16", NULL, NULL, 46, 134449006);
    check_count("vgg16", "variant", "keras", 1000, 138357544);
    check_count("vgg16", "top", "gap", 46, 14714688 + 46 * 513);
}

static void test_manifest(void **state)
{
    (void)state;
    golden_check_manifest(folder, entries, entry_count);
}

static int close_device(void **state)
{
    (void)state;
    clvi_plugins_destroy(plugins);
    return test_device_close();
}

int main(int argc, char **argv)
{
    int status = 0;
    const bool winograd = argc == 4 && strcmp(argv[3], "winograd") == 0;
    if (argc != 3 && !winograd) {
        fprintf(stderr, "usage: test_networks FOLDER PLUGINS [winograd]\n");
        return 2;
    }
    /* Errors of 1e-5 in the forward direction let relu and pooling take another branch here and
     * there, which shows in gradients (with the algorithm in the backward direction alone they
     * agree within 3e-4), and AdamW takes small gradients by their sign. What single convolutions
     * lose is bounded by the operations' tests. */
    if (winograd)
        LOGITS = 1e-3, ROWS = 5e-2, SAMPLES = 0.2, BEGIN = LOSSES = 2e-2, FLOOR = 1e-4;
    folder = argv[1];
    entry_count = golden_manifest(folder, entries);
    if (entry_count == 0 || clvi_plugins_create(argv[2], NULL, &plugins, NULL) != CLV_OK) {
        fprintf(stderr, "%s/MANIFEST cannot be read or is empty\n", folder);
        return EXIT_FAILURE;
    }
    device = test_device_open_with(&(clvi_device_options){.no_winograd = !winograd}, &status);
    if (device == NULL)
        return status;
    struct CMUnitTest tests[GOLDEN_MAX_ENTRIES + 2] = {cmocka_unit_test(test_manifest),
                                                       cmocka_unit_test(test_counts)};
    for (size_t i = 0; i < entry_count; i++)
        tests[i + 2] = (struct CMUnitTest){
            .name = entries[i].name, .test_func = replay, .initial_state = &entries[i]};
    return _cmocka_run_group_tests("networks", tests, entry_count + 2, NULL, close_device) != 0;
}
