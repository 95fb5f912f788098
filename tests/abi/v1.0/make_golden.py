#!/usr/bin/env python3
"""What PyTorch makes of the network of expert_first.c, for check-plugin --golden.

    make_golden.py expert_first.safetensors

Needs torch and safetensors. Run once, when ABI 1.0 was cut: what it wrote must stay true."""
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

WIDTH, GRID, CLASSES, FILL = 4, (2, 3), 5, 0.5
SAMPLES, HEIGHT, WIDTH_PIXELS = 3, 11, 9


def normed(x, t, name, eps):
    return F.batch_norm(x, t[name + ".running_mean"], t[name + ".running_var"], t[name + ".weight"],
                        t[name + ".bias"], False, 0, eps)


def network(x, t):
    x = F.pad(x, (0, 1, 1, 2))  # left, right, top, bottom
    x = torch.relu(F.conv2d(x, t["stem.weight"], t["stem.bias"], stride=2, padding=1))
    y = F.silu(normed(F.conv2d(x, t["paths.same.weight"], padding=1), t, "paths.same_norm", 1e-3))
    y = y + F.silu(F.conv2d(x, t["paths.depthwise.weight"], t["paths.depthwise.bias"], padding=1,
                            groups=WIDTH))
    y = y * F.conv2d(x, t["paths.grouped.weight"], groups=2)
    x = torch.relu(normed(y, t, "paths.norm", 1e-5))
    s = F.silu(F.linear(x.mean((2, 3)), t["less.weight"], t["less.bias"]))
    s = torch.sigmoid(F.linear(s, t["more.weight"], t["more.bias"]))
    x = x * s[:, :, None, None]
    x = F.max_pool2d(x, 3, 1, 1)
    x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    x = F.adaptive_avg_pool2d(x, GRID)
    few = torch.softmax(F.linear(x.flatten(1), t["few.weight"], t["few.bias"]), 1)
    flat = x.permute(0, 2, 3, 1).flatten(1)  # Conclave's images are NHWC
    features = torch.cat((flat, few, torch.full((len(x), 2), FILL)), 1)
    return features, F.linear(features, t["classifier.weight"], t["classifier.bias"])


def main():
    torch.manual_seed(1)
    cells = WIDTH * GRID[0] * GRID[1]
    shapes = {"stem": (WIDTH, 3, 3, 3), "paths.same": (WIDTH, WIDTH, 3, 3),
              "paths.depthwise": (WIDTH, 1, 3, 3), "paths.grouped": (WIDTH, WIDTH // 2, 1, 1),
              "less": (WIDTH // 2, WIDTH), "more": (WIDTH, WIDTH // 2), "few": (4, cells),
              "classifier": (CLASSES, cells + 6)}
    t = {}
    for name, shape in shapes.items():
        t[name + ".weight"] = torch.randn(shape) * 0.5
        if name not in ("paths.same", "paths.grouped"):
            t[name + ".bias"] = torch.randn(shape[0]) * 0.5
    for name in ("paths.same_norm", "paths.norm"):
        t[name + ".weight"], t[name + ".bias"] = torch.randn(WIDTH) + 1, torch.randn(WIDTH)
        t[name + ".running_mean"], t[name + ".running_var"] = torch.randn(WIDTH), torch.rand(WIDTH) + 0.5
    x = torch.randn(SAMPLES, 3, HEIGHT, WIDTH_PIXELS)
    features, logits = network(x, t)
    t.update({"input.image": x, "output.features": features, "output.logits": logits})
    save_file({k: v.contiguous() for k, v in t.items()}, sys.argv[1], metadata={"layout": "NCHW"})


if __name__ == "__main__":
    main()
