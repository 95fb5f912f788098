#!/usr/bin/env python3
"""Writes optimizers.h beside this file: where torch.optim takes 33 numbers in 100 steps, in double
precision. tests/unit/test_optimizer.c makes the same values and gradients and compares; PyTorch is
needed here only.

    python3 tests/golden/optimizers.py
"""
import os

import numpy as np
import torch

COUNT, STEPS = 33, 100
# kind, lr, betas, eps, momentum, nesterov, weight decay, clip norm
CASES = [
    ('ADAMW', 3e-3, (0.9, 0.999), 1e-8, 0, False, 0.01, 0),
    ('ADAMW', 1e-2, (0.8, 0.95), 1e-6, 0, False, 0.3, 1),
    ('ADAM', 3e-3, (0.9, 0.999), 1e-8, 0, False, 0, 0),
    ('ADAM', 3e-3, (0.9, 0.99), 1e-8, 0, False, 0.1, 0),
    ('SGD', 5e-2, (0, 0), 1, 0, False, 0.01, 0),
    ('SGD', 5e-3, (0, 0), 1, 0.9, False, 1e-3, 0),
    ('SGD', 5e-3, (0, 0), 1, 0.9, True, 1e-3, 0),
    ('SGD', 5e-2, (0, 0), 1, 0.5, True, 0, 0.5),
]


class Noise:
    """The generator of the test: a 64-bit linear congruence, of which the upper 53 bits count."""

    def __init__(self):
        self.state = 7

    def draw(self, scale):
        values = []
        for _ in range(COUNT):
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            values.append(((self.state >> 11) * 2.0**-53 * 2 - 1) * scale)
        return np.array(values, dtype=np.float32).astype(np.float64)


def run(kind, lr, betas, eps, momentum, nesterov, decay, clip):
    noise = Noise()
    p = torch.nn.Parameter(torch.tensor(noise.draw(1)))
    if kind == 'SGD':
        optimizer = torch.optim.SGD([p], lr, momentum=momentum, nesterov=nesterov,
                                    weight_decay=decay)
    else:
        rule = torch.optim.AdamW if kind == 'ADAMW' else torch.optim.Adam
        optimizer = rule([p], lr, betas=betas, eps=eps, weight_decay=decay)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group['lr'] = lr * (1 - 0.5 * step / STEPS)
        p.grad = torch.tensor(noise.draw(2.0 ** (step * 7 % 9 - 6)))
        if clip > 0:
            torch.nn.utils.clip_grad_norm_([p], clip)
        optimizer.step()
    return p.detach().numpy()


def main():
    lines = ['/* Written by optimizers.py with PyTorch %s: what %d steps of torch.optim make of %d'
             % (torch.__version__, STEPS, COUNT), ' * numbers. */', '/* clang-format off */']
    for case in CASES:
        kind, lr, betas, eps, momentum, nesterov, decay, clip = case
        lines.append('{CLVI_%s, %r, {%r, %r}, %r, %r, %s, %r, %r, {'
                     % (kind, lr, betas[0], betas[1], eps, momentum, str(nesterov).lower(), decay,
                        clip))
        values = ['%.15g' % v for v in run(*case)]
        lines += ['    ' + ', '.join(values[i:i + 4]) + ',' for i in range(0, COUNT, 4)]
        lines.append('}},')
    lines.append('/* clang-format on */')
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'optimizers.h')
    with open(path, 'w') as out:
        out.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
