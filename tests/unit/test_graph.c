/* core/graph/graph.c and attrs.c: what a builder may pass, what comes of it, what is refused. */
#include "base/process.h"
#include "graph/graph.h"
#include "ops/op.h"
#include "short_memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- Fixture and short forms
 * --------------------------------------------------------------------- */

typedef struct fixture {
    clv_graph *graph;
    clv_error error;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return -1;
    f->error.struct_size = (uint32_t)sizeof(f->error);
    *state = f;
    return clvi_graph_create("expert.a (plugin test)", &f->graph, &f->error) == CLV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    clvi_graph_destroy(f->graph);
    free(f);
    return 0;
}

static void assert_said(fixture *f, clv_status expected, clv_status status, const char *part)
{
    if (status != expected || strstr(f->error.message, part) == NULL)
        fail_msg("status %d, message \"%s\"; expected %d and \"%s\"", status, f->error.message,
                 expected, part);
    clvi_error_clear(&f->error);
}

static void assert_done(fixture *f, clv_status status)
{
    if (status != CLV_OK)
        fail_msg("status %d, message \"%s\"", status, f->error.message);
}

static clv_input_desc image(int height, int width, int channels)
{
    clv_input_desc d = {.struct_size = (uint32_t)sizeof(d), .role = "image"};
    d.height = height, d.width = width, d.channels = channels;
    for (int c = 0; c < 4; c++)
        d.mean[c] = d.std[c] = 0.5;
    return d;
}

static clv_tensor add_image(fixture *f)
{
    const clv_input_desc d = image(6, 5, 3);
    clv_tensor out = CLV_NO_TENSOR;
    assert_done(f, clvi_graph_input_add(f->graph, &d, &out, &f->error));
    return out;
}

static clv_variable_desc variable(const char *name, int rank, int64_t d0, int64_t d1)
{
    clv_variable_desc d = {.struct_size = (uint32_t)sizeof(d), .name = name};
    d.rank = rank, d.init = CLV_INIT_NORMAL, d.a = 0.1, d.dims[0] = d0, d.dims[1] = d1;
    return d;
}

static clv_status add(fixture *f, const char *op, const char *name, clv_tensor x,
                      const clv_attr *attrs, uint32_t count, clv_tensor *out)
{
    return clvi_graph_add_op(f->graph, op, name, &x, 1, attrs, count, (uint32_t)sizeof(clv_attr),
                             out, 1, &f->error);
}

static clv_attr attr(const char *name, clv_attr_type type, int64_t i, double real)
{
    return (clv_attr){.struct_size = (uint32_t)sizeof(clv_attr),
                      .type = (uint32_t)type,
                      .name = name,
                      .i = i,
                      .real = real};
}

/* ---- Inputs
 * -------------------------------------------------------------------------------------- */

static void test_image_input(void **state)
{
    fixture *f = *state;
    char text[64];
    const clv_tensor x = add_image(f);
    assert_string_equal(clvi_shape_text(&f->graph->tensors[x].shape, text, sizeof(text)),
                        "[N, 6, 5, 3]");
    assert_int_equal(f->graph->tensors[x].kind, CLVI_TENSOR_INPUT);
    assert_int_equal(clvi_graph_find_input(f->graph, "image"), x);
    assert_int_equal(clvi_graph_find_input(f->graph, "labels"), CLV_NO_TENSOR);
    assert_true(f->graph->inputs[0].desc.std[2] == 0.5);

    clv_tensor again = 77;
    const clv_input_desc d = image(6, 5, 3);
    assert_said(f, CLV_E_PLUGIN, clvi_graph_input_add(f->graph, &d, &again, &f->error),
                "\"image\" is declared twice");
    assert_int_equal(again, 77);
}

