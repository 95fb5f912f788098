/* Sizes, places and numbers of ABI 1.0, one to a line. Compiled with the headers of 1.0 and with
 * today's: every line but sizes has to be the same, and sizes may only grow (layout.sh). */
#include <conclave/own_op.h>

#include <stdio.h>

#define SIZE(type) printf("size %s %zu\n", #type, sizeof(type))
#define FIELD(type, field)                                                                         \
    printf("%s.%s at %zu, %zu bytes\n", #type, #field, offsetof(type, field),                      \
           sizeof(((type *)0)->field))
#define NUMBER(name) printf("%s = %lld\n", #name, (long long)(name))

static void plugin(void)
{
    SIZE(clv_error);

    FIELD(clv_error, struct_size);
    FIELD(clv_error, status);
    FIELD(clv_error, native_code);

    FIELD(clv_error, line);
    FIELD(clv_error, file);
    FIELD(clv_error, message);

    SIZE(clv_plugin);

    FIELD(clv_plugin, magic);
    FIELD(clv_plugin, struct_size);
    FIELD(clv_plugin, abi_major);

    FIELD(clv_plugin, abi_minor);
    FIELD(clv_plugin, kind);
    FIELD(clv_plugin, name);

    FIELD(clv_plugin, version);
    FIELD(clv_plugin, summary);
    FIELD(clv_plugin, options);

    FIELD(clv_plugin, option_count);
    FIELD(clv_plugin, option_stride);
    FIELD(clv_plugin, build);

    FIELD(clv_plugin, init);
    FIELD(clv_plugin, weight_names);
    FIELD(clv_plugin, weight_name_count);

    FIELD(clv_plugin, weight_name_stride);

    SIZE(clv_option_spec);

    FIELD(clv_option_spec, struct_size);
    FIELD(clv_option_spec, type);
    FIELD(clv_option_spec, key);

    FIELD(clv_option_spec, default_value);
    FIELD(clv_option_spec, min);
    FIELD(clv_option_spec, max);

    FIELD(clv_option_spec, choices);
    FIELD(clv_option_spec, text);

    SIZE(clv_layer_name);

    FIELD(clv_layer_name, struct_size);
    FIELD(clv_layer_name, theirs);
    FIELD(clv_layer_name, ours);

    SIZE(clv_weight_names);

    FIELD(clv_weight_names, struct_size);
    FIELD(clv_weight_names, layer_count);

    FIELD(clv_weight_names, family);
    FIELD(clv_weight_names, option);
    FIELD(clv_weight_names, value);

    FIELD(clv_weight_names, layers);
    FIELD(clv_weight_names, layer_stride);
}

static void graph(void)
{
    SIZE(clv_shape);

    FIELD(clv_shape, struct_size);
    FIELD(clv_shape, dtype);
    FIELD(clv_shape, rank);

    FIELD(clv_shape, dims);

    SIZE(clv_variable_desc);

    FIELD(clv_variable_desc, struct_size);
    FIELD(clv_variable_desc, flags);

    FIELD(clv_variable_desc, name);
    FIELD(clv_variable_desc, rank);
    FIELD(clv_variable_desc, init);

    FIELD(clv_variable_desc, dims);
    FIELD(clv_variable_desc, a);

    SIZE(clv_input_desc);

    FIELD(clv_input_desc, struct_size);
    FIELD(clv_input_desc, height);
    FIELD(clv_input_desc, width);

    FIELD(clv_input_desc, channels);
    FIELD(clv_input_desc, role);
    FIELD(clv_input_desc, mean);

    FIELD(clv_input_desc, std);

    SIZE(clv_route_desc);

    FIELD(clv_route_desc, struct_size);
    FIELD(clv_route_desc, sparse);

    FIELD(clv_route_desc, max_per_sample);
    FIELD(clv_route_desc, sums_to_one);

    FIELD(clv_route_desc, per_batch);

    SIZE(clv_attr);

    FIELD(clv_attr, struct_size);
    FIELD(clv_attr, type);
    FIELD(clv_attr, name);
    FIELD(clv_attr, i);

    FIELD(clv_attr, real);
    FIELD(clv_attr, text);
    FIELD(clv_attr, ints);
    FIELD(clv_attr, int_count);

    SIZE(clv_build_input);

    FIELD(clv_build_input, struct_size);
    FIELD(clv_build_input, mode);

    FIELD(clv_build_input, classes);
    FIELD(clv_build_input, experts);

    FIELD(clv_build_input, image_height);
    FIELD(clv_build_input, image_width);

    FIELD(clv_build_input, image_channels);
    FIELD(clv_build_input, features);
}

