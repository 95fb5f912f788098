#!/usr/bin/env python3
"""Runs each FOLDER/NAME.onnx with ONNX Runtime on the pictures in FOLDER/NAME.safetensors and
compares with the probabilities (and the gate's weights) there. Exit status 77 where there is no
ONNX Runtime.

    python3 tests/export/run_onnx.py FOLDER LIMIT
"""
import json
import pathlib
import struct
import sys

try:
    import numpy
    import onnxruntime
except ImportError as missing:
    print(f"{sys.executable}: {missing}")
    sys.exit(77)


def tensors(path):
    """The f32 tensors of a safetensors file by name."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            found[name] = numpy.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return found


def apart(path):
    """The largest difference, of all pictures together and of the first alone."""
    wanted = tensors(path.with_suffix(".safetensors"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if sorted(names + ["image", "temperature"]) != sorted(wanted):
        raise SystemExit(f"{path.name}: outputs {names}, wanted {sorted(wanted)}")
    worst = 0
    for pictures in wanted["image"], wanted["image"][:1]:
        for name, got in zip(names, session.run(names, {"image": pictures})):
            difference = abs(got - wanted[name][: len(pictures)]).max()
            worst = max(worst, difference if numpy.isfinite(difference) else numpy.inf)
    return worst


def main():
    folder, limit = pathlib.Path(sys.argv[1]), float(sys.argv[2])
    failed = 0
    paths = sorted(folder.glob("*.onnx"))
    for path in paths:
        difference = apart(path)
        chances = tensors(path.with_suffix(".safetensors"))["probabilities"]
        spread = abs(chances - chances[0]).max()
        print(f"# {path.stem}: {difference:.1e}, between pictures {spread:.1e}")
        # Where all pictures look the same to a network of random numbers, more must be right.
        failed += not difference <= min(limit, spread / 20)
    return 1 if failed or not paths else 0


sys.exit(main())
