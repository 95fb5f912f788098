#!/usr/bin/env python3
"""Inference of a workload by ONNX Runtime, of the file that torch.onnx.export writes; step by step at
the pace of compare.py. The file is made by a process of its own (--export) before anything is timed.

usage: peer_onnx.py NAME:SIZE:BATCH:infer --threads N --file F.onnx [--export]
"""
import argparse
import sys
import time

from peer_torch import peak_mib, say


def export(workload, path):
    import torch
    import torchvision
    name, size, batch, _ = workload.split(':')
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(num_classes=46).eval()
    x = torch.randn(int(batch), 3, int(size), int(size))
    torch.onnx.export(model, (x,), path, input_names=['x'], output_names=['logits'])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('workload')
    parser.add_argument('--threads', type=int, required=True)
    parser.add_argument('--file', required=True)
    parser.add_argument('--export', action='store_true')
    args = parser.parse_args()
    if args.export:
        export(args.workload, args.file)
        return
    import numpy
    import onnxruntime
    say(version=f'ONNX Runtime {onnxruntime.__version__}')
    base = peak_mib()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.file, options, providers=['CPUExecutionProvider'])
    _, size, batch, _ = args.workload.split(':')
    x = numpy.random.default_rng(0).standard_normal((int(batch), 3, int(size), int(size)), numpy.float32)

    def run():
        began = time.perf_counter()
        session.run(None, {'x': x})
        return (time.perf_counter() - began) * 1e3

    say(first_ms=run())
    say(ready=run())
    for _ in sys.stdin:
        say(ms=run())
    say(base_mib=base)
    say(peak_mib=peak_mib())


if __name__ == '__main__':
    main()