static void test_image_input_refused(void **state)
{
    fixture *f = *state;
    clv_tensor out = CLV_NO_TENSOR;
    clv_input_desc d = image(6, 5, 2);
    assert_said(f, CLV_E_SHAPE, clvi_graph_input_add(f->graph, &d, &out, &f->error), "not 2");
    d = image(0, 5, 1);
    assert_said(f, CLV_E_SHAPE, clvi_graph_input_add(f->graph, &d, &out, &f->error), "0×5");
    d = image(65536, 65536, 3);
    assert_said(f, CLV_E_SHAPE, clvi_graph_input_add(f->graph, &d, &out, &f->error),
                "more than 2147483647 elements");
    d = image(6, 5, 3);
    d.std[1] = 0;
    assert_said(f, CLV_E_PLUGIN, clvi_graph_input_add(f->graph, &d, &out, &f->error), "channel 1");
    d = image(6, 5, 3);
    d.mean[2] = NAN;
    assert_said(f, CLV_E_PLUGIN, clvi_graph_input_add(f->graph, &d, &out, &f->error), "channel 2");
    d = image(6, 5, 3);
    d.role = "sound";
    assert_said(f, CLV_E_PLUGIN, clvi_graph_input_add(f->graph, &d, &out, &f->error), "\"sound\"");
    d.role = NULL;
    assert_said(f, CLV_E_PLUGIN, clvi_graph_input_add(f->graph, &d, &out, &f->error), "image");
    d = image(6, 5, 3);
    d.struct_size -= 8;
    assert_said(f, CLV_E_PLUGIN, clvi_graph_input_add(f->graph, &d, &out, &f->error),
                "clv_input_desc.struct_size");
    assert_said(f, CLV_E_PLUGIN, clvi_graph_input_add(f->graph, NULL, &out, &f->error), "NULL");
    assert_int_equal(f->graph->tensor_count, 0);
    assert_int_equal(f->graph->input_count, 0);
}

static void test_other_inputs(void **state)
{
    fixture *f = *state;
    clv_tensor labels = CLV_NO_TENSOR, second = CLV_NO_TENSOR;
    const clv_shape shape = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    assert_done(f, clvi_graph_input_tensor(f->graph, "labels", &shape, &labels, &f->error));
    assert_int_equal(clvi_graph_find_input(f->graph, "labels"), labels);
    assert_int_equal(clvi_shape_elements(&shape), 1);
    assert_true(clvi_shape_batched(&shape));
    assert_said(f, CLV_E_PLUGIN,
                clvi_graph_input_tensor(f->graph, "labels", &shape, &second, &f->error), "twice");
}

/* ---- Variables and scopes
 * ------------------------------------------------------------------------ */

static void test_variables(void **state)
{
    fixture *f = *state;
    clv_tensor w = CLV_NO_TENSOR, s = CLV_NO_TENSOR;
    clv_variable_desc d = variable("weight", 2, 3, 4);
    assert_done(f, clvi_graph_push_scope(f->graph, "features.0", &f->error));
    assert_done(f, clvi_graph_push_scope(f->graph, "conv", &f->error));
    assert_done(f, clvi_graph_variable_add(f->graph, &d, false, &w, &f->error));
    assert_done(f, clvi_graph_pop_scope(f->graph, &f->error));
    d = variable("mean", 1, 7, 0);
    d.flags = CLV_PARAMETER_NO_DECAY;
    d.init = CLV_INIT_ZEROS;
    assert_done(f, clvi_graph_variable_add(f->graph, &d, true, &s, &f->error));
    assert_done(f, clvi_graph_pop_scope(f->graph, &f->error));
    assert_string_equal(f->graph->scope, "");

    const clvi_variable *v = f->graph->variables;
    assert_int_equal(f->graph->variable_count, 2);
    assert_string_equal(v[0].name, "features.0.conv.weight");
    assert_int_equal(v[0].elements, 12);
    assert_int_equal(v[0].tensor, w);
    assert_false(v[0].is_state);
    assert_false(v[0].no_decay);
    assert_true(v[0].a == 0.1);
    assert_string_equal(v[1].name, "features.0.mean");
    assert_true(v[1].is_state);
    assert_true(v[1].no_decay);
    assert_int_equal(f->graph->tensors[s].variable, 1);
    assert_int_equal(f->graph->tensors[s].kind, CLVI_TENSOR_VARIABLE);
}

static void refuse_variable(fixture *f, const clv_variable_desc *d, clv_status status,
                            const char *part)
{
    clv_tensor out = CLV_NO_TENSOR;
    assert_said(f, status, clvi_graph_variable_add(f->graph, d, false, &out, &f->error), part);
    assert_int_equal(out, CLV_NO_TENSOR);
}

