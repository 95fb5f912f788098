/* What the functions of a plugin's op call: facts, shapes, launches with tagged arguments,
 * products. A tag becomes a buffer only where the op may touch it now: what backward reads without
 * having named it in needs, or writes beyond a tensor's end, is refused here with a sentence. */
#include "plugin/own_run.h"

#include "base/structs.h"
#include "plugin/plugin_host.h"
#include "runtime/gemm.h"

#include <math.h>

static bool is_pass(const clv_run *run)
{
    return run->phase == CLVI_OWN_FORWARD || run->phase == CLVI_OWN_BACKWARD;
}

static const char *phase_text(const clv_run *run)
{
    static const char *const texts[] = {"the shape rule", "needs", "forward", "backward",
                                        "reference"};
    return texts[run->phase];
}

static clv_status not_here(const clv_run *run, const char *what, clv_error *error)
{
    return clvi_fail(error, CLV_E_PLUGIN, CLV_HERE, "%s is not to be had in %s", what,
                     phase_text(run));
}

/* Copies as much of `from` as the caller's struct has room for; its first 4 bytes say how much. */
static clv_status give_struct(void *to, size_t need, const void *from, size_t bytes,
                              const char *name, clv_error *error)
{
    uint32_t room = 0;
    if (to != NULL)
        memcpy(&room, to, sizeof(room));
    if (room < need)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s.struct_size is %u bytes, wanted is at least %zu", name,
                 room, need);
    memcpy(to, from, room < bytes ? room : bytes);
    memcpy(to, &room, sizeof(room));
    return CLV_OK;
}

/* ---- Questions ---- */

static clv_status own_facts(const clv_run *run, clv_run_facts *out, clv_error *error)
{
    clv_run_facts f = {.mode = (uint32_t)run->mode, .n = run->n, .wants_grad = run->wants_grad};
    for (int i = 0; i < CLVI_MAX_INPUTS; i++)
        f.inputs |= run->inputs[i] != NULL ? 1u << i : 0;
    for (int o = 0; run->phase == CLVI_OWN_BACKWARD && o < CLVI_MAX_OUTPUTS; o++)
        f.output_grads |=
            run->call->grad_out[o].buf != NULL || (run->rehearsed && run->outputs[o] != NULL)
                ? 1u << o
                : 0;
    if (run->device != NULL) {
        const clvi_device_info *info = clvi_device_get_info(run->device);
        f.device = clvi_device_is_gpu_like(run->device) ? CLV_DEVICE_GPU : CLV_DEVICE_CPU;
        f.vector = clvi_tuning_int(run->device, "vector");
        f.compute_units = info->compute_units;
        f.max_group = info->max_group;
        f.local_bytes = info->local_bytes;
    }
    return give_struct(out, CLVI_BYTES_TO(clv_run_facts, local_bytes), &f, sizeof(f),
                       "clv_run_facts", error);
}

static clv_status own_attribute(const clv_run *run, const char *name, clv_attr *out,
                                clv_error *error)
{
    const clvi_op *op = &run->own->op;
    clv_attr a = {.name = NULL};
    size_t index = 0;
    while (index < op->attr_count && (name == NULL || strcmp(op->attrs[index].name, name) != 0))
        index++;
    if (index == op->attr_count)
        CLV_FAIL(error, CLV_E_PLUGIN, "attribute %s is asked for, which the op does not declare",
                 name != NULL ? name : "NULL");
    const clvi_attr_spec *spec = &op->attrs[index];
    const clvi_own_value *value = (const clvi_own_value *)run->attrs + index;
    a.type = (uint32_t)spec->type;
    a.name = spec->name;
    if (spec->type == CLV_ATTR_REAL)
        a.real = value->real;
    else if (spec->type == CLV_ATTR_INTS)
        a.ints = value->ints.values, a.int_count = (uint32_t)value->ints.count;
    else
        a.i = value->i;
    if (spec->type == CLV_ATTR_TEXT)
        a.text = run->own->choices[index][a.i];
    return give_struct(out, CLVI_BYTES_TO(clv_attr, reserved), &a, sizeof(a), "clv_attr", error);
}

