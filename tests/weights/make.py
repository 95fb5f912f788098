#!/usr/bin/env python3
"""Makes the weight files of this folder with PyTorch (1.13): tests/weights/make.py FOLDER.

Element k of tensor number i holds (k + 3·i)/4, which every dtype holds exactly."""
import collections
import sys

import torch

folder = sys.argv[1]


def tensor(i, *shape, dtype=torch.float32):
    count = 1
    for extent in shape:
        count *= extent
    return ((torch.arange(count, dtype=torch.float64) + 3 * i) / 4).reshape(shape).to(dtype)


state = collections.OrderedDict()
state["f32"] = tensor(0, 2, 3, 4)
state["f16"] = tensor(1, 5, dtype=torch.float16)
state["bf16"] = tensor(2, 3, 2, dtype=torch.bfloat16)
state["f64"] = tensor(3, 4, dtype=torch.float64)
state["i64"] = torch.arange(6).reshape(2, 3) - 2
state["count"] = torch.tensor(70000)
state["turned"] = tensor(4, 3, 4).t()  # strides (1, 4)
shared = tensor(5, 4, 6)
state["column"] = shared[:, 2]  # strides (6), from element 2
state["rows"] = shared[1:3]
state["whole"] = shared
state["parameter"] = torch.nn.Parameter(tensor(6, 2, 2))
state["none"] = torch.zeros(0, 3)
nested = {"epoch": 3, "best": 0.5, "model_state_dict": state, "class_names": ["ä", "b"],
          "optimizer": {"state": {0: {"exp_avg": tensor(0, 2)}}, "param_groups": [{"lr": 1e-3}]},
          "done": True, "note": None, "big": 1 << 80, "long": -(1 << 40)}
torch.save(nested, folder + "/zip.pth")
torch.save(nested, folder + "/plain.pth", _use_new_zipfile_serialization=False)
torch.save(nested, folder + "/protocol4.pth", pickle_protocol=4)
torch.save({"a": {"w": tensor(0, 2)}, "b": {"w": tensor(0, 2)}}, folder + "/two.pth")
torch.save([1, 2], folder + "/list.pth")
torch.save(torch.nn.Linear(2, 2), folder + "/module.pth")
torch.save({"w": tensor(0, 2), "flag": torch.tensor([True])}, folder + "/bool.pth")
torch.save({"w": tensor(0, 2), "tags": {"x"}}, folder + "/set.pth")