static void test_variables_refused(void **state)
{
    fixture *f = *state;
    clv_tensor out = CLV_NO_TENSOR;
    clv_variable_desc d = variable("w", 2, 3, 4);
    assert_done(f, clvi_graph_variable_add(f->graph, &d, false, &out, &f->error));
    refuse_variable(f, &d, CLV_E_PLUGIN, "two variables are named \"w\"");
    d = variable("a", 0, 1, 1);
    refuse_variable(f, &d, CLV_E_SHAPE, "\"a\" has 0 axes");
    d = variable("a", 7, 1, 1);
    refuse_variable(f, &d, CLV_E_SHAPE, "7 axes");
    d = variable("a", 2, 3, 0);
    refuse_variable(f, &d, CLV_E_SHAPE, "axis 1 is 0");
    d = variable("a", 2, CLV_BATCH, 3);
    refuse_variable(f, &d, CLV_E_SHAPE, "axis 0 is -1");
    d = variable("a", 2, 1 << 16, 1 << 16);
    refuse_variable(f, &d, CLV_E_SHAPE, "more than");
    d = variable("a", 2, INT64_MAX, INT64_MAX);
    refuse_variable(f, &d, CLV_E_SHAPE, "more than");
    d = variable("a", 1, 3, 0);
    d.init = 99;
    refuse_variable(f, &d, CLV_E_PLUGIN, "initialisation 99");
    d.init = CLV_INIT_UNIFORM, d.a = -1;
    refuse_variable(f, &d, CLV_E_PLUGIN, "a = -1");
    d.init = CLV_INIT_CONSTANT, d.a = INFINITY;
    refuse_variable(f, &d, CLV_E_PLUGIN, "a = inf");
    d = variable("a", 1, 3, 0);
    d.flags = 6;
    refuse_variable(f, &d, CLV_E_PLUGIN, "flags 0x6");
    d = variable("a", 1, 3, 0);
    d.struct_size = 12;
    refuse_variable(f, &d, CLV_E_PLUGIN, "clv_variable_desc.struct_size is 12");
    static const char *const names[] = {"", ".a", "a.", "a..b", "a b", "\x1b[2J", "é"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        d = variable(names[i], 1, 3, 0);
        refuse_variable(f, &d, CLV_E_PLUGIN, "is not made of");
    }
    d = variable(NULL, 1, 3, 0);
    refuse_variable(f, &d, CLV_E_PLUGIN, "is not made of");
    assert_int_equal(f->graph->variable_count, 1);
    assert_int_equal(f->graph->tensor_count, 1);
}

static void test_scopes_refused(void **state)
{
    fixture *f = *state;
    assert_said(f, CLV_E_PLUGIN, clvi_graph_pop_scope(f->graph, &f->error), "never opened");
    assert_said(f, CLV_E_PLUGIN, clvi_graph_push_scope(f->graph, "", &f->error), "a scope");
    for (int i = 0; i < CLVI_MAX_SCOPES; i++)
        assert_done(f, clvi_graph_push_scope(f->graph, "deep", &f->error));
    assert_said(f, CLV_E_PLUGIN, clvi_graph_push_scope(f->graph, "deep", &f->error), "32 scopes");
    for (int i = 0; i < CLVI_MAX_SCOPES; i++)
        assert_done(f, clvi_graph_pop_scope(f->graph, &f->error));
    assert_string_equal(f->graph->scope, "");
}

/* A plugin of a later ABI passes longer structs; what lies behind ours does not count. */
static void test_longer_structs(void **state)
{
    fixture *f = *state;
    struct {
        clv_variable_desc desc;
        char more[24];
    } longer = {.desc = variable("w", 1, 3, 0)};
    struct {
        clv_shape shape;
        char more[8];
    } shape = {.shape = {.struct_size = (uint32_t)sizeof(shape)}};
    clv_tensor out = CLV_NO_TENSOR;
    longer.desc.struct_size = (uint32_t)sizeof(longer);
    memset(longer.more, 0xFF, sizeof(longer.more));
    memset(shape.more, 0x55, sizeof(shape.more));
    assert_done(f, clvi_graph_variable_add(f->graph, &longer.desc, false, &out, &f->error));
    assert_done(f, clvi_graph_shape(f->graph, out, &shape.shape, &f->error));
    assert_int_equal(shape.shape.struct_size, sizeof(shape));
    assert_int_equal(shape.shape.dims[0], 3);
    assert_int_equal(shape.more[0], 0x55);
}

