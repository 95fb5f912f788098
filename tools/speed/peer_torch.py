#!/usr/bin/env python3
"""One workload in PyTorch, step by step at the pace of compare.py; the protocol is in README.md.

usage: peer_torch.py NAME:SIZE:BATCH:MODE --threads N [--compile] [--format nchw|channels_last]
"""
import argparse
import json
import resource
import sys
import time


def say(**values):
    print(json.dumps(values), flush=True)


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def small_cnn(nn, classes):
    """The network of `conclave bench --model cnn`: its plugin's defaults."""
    def block(i, o):
        return [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(*block(3, 32), nn.MaxPool2d(2), *block(32, 64), nn.MaxPool2d(2), *block(64, 128),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def optimizer_of(torch, model):
    """AdamW in the fastest form that this PyTorch has for the CPU."""
    for fast in ({'fused': True}, {'foreach': True}, {}):
        try:
            made = torch.optim.AdamW(model.parameters(), 1e-3, **fast)
            return made
        except (RuntimeError, TypeError):
            continue
    raise SystemExit('no AdamW')


class Steps:
    """A network with inputs in memory; run() does one step."""

    def __init__(self, torch, workload, layout, compiled):
        import torchvision
        name, size, batch, mode = workload.split(':')
        torch.manual_seed(0)
        if name == 'cnn':
            model = small_cnn(torch.nn, 46)
        else:
            model = getattr(torchvision.models, name)(num_classes=46)
        layout = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
        self.torch, self.train = torch, mode == 'train'
        self.model = model.to(memory_format=layout).train(self.train)
        self.x = torch.randn(int(batch), 3, int(size), int(size)).to(memory_format=layout)
        self.y = torch.arange(int(batch)) % 46
        if self.train:
            self.optimizer = optimizer_of(torch, self.model)
            self.loss = torch.nn.CrossEntropyLoss()
        self.forward = torch.compile(self.model) if compiled else self.model

    def run(self):
        began = time.perf_counter()
        if self.train:
            self.optimizer.zero_grad()
            self.loss(self.forward(self.x), self.y).backward()
            self.optimizer.step()
        else:
            with self.torch.inference_mode():
                self.forward(self.x)
        return (time.perf_counter() - began) * 1e3


def fastest_layout(torch, workload):
    best = {}
    for layout in ('nchw', 'channels_last'):
        steps = Steps(torch, workload, layout, False)
        best[layout] = min(steps.run() for _ in range(4))
    return min(best, key=best.get)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('workload')
    parser.add_argument('--threads', type=int, required=True)
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--format', choices=['nchw', 'channels_last', 'fastest'], default='fastest')
    args = parser.parse_args()
    import torch
    torch.set_num_threads(args.threads)
    say(version=f'PyTorch {torch.__version__}')
    layout = args.format
    if layout == 'fastest':
        layout = fastest_layout(torch, args.workload)
        say(format=layout)
        return
    base = peak_mib()
    steps = Steps(torch, args.workload, layout, args.compile)
    say(first_ms=steps.run())
    say(ready=steps.run())
    for _ in sys.stdin:
        say(ms=steps.run())
    say(base_mib=base)
    say(peak_mib=peak_mib())


if __name__ == '__main__':
    main()
