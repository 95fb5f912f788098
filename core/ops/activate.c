#include "ops/activate.h"

#include "ops/share.h"
#include "runtime/wide.h"

enum { MOST_SUMS = 256 }; /* groups that leave column sums */

clv_status clvi_activate(clvi_device *device, clvi_view y, clvi_view x, int64_t total,
                         int64_t activation, clv_error *error)
{
    const clvi_share share = clvi_share_of(total, 2, CLVI_FLAT_STEP);
    clvi_launch l;
    clvi_launch_begin(&l, device, "bias_act", "act_fwd", "");
    clvi_arg_view(&l, y);
    clvi_arg_view(&l, x);
    clvi_arg_int(&l, (int32_t)total);
    clvi_arg_int(&l, (int32_t)activation);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

int64_t clvi_act_workspace(int64_t columns)
{
    return MOST_SUMS * columns;
}

clv_status clvi_act_backward(clvi_device *device, const clvi_act_grads *g, clv_error *error)
{
    clvi_share share = clvi_share_of(g->rows, g->columns, 1);
    if (share.groups > MOST_SUMS && g->dbias.buf) {
        share.items = (int32_t)clvi_div_up(g->rows, MOST_SUMS);
        share.groups = (size_t)clvi_div_up(g->rows, share.items);
    }
    const bool whole = share.groups == 1;
    clvi_launch l;
    clvi_launch_begin(&l, device, "bias_act", "act_bwd", "");
    clvi_arg_view(&l, g->dz);
    clvi_arg_view(&l, !g->dbias.buf ? (clvi_view){0} : whole ? g->dbias : g->workspace);
    clvi_arg_view(&l, g->dy);
    clvi_arg_view(&l, g->activation == CLVI_ACT_NONE ? (clvi_view){0} : g->value);
    clvi_arg_int(&l, (int32_t)g->rows);
    clvi_arg_int(&l, (int32_t)g->columns);
    clvi_arg_int(&l, (int32_t)g->activation);
    clvi_arg_int(&l, share.items);
    CLV_TRY(clvi_launch_run(&l, share.groups, 1, 1, error));
    if (!g->dbias.buf || whole)
        return CLV_OK;
    return clvi_sum_parts(device, g->dbias, g->workspace, (int64_t)share.groups, g->columns, error);
}

bool clvi_act_saves_sum(int64_t activation, uint32_t wants_grad)
{
    return activation == CLVI_ACT_SILU && wants_grad != 0;
}

clv_status clvi_act_run_backward(const clvi_run *run, clvi_act_grads *g, bool own, clv_error *error)
{
    g->dy = run->grad_out[0];
    g->value = g->activation == CLVI_ACT_SILU ? run->saved[0] : run->out[0];
    g->dz = own ? run->workspace : (clvi_view){0};
    g->dbias = run->grad_in[2];
    if (own || g->dbias.buf)
        CLV_TRY(clvi_act_backward(run->device, g, error));
    if (!own)
        g->dz = run->grad_out[0];
    return CLV_OK;
}