/* ---- Operations
 * ---------------------------------------------------------------------------------- */

static void test_operations(void **state)
{
    fixture *f = *state;
    const clv_tensor x = add_image(f);
    clv_tensor y = CLV_NO_TENSOR;
    assert_done(f, clvi_graph_push_scope(f->graph, "block", &f->error));
    assert_done(f, add(f, "relu", "act", x, NULL, 0, &y));
    assert_done(f, clvi_graph_pop_scope(f->graph, &f->error));
    assert_string_equal(f->graph->nodes[0].name, "block.act");
    assert_string_equal(f->graph->tensors[y].name, "block.act");
    assert_int_equal(f->graph->tensors[y].producer, 0);
    assert_int_equal(f->graph->tensors[y].kind, CLVI_TENSOR_ACTIVATION);
    assert_int_equal(f->graph->nodes[0].inputs[0], x);
    assert_int_equal(f->graph->nodes[0].inputs[1], CLV_NO_TENSOR);
    assert_int_equal(f->graph->nodes[0].outputs[0], y);
    assert_int_equal(clvi_graph_root(f->graph, y), y);
}

static void test_alias(void **state)
{
    fixture *f = *state;
    const clv_tensor x = add_image(f);
    clv_tensor y = CLV_NO_TENSOR, z = CLV_NO_TENSOR;
    const int64_t extents[] = {5, 18};
    clv_attr shape = attr("shape", CLV_ATTR_INTS, 0, 0);
    shape.ints = extents, shape.int_count = 2;
    assert_done(f, add(f, "reshape", "flat", x, NULL, 0, &y));
    assert_done(f, add(f, "reshape", "again", y, &shape, 1, &z));
    assert_int_equal(f->graph->tensors[y].alias, x);
    assert_int_equal(f->graph->tensors[z].alias, y);
    assert_int_equal(clvi_graph_root(f->graph, z), x);
    assert_int_equal(f->graph->tensors[z].shape.dims[2], 18);
}

static void refuse_op(fixture *f, const char *op, const clv_tensor *inputs, uint32_t input_count,
                      uint32_t output_count, clv_status status, const char *part)
{
    clv_tensor out[5] = {77, 77, 77, 77, 77};
    assert_said(f, status,
                clvi_graph_add_op(f->graph, op, "n", inputs, input_count, NULL, 0, 0, out,
                                  output_count, &f->error),
                part);
    assert_int_equal(out[0], 77);
}

static void test_operations_refused(void **state)
{
    fixture *f = *state;
    const clv_tensor x = add_image(f);
    const clv_tensor two[2] = {x, x}, wrong[1] = {99}, negative[2] = {x, -5}, absent[1] = {-1};
    clv_tensor flat = CLV_NO_TENSOR, out = CLV_NO_TENSOR;
    assert_done(f, add(f, "reshape", "flat", x, NULL, 0, &flat));
    const size_t tensors = f->graph->tensor_count;

    refuse_op(f, "rleu", two, 1, 1, CLV_E_PLUGIN, "no operation \"rleu\"; did you mean relu?");
    refuse_op(f, "teleport", two, 1, 1, CLV_E_PLUGIN, "no operation \"teleport\"");
    refuse_op(f, NULL, two, 1, 1, CLV_E_PLUGIN, "no operation is named");
    refuse_op(f, "relu", two, 2, 1, CLV_E_PLUGIN, "n (relu): 2 inputs given");
    refuse_op(f, "add", two, 1, 1, CLV_E_PLUGIN, "n (add): 1 inputs given");
    refuse_op(f, "relu", two, 1, 2, CLV_E_PLUGIN, "2 outputs wanted, it has 1");
    refuse_op(f, "relu", two, 1, 5, CLV_E_PLUGIN, "5 outputs");
    refuse_op(f, "relu", two, 9, 1, CLV_E_PLUGIN, "9 inputs");
    refuse_op(f, "relu", NULL, 1, 1, CLV_E_PLUGIN, "cannot be");
    refuse_op(f, "relu", wrong, 1, 1, CLV_E_PLUGIN, "n (relu): input 0 is not a tensor");
    refuse_op(f, "relu", absent, 1, 1, CLV_E_PLUGIN, "input 0 is not a tensor");
    refuse_op(f, "add", negative, 2, 1, CLV_E_PLUGIN, "input 1 is not a tensor");
    const clv_tensor unequal[2] = {x, flat};
    refuse_op(f, "add", unequal, 2, 1, CLV_E_SHAPE, "n (add): ");
    assert_said(f, CLV_E_PLUGIN, add(f, "relu", "a b", x, NULL, 0, &out), "an operation");
    assert_said(f, CLV_E_PLUGIN, add(f, "relu", NULL, x, NULL, 0, &out), "an operation");

    /* A refusal leaves nothing behind. */
    assert_int_equal(f->graph->tensor_count, tensors);
    assert_int_equal(f->graph->node_count, 1);
}

