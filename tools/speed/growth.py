#!/usr/bin/env python3
"""How the time of a step of training grows with batch, image size, experts and threads, as Markdown.

Every point is a process of its own (conclave profile --json); the points of a table are measured --rounds times,
one after the other, and a number is the median over the rounds.

usage: tools/speed/growth.py [--conclave build/tools/conclave] [--rounds 3] [--repeat 5] [--threads 2]
                             [--processor] [TABLE...]
TABLE: batch, size, experts, threads; all if none is given
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

BATCHES = [1, 4, 16, 64, 128, 256]
SIZES = [32, 64, 128, 224]
EXPERTS = [1, 2, 4, 8, 16]
CNN = ['cnn-custom-only']
B0 = ['efficientnet-b0-only']
# As torchvision has it, for pictures of 224 pixels; the configuration's own strides are for 32.
B0_LARGE = B0 + ['expert.efficientnet.strides=2,1,2,2,2,1,2,1']
# Kernels whose work does not shrink with the batch.
WEIGHTS = ('optimizer', 'winograd_filter', 'winograd_param_out', 'gemm_pack', 'gemm_sum')
SMALL = ['plugin=cnn', 'widths=16,32,64,128', 'batch_norm=yes']


class Point:
    """One call of conclave profile, and what its rounds gave."""

    def __init__(self, args, arguments, threads=None):
        self.arguments, self.threads, self.rounds = arguments, threads or args.threads, []
        self.time = 'processor_ms' if args.processor else 'step_ms'

    def run(self, args):
        command = [args.conclave, 'profile', '--quiet', '--json', '--repeat', str(args.repeat)] + self.arguments
        environment = {**os.environ, 'POCL_MAX_PTHREAD_COUNT': str(self.threads)}
        told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        self.rounds.append(json.loads(told))

    def median(self, value):
        return statistics.median(value(r) for r in self.rounds)

    def ms(self):
        return self.median(lambda r: r[self.time])

    def times(self, other):
        """How many times as long as another point's a step takes: median over the rounds."""
        return statistics.median(a[self.time] / b[self.time] for a, b in zip(self.rounds, other.rounds))

    def launches(self):
        return self.median(lambda r: sum(k['launches'] for k in r['kernels']))

    def gflops(self):
        return self.median(lambda r: 2e-6 * sum(o['macs'] for o in r['ops']) / r[self.time])

    def outside(self):
        """Share of the recorded time in which no kernel ran."""
        return self.median(lambda r: 1 - r['kernel_ms'] / r['recorded_ms'])

    def share(self, names):
        """Share of the kernels' time that launches of these kernels took."""
        return self.median(lambda r: sum(k['ms'] for k in r['kernels'] if k['kernel'].startswith(names))
                           / r['kernel_ms'])


def experts(count, top1):
    """`count` small CNNs; dense: all weighed by a linear gate, top-1: each sample to one."""
    names = ','.join(f'cnn{i + 1}' for i in range(count))
    config = ['sparse_top1' if top1 else 'sparse_dense', f'mixture.experts={names}']
    for i in range(8, count):
        config += [f'expert.cnn{i + 1}.{option}' for option in SMALL]
    return config + ['--batch', '128']


class Table:
    """Points by (row, column), and how they become lines."""

    def __init__(self, points):
        self.points = points


class Batch(Table):
    def __init__(self, args):
        super().__init__({(b, i): Point(args, network + ['--batch', str(b)])
                          for b in BATCHES for i, network in enumerate((CNN, B0))})

    def lines(self):
        yield ('| batch, 32 × 32 | CNN: ms | µs an image | no kernel runs | EfficientNet-B0: ms | µs an image '
               '| no kernel runs |')
        yield '|' + '---|' * 7
        for b in BATCHES:
            cells = [f'{p.ms():.2f} | {1e3 * p.ms() / b:.0f} | {100 * p.outside():.0f} %'
                     for p in (self.points[b, 0], self.points[b, 1])]
            yield f'| {b} | ' + ' | '.join(cells) + ' |'
        yield ''
        yield (f'Launches of a step: CNN {self.points[128, 0].launches():.0f}, '
               f'EfficientNet-B0 {self.points[128, 1].launches():.0f}.')


