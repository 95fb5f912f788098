#include "bounds.h"

#include <stddef.h>
#include <string.h>

/* In units of 2^-24 = 6e-8, the rounding error of one f32 operation. */
#define ULP 6e-8

static const op_bounds table[] = {
    {"add", 0, ULP, 0, ULP, "one rounding"},
    {"fill", 0, ULP, 0, 0, "the value is rounded; the gradient is zero"},
    {"relu", 0, 0, 0, 0, "copies or zeros"},
    {"reshape", 0, 0, 0, 0, "the same memory"},
    {"max_pool2d", 0, 0, 20 * ULP, 4 * ULP, "copies; the gradient sums up to 25 windows"},
    {"dropout", 0, 2 * ULP, 0, 2 * ULP, "1/(1 - rate) and one product are rounded"},
    {"silu", 2 * ULP, 10 * ULP, 4 * ULP, 20 * ULP,
     "exp within 3 ulp (OpenCL), sum, division; the slope cancels near its zero at -1.28"},
    {"avg_pool2d", 4 * ULP, 4 * ULP, 4 * ULP, 8 * ULP, "sums of at most 225 terms"},
    {"adaptive_avg_pool2d", 10 * ULP, 4 * ULP, 4 * ULP, 8 * ULP,
     "sums of up to 100 terms; a product"},
    {"global_avg_pool", 20 * ULP, 4 * ULP, 0, 3 * ULP, "sums of thousands of terms; a product"},
    {"softmax", 2 * ULP, 30 * ULP, 80 * ULP, 30 * ULP,
     "rounding of x - max, up to 20 here, is a relative error of exp; saturated rows cancel in the "
     "gradient"},
    {"cross_entropy", 4 * ULP, 30 * ULP, 8 * ULP, 60 * ULP, "as softmax, and a log"},
    {"dense", 40 * ULP, 20 * ULP, 40 * ULP, 20 * ULP,
     "sums of hundreds of products, of which √n·ULP is typical"},
    {"conv2d", 40 * ULP, 20 * ULP, 40 * ULP, 20 * ULP, "as dense: up to 576 products"},
    {"batch_norm", 40 * ULP, 40 * ULP, 100 * ULP, 100 * ULP,
     "mean and variance are sums over the batch; x - mean and the gradient's means cancel"},
    {"conv2d_bn", 100 * ULP, 100 * ULP, 300 * ULP, 300 * ULP,
     "conv2d's error, divided by a standard deviation, then batch_norm's"},
    {"depthwise_conv2d", 20 * ULP, 20 * ULP, 40 * ULP, 20 * ULP,
     "sums of up to 49 products; of the filter's gradient up to thousands"},
    {"depthwise_conv2d_bn", 100 * ULP, 100 * ULP, 300 * ULP, 300 * ULP, "as conv2d_bn"},
    {"sigmoid", 0, 10 * ULP, 60 * ULP, 10 * ULP,
     "exp within 3 ulp (OpenCL), sum, division; 1 - y is what rounding of y leaves where y is near "
     "1, "
     "and the gradients there are small"},
    {"multiply", 0, ULP, 20 * ULP, 4 * ULP,
     "one rounding; the gradient of factors sums over pixels"},
    {"concat", 0, 0, 0, 0, "copies"},
    {"pad", 0, 0, 0, 0, "copies or zeros"},
    {"drop_path", 0, 2 * ULP, 0, 2 * ULP, "1/(1 - rate) and one product are rounded"},
    {"gather_samples", 0, 0, 2 * ULP, 2 * ULP, "copies; the gradient adds up to 5 repetitions"},
    {"scatter_samples", 2 * ULP, 2 * ULP, 0, 0, "adds up to 5 repetitions; the gradient copies"},
    {"topk_mask", 2 * ULP, 30 * ULP, 40 * ULP, 30 * ULP, "as softmax"},
    {"sign", 0, 0, 0, 0, "1, 0 or -1"},
    {"below_mean", 0, ULP, 0, 0, "the step is rounded; the gradient is zero"},
    {"column_topk", 0, 0, 0, 0, "copies or zeros"},
    {"fuse_scores", 10 * ULP, 60 * ULP, 80 * ULP, 80 * ULP,
     "as softmax, then a log of a sum of exp; differences of saturated rows cancel"},
    {"mixture_loss", 8 * ULP, 60 * ULP, 80 * ULP, 300 * ULP,
     "as softmax, sums over classes and experts, then a log of a sum of exp; 220 ULP seen, tiled"},
    {"balance_loss", 20 * ULP, 60 * ULP, 40 * ULP, 100 * ULP,
     "sums over the batch of softmaxes; the variance cancels"},
    {"load_prob", 4 * ULP, 200 * ULP, 40 * ULP, 200 * ULP,
     "erfc within 16 ulp; log1p, exp and a quotient under a steep slope"},
    {"weigh_columns", 0, 4 * ULP, 20 * ULP, 8 * ULP, "two products; sums over a row of blocks"},
    {"add_noise", 4 * ULP, 4 * ULP, 4 * ULP, 20 * ULP,
     "log within 3 ulp, its root, cospi and sinpi within 4 ulp, log1p and exp"},
};

const op_bounds *op_bounds_find(const char *op)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].op, op) == 0)
            return &table[i];
    return NULL;
}