static void refuse_attr(fixture *f, const char *op, clv_tensor x, const clv_attr *attrs,
                        uint32_t count, clv_status status, const char *part)
{
    clv_tensor out = CLV_NO_TENSOR;
    assert_said(f, status, add(f, op, "n", x, attrs, count, &out), part);
}

static void test_attributes_refused(void **state)
{
    fixture *f = *state;
    const clv_tensor x = add_image(f);
    clv_attr a[2] = {attr("rat", CLV_ATTR_REAL, 0, 0.5), attr("rate", CLV_ATTR_REAL, 0, 0.25)};
    refuse_attr(f, "dropout", x, a, 1, CLV_E_PLUGIN,
                "n (dropout): unknown attribute \"rat\"; did you mean rate?");
    a[0].name = "rate";
    refuse_attr(f, "dropout", x, a, 2, CLV_E_PLUGIN, "n (dropout): attribute rate is given twice");
    a[0].real = 1.5;
    refuse_attr(f, "dropout", x, a, 1, CLV_E_SHAPE, "attribute rate is 1.5, allowed is 0 to 0.999");
    a[0].real = NAN;
    refuse_attr(f, "dropout", x, a, 1, CLV_E_SHAPE, "attribute rate is not a finite number");
    a[0].type = CLV_ATTR_TEXT;
    refuse_attr(f, "dropout", x, a, 1, CLV_E_PLUGIN, "attribute rate is a text, wanted is a real");
    a[0].type = 9;
    refuse_attr(f, "dropout", x, a, 1, CLV_E_PLUGIN, "of an unknown type");
    a[0].name = NULL;
    refuse_attr(f, "dropout", x, a, 1, CLV_E_PLUGIN, "attribute 0 has no name");
    a[0] = attr("units", CLV_ATTR_INT, 0, 0);
    refuse_attr(f, "fill", x, a, 1, CLV_E_SHAPE, "attribute units is 0");
    refuse_attr(f, "fill", x, NULL, 0, CLV_E_PLUGIN, "n (fill): attribute units is missing");
    a[0] = attr("units", CLV_ATTR_REAL, 0, 3);
    refuse_attr(f, "fill", x, a, 1, CLV_E_PLUGIN, "units is a real number, wanted is an integer");
    a[0] = attr("shape", CLV_ATTR_INTS, 0, 0);
    a[0].int_count = 3;
    refuse_attr(f, "reshape", x, a, 1, CLV_E_PLUGIN, "attribute shape has no numbers");
    a[0].int_count = 7;
    refuse_attr(f, "reshape", x, a, 1, CLV_E_SHAPE, "attribute shape has 7 numbers");
    const int64_t extents[] = {0, 90};
    a[0].ints = extents, a[0].int_count = 2;
    refuse_attr(f, "reshape", x, a, 1, CLV_E_SHAPE, "attribute shape is 0");
    a[0] = attr("rate", CLV_ATTR_REAL, 0, 0.5);
    a[0].struct_size = 16;
    refuse_attr(f, "dropout", x, a, 1, CLV_E_PLUGIN, "clv_attr.struct_size");
    assert_int_equal(f->graph->node_count, 0);
}

