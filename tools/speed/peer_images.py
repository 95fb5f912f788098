#!/usr/bin/env python3
"""Pillow and torchvision decode and resize pictures to tensors of bytes, on one thread; see images.py.

usage: peer_images.py PATH SIZE COUNT
"""
import io
import json
import pathlib
import re
import resource
import sys
import tarfile
import time
import zipfile

import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional

ENDINGS = ('.png', '.jpg', '.jpeg')


def natural(path):
    """What sorts as Conclave does: the class's folder by its numbers, then the path."""
    parts = path.split('/')
    return [int(p) if p.isdigit() else p for p in re.split(r'(\d+)', parts[-2])], path


def files(path):
    """Names and bytes of the pictures in a folder or an archive."""
    if pathlib.Path(path).is_dir():
        for file in pathlib.Path(path).rglob('*'):
            if file.name.lower().endswith(ENDINGS):
                yield file.relative_to(path).as_posix(), file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.lower().endswith(ENDINGS):
                    yield name, archive.read(name)
    else:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.lower().endswith(ENDINGS):
                    yield member.name, archive.extractfile(member).read()


def training_images(path, count):
    """Those below a folder named train, or all where there is none."""
    found = [(name, data) for name, data in files(path) if not pathlib.PurePath(name).name.startswith('.')]
    train = [(name, data) for name, data in found if 'train' in name.lower().split('/')[:-1]]
    return [data for _, data in sorted(train or found, key=lambda f: natural(f[0]))[:count]]


def step(images, size):
    begin = time.perf_counter()
    for data in images:
        picture = Image.open(io.BytesIO(data)).convert('RGB')
        functional.pil_to_tensor(functional.resize(picture, [size, size]))
    return 1e3 * (time.perf_counter() - begin)


def main():
    path, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    images = training_images(path, count)
    print(json.dumps({'version': f'Pillow {PIL.__version__}, torchvision {torchvision.__version__}',
                      'images': len(images)}))
    print(json.dumps({'first_ms': step(images, size)}))
    print(json.dumps({'ready': step(images, size)}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({'ms': step(images, size)}), flush=True)
    print(json.dumps({'peak_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


if __name__ == '__main__':
    main()