static void host(void)
{
    SIZE(clv_host);

    FIELD(clv_host, struct_size);
    FIELD(clv_host, abi_major);
    FIELD(clv_host, abi_minor);

    FIELD(clv_host, fail);
    FIELD(clv_host, log);
    FIELD(clv_host, graph_alloc);

    FIELD(clv_host, option_bool);
    FIELD(clv_host, option_int);
    FIELD(clv_host, option_real);

    FIELD(clv_host, option_text);
    FIELD(clv_host, option_ints);
    FIELD(clv_host, option_reals);

    FIELD(clv_host, input);
    FIELD(clv_host, parameter);
    FIELD(clv_host, state);

    FIELD(clv_host, add_op);
    FIELD(clv_host, output);
    FIELD(clv_host, route);

    FIELD(clv_host, push_scope);
    FIELD(clv_host, pop_scope);
    FIELD(clv_host, shape);

    FIELD(clv_host, register_op);
    FIELD(clv_host, step_sum);
    FIELD(clv_host, after_step);

    SIZE(clv_op_host);

    FIELD(clv_op_host, struct_size);
    FIELD(clv_op_host, abi_major);
    FIELD(clv_op_host, abi_minor);

    FIELD(clv_op_host, fail);
    FIELD(clv_op_host, facts);
    FIELD(clv_op_host, attribute);

    FIELD(clv_op_host, input_shape);
    FIELD(clv_op_host, output_shape);

    FIELD(clv_op_host, set_output);
    FIELD(clv_op_host, rng);
    FIELD(clv_op_host, kernel);

    FIELD(clv_op_host, launch);
    FIELD(clv_op_host, gemm);
    FIELD(clv_op_host, gemm_workspace);
}

static void own_op(void)
{
    SIZE(clv_run_facts);

    FIELD(clv_run_facts, struct_size);
    FIELD(clv_run_facts, mode);
    FIELD(clv_run_facts, n);

    FIELD(clv_run_facts, inputs);
    FIELD(clv_run_facts, wants_grad);

    FIELD(clv_run_facts, output_grads);
    FIELD(clv_run_facts, device);
    FIELD(clv_run_facts, vector);

    FIELD(clv_run_facts, compute_units);
    FIELD(clv_run_facts, max_group);

    FIELD(clv_run_facts, local_bytes);

    SIZE(clv_rng);

    FIELD(clv_rng, struct_size);
    FIELD(clv_rng, key);
    FIELD(clv_rng, epoch);
    FIELD(clv_rng, op);

    SIZE(clv_op_needs);

    FIELD(clv_op_needs, struct_size);
    FIELD(clv_op_needs, backward_inputs);

    FIELD(clv_op_needs, backward_outputs);
    FIELD(clv_op_needs, forward_in_place);

    FIELD(clv_op_needs, grad_in_place);
    FIELD(clv_op_needs, saved_per_sample);

    FIELD(clv_op_needs, saved_constant);
    FIELD(clv_op_needs, forward_per_sample);

    FIELD(clv_op_needs, forward_constant);
    FIELD(clv_op_needs, backward_per_sample);

    FIELD(clv_op_needs, backward_constant);

    SIZE(clv_arg);

    FIELD(clv_arg, struct_size);
    FIELD(clv_arg, kind);
    FIELD(clv_arg, index);
    FIELD(clv_arg, value);

    FIELD(clv_arg, real);

    SIZE(clv_gemm);

    FIELD(clv_gemm, struct_size);
    FIELD(clv_gemm, transpose_a);
    FIELD(clv_gemm, transpose_b);

    FIELD(clv_gemm, accumulate);
    FIELD(clv_gemm, batch);
    FIELD(clv_gemm, m);
    FIELD(clv_gemm, n);

    FIELD(clv_gemm, k);
    FIELD(clv_gemm, lda);
    FIELD(clv_gemm, ldb);
    FIELD(clv_gemm, ldc);

    FIELD(clv_gemm, a);
    FIELD(clv_gemm, b);
    FIELD(clv_gemm, c);
    FIELD(clv_gemm, bias);

    FIELD(clv_gemm, workspace);

    SIZE(clv_attr_spec);

    FIELD(clv_attr_spec, struct_size);
    FIELD(clv_attr_spec, type);
    FIELD(clv_attr_spec, name);

    FIELD(clv_attr_spec, default_value);
    FIELD(clv_attr_spec, min);
    FIELD(clv_attr_spec, max);

    FIELD(clv_attr_spec, choices);
    FIELD(clv_attr_spec, required);

    SIZE(clv_source);

    FIELD(clv_source, struct_size);
    FIELD(clv_source, name);
    FIELD(clv_source, text);

    SIZE(clv_reference);

    FIELD(clv_reference, struct_size);
    FIELD(clv_reference, inputs);
    FIELD(clv_reference, outputs);

    SIZE(clv_op_desc);

    FIELD(clv_op_desc, struct_size);
    FIELD(clv_op_desc, min_inputs);
    FIELD(clv_op_desc, max_inputs);

    FIELD(clv_op_desc, output_count);
    FIELD(clv_op_desc, name);
    FIELD(clv_op_desc, attrs);

    FIELD(clv_op_desc, attr_count);
    FIELD(clv_op_desc, attr_stride);
    FIELD(clv_op_desc, sources);

    FIELD(clv_op_desc, source_count);
    FIELD(clv_op_desc, source_stride);

    FIELD(clv_op_desc, shape);
    FIELD(clv_op_desc, forward);
    FIELD(clv_op_desc, backward);

    FIELD(clv_op_desc, needs);
    FIELD(clv_op_desc, reference);
}