static clv_status own_input_shape(const clv_run *run, uint32_t input, clv_shape *out,
                                  clv_error *error)
{
    if (input >= CLVI_MAX_INPUTS || run->inputs[input] == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "the shape of input %u is asked for, which is absent", input);
    return give_struct(out, CLVI_BYTES_TO(clv_shape, dims), run->inputs[input], sizeof(clv_shape),
                       "clv_shape", error);
}

static clv_status own_output_shape(const clv_run *run, uint32_t output, clv_shape *out,
                                   clv_error *error)
{
    if (run->phase == CLVI_OWN_SHAPE)
        return not_here(run, "the shape of an output", error);
    if (output >= CLVI_MAX_OUTPUTS || run->outputs[output] == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "the shape of output %u is asked for; there are %d", output,
                 run->own->op.output_count);
    return give_struct(out, CLVI_BYTES_TO(clv_shape, dims), run->outputs[output], sizeof(clv_shape),
                       "clv_shape", error);
}

static clv_status own_set_output(clv_run *run, uint32_t output, const clv_shape *shape,
                                 clv_error *error)
{
    if (run->phase != CLVI_OWN_SHAPE)
        return not_here(run, "set_output", error);
    if (output >= (uint32_t)run->own->op.output_count)
        CLV_FAIL(error, CLV_E_PLUGIN, "the shape of output %u is set; there are %d", output,
                 run->own->op.output_count);
    if (shape == NULL || shape->struct_size < CLVI_BYTES_TO(clv_shape, dims))
        CLV_FAIL(error, CLV_E_PLUGIN, "clv_shape is NULL or its struct_size is below %zu bytes",
                 CLVI_BYTES_TO(clv_shape, dims));
    if (shape->reserved != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "clv_shape.reserved of output %u is not 0", output);
    if (shape->rank < 0 || shape->rank > CLV_MAX_RANK)
        CLV_FAIL(error, CLV_E_SHAPE, "output %u has %d axes, at most %d are allowed", output,
                 shape->rank, CLV_MAX_RANK);
    run->request->outputs[output] =
        clvi_shape_make((clv_dtype)shape->dtype, shape->rank, shape->dims);
    run->set |= 1u << output;
    return CLV_OK;
}

static clv_status own_rng(const clv_run *run, clv_rng *out, clv_error *error)
{
    if (!is_pass(run))
        return not_here(run, "rng", error);
    const clvi_run_random *random = &run->call->random;
    const clv_rng rng = {.key = {random->key[0], random->key[1]},
                         .epoch = random->epoch,
                         .op = run->call->node_index};
    return give_struct(out, CLVI_BYTES_TO(clv_rng, op), &rng, sizeof(rng), "clv_rng", error);
}

/* ---- Tags ---- */

/* The memory that a tag means. buf NULL: absent, or not wanted. */
typedef struct place {
    clvi_view view;
    int64_t elements;
} place;

static clv_status bad_tag(const clv_run *run, const char *what, uint32_t index, const char *why,
                          clv_error *error)
{
    return clvi_fail(error, CLV_E_PLUGIN, CLV_HERE, "%s uses %s %u%s", phase_text(run), what, index,
                     why);
}

static int64_t amount_of(const clv_run *run, int64_t per_sample, int64_t constant)
{
    return per_sample * run->n + constant;
}

/* A value: input or output. */
static clv_status find_value(const clv_run *run, uint32_t kind, uint32_t index, place *out,
                             clv_error *error)
{
    const bool input = kind == CLV_ARG_INPUT, back = run->phase == CLVI_OWN_BACKWARD;
    const char *what = input ? "input" : "output";
    const int32_t count = input ? run->own->op.max_inputs : run->own->op.output_count;
    const uint32_t named = input ? run->needs->backward_inputs : run->needs->backward_outputs;
    if (index >= (uint32_t)count)
        return bad_tag(run, what, index, ", which the op has not", error);
    const clv_shape *shape = input ? run->inputs[index] : run->outputs[index];
    if (shape == NULL)
        return CLV_OK;
    if (back && (named >> index & 1) == 0)
        return bad_tag(run, what, index,
                       ", whose value needs does not name (backward_inputs, backward_outputs)",
                       error);
    out->view = input ? run->call->in[index] : run->call->out[index];
    out->elements = clv_shape_count(shape, run->n);
    return CLV_OK;
}

