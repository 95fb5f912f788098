#!/usr/bin/env python3
"""Decoding and resizing of one thread: Conclave beside Pillow with torchvision, measured in turn.

Each program goes once over the first --count training images, in turn, --repeat times; a ratio is that of two
passes of one round. Files are read before; colour pictures only (a grey one is made RGB by the others).

usage: tools/speed/images.py --conclave build/tools/conclave --python PYTHON [--python OLDER]...
                             [--size 224]... [--count 500] [--repeat 15] PATH
"""
import argparse
import sys
import time

import compare


def peer(python, args, size):
    program = compare.Program(python, [python, str(compare.HERE / 'peer_images.py'), args.path, str(size),
                                       str(args.count)], {'OMP_NUM_THREADS': '1'})
    program.label = program.notes['version']
    return program


def measure(args, size):
    command = [args.conclave, 'bench', '--paced', '--quiet', '--images', args.path, '--image-size', str(size),
               '--batch', str(args.count)]
    programs = [compare.Program('Conclave', command, {})] + [peer(python, args, size) for python in args.python]
    count = programs[1].notes['images']
    for _ in range(args.repeat):
        for program in programs:
            time.sleep(compare.PAUSE)
            program.steps.append(program.step())
    for program in programs:
        program.process.stdin.close()
        program.process.wait()
        low, middle, high = compare.quartiles(program.steps)
        times = [theirs / mine for theirs, mine in zip(program.steps, programs[0].steps)]
        ratio = '' if program is programs[0] else '{1:.2f}× ({0:.2f}–{2:.2f})'.format(*compare.quartiles(times))
        print(f'| {count} to {size} × {size} | {program.label} | {middle / count:.2f} '
              f'({low / count:.2f}–{high / count:.2f}) | {ratio} |', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--conclave', default='build/tools/conclave', help='the command, a release build')
    parser.add_argument('--python', action='append', default=[], help='a Python that has Pillow and torchvision')
    parser.add_argument('--size', action='append', type=int, help='side of the resized pictures')
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--repeat', type=int, default=15)
    parser.add_argument('path', help='folder or archive of class folders')
    args = parser.parse_args()
    if args.repeat < 2 or not args.python:
        parser.error('--repeat is at least 2, and --python names at least one Python')
    print('| images | program | ms of an image: median (quartiles) | slower than Conclave by: median (quartiles) |\n'
          '|---|---|---|---|')
    for size in args.size or [224]:
        measure(args, size)


if __name__ == '__main__':
    sys.exit(main())