static void numbers(void)
{
    NUMBER(CLV_OK);
    NUMBER(CLV_E_USAGE);
    NUMBER(CLV_E_CONFIG);
    NUMBER(CLV_E_SHAPE);

    NUMBER(CLV_E_PLUGIN);
    NUMBER(CLV_E_DATA);
    NUMBER(CLV_E_FORMAT);
    NUMBER(CLV_E_IO);

    NUMBER(CLV_E_MEMORY);
    NUMBER(CLV_E_DEVICE);
    NUMBER(CLV_E_CL);
    NUMBER(CLV_E_BUILD);

    NUMBER(CLV_E_NUMERIC);
    NUMBER(CLV_E_INTERRUPTED);
    NUMBER(CLV_E_INTERNAL);

    NUMBER(CLV_PLUGIN_MAGIC);
    NUMBER(CLV_ABI_MAJOR);
    NUMBER(CLV_KIND_EXPERT);
    NUMBER(CLV_KIND_GATE);

    NUMBER(CLV_OPTION_BOOL);
    NUMBER(CLV_OPTION_INT);
    NUMBER(CLV_OPTION_REAL);

    NUMBER(CLV_OPTION_TEXT);
    NUMBER(CLV_OPTION_CHOICE);
    NUMBER(CLV_OPTION_INT_LIST);

    NUMBER(CLV_OPTION_REAL_LIST);
    NUMBER(CLV_NO_TENSOR);
    NUMBER(CLV_BATCH);
    NUMBER(CLV_MAX_RANK);

    NUMBER(CLV_F32);
    NUMBER(CLV_I32);
    NUMBER(CLV_U8);
    NUMBER(CLV_INIT_ZEROS);
    NUMBER(CLV_INIT_ONES);

    NUMBER(CLV_INIT_CONSTANT);
    NUMBER(CLV_INIT_UNIFORM);
    NUMBER(CLV_INIT_NORMAL);

    NUMBER(CLV_PARAMETER_NO_DECAY);
    NUMBER(CLV_ATTR_INT);
    NUMBER(CLV_ATTR_REAL);

    NUMBER(CLV_ATTR_TEXT);
    NUMBER(CLV_ATTR_INTS);
    NUMBER(CLV_MODE_TRAIN);
    NUMBER(CLV_MODE_INFER);

    NUMBER(CLV_MAX_SAVED);
    NUMBER(CLV_MAX_ARGS);
    NUMBER(CLV_MAX_KERNELS);

    NUMBER(CLV_DEVICE_CPU);
    NUMBER(CLV_DEVICE_GPU);
    NUMBER(CLV_ARG_INPUT);
    NUMBER(CLV_ARG_OUTPUT);

    NUMBER(CLV_ARG_GRAD_INPUT);
    NUMBER(CLV_ARG_GRAD_OUTPUT);
    NUMBER(CLV_ARG_SAVED);

    NUMBER(CLV_ARG_WORKSPACE);
    NUMBER(CLV_ARG_IDS);
    NUMBER(CLV_ARG_INT);
    NUMBER(CLV_ARG_UINT);

    NUMBER(CLV_ARG_FLOAT);
    NUMBER(CLV_ARG_LOCAL);
    NUMBER(CLV_ARG_NULL);
    NUMBER(CLV_ARG_OR_NULL);

    NUMBER(CLV_GEMM_FIXED);
    NUMBER(CLV_GEMM_BATCH_M);
    NUMBER(CLV_GEMM_BATCH_K);
}

int main(void)
{
    plugin();
    graph();
    host();
    own_op();
    numbers();
    return 0;
}