static void test_attribute_choices(void **state)
{
    fixture *f = *state;
    clv_tensor x = CLV_NO_TENSOR, inputs[3] = {0}, out = CLV_NO_TENSOR;
    const clv_variable_desc w = variable("w", 2, 90, 4);
    assert_done(f, add(f, "reshape", "flat", add_image(f), NULL, 0, &x));
    inputs[0] = x;
    assert_done(f, clvi_graph_variable_add(f->graph, &w, false, &inputs[1], &f->error));
    clv_attr a = attr("activation", CLV_ATTR_TEXT, 0, 0);
    a.text = "gelu";
    assert_said(
        f, CLV_E_SHAPE,
        clvi_graph_add_op(f->graph, "dense", "n", inputs, 2, &a, 1, sizeof(a), &out, 1, &f->error),
        "attribute activation is \"gelu\", allowed is none|relu|silu");
    a.text = NULL;
    assert_said(
        f, CLV_E_PLUGIN,
        clvi_graph_add_op(f->graph, "dense", "n", inputs, 2, &a, 1, sizeof(a), &out, 1, &f->error),
        "attribute activation has no text");
    a.text = "silu";
    assert_done(f, clvi_graph_add_op(f->graph, "dense", "n", inputs, 2, &a, 1, sizeof(a), &out, 1,
                                     &f->error));
    assert_int_equal(f->graph->tensors[out].shape.dims[1], 4);
}

/* An integer is taken for a real; attributes may lie at a wider stride. */
static void test_attributes_taken(void **state)
{
    fixture *f = *state;
    const clv_tensor x = add_image(f);
    struct {
        clv_attr attr;
        char more[16];
    } wide[2] = {{.attr = attr("value", CLV_ATTR_INT, 3, 0)},
                 {.attr = attr("units", CLV_ATTR_INT, 7, 0)}};
    wide[0].attr.struct_size = wide[1].attr.struct_size = (uint32_t)sizeof(wide[0]);
    clv_tensor out = CLV_NO_TENSOR;
    assert_done(f, clvi_graph_add_op(f->graph, "fill", "n", &x, 1, &wide[0].attr, 2,
                                     (uint32_t)sizeof(wide[0]), &out, 1, &f->error));
    const clvi_node *node = &f->graph->nodes[0];
    for (size_t i = 0; i < node->op->attr_count; i++) {
        const clvi_attr_spec *spec = &node->op->attrs[i];
        const char *place = (const char *)node->attrs + spec->offset;
        double real = 0;
        int64_t whole = 0;
        memcpy(&real, place, sizeof(real));
        memcpy(&whole, place, sizeof(whole));
        assert_true(strcmp(spec->name, "value") == 0 ? real == 3.0 : whole == 7);
    }
    assert_int_equal(f->graph->tensors[out].shape.dims[1], 7);
    clv_tensor no = CLV_NO_TENSOR;
    assert_said(
        f, CLV_E_PLUGIN,
        clvi_graph_add_op(f->graph, "fill", "m", &x, 1, &wide[0].attr, 2, 20, &no, 1, &f->error),
        "stride of 20 bytes");
}

/* ---- Outputs, route, questions
 * ------------------------------------------------------------------- */

static void test_outputs(void **state)
{
    fixture *f = *state;
    const clv_tensor x = add_image(f);
    assert_done(f, clvi_graph_output_add(f->graph, "features", x, &f->error));
    assert_int_equal(clvi_graph_find_output(f->graph, "features"), x);
    assert_int_equal(clvi_graph_find_output(f->graph, "logits"), CLV_NO_TENSOR);
    assert_said(f, CLV_E_PLUGIN, clvi_graph_output_add(f->graph, "features", x, &f->error),
                "\"features\" is declared twice");
    assert_said(f, CLV_E_PLUGIN, clvi_graph_output_add(f->graph, "logits", 99, &f->error),
                "\"logits\" is not a tensor");
    assert_said(f, CLV_E_PLUGIN, clvi_graph_output_add(f->graph, NULL, x, &f->error), "an output");

    clv_route_desc route = {.struct_size = (uint32_t)sizeof(route), .max_per_sample = -1};
    assert_said(f, CLV_E_PLUGIN, clvi_graph_route(f->graph, &route, &f->error), "is -1");
    route.max_per_sample = 2;
    assert_done(f, clvi_graph_route(f->graph, &route, &f->error));
    assert_int_equal(f->graph->route.max_per_sample, 2);
    assert_said(f, CLV_E_PLUGIN, clvi_graph_route(f->graph, &route, &f->error), "twice");
}

