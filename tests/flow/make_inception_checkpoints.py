#!/usr/bin/python3
"""Checkpoints of Inception as the ports to PyTorch save it: make_inception_checkpoints.py FOLDER

whole.pth has made-up weights (bench/reference/inception.py) and, beside the network, what older and newer versions of
PyTorch and torchvision leave there; folded.npz has its weights with batch norm in them; the others have names alone, over
numbers that are all the same.
"""
import os
import sys

import numpy
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "reference"))
import inception  # noqa: E402

folder = sys.argv[1]
torch.set_num_threads(1)
net = inception.made_up()
state = net.state_dict()


def save(name, tensors):
    torch.save(tensors, os.path.join(folder, name))


folded = {}
for name in (key[:-len(".conv.weight")] for key in state if key.endswith(".conv.weight")):
    w, gamma, beta, mean, variance = (state[f"{name}.{part}"].double().numpy() for part in (
        "conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"))
    by = gamma / numpy.sqrt(variance + 1e-3)
    folded[name + ".conv.weight"] = (w * by[:, None, None, None]).astype(numpy.float32)
    folded[name + ".conv.bias"] = (beta - mean * by).astype(numpy.float32)
for name in "fc.weight", "fc.bias":
    folded[name] = state[name].numpy()
numpy.savez(os.path.join(folder, "folded.npz"), **folded)
save("whole.pth", dict(state, **{"AuxLogits.fc.weight": torch.zeros(1000, 8), "AuxLogits.conv0.bn.bias": torch.zeros(3)}))

names = {key: torch.full((1,), 0.5).expand(value.shape) for key, value in state.items()
         if not key.endswith("num_batches_tracked")}
save("lacks.pth", {key: value for key, value in names.items() if key != "Mixed_6e.branch7x7_2.bn.running_var"})
save("extra.pth", dict(names, **{"fc.scale": torch.zeros(1)}))
save("torchvision.pth", {key: value[:1000] if key.startswith("fc.") else value for key, value in names.items()})
save("variance.pth", dict(names, **{"Mixed_7a.branch3x3_2.bn.running_var": torch.full((320,), -0.25)}))