static clv_status find_gradient(const clv_run *run, uint32_t kind, uint32_t index, place *out,
                                clv_error *error)
{
    const bool input = kind == CLV_ARG_GRAD_INPUT;
    const char *what = input ? "the gradient of input" : "the gradient of output";
    const int32_t count = input ? run->own->op.max_inputs : run->own->op.output_count;
    if (run->phase != CLVI_OWN_BACKWARD)
        return bad_tag(run, what, index, ", which only backward has", error);
    if (index >= (uint32_t)count)
        return bad_tag(run, what, index, ", which the op has not", error);
    out->view = input ? run->call->grad_in[index] : run->call->grad_out[index];
    const clv_shape *shape = input ? run->inputs[index] : run->outputs[index];
    if (out->view.buf != NULL)
        out->elements = clv_shape_count(shape, run->n);
    return CLV_OK;
}

static clv_status find_place(const clv_run *run, const clv_arg *arg, place *out, clv_error *error)
{
    const uint32_t index = arg->index;
    const clv_op_needs *needs = run->needs;
    *out = (place){{NULL, 0}, 0};
    switch (arg->kind & ~(uint32_t)CLV_ARG_OR_NULL) {
    case CLV_ARG_INPUT:
    case CLV_ARG_OUTPUT:
        return find_value(run, arg->kind & ~(uint32_t)CLV_ARG_OR_NULL, index, out, error);
    case CLV_ARG_GRAD_INPUT:
    case CLV_ARG_GRAD_OUTPUT:
        return find_gradient(run, arg->kind & ~(uint32_t)CLV_ARG_OR_NULL, index, out, error);
    case CLV_ARG_SAVED:
        if (index >= CLV_MAX_SAVED)
            return bad_tag(run, "saved memory", index, ", which no op has", error);
        *out = (place){run->call->saved[index], amount_of(run, needs->saved_per_sample[index],
                                                          needs->saved_constant[index])};
        return CLV_OK;
    case CLV_ARG_WORKSPACE:
        *out = (place){run->call->workspace,
                       run->phase == CLVI_OWN_FORWARD
                           ? amount_of(run, needs->forward_per_sample, needs->forward_constant)
                           : amount_of(run, needs->backward_per_sample, needs->backward_constant)};
        return CLV_OK;
    case CLV_ARG_IDS:
        *out = (place){run->call->random.ids, run->n};
        return CLV_OK;
    default:
        CLV_FAIL(error, CLV_E_PLUGIN, "%s uses an argument of the unknown kind %u", phase_text(run),
                 arg->kind);
    }
}

static const char *kind_text(uint32_t kind)
{
    switch (kind) {
    case CLV_ARG_INPUT:
        return "input";
    case CLV_ARG_OUTPUT:
        return "output";
    case CLV_ARG_GRAD_INPUT:
        return "the gradient of input";
    case CLV_ARG_GRAD_OUTPUT:
        return "the gradient of output";
    case CLV_ARG_SAVED:
        return "saved memory";
    case CLV_ARG_WORKSPACE:
        return "workspace";
    default:
        return "the ids of samples,";
    }
}

