#!/usr/bin/env python3
"""Makes the .h5 files of this folder with Keras 3 and h5py: tests/weights/make_keras.py FOLDER.

chain.h5 and chain.weights.h5 are one network in both forms; chain.txt has its answers to pictures
whose pixel at (row y, column x, channel c) of number n is (37·n + 11·y + 7·x + 50·c) mod 256, after
(pixel/255 - 0.5)/0.5."""
import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import h5py
import keras
import numpy as np

folder = sys.argv[1]
layers = keras.layers
keras.utils.set_random_seed(1)
chain = keras.Sequential([
    keras.Input((8, 8, 3)), layers.Rescaling(1.0),
    layers.Conv2D(4, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(6, 3, padding="same", activation="relu"),
    layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(7, activation="relu"),
    layers.Dense(5)])
for layer in chain.layers:
    if layer.get_weights():
        layer.set_weights([np.random.normal(0, 0.5, w.shape) for w in layer.get_weights()])
chain.save(folder + "/chain.h5")
chain.save_weights(folder + "/chain.weights.h5")
n, y, x, c = np.ogrid[:3, :8, :8, :3]
pictures = ((37 * n + 11 * y + 7 * x + 50 * c) % 256 / 255 - 0.5) / 0.5
np.savetxt(folder + "/chain.txt", chain.predict(pictures.astype("float32"), verbose=0), "%.9g")

normal = keras.Sequential([
    keras.Input((8, 8, 3)), layers.Conv2D(2, 3, use_bias=False, name="first"),
    layers.BatchNormalization(name="norm"), layers.DepthwiseConv2D(3, name="deep"),
    layers.Dense(3, name="last")])
normal.layers[1].set_weights([np.array([10.0 * i, 10.0 * i + 1]) for i in range(1, 5)])
normal.save(folder + "/normal.h5")


def texts(items):
    return np.array([item.encode() for item in items])


with h5py.File(folder + "/old.h5", "w") as file:  # as Keras 1 wrote them
    file.attrs["layer_names"] = texts(["input_1", "block1_conv1", "block1_pool", "fc1"])
    for name in ["input_1", "block1_conv1", "block1_pool", "fc1"]:
        group = file.create_group(name)
        weights = [] if name not in ("block1_conv1", "fc1") else [name + "_W_1:0", name + "_b_1:0"]
        group.attrs["weight_names"] = texts(weights)
        for i, weight in enumerate(weights):
            shape = [(3,), (1, 2, 1, 3)][i == 0] if name != "fc1" else [(2,), (4, 2)][i == 0]
            group[weight] = np.arange(np.prod(shape), dtype="f4").reshape(shape)
with h5py.File(folder + "/kinds.h5", "w") as file:  # no names: all datasets
    file["f16"] = np.arange(4, dtype="f2") / 4
    file["f64"] = np.arange(4, dtype="f8") / 4
    file["big_endian"] = np.arange(4, dtype=">f4") / 4
    file["i64"] = np.arange(4, dtype="i8") - 2
    file["scalar"] = np.float32(0.5)
    file.create_dataset("packed", data=np.arange(4000, dtype="f4").reshape(40, 100) / 4,
                        chunks=(7, 30), compression="gzip", shuffle=True)
    file.create_group("optimizer")["m"] = np.zeros(3, "f4")

with h5py.File(folder + "/external.h5", "w") as file:
    file.attrs["layer_names"] = texts(["a"])
    file.create_group("a").attrs["weight_names"] = texts(["w"])
    file["a"]["w"] = h5py.ExternalLink("chain.h5", "/model_weights/conv2d/sequential/conv2d/bias")
with h5py.File(folder + "/outside.h5", "w") as file:
    file.create_dataset("w", (4,), "f4", external=[("/etc/hostname", 0, 16)])
with h5py.File(folder + "/virtual.h5", "w") as file:
    layout = h5py.VirtualLayout((5,), "f4")
    layout[:] = h5py.VirtualSource("chain.h5", "v", (5,))
    file.create_virtual_dataset("w", layout)
with h5py.File(folder + "/huge.h5", "w") as file:
    file.create_dataset("w", (1 << 30, 1 << 30), "f4", chunks=(1024, 1024))
with h5py.File(folder + "/bomb.h5", "w") as file:
    file.create_dataset("w", (1 << 28,), "f4", chunks=(1 << 24,), compression="gzip", fillvalue=0)
with h5py.File(folder + "/texts.h5", "w") as file:
    file["w"] = texts(["a", "b"])
with h5py.File(folder + "/missing.h5", "w") as file:
    file.attrs["layer_names"] = texts(["gone"])
with h5py.File(folder + "/circle.h5", "w") as file:
    file.create_group("a")["again"] = file["/"]