static void test_shapes(void **state)
{
    fixture *f = *state;
    const clv_tensor x = add_image(f);
    char text[64], small[8];
    clv_shape s = {.struct_size = (uint32_t)sizeof(s)};
    assert_done(f, clvi_graph_shape(f->graph, x, &s, &f->error));
    assert_int_equal(s.rank, 4);
    assert_int_equal(clvi_shape_elements(&s), 90);
    assert_said(f, CLV_E_PLUGIN, clvi_graph_shape(f->graph, -1, &s, &f->error), "handle -1");
    s.struct_size = 4;
    assert_said(f, CLV_E_PLUGIN, clvi_graph_shape(f->graph, x, &s, &f->error),
                "clv_shape.struct_size is 4");
    const clv_shape none = {.struct_size = (uint32_t)sizeof(none)};
    assert_string_equal(clvi_shape_text(&none, text, sizeof(text)), "[]");
    assert_int_equal(clvi_shape_elements(&none), 1);
    assert_string_equal(clvi_shape_text(&f->graph->tensors[x].shape, small, sizeof(small)),
                        "[N, 6, ");
}

/* ---- Memory
 * -------------------------------------------------------------------------------------- */

static clv_status build_something(clv_error *error)
{
    clv_graph *graph = NULL;
    clv_tensor x = CLV_NO_TENSOR, w = CLV_NO_TENSOR, y = CLV_NO_TENSOR;
    const clv_input_desc input = image(6, 5, 3);
    const clv_variable_desc desc = variable("w", 2, 90, 4);
    CLV_TRY(clvi_graph_create("test", &graph, error));
    clv_status status = clvi_graph_input_add(graph, &input, &x, error);
    if (status == CLV_OK)
        status = clvi_graph_push_scope(
            graph, "a_scope_with_a_name_so_long_that_the_text_of_scopes_must_grow_beyond_64_bytes",
            error);
    if (status == CLV_OK)
        status = clvi_graph_variable_add(graph, &desc, false, &w, error);
    for (int i = 0; i < 20 && status == CLV_OK; i++)
        status = clvi_graph_add_op(graph, "relu", "y", &x, 1, NULL, 0, 0, &y, 1, error);
    if (status == CLV_OK)
        status = clvi_graph_output_add(graph, "features", y, error);
    clvi_graph_destroy(graph);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    clv_status status = CLV_E_MEMORY;
    clvi_set_allocator(&short_memory);
    for (int n = 0; status != CLV_OK && n < 100; n++) {
        clv_error error = CLV_ERROR_INIT;
        allowed = n;
        blocks = 0;
        status = build_something(&error);
        assert_int_equal(blocks, 0);
        assert_true(status == CLV_OK || (status == CLV_E_MEMORY && error.message[0] != '\0'));
    }
    clvi_set_allocator(NULL);
    assert_int_equal(status, CLV_OK);
}

#define GRAPH_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GRAPH_TEST(test_image_input),
        GRAPH_TEST(test_image_input_refused),
        GRAPH_TEST(test_other_inputs),
        GRAPH_TEST(test_variables),
        GRAPH_TEST(test_variables_refused),
        GRAPH_TEST(test_scopes_refused),
        GRAPH_TEST(test_longer_structs),
        GRAPH_TEST(test_operations),
        GRAPH_TEST(test_alias),
        GRAPH_TEST(test_operations_refused),
        GRAPH_TEST(test_attributes_refused),
        GRAPH_TEST(test_attribute_choices),
        GRAPH_TEST(test_attributes_taken),
        GRAPH_TEST(test_outputs),
        GRAPH_TEST(test_shapes),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