/* The memory from the argument's offset on. */
static clv_status resolve(const clv_run *run, const clv_arg *arg, place *out, clv_error *error)
{
    CLV_TRY(find_place(run, arg, out, error));
    const uint32_t kind = arg->kind & ~(uint32_t)CLV_ARG_OR_NULL;
    if (out->view.buf == NULL && (arg->kind & CLV_ARG_OR_NULL) != 0)
        return CLV_OK;
    if (out->view.buf == NULL)
        return bad_tag(run, kind_text(kind), arg->index,
                       ", which is absent, not wanted or of no size here; ask facts, or add "
                       "CLV_ARG_OR_NULL",
                       error);
    if (arg->value < 0 || arg->value >= out->elements)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s uses %s %u from element %lld on, it has %lld",
                 phase_text(run), kind_text(kind), arg->index, (long long)arg->value,
                 (long long)out->elements);
    out->view.offset += (uint64_t)arg->value;
    out->elements -= arg->value;
    return CLV_OK;
}

/* ---- Launches ---- */

static clv_status own_kernel(clv_run *run, const char *source, const char *name,
                             const char *options, const clv_kernel **out, clv_error *error)
{
    const clvi_own_source *from = NULL;
    if (!is_pass(run))
        return not_here(run, "kernel", error);
    for (size_t i = 0; source != NULL && i < run->own->source_count; i++)
        if (strcmp(run->own->sources[i].name, source) == 0)
            from = &run->own->sources[i];
    if (from == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s asks for a kernel of the source \"%s\", which the op has "
                 "not",
                 phase_text(run), source != NULL ? source : "NULL");
    if (name == NULL || options == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s asks for a kernel without name or options",
                 phase_text(run));
    if (run->kernel_count == CLV_MAX_KERNELS)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s asks for more than %d kernels", phase_text(run),
                 CLV_MAX_KERNELS);
    if (run->rehearsed) {
        *out = &run->kernels[run->kernel_count++];
        return CLV_OK;
    }
    CLV_TRY(clvi_device_add_source(run->device, from->program, from->text, error));
    clvi_launch *launch = &run->kernels[run->kernel_count].launch;
    clvi_launch_begin(launch, run->device, from->program, name, options);
    if (launch->status != CLV_OK)
        CLV_FAIL(error, launch->status, "%s", launch->first.message);
    *out = &run->kernels[run->kernel_count++];
    return CLV_OK;
}

static clv_status add_number(const clv_run *run, clvi_launch *launch, const clv_arg *arg,
                             uint32_t index, clv_error *error)
{
    const int64_t v = arg->value;
    bool fits = true;
    switch (arg->kind) {
    case CLV_ARG_INT:
        fits = v >= INT32_MIN && v <= INT32_MAX;
        clvi_arg_int(launch, (int32_t)v);
        break;
    case CLV_ARG_UINT:
        fits = v >= 0 && v <= UINT32_MAX;
        clvi_arg_uint(launch, (uint32_t)v);
        break;
    case CLV_ARG_FLOAT:
        clvi_arg_float(launch, (float)arg->real);
        break;
    default: /* CLV_ARG_LOCAL */
        fits = v > 0 && (uint64_t)v <= clvi_device_get_info(run->device)->local_bytes;
        clvi_arg_local(launch, fits ? (size_t)v : 4);
        break;
    }
    if (!fits)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: argument %u of a launch is %lld, which is out of range",
                 phase_text(run), index, (long long)v);
    return CLV_OK;
}

static clv_status add_arg(const clv_run *run, clvi_launch *launch, const clv_arg *arg,
                          uint32_t index, clv_error *error)
{
    place at;
    if (arg->kind >= CLV_ARG_INT && arg->kind <= CLV_ARG_LOCAL)
        return add_number(run, launch, arg, index, error);
    if (arg->kind == CLV_ARG_NULL)
        at.view = (clvi_view){NULL, 0};
    else
        CLV_TRY(resolve(run, arg, &at, error));
    clvi_arg_view(launch, at.view);
    return CLV_OK;
}

