#!/usr/bin/env python3
"""Writes the golden vectors NAME.golden and MANIFEST beside this file: what PyTorch answers, in double
precision, to single-precision inputs. vectors.py says how a file is laid out; test_golden.c replays
them; PyTorch is needed here only.

    python3 tests/golden/make.py

All data is in Conclave's layout: images NHWC, convolution weights [kh, kw, in, out], depthwise ones
[kh, kw, C], dense ones [in, out]. The tensors that PyTorch differentiates have it too: they are permuted
on the way into its functions, so gradients come out permuted back.
"""
import os
import zlib

import numpy as np
import torch
import torch.nn.functional as F

import vectors

FOLDER = os.path.dirname(os.path.abspath(__file__))


def write(name, op, seed, attributes, tensors):
    vectors.write(FOLDER, name, op, seed, torch.__version__, attributes, tensors)


class Tensor:
    """An input of a case: kind, extents (batch included), and how it is filled."""

    def __init__(self, kind, *dims, fill='normal', scale=1.0):
        self.kind, self.dims, self.fill, self.scale = kind, dims, fill, scale

    def draw(self, random):
        if self.fill == 'labels':
            return random.randint(0, int(self.scale), self.dims).astype(np.int32)
        if self.fill == 'positive':
            return random.uniform(0.5, 1.5, self.dims).astype(np.float32)
        x = random.standard_normal(self.dims) * self.scale
        if self.fill == 'away':  # of 0, where relu has a kink
            x += np.where(x < 0, -0.05, 0.05)
        return x.astype(np.float32)


def INPUT(*dims, **how):
    return Tensor('input', *dims, **how)


def PARAMETER(*dims, **how):
    return Tensor('parameter', *dims, **how)


def STATE(*dims, **how):
    return Tensor('state', *dims, **how)


def case(name, op, inputs, function, modes=False, **attributes):
    """function(list of tensors, train) is the op in PyTorch; None among `inputs`: left out. modes:
    inference differs from training."""
    seed = zlib.crc32(name.encode())
    random = np.random.RandomState(seed)
    tensors, leaves = [], []
    for i, t in enumerate(inputs):
        if t is None:
            tensors.append(('absent', i, np.zeros(0, np.float32)))
            leaves.append(None)
            continue
        values = t.draw(random)
        tensors.append((t.kind, i, values))
        leaf = torch.tensor(values if values.dtype == np.int32 else values.astype(np.float64))
        leaf.requires_grad_(t.kind != 'state' and values.dtype != np.int32)
        leaves.append(leaf)
    if modes:
        with torch.no_grad():
            tensors.append(('infer', 0, function(copies(inputs, leaves), False).numpy()))
    used = copies(inputs, leaves)
    out = function(used, True)
    tensors.append(('train', 0, out.detach().numpy()))
    grad = random.standard_normal(tuple(out.shape)).astype(np.float32)
    tensors.append(('grad_out', 0, grad))
    out.backward(torch.tensor(grad.astype(np.float64)))
    for i, t in enumerate(inputs):
        if t is not None and t.kind == 'state':
            tensors.append(('after', i, used[i].numpy()))
        elif t is not None and leaves[i].requires_grad:
            tensors.append(('grad_in', i, leaves[i].grad.numpy()))
    write(name, op, seed, attributes, tensors)


def copies(inputs, leaves):
    """The leaves, states as copies, which PyTorch may write to."""
    return [leaf.clone() if t is not None and t.kind == 'state' else leaf
            for t, leaf in zip(inputs, leaves)]


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


ACTIVATIONS = {'none': lambda x: x, 'relu': F.relu, 'silu': F.silu}


def convolve(x, weight, bias, stride, pads, groups=1):
    """x NHWC; weight [kh, kw, in / groups, out], or [kh, kw, C] with groups = C. pads: top, left, bottom, right."""
    if weight.dim() == 3:
        weight = weight.unsqueeze(2)
    x = F.pad(nchw(x), (pads[1], pads[3], pads[0], pads[2]))
    return nhwc(F.conv2d(x, weight.permute(3, 2, 0, 1), bias, stride, groups=groups))


def normalise(x, weight, bias, mean, var, train, eps=1e-5, momentum=0.1):
    """x [N, …, C]."""
    moved = x.movedim(-1, 1)
    return F.batch_norm(moved, mean, var, weight, bias, train, momentum, eps).movedim(1, -1)


def geometry(stride, pads, activation):
    return {'stride_h': stride, 'stride_w': stride, 'pad_top': pads[0], 'pad_left': pads[1],
            'pad_bottom': pads[2], 'pad_right': pads[3], 'activation': activation}


