"""Golden files: how they are laid out, and writing them. golden.c reads them.

A file is little-endian:
    header     char magic[4] = "CLVG"; u32 version, seed, attributes, tensors; char torch[28], op[32]
    attribute  char name[24], text[16]; u32 type (as clv_attr_type), 0; i64 whole; f64 real
    tensor     char name[32]; u32 role (see ROLES), index, dtype (1 f32, 2 i32, 4 f64), rank;
               i64 dims[6]; data, padded with zeros to a multiple of 8 bytes
"""
import glob
import hashlib
import os
import struct

import numpy as np

LIMIT = 200 * 1024
VERSION = 1
# What a tensor is; `index` counts the op's inputs or outputs.
ROLES = {name: i for i, name in enumerate(
    ['input', 'parameter', 'state', 'absent', 'train', 'infer', 'after', 'grad_out', 'grad_in',
     'loss', 'trained'], 1)}
DTYPES = {'float32': 1, 'int32': 2, 'float64': 4}


def pack_attribute(name, value):
    if isinstance(value, str):
        kind, whole, real, text = 3, 0, 0.0, value
    elif isinstance(value, float):
        kind, whole, real, text = 2, 0, value, ''
    else:
        kind, whole, real, text = 1, value, 0.0, ''
    return struct.pack('<24s16sIIqd', name.encode(), text.encode(), kind, 0, whole, real)


def pack_tensor(role, index, array, name=''):
    array = np.ascontiguousarray(array)
    data = array.tobytes()
    dims = list(array.shape) + [0] * (6 - array.ndim)
    head = struct.pack('<32sIIII6q', name.encode(), ROLES[role], index, DTYPES[str(array.dtype)],
                       array.ndim, *dims)
    return head + data + b'\0' * (-len(data) % 8)


def write(folder, name, op, seed, maker, attributes, tensors):
    """Writes FOLDER/NAME.golden; maker: version of what answered."""
    blob = struct.pack('<4s4I28s32s', b'CLVG', VERSION, seed, len(attributes), len(tensors),
                       maker.encode(), op.encode())
    blob += b''.join(pack_attribute(*a) for a in attributes.items())
    blob += b''.join(pack_tensor(*t) for t in tensors)
    assert len(blob) <= LIMIT, (name, len(blob))
    with open(os.path.join(folder, name + '.golden'), 'wb') as file:
        file.write(blob)


def write_manifest(folder):
    """The SHA-256 of all golden files in the folder, as sha256sum prints them."""
    with open(os.path.join(folder, 'MANIFEST'), 'w') as file:
        for path in sorted(glob.glob(os.path.join(folder, '*.golden'))):
            with open(path, 'rb') as golden:
                digest = hashlib.sha256(golden.read()).hexdigest()
            file.write('%s  %s\n' % (digest, os.path.basename(path)))