static clv_status own_launch(clv_run *run, const clv_kernel *kernel, const clv_arg *args,
                             uint32_t arg_count, uint32_t arg_stride, const size_t groups[3],
                             clv_error *error)
{
    bool known = false;
    if (!is_pass(run))
        return not_here(run, "launch", error);
    for (uint32_t k = 0; k < run->kernel_count; k++)
        known |= kernel == &run->kernels[k];
    if (!known)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s launches a kernel that it did not ask for in this call",
                 phase_text(run));
    if (arg_count > CLV_MAX_ARGS || (arg_count > 0 && args == NULL) || groups == NULL ||
        (arg_count > 0 &&
         (arg_stride < CLVI_BYTES_TO(clv_arg, real) || arg_stride % _Alignof(clv_arg) != 0)))
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: a launch with %u arguments (at most %d) at a stride of %u bytes",
                 phase_text(run), arg_count, CLV_MAX_ARGS, arg_stride);
    if (run->rehearsed)
        return CLV_OK;
    clvi_launch launch = kernel->launch;
    for (uint32_t i = 0; i < arg_count; i++) {
        clv_arg arg;
        if (!clvi_struct_take(&arg, sizeof(arg), (const char *)args + (size_t)i * arg_stride,
                              CLVI_BYTES_TO(clv_arg, real), arg_stride) ||
            arg.reserved != 0)
            CLV_FAIL(error, CLV_E_PLUGIN,
                     "%s: clv_arg.struct_size of argument %u is below %zu bytes or above the "
                     "stride of %u, or its reserved is not 0",
                     phase_text(run), i, CLVI_BYTES_TO(clv_arg, real), arg_stride);
        CLV_TRY(add_arg(run, &launch, &arg, i, error));
    }
    return clvi_launch_run(&launch, groups[0], groups[1], groups[2], error);
}

/* ---- Products ---- */

/* The caller's struct with the batch put in; n: samples. */
static clv_status take_gemm(const clv_run *run, const clv_gemm *given, int64_t n, clvi_gemm *out,
                            clv_error *error)
{
    if (given == NULL || given->struct_size < CLVI_BYTES_TO(clv_gemm, workspace))
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: clv_gemm is NULL or its struct_size is below %zu bytes",
                 phase_text(run), CLVI_BYTES_TO(clv_gemm, workspace));
    if (given->reserved != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: clv_gemm.reserved is not 0", phase_text(run));
    const int64_t most = INT32_MAX;
    const int64_t times_m = given->batch == CLV_GEMM_BATCH_M ? n : 1;
    const int64_t times_k = given->batch == CLV_GEMM_BATCH_K ? n : 1;
    if (given->batch > CLV_GEMM_BATCH_K || given->m < 1 || given->n < 1 || given->k < 1 ||
        given->m > most / times_m || given->n > most || given->k > most / times_k)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: a product [%lld, %lld]·[%lld, %lld] cannot be",
                 phase_text(run), (long long)given->m, (long long)given->k, (long long)given->k,
                 (long long)given->n);
    if (given->lda < 0 || given->ldb < 0 || given->ldc < 0 || given->lda > most ||
        given->ldb > most || given->ldc > most)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: a product's matrices cannot have rows of %lld, %lld and %lld elements",
                 phase_text(run), (long long)given->lda, (long long)given->ldb,
                 (long long)given->ldc);
    *out = (clvi_gemm){.transpose_a = given->transpose_a != 0,
                       .transpose_b = given->transpose_b != 0,
                       .accumulate = given->accumulate != 0,
                       .m = given->m * times_m,
                       .n = given->n,
                       .k = given->k * times_k,
                       .lda = given->lda,
                       .ldb = given->ldb,
                       .ldc = given->ldc};
    return CLV_OK;
}

