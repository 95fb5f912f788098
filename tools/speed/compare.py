#!/usr/bin/env python3
"""Conclave's speed beside PyTorch's and ONNX Runtime's, measured in turn on the same cores.

All programs of a workload are started and warmed up; then each has its turn, --repeat times: one step, and
of short ones as many as fill a fifth of a second. A ratio is that of two turns of one round; the table has its median and quartiles over the rounds.
README.md says what is needed and how to read it.

usage: tools/speed/compare.py --conclave build/tools/conclave --python PYTHON [--python OLDER]...
                              [--threads 2] [--repeat 15] [--json FILE] [WORKLOAD...]
WORKLOAD: NAME:SIZE:BATCH:MODE, NAME one of efficientnet_b0, vgg16, cnn; MODE train or infer
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WORKLOADS = ['efficientnet_b0:224:8:train', 'efficientnet_b0:224:8:infer', 'efficientnet_b0:32:64:train',
             'efficientnet_b0:32:64:infer', 'vgg16:224:4:train', 'vgg16:224:4:infer', 'cnn:32:128:train',
             'cnn:32:128:infer', 'efficientnet_b0:224:1:infer']
TURN = 200  # milliseconds that a turn lasts at least
PAUSE = 0.05  # seconds between two programs' steps: threads of the one before have stopped spinning


class Program:
    """A program that does a step for each line it is sent."""

    def __init__(self, label, command, environment):
        self.label, self.version, self.steps, self.notes = label, label, [], {}
        began = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})
        self.wait_for('first_ms')
        self.first_s = time.perf_counter() - began
        self.wait_for('ready')

    def wait_for(self, key):
        for line in self.process.stdout:
            if not line.startswith('{'):
                continue
            values = json.loads(line)
            self.notes.update(values)
            if key in values:
                return values[key]
        raise SystemExit(f'{self.label} ended early, with status {self.process.wait()}')

    def step(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        return self.wait_for('ms')

    def turn(self):
        """A step; where that is short, the median of those after it: the first finds caches full of others' data."""
        steps = [self.step()]
        while sum(steps) < TURN:
            steps.append(self.step())
        self.steps.append(statistics.median(steps[1:] or steps))

    def end(self):
        self.process.stdin.close()
        self.wait_for('peak_mib')
        self.process.wait()
        self.memory = self.notes['peak_mib'] - self.notes['base_mib']


def conclave(args, workload):
    name, size, batch, mode = workload.split(':')
    command = [args.conclave, 'bench', '--paced', '--quiet', '--model', name, '--image-size', size, '--batch', batch,
               '--mode', mode]
    return Program('Conclave', command, {'POCL_MAX_PTHREAD_COUNT': str(args.threads)})


def torch_programs(args, workload):
    programs = []
    for python in args.python:
        base = [python, str(HERE / 'peer_torch.py'), workload, '--threads', str(args.threads)]
        told = subprocess.run(base, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        version, layout = json.loads(told[0])['version'], json.loads(told[-1])['format']
        modern = int(version.split()[1].split('.')[0]) >= 2
        for compiled in (False, True) if modern else (False,):
            label = f'{version} {"compiled" if compiled else "eager"}, {layout}'
            command = base + ['--format', layout] + (['--compile'] if compiled else [])
            programs.append(Program(label, command, {'OMP_NUM_THREADS': str(args.threads)}))
    return programs


def onnx_programs(args, workload, folder):
    if not args.onnx or not workload.startswith('efficientnet_b0') or not workload.endswith(':1:infer'):
        return []
    command = [args.onnx, str(HERE / 'peer_onnx.py'), workload, '--threads', str(args.threads), '--file',
               str(pathlib.Path(folder) / 'network.onnx')]
    subprocess.run(command + ['--export'], check=True, stdout=subprocess.DEVNULL)
    program = Program('ONNX Runtime', command, {})
    program.label = program.notes['version']
    return [program]


def quartiles(values):
    return statistics.quantiles(values, n=4, method='inclusive')


def measure(args, workload, folder):
    programs = [conclave(args, workload)] + torch_programs(args, workload) + onnx_programs(args, workload, folder)
    for _ in range(args.repeat):
        for program in programs:
            time.sleep(PAUSE)
            program.turn()
    for program in programs:
        program.end()
    rows, ours = [], programs[0]
    for program in programs:
        low, middle, high = quartiles(program.steps)
        ratio = quartiles([theirs / mine for theirs, mine in zip(program.steps, ours.steps)])
        rows.append({'workload': workload, 'program': program.label, 'ms': [low, middle, high], 'ratio': ratio,
                     'first_step_s': program.first_s, 'memory_mib': program.memory, 'steps_ms': program.steps})
    return rows


def show(row):
    low, middle, high = row['ms']
    ratio = '' if row['program'] == 'Conclave' else '{1:.2f}× ({0:.2f}–{2:.2f})'.format(*row['ratio'])
    print(f"| {row['workload']} | {row['program']} | {middle:.1f} ({low:.1f}–{high:.1f}) | {ratio} "
          f"| {row['first_step_s']:.1f} | {row['memory_mib']:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--conclave', default='build/tools/conclave', help='the command, a release build')
    parser.add_argument('--python', action='append', default=[], help='a Python that has PyTorch and torchvision')
    parser.add_argument('--onnx', help='a Python that has ONNX Runtime and PyTorch, for the row with batch 1')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeat', type=int, default=15)
    parser.add_argument('--json', help='append each row to this file, a line each')
    parser.add_argument('workload', nargs='*', default=WORKLOADS)
    args = parser.parse_args()
    if args.repeat < 2 or not args.python:
        parser.error('--repeat is at least 2, and --python names at least one Python')
    version = subprocess.run([args.conclave, '--version'], stdout=subprocess.PIPE, text=True, check=True).stdout
    print(f'{version.strip()}; {args.threads} threads, {args.repeat} rounds\n')
    print('| workload | program | step, ms: median (quartiles) | slower than Conclave by: median (quartiles) '
          '| start to end of first step, s | memory over the start, MiB |\n|---|---|---|---|---|---|')
    with tempfile.TemporaryDirectory() as folder:
        for workload in args.workload:
            for row in measure(args, workload, folder):
                show(row)
                if args.json:
                    with open(args.json, 'a', encoding='utf-8') as file:
                        file.write(json.dumps(row) + '\n')


if __name__ == '__main__':
    sys.exit(main())