class Size(Table):
    def __init__(self, args):
        super().__init__({(s, i): Point(args, network + ['--batch', '8', '--image-size', str(s)])
                          for s in SIZES for i, network in enumerate((CNN, B0_LARGE))})

    def lines(self):
        yield '| side, batch 8 | CNN: ms | ns a pixel | GFLOP/s | EfficientNet-B0: ms | ns a pixel | GFLOP/s |'
        yield '|' + '---|' * 7
        for s in SIZES:
            cells = [f'{p.ms():.2f} | {1e6 * p.ms() / (8 * s * s):.0f} | {p.gflops():.0f}'
                     for p in (self.points[s, 0], self.points[s, 1])]
            yield f'| {s} | ' + ' | '.join(cells) + ' |'


class Experts(Table):
    def __init__(self, args):
        super().__init__({(n, i): Point(args, experts(n, i == 1))
                          for n in EXPERTS for i in range(2) if n > 1 or i == 0})

    def lines(self):
        yield ('| experts, 32 × 32, batch 128 | dense: ms | of one expert | top-1: ms | of dense '
               '| weights and optimiser in top-1 |')
        yield '|' + '---|' * 6
        one = self.points[1, 0].ms()
        for n in EXPERTS:
            dense = self.points[n, 0]
            if n == 1:
                yield f'| 1 | {one:.1f} | 1.00 | | | |'
                continue
            sparse = self.points[n, 1]
            fixed = sparse.share(WEIGHTS)
            yield (f'| {n} | {dense.ms():.1f} | {dense.ms() / one:.2f} | {sparse.ms():.1f} '
                   f'| {sparse.times(dense):.2f} | {100 * fixed:.0f} % |')


class Threads(Table):
    NAMES = {'CNN, 32 × 32, batch 128': CNN + ['--batch', '128'], 'CNN, 32 × 32, batch 4': CNN + ['--batch', '4'],
             'EfficientNet-B0, 32 × 32, batch 64': B0 + ['--batch', '64'],
             'EfficientNet-B0, 224 × 224, batch 8': B0_LARGE + ['--batch', '8', '--image-size', '224'],
             '8 experts, dense': experts(8, False), '8 experts, top-1': experts(8, True)}

    def __init__(self, args):
        super().__init__({(name, t): Point(args, arguments, t)
                          for name, arguments in self.NAMES.items() for t in (1, 2)})

    def lines(self):
        yield '| | 1 thread: ms | 2 threads: ms | as fast |'
        yield '|' + '---|' * 4
        for name in self.NAMES:
            one, two = self.points[name, 1], self.points[name, 2]
            yield f'| {name} | {one.ms():.1f} | {two.ms():.1f} | {one.times(two):.2f}× |'


TABLES = {'batch': Batch, 'size': Size, 'experts': Experts, 'threads': Threads}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--conclave', default='build/tools/conclave', help='the command, a release build')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--repeat', type=int, default=5, help='steps of a point in a round')
    parser.add_argument('--threads', type=int, default=2, help='of all tables but the last')
    parser.add_argument('--processor', action='store_true',
                        help='processor time of all threads instead, where other work keeps the machine busy')
    parser.add_argument('table', nargs='*', choices=[*TABLES, []], help='; '.join(TABLES))
    args = parser.parse_args()
    for name in args.table or TABLES:
        table = TABLES[name](args)
        for _ in range(args.rounds):
            for point in table.points.values():
                point.run(args)
        print('\n'.join(table.lines()) + '\n', flush=True)


if __name__ == '__main__':
    sys.exit(main())