/* One operand: [rows, columns] with `ld` elements between rows, within its tensor. */
static clv_status take_matrix(const clv_run *run, const clv_arg *given, int64_t rows,
                              int64_t columns, int64_t ld, clvi_view *out, clv_error *error)
{
    place at;
    clv_arg taken, *arg = &taken;
    if (given == NULL ||
        !clvi_struct_take(&taken, sizeof(taken), given, CLVI_BYTES_TO(clv_arg, real), SIZE_MAX))
        CLV_FAIL(
            error, CLV_E_PLUGIN,
            "%s: an operand of a product is NULL or its clv_arg.struct_size is below %zu bytes",
            phase_text(run), CLVI_BYTES_TO(clv_arg, real));
    CLV_TRY(resolve(run, arg, &at, error));
    const int64_t wide = ld > 0 ? ld : columns;
    if (at.view.buf == NULL)
        return bad_tag(run, kind_text(arg->kind & ~(uint32_t)CLV_ARG_OR_NULL), arg->index,
                       ", which is absent, in a product", error);
    if (wide < columns || (rows - 1) * wide + columns > at.elements)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: a product's matrix [%lld, %lld] with rows of %lld goes beyond the %lld "
                 "elements of %s %u",
                 phase_text(run), (long long)rows, (long long)columns, (long long)wide,
                 (long long)at.elements, kind_text(arg->kind & ~(uint32_t)CLV_ARG_OR_NULL),
                 arg->index);
    *out = at.view;
    return CLV_OK;
}

static clv_status own_gemm(clv_run *run, const clv_gemm *given, clv_error *error)
{
    clvi_gemm g;
    if (!is_pass(run))
        return not_here(run, "gemm", error);
    CLV_TRY(take_gemm(run, given, run->n, &g, error));
    if (run->rehearsed)
        return CLV_OK;
    const bool ta = g.transpose_a, tb = g.transpose_b;
    CLV_TRY(take_matrix(run, given->a, ta ? g.k : g.m, ta ? g.m : g.k, g.lda, &g.a, error));
    CLV_TRY(take_matrix(run, given->b, tb ? g.n : g.k, tb ? g.k : g.n, g.ldb, &g.b, error));
    CLV_TRY(take_matrix(run, given->c, g.m, g.n, g.ldc, &g.c, error));
    if (given->bias != NULL)
        CLV_TRY(take_matrix(run, given->bias, 1, g.n, 0, &g.bias, error));
    const int64_t wanted = (int64_t)clvi_gemm_workspace(run->device, &g);
    if (wanted > 0 && given->workspace == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: a product needs a workspace of %lld elements and is given none",
                 phase_text(run), (long long)wanted);
    if (wanted > 0)
        CLV_TRY(take_matrix(run, given->workspace, 1, wanted, 0, &g.workspace, error));
    return clvi_gemm_run(run->device, &g, error);
}

static clv_status own_gemm_workspace(const clv_run *run, const clv_gemm *given, int64_t *per_sample,
                                     int64_t *constant, clv_error *error)
{
    clvi_gemm g;
    if (run->device == NULL)
        return not_here(run, "gemm_workspace", error);
    CLV_TRY(take_gemm(run, given, 1, &g, error));
    const bool k_varies = given->batch == CLV_GEMM_BATCH_K;
    if (given->batch == CLV_GEMM_FIXED) {
        *per_sample = 0;
        *constant = (int64_t)clvi_gemm_workspace(run->device, &g);
        return CLV_OK;
    }
    clvi_gemm any = g;
    any.m = k_varies ? g.m : INT32_MAX;
    const clvi_gemm_bound bound = clvi_gemm_workspace_bound(run->device, &any, k_varies);
    *per_sample = bound.per_unit * (k_varies ? g.k : g.m);
    *constant = bound.constant;
    return CLV_OK;
}

const clv_op_host *clvi_own_host(void)
{
    static const clv_op_host host = {
        .struct_size = (uint32_t)sizeof(clv_op_host),
        .abi_major = CLV_ABI_MAJOR,
        .abi_minor = CLV_ABI_MINOR,
        .fail = clvi_host_fail,
        .facts = own_facts,
        .attribute = own_attribute,
        .input_shape = own_input_shape,
        .output_shape = own_output_shape,
        .set_output = own_set_output,
        .rng = own_rng,
        .kernel = own_kernel,
        .launch = own_launch,
        .gemm = own_gemm,
        .gemm_workspace = own_gemm_workspace,
    };
    return &host;
}
