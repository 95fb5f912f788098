"""Values that need no file: each variable, picture and label is a function of its name, here and in
network_values.c alike. And how a tensor of a million elements is written down in eight numbers."""
import os
import sys

import numpy as np

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(FOLDER))

SAMPLES = 4


def name_hash(name):
    """FNV-1a, 32 bits."""
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def uniform(name, count):
    """`count` numbers in [-1, 1), exact in f32: the index and the name's hash, mixed as MurmurHash3
    finishes."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(name_hash(name))
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float64) / 8388608 - 1


def variable(name, shape):
    """A variable in Conclave's layout, f32. Weights are as large as He's; normalisations, biases and
    running statistics near where they start."""
    shape = tuple(shape)
    offset, scale = 0.0, 0.1
    if len(shape) > 1:
        inputs = shape[0] * shape[1] if len(shape) == 3 else int(np.prod(shape[:-1]))
        scale = np.sqrt(6.0 / inputs)
    elif name.endswith('.weight'):
        offset, scale = 1.0, 0.25
    elif name.endswith('.running_var'):
        offset, scale = 1.0, 0.5
    count = int(np.prod(shape))
    return (offset + scale * uniform(name, count)).astype(np.float32).reshape(shape)


def images(step, batch, height, width):
    """Normalised pixels of a step's batch, f32 NHWC."""
    shape = (batch, height, width, 3)
    values = 2 * uniform('images.%d' % step, int(np.prod(shape)))
    return values.astype(np.float32).reshape(shape)


def labels(step, batch, classes):
    return ((uniform('labels.%d' % step, batch) + 1) / 2 * classes).astype(np.int64)


def row(name, values):
    """What is kept of a tensor in Conclave's layout: hash of the name, elements, norm, product with
    the numbers NAME.along, and the elements at the numbers NAME.at."""
    flat = np.asarray(values, np.float64).reshape(-1)
    at = ((uniform(name + '.at', SAMPLES) + 1) / 2 * len(flat)).astype(np.int64)
    return [name_hash(name), len(flat), np.linalg.norm(flat),
            flat @ uniform(name + '.along', len(flat))] + list(flat[at])
