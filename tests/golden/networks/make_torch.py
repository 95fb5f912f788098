#!/usr/bin/env python3
"""Writes golden vectors of whole networks beside this file: what torchvision's EfficientNet-B0 and
VGG16 answer in double precision, what their gradients and running statistics are, and how ten steps of
AdamW go. All values follow from names (formula.py), so that the files hold answers only.
test_networks.c replays them; PyTorch and torchvision are needed here only.

    python3 tests/golden/networks/make_torch.py [NAME…]

Dropout and stochastic depth are off: what they draw is Conclave's own. With more pictures or larger
steps, ReLU and maximum pooling take other branches in single precision than in double here and there:
a gradient of vgg16 with 4 pictures then differs by 2 %, in PyTorch as well.
"""
import sys

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import formula
import vectors

CLASSES, STEPS, MAP = 10, 10, 7


class Gap(nn.Module):
    """VGG's convolutions with the head that Conclave's `top = gap` has."""

    def __init__(self, features):
        super().__init__()
        self.features = features
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(512, CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def ours(name, value):
    """A variable of torchvision's in Conclave's layout."""
    if value.dim() == 4 and ('.fc1.' in name or '.fc2.' in name):
        return value[:, :, 0, 0].t()
    if value.dim() == 4 and value.shape[1] == 1 and value.shape[0] > 1:
        return value[:, 0].permute(1, 2, 0)
    if value.dim() == 4:
        return value.permute(2, 3, 1, 0)
    if name == 'classifier.0.weight':  # flattened channel by channel there, pixel by pixel here
        return value.view(-1, 512, MAP, MAP).permute(2, 3, 1, 0).reshape(-1, value.shape[0])
    return value.t() if value.dim() == 2 else value


def fill(model):
    """Sets all variables. Returns the biases of convolutions before a normalisation, which Conclave
    has not: it subtracts them from the running means."""
    folded = {}
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith('num_batches_tracked'):
            continue
        view = ours(name, value)  # shares its memory but where it had to be copied
        values = torch.from_numpy(formula.variable(name, view.shape)).double()
        if name == 'classifier.0.weight':
            values = values.view(MAP, MAP, 512, -1).permute(3, 2, 0, 1).reshape(value.shape)
            value.copy_(values)
        else:
            view.copy_(values)
    layers = list(model.features.named_children())
    for (name, layer), (following, norm) in zip(layers, layers[1:]):
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            with torch.no_grad():
                norm.running_mean += layer.bias
            folded['features.%s.bias' % name] = None
            folded['features.%s.running_mean' % following] = layer.bias.detach().clone()
    return folded


def pictures(step, batch, size):
    return torch.from_numpy(formula.images(step, batch, size, size)).double().permute(0, 3, 1, 2)


def loss_of(model, step, batch, size):
    logits = model(pictures(step, batch, size))
    return logits, F.cross_entropy(logits, torch.from_numpy(formula.labels(step, batch, CLASSES)))


def rows(named, folded):
    kept = [(name, ours(name, value.detach())) for name, value in named if folded.get(name, 0) is not None]
    return torch.tensor([formula.row(name, value) for name, value in kept], dtype=torch.float64).numpy()


def trained(model, folded, batch, size, attributes):
    """Gradients and statistics of one batch, then the losses of ten steps."""
    model.train()
    logits, loss = loss_of(model, 0, batch, size)
    loss.backward()
    gradients = rows([(name, p.grad) for name, p in model.named_parameters()], folded)
    states = [(name, value - folded.get(name, 0)) for name, value in model.named_buffers()
              if 'running_' in name]
    tensors = [('train', 0, logits.detach().numpy()), ('grad_in', 0, gradients)]
    if states:
        tensors.append(('after', 0, rows(states, {})))
    optimizer = torch.optim.AdamW(model.parameters(), lr=attributes['lr'],
                                  weight_decay=attributes['weight_decay'])
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, step, batch, size)[1]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print('  losses', ' '.join('%.4f' % value for value in losses))
    return tensors + [('loss', 0, torch.tensor(losses, dtype=torch.float64).numpy())]


def network(name, model, plugin, options, batch, size, lr=0.0):
    """lr 0: only what inference answers."""
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    print(name)
    model = model.double()
    folded = fill(model)
    attributes = {'plugin': plugin, 'batch': batch, 'height': size, 'width': size,
                  'classes': CLASSES, 'lr': lr, 'weight_decay': 0.05}
    attributes.update(('option.' + key, value) for key, value in options.items())
    with torch.no_grad():
        logits = model.eval()(pictures(0, batch, size))
    print('  logits', logits[0, :4].numpy(), logits[-1, :4].numpy())
    tensors = [('infer', 0, logits.numpy())]
    if lr > 0:
        tensors += trained(model, folded, batch, size, attributes)
    vectors.write(formula.FOLDER, name, 'network', 0, torch.__version__, attributes, tensors)


def efficientnet(strides=None):
    model = torchvision.models.efficientnet_b0(num_classes=CLASSES, stochastic_depth_prob=0.0)
    model.classifier[0].p = 0.0
    if strides == 'stem':
        model.features[0][0].stride = (1, 1)
    return model


def main():
    torch.set_num_threads(2)
    silent = {'dropout': 0.0, 'drop_path': 0.0}
    network('efficientnet_b0', efficientnet(), 'efficientnet_b0', silent, 8, 64, lr=1e-3)
    network('efficientnet_b0-stem', efficientnet('stem'), 'efficientnet_b0',
            dict(silent, strides='1,1,2,2,2,1,2,1'), 4, 32)
    silent = {'dropout': 0.0, 'top': 'gap'}
    network('vgg16-gap', Gap(torchvision.models.vgg16(num_classes=1).features), 'vgg16', silent, 2, 32,
            lr=2e-5)
    network('vgg16-gap-bn', Gap(torchvision.models.vgg16_bn(num_classes=1).features), 'vgg16',
            dict(silent, batch_norm='yes'), 4, 32, lr=2e-5)
    network('vgg16-fc', torchvision.models.vgg16(num_classes=CLASSES), 'vgg16', {}, 1, 64)
    vectors.write_manifest(formula.FOLDER)


if __name__ == '__main__':
    main()
