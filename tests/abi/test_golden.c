/* conclave check-plugin --golden on the gate linear: files as PyTorch would write them, with
 * outputs computed here, the right ones and wrong ones. Arguments: the command, the gate's file.
 * Exit 77 where there is no OpenCL device. */
#define _XOPEN_SOURCE 700
#include "weights/safetensors.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 3, C = 3, H = 5, W = 4, K = 2, PIXELS = H * W, INPUTS = C * PIXELS, MOST = 8 };

static char command[PATH_MAX], gate[PATH_MAX], text[16384];
static char file[] = "/tmp/conclave-golden-XXXXXX";
static float nchw[N * INPUTS], nhwc[N * INPUTS], weight[K * INPUTS], bias[K];
static float logits[N * K], route[N * K];

/* What stands in a file: some of it changed from case to case. */
typedef struct entry {
    const char *name;
    const float *values;
    int64_t dims[4];
    int rank;
} entry;
typedef struct content {
    const char *layout; /* NULL: none */
    entry tensors[MOST];
    int count;
} content;

static void compute(void)
{
    for (int i = 0; i < N * INPUTS; i++)
        nchw[i] = (float)sin(0.7 * i * i + 1);
    for (int i = 0; i < K * INPUTS; i++)
        weight[i] = (float)cos(1.3 * i * i);
    bias[0] = 0.25f, bias[1] = -0.5f;
    for (int n = 0; n < N; n++) {
        double z[K], sum = 0;
        for (int c = 0; c < C; c++)
            for (int p = 0; p < PIXELS; p++)
                nhwc[n * INPUTS + p * C + c] = nchw[n * INPUTS + c * PIXELS + p];
        for (int k = 0; k < K; k++) {
            z[k] = (double)bias[k];
            for (int i = 0; i < INPUTS; i++)
                z[k] += (double)weight[k * INPUTS + i] * (double)nchw[n * INPUTS + i];
            logits[n * K + k] = (float)z[k];
            sum += exp(z[k]);
        }
        for (int k = 0; k < K; k++)
            route[n * K + k] = (float)(exp(z[k]) / sum);
    }
}

static content right(void)
{
    return (content){.layout = "NCHW",
                     .tensors = {{"input.image", nchw, {N, C, H, W}, 4},
                                 {"gate.weight", weight, {K, INPUTS}, 2},
                                 {"gate.bias", bias, {K}, 1},
                                 {"output.gate_logits", logits, {N, K}, 2},
                                 {"output.route", route, {N, K}, 2}},
                     .count = 5};
}

static void write_file(const content *c)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_tensor_writer *writer = NULL;
    clv_status status = clvi_tensor_writer_create(file, &writer, &error);
    if (status == CLV_OK && c->layout != NULL)
        status = clvi_tensor_writer_metadata(writer, "layout", c->layout, &error);
    for (int i = 0; i < c->count && status == CLV_OK; i++)
        status = clvi_tensor_writer_declare(writer, c->tensors[i].name, CLVI_FILE_F32,
                                            c->tensors[i].rank, c->tensors[i].dims, &error);
    for (int i = 0; i < c->count && status == CLV_OK; i++) {
        int64_t elements = 1;
        for (int a = 0; a < c->tensors[i].rank; a++)
            elements *= c->tensors[i].dims[a];
        status = clvi_tensor_writer_append(writer, c->tensors[i].values, elements, &error);
    }
    if (status == CLV_OK)
        status = clvi_tensor_writer_commit(writer, &error);
    clvi_tensor_writer_destroy(writer);
    if (status != CLV_OK)
        fail_msg("%s", error.message);
}

