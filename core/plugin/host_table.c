/* The table through which plugins call the host. */
#include "base/process.h"
#include "graph/graph.h"
#include "plugin/options.h"
#include "plugin/plugin_host.h"

#include <stdio.h>

clv_status clvi_host_fail(clv_error *error, clv_status status, const char *file, int line,
                          const char *format, ...)
{
    va_list arguments;
    (void)file;
    va_start(arguments, format);
    const clv_status result = clvi_failv(error, status, "plugin", line, format, arguments);
    va_end(arguments);
    return result;
}

CLV_PRINTF(2, 3)
static void host_log(const clv_host *host, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    (void)host;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    clvi_log(CLVI_LOG_INFO, "%s", line);
}

static void *host_graph_alloc(clv_graph *graph, size_t bytes)
{
    return clvi_arena_alloc(graph->arena, bytes);
}

static clv_status host_parameter(clv_graph *graph, const clv_variable_desc *desc, clv_tensor *out,
                                 clv_error *error)
{
    return clvi_graph_variable_add(graph, desc, false, out, error);
}

static clv_status host_state(clv_graph *graph, const clv_variable_desc *desc, clv_tensor *out,
                             clv_error *error)
{
    return clvi_graph_variable_add(graph, desc, true, out, error);
}

/* The one that works is in the table that init is given (own_op.c). */
static clv_status host_register_op(const clv_host *host, const struct clv_op_desc *desc,
                                   clv_error *error)
{
    (void)host;
    (void)desc;
    CLV_FAIL(error, CLV_E_PLUGIN,
             "register_op is called outside init, or with another host than init's");
}

static const clv_host table = {
    .struct_size = (uint32_t)sizeof(clv_host),
    .abi_major = CLV_ABI_MAJOR,
    .abi_minor = CLV_ABI_MINOR,
    .fail = clvi_host_fail,
    .log = host_log,
    .graph_alloc = host_graph_alloc,
    .option_bool = clvi_option_bool,
    .option_int = clvi_option_int,
    .option_real = clvi_option_real,
    .option_text = clvi_option_text,
    .option_ints = clvi_option_ints,
    .option_reals = clvi_option_reals,
    .input = clvi_graph_input_add,
    .parameter = host_parameter,
    .state = host_state,
    .add_op = clvi_graph_add_op,
    .output = clvi_graph_output_add,
    .route = clvi_graph_route,
    .push_scope = clvi_graph_push_scope,
    .pop_scope = clvi_graph_pop_scope,
    .shape = clvi_graph_shape,
    .register_op = host_register_op,
    .step_sum = clvi_graph_step_sum,
    .after_step = clvi_graph_after_step,
};

const clv_host *clvi_host_table(void)
{
    return &table;
}
