#!/usr/bin/env python3
"""Loads each FOLDER/KIND-NAME.safetensors strictly into PyTorch's network of that kind, and compares
what it makes of the pictures in FOLDER/KIND-NAME.answers with the probabilities there. The module of
the kind cnn is the one in README. Exit status 77 where there is no torchvision.

    python3 tests/export/run_torch.py FOLDER LIMIT README
"""
import json
import pathlib
import re
import struct
import sys

try:
    import numpy
    import torch
    import torchvision
except ImportError as missing:
    print(f"{sys.executable}: {missing}")
    sys.exit(77)

CLASSES = 5
DTYPES = {"F32": "<f4", "I64": "<i8"}


def tensors(path):
    """The tensors of a safetensors file by name."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            values = numpy.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
            found[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return found


def cnn_module(readme):
    """The class Cnn of the first block of Python in README."""
    names = {}
    exec(re.search(r"```python\n(.*?)```", readme.read_text(), re.S).group(1), names)
    return names["Cnn"]


def network(name, cnn):
    """The module, and mean and deviation of its pixels."""
    imagenet = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    kind = name.split("-")[0]
    if kind == "cnn":
        return {
            "cnn-plain": lambda: cnn(1, CLASSES),
            "cnn-more": lambda: cnn(3, CLASSES, [4, 6], convs=2, kernel=5, norm=False, hidden=9,
                                    activation=torch.nn.SiLU, pool=torch.nn.AvgPool2d),
        }[name](), [0.5], [0.5]
    return getattr(torchvision.models, kind)(num_classes=CLASSES), *imagenet


def apart(path, cnn):
    wanted = tensors(path.with_suffix(".answers"))
    module, mean, deviation = network(path.stem, cnn)
    weights = tensors(path)
    module.load_state_dict(weights, strict=True)
    counters = [value for key, value in weights.items() if key.endswith("num_batches_tracked")]
    if any(value != 1234567890123 for value in counters):
        raise SystemExit(f"{path.name}: other counters of batches")
    module.eval()
    along = (1, -1, 1, 1)
    pixels = wanted["image"] / 255 - torch.tensor(mean).reshape(along)
    with torch.no_grad():
        logits = module(pixels / torch.tensor(deviation).reshape(along))
    chances = torch.softmax(logits / wanted["temperature"], 1)
    return float((chances - wanted["probabilities"]).abs().max())


def main():
    folder, limit, readme = pathlib.Path(sys.argv[1]), float(sys.argv[2]), pathlib.Path(sys.argv[3])
    cnn = cnn_module(readme)
    paths = sorted(folder.glob("*.safetensors"))
    failed = 0
    for path in paths:
        difference = apart(path, cnn)
        print(f"# {path.stem}: {difference:.1e}")
        failed += not difference <= limit
    return 1 if failed or not paths else 0


sys.exit(main())