def convolutions():
    def one(name, n, h, w, c, f, k, stride, pads, activation='none', bias=True, groups=1):
        more = {'groups': groups} if groups > 1 else {}
        case(name, 'conv2d',
             [INPUT(n, h, w, c), PARAMETER(k, k, c // groups, f, scale=0.3),
              PARAMETER(f) if bias else None],
             lambda t, train: ACTIVATIONS[activation](
                 convolve(t[0], t[1], t[2], stride, pads, groups)),
             **geometry(stride, pads, activation), **more)

    one('conv2d-1x1', 3, 3, 5, 31, 33, 1, 1, (0, 0, 0, 0))
    one('conv2d-3x3', 3, 7, 8, 5, 19, 3, 1, (1, 1, 1, 1))
    one('conv2d-3x3-stride-2', 2, 9, 8, 7, 33, 3, 2, (1, 1, 1, 1), 'silu')
    one('conv2d-5x5-stride-2', 2, 11, 10, 3, 18, 5, 2, (2, 2, 2, 2), 'relu')
    one('conv2d-no-padding', 2, 6, 7, 17, 8, 3, 1, (0, 0, 0, 0), bias=False)
    one('conv2d-groups', 2, 6, 7, 15, 33, 3, 1, (1, 1, 1, 1), 'silu', groups=3)
    one('conv2d-groups-stride-2', 2, 9, 8, 8, 12, 3, 2, (0, 1, 1, 1), groups=4)
    one('conv2d-padding-apart', 3, 8, 8, 7, 16, 3, 2, (0, 0, 1, 1))

    def depthwise(name, n, h, w, c, k, stride, pads, activation='none', bias=True):
        case(name, 'depthwise_conv2d',
             [INPUT(n, h, w, c), PARAMETER(k, k, c, scale=0.3), PARAMETER(c) if bias else None],
             lambda t, train: ACTIVATIONS[activation](
                 convolve(t[0], t[1], t[2], stride, pads, groups=c)),
             **geometry(stride, pads, activation))

    depthwise('depthwise_conv2d-3x3', 1, 7, 11, 33, 3, 1, (1, 1, 1, 1))
    depthwise('depthwise_conv2d-3x3-stride-2', 2, 9, 8, 32, 3, 2, (1, 1, 1, 1), 'silu')
    depthwise('depthwise_conv2d-5x5', 2, 7, 10, 17, 5, 1, (2, 2, 2, 2), 'relu')
    depthwise('depthwise_conv2d-padding-apart', 3, 8, 8, 19, 5, 2, (1, 1, 2, 2), bias=False)
    depthwise('depthwise_conv2d-7x7', 1, 9, 8, 5, 7, 1, (3, 3, 3, 3))


def normalisations():
    def norm(c):
        return [PARAMETER(c, fill='positive'), PARAMETER(c), STATE(c), STATE(c, fill='positive')]

    def conv_bn(name, n, h, w, c, f, k, stride, pad, activation, groups=1):
        pads = (pad,) * 4
        more = {'groups': groups} if groups > 1 else {}
        case(name, 'conv2d_bn',
             [INPUT(n, h, w, c), PARAMETER(k, k, c // groups, f, scale=0.3)] + norm(f),
             lambda t, train: ACTIVATIONS[activation](
                 normalise(convolve(t[0], t[1], None, stride, pads, groups), *t[2:], train)),
             modes=True, **geometry(stride, pads, activation), **more)

    conv_bn('conv2d_bn', 3, 5, 7, 5, 17, 3, 1, 1, 'none')
    conv_bn('conv2d_bn-relu', 4, 5, 4, 3, 32, 3, 1, 1, 'relu')
    conv_bn('conv2d_bn-silu', 3, 5, 6, 9, 33, 3, 2, 1, 'silu')
    conv_bn('conv2d_bn-groups', 3, 5, 6, 12, 34, 3, 1, 1, 'silu', groups=2)
    conv_bn('conv2d_bn-1x1-silu', 5, 3, 4, 31, 18, 1, 1, 0, 'silu')

    def depthwise_bn(name, n, h, w, c, k, stride, pad, activation):
        pads = (pad,) * 4
        case(name, 'depthwise_conv2d_bn',
             [INPUT(n, h, w, c), PARAMETER(k, k, c, scale=0.3)] + norm(c),
             lambda t, train: ACTIVATIONS[activation](
                 normalise(convolve(t[0], t[1], None, stride, pads, groups=c), *t[2:], train)),
             modes=True, **geometry(stride, pads, activation))

    depthwise_bn('depthwise_conv2d_bn-silu', 3, 5, 6, 33, 3, 1, 1, 'silu')
    depthwise_bn('depthwise_conv2d_bn-5x5-stride-2', 2, 9, 8, 17, 5, 2, 2, 'none')

    def batch_norm(name, dims, activation='none', eps=1e-5, momentum=0.1):
        case(name, 'batch_norm', [INPUT(*dims)] + norm(dims[-1]),
             lambda t, train: ACTIVATIONS[activation](normalise(*t, train, eps, momentum)),
             modes=True, activation=activation, eps=eps, momentum=momentum)

    batch_norm('batch_norm', (3, 3, 4, 33))
    batch_norm('batch_norm-relu', (4, 6, 5, 16), 'relu')
    batch_norm('batch_norm-silu', (2, 9, 7, 19), 'silu', 1e-3, 0.01)
    batch_norm('batch_norm-rows', (31, 18))


def dense_and_elementwise():
    def dense(name, n, units_in, units_out, activation='none', bias=True):
        case(name, 'dense',
             [INPUT(n, units_in), PARAMETER(units_in, units_out, scale=0.3),
              PARAMETER(units_out) if bias else None],
             lambda t, train: ACTIVATIONS[activation](F.linear(t[0], t[1].t(), t[2])),
             activation=activation)

    dense('dense', 7, 65, 46)
    dense('dense-relu', 33, 31, 17, 'relu')
    dense('dense-silu', 5, 64, 33, 'silu')

    case('relu', 'relu', [INPUT(5, 3, 7, 11, fill='away')], lambda t, train: F.relu(t[0]))
    case('silu', 'silu', [INPUT(5, 3, 7, 11, scale=3)], lambda t, train: F.silu(t[0]))
    case('sigmoid', 'sigmoid', [INPUT(5, 3, 7, 11, scale=3)], lambda t, train: torch.sigmoid(t[0]))
    case('add', 'add', [INPUT(3, 5, 7, 9), INPUT(3, 5, 7, 9)], lambda t, train: t[0] + t[1])
    case('softmax', 'softmax', [INPUT(7, 46, scale=3)], lambda t, train: F.softmax(t[0], 1))
    for smoothing in (0.0, 0.1):
        case('cross_entropy' + ('-smooth' if smoothing else ''), 'cross_entropy',
             [INPUT(33, 46, scale=2), INPUT(33, fill='labels', scale=46)],
             lambda t, train: F.cross_entropy(t[0], t[1].long(), reduction='none',
                                              label_smoothing=smoothing),
             label_smoothing=smoothing)


def shapes_and_routes():
    case('multiply', 'multiply', [INPUT(3, 5, 7, 9), INPUT(3, 5, 7, 9)],
         lambda t, train: t[0] * t[1])
    case('multiply-channels', 'multiply', [INPUT(3, 5, 4, 33), INPUT(3, 33)],
         lambda t, train: t[0] * t[1][:, None, None, :])
    case('multiply-channels-4d', 'multiply', [INPUT(2, 5, 6, 31), INPUT(2, 1, 1, 31)],
         lambda t, train: t[0] * t[1])
    case('concat', 'concat', [INPUT(3, 5, 4, 7), INPUT(3, 5, 4, 16), INPUT(3, 5, 4, 1)],
         lambda t, train: torch.cat(t, 3))
    case('pad', 'pad', [INPUT(3, 5, 4, 7)],
         lambda t, train: nhwc(F.pad(nchw(t[0]), (2, 4, 1, 3))), top=1, left=2, bottom=3, right=4)
    case('max_pool2d', 'max_pool2d', [INPUT(3, 8, 10, 17)],
         lambda t, train: nhwc(F.max_pool2d(nchw(t[0]), 2, 2)), kernel=2, stride=2, pad=0)
    case('max_pool2d-overlapping', 'max_pool2d', [INPUT(3, 9, 8, 19)],
         lambda t, train: nhwc(F.max_pool2d(nchw(t[0]), 3, 2, 1)), kernel=3, stride=2, pad=1)
    case('avg_pool2d', 'avg_pool2d', [INPUT(3, 9, 8, 19)],
         lambda t, train: nhwc(F.avg_pool2d(nchw(t[0]), 3, 2, 1, count_include_pad=False)),
         kernel=3, stride=2, pad=1)
    case('adaptive_avg_pool2d', 'adaptive_avg_pool2d', [INPUT(3, 10, 17, 19)],
         lambda t, train: nhwc(F.adaptive_avg_pool2d(nchw(t[0]), (7, 5))), height=7, width=5)
    case('adaptive_avg_pool2d-larger', 'adaptive_avg_pool2d', [INPUT(3, 2, 1, 17)],
         lambda t, train: nhwc(F.adaptive_avg_pool2d(nchw(t[0]), (7, 7))), height=7, width=7)
    case('global_avg_pool', 'global_avg_pool', [INPUT(3, 7, 5, 33)],
         lambda t, train: F.adaptive_avg_pool2d(nchw(t[0]), 1).flatten(1))

    def route(z, k, before):
        if before:
            weights = F.softmax(z, 1)
            return weights * torch.zeros_like(z).scatter(1, z.topk(k).indices, 1.0)
        return F.softmax(torch.full_like(z, -float('inf')).scatter(1, z.topk(k).indices,
                                                                   z.topk(k).values), 1)

    for normalise_ in ('after', 'before'):
        case('topk_mask-' + normalise_, 'topk_mask', [INPUT(33, 8)],
             lambda t, train: route(t[0], 2, normalise_ == 'before'), k=2, normalise=normalise_)


def trajectory():
    """Ten steps of AdamW on a small network: losses, and everything it has learnt afterwards."""
    name, steps, n, classes = 'trajectory', 10, 6, 5
    seed = zlib.crc32(name.encode())
    random = np.random.RandomState(seed)
    images = random.standard_normal((steps, n, 8, 8, 3)).astype(np.float32)
    labels = random.randint(0, classes, (steps, n)).astype(np.int32)
    shapes = {'conv1.weight': (3, 3, 3, 16), 'bn1.weight': (16,), 'bn1.bias': (16,),
              'depthwise.weight': (3, 3, 16), 'depthwise.bias': (16,),
              'conv2.weight': (1, 1, 16, 24), 'bn2.weight': (24,), 'bn2.bias': (24,),
              'squeeze.weight': (24, 6), 'squeeze.bias': (6,),
              'excite.weight': (6, 24), 'excite.bias': (24,),
              'head.weight': (24, classes), 'head.bias': (classes,)}
    tensors, p, states = [], {}, {}
    for key, shape in shapes.items():
        values = (random.standard_normal(shape) * 0.3).astype(np.float32)
        if key in ('bn1.weight', 'bn2.weight'):
            values = np.ones(shape, np.float32)
        tensors.append(('parameter', len(tensors), values, key))
        p[key] = torch.tensor(values.astype(np.float64), requires_grad=True)
    for norm, channels in (('bn1', 16), ('bn2', 24)):
        states[norm + '.running_mean'] = torch.zeros(channels, dtype=torch.float64)
        states[norm + '.running_var'] = torch.ones(channels, dtype=torch.float64)
    tensors += [('input', 0, images, 'image'), ('input', 1, labels, 'labels')]

    def network(x):
        def norm(x, name):
            return normalise(x, p[name + '.weight'], p[name + '.bias'],
                             states[name + '.running_mean'], states[name + '.running_var'], True)

        x = F.relu(norm(convolve(x, p['conv1.weight'], None, 1, (1, 1, 1, 1)), 'bn1'))
        x = nhwc(F.max_pool2d(nchw(x), 2, 2))
        x = F.silu(convolve(x, p['depthwise.weight'], p['depthwise.bias'], 1, (1, 1, 1, 1), 16))
        x = F.silu(norm(convolve(x, p['conv2.weight'], None, 1, (0, 0, 0, 0)), 'bn2'))
        s = F.silu(x.mean((1, 2)) @ p['squeeze.weight'] + p['squeeze.bias'])
        s = torch.sigmoid(s @ p['excite.weight'] + p['excite.bias'])
        x = (x * s[:, None, None, :]).mean((1, 2))
        return x @ p['head.weight'] + p['head.bias']

    attributes = {'lr': 0.01, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8, 'weight_decay': 0.05}
    optimizer = torch.optim.AdamW(p.values(), lr=attributes['lr'], betas=(0.9, 0.999), eps=1e-8,
                                  weight_decay=attributes['weight_decay'])
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        logits = network(torch.tensor(images[step].astype(np.float64)))
        loss = F.cross_entropy(logits, torch.tensor(labels[step]).long())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tensors.append(('loss', 0, np.array(losses)))
    for i, (key, value) in enumerate(list(p.items()) + list(states.items())):
        tensors.append(('trained', i, value.detach().numpy(), key))
    write(name, 'trajectory', seed, attributes, tensors)


def main():
    torch.set_num_threads(1)
    for part in (convolutions, normalisations, dense_and_elementwise, shapes_and_routes, trajectory):
        part()
    vectors.write_manifest(FOLDER)


if __name__ == '__main__':
    main()
