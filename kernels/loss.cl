/* loss_seed: what the loss of each sample counts in the loss of the batch, times `share`: seed[i] =
 * share·weights[labels[i]], and share where the label is no class. labels, seed [n], weights
 * [classes]; seed is overwritten. NDRange: groups of CLV_ITEMS work-items, each a share of the
 * samples; 0 bytes of local memory. */
#include "group.clh"

CLV_GROUP __kernel void loss_seed(__global float *restrict seed, ulong seed_at,
                                  __global const int *restrict labels, ulong labels_at,
                                  __global const float *restrict weights, ulong weights_at, int n,
                                  int classes, float share, int items)
{
    for (int i = CLV_BEGIN(items) + CLV_ITEM, end = CLV_END(n, items); i < end; i += CLV_ITEMS) {
        const int label = labels[labels_at + i];
        const bool valid = label >= 0 && label < classes;
        seed[seed_at + i] = valid ? share * weights[weights_at + label] : share;
    }
}