static int check(const char *more)
{
    char line[3 * PATH_MAX];
    snprintf(line, sizeof line, "'%s' check-plugin '%s' grid=5 --golden %s %s 2>&1", command, gate,
             file, more);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    text[fread(text, 1, sizeof text - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void passes(const content *c, const char *more)
{
    write_file(c);
    if (check(more) != 0 || strstr(text, "ok     golden ") == NULL)
        fail_msg("%s", text);
}

static void fails(const content *c, const char *more, const char *part)
{
    write_file(c);
    if (check(more) != 1 || strstr(text, "WRONG  golden ") == NULL || strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

static void test_right(void **state)
{
    content c = right();
    (void)state;
    passes(&c, "--tolerance 1e-5");
    assert_non_null(strstr(text, "2 outputs of 3 samples"));
    /* The same picture as Conclave has it, said and unsaid. */
    c.tensors[0] = (entry){"input.image", nhwc, {N, H, W, C}, 4};
    c.layout = "NHWC";
    passes(&c, "--tolerance 1e-5");
    c.layout = NULL;
    passes(&c, "--tolerance 1e-5");
    assert_null(strstr(text, "gradients")); /* nothing else is checked */
}

/* Each wrong answer is found, and where it is. */
static void test_wrong_answers(void **state)
{
    content c = right();
    float other[N * K];
    (void)state;
    memcpy(other, route, sizeof other);
    other[4] += 0.01f;
    c.tensors[4].values = other;
    fails(&c, "", "output route, sample 2, element 0");
    passes(&c, "--tolerance 0.1");
    other[4] = NAN;
    fails(&c, "--tolerance 0.1", "output route, sample 2, element 0");
    c = right();
    c.layout = NULL, c.tensors[0].dims[1] = H, c.tensors[0].dims[2] = W, c.tensors[0].dims[3] = C;
    fails(&c, "", "output "); /* taken as NHWC */
}

static void test_wrong_files(void **state)
{
    content c = right();
    (void)state;
    c.layout = "CHWN";
    fails(&c, "", "the metadata's layout is \"CHWN\"");
    c = right();
    c.tensors[0].name = "input.picture";
    fails(&c, "", "neither input.image nor input.features");
    c = right();
    c.tensors[2].name = "gate.scale";
    fails(&c, "", "gate.bias");
    c = right();
    c.tensors[5] = (entry){"more.weight", bias, {K}, 1}, c.count = 6;
    fails(&c, "", "1 tensor is unexpected (more.weight)");
    c = right();
    c.tensors[4].name = "output.logits";
    fails(&c, "", "output.logits, which is no output of the network");
    c = right();
    c.tensors[3].name = "output.x", c.tensors[4].name = "output.y";
    fails(&c, "", "has no output.route or output.gate_logits");
    c = right();
    c.tensors[4].dims[0] = N - 1;
    fails(&c, "", "samples, another tensor");
    c = right();
    c.tensors[1].dims[0] = 1;
    fails(&c, "", "gate.weight");
    write_file(&c);
    assert_int_equal(truncate(file, 60), 0);
    assert_int_equal(check(""), 1);
    assert_non_null(strstr(text, "WRONG  golden "));
    assert_int_equal(check("--tolerance nothing"), 2);
    assert_int_equal(check("--tolerance -1"), 2);
}

static void test_features(void **state)
{
    const content c = {.tensors = {{"input.features", nchw, {N, INPUTS}, 2},
                                   {"gate.weight", weight, {K, INPUTS}, 2},
                                   {"gate.bias", bias, {K}, 1},
                                   {"output.route", route, {N, K}, 2}},
                       .count = 4};
    (void)state;
    passes(&c, "input=features --tolerance 1e-5");
    fails(&c, "", "has no input.image, which the network asks for");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right), cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_wrong_files), cmocka_unit_test(test_features)};
    char line[PATH_MAX + 64];
    if (argc != 3 || realpath(argv[1], command) == NULL || realpath(argv[2], gate) == NULL) {
        fputs("usage: test_golden CONCLAVE GATE_LINEAR\n", stderr);
        return 2;
    }
    snprintf(line, sizeof line, "'%s' devices --json | grep -q '\"auto\": true'", command);
    if (system(line) != 0)
        return 77;
    const int descriptor = mkstemp(file);
    if (descriptor < 0 || close(descriptor) != 0)
        return 1;
    compute();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    return failed;
}
