#!/usr/bin/python3
"""Small files of torch.save, for tests/unit/test_torch_file.c: make_torch.py [FOLDER]

Number i (in C order) of a contiguous tensor made by numbers(first, ...) is first + i / 2. Classes that are not
installed where the files are read are made up here, under the names that real checkpoints have.
"""
import argparse
import collections
import os
import sys
import types

import numpy
import torch

folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "torch")
os.makedirs(folder, exist_ok=True)


def numbers(first, *shape, dtype=torch.float32):
    n = 1
    for d in shape:
        n *= d
    return (first + torch.arange(n) / 2).reshape(shape).to(dtype)


def foreign(module, name, base=object):
    """A class of a module that exists while this program runs."""
    parts = module.split(".")
    for i in range(len(parts)):
        path = ".".join(parts[: i + 1])
        sys.modules.setdefault(path, types.ModuleType(path))
    made = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def save(name, what, legacy=False):
    torch.save(what, os.path.join(folder, name), _use_new_zipfile_serialization=not legacy)


def kinds():
    """Every type of number, shared storages, and views of all sorts."""
    base = numbers(0, 3, 4)
    d = collections.OrderedDict()
    d["f32"] = numbers(1, 2, 3, 2, 2)
    d["f16"] = numbers(2, 5, dtype=torch.float16)
    d["bf16"] = numbers(3, 5, dtype=torch.bfloat16)
    d["f64"] = numbers(4, 2, 2, dtype=torch.float64)
    d["i64"] = torch.arange(4)
    d["i32"] = torch.arange(3, dtype=torch.int32)
    d["i16"] = torch.arange(3, dtype=torch.int16)
    d["i8"] = torch.arange(3, dtype=torch.int8)
    d["u8"] = torch.arange(3, dtype=torch.uint8)
    d["bool"] = torch.tensor([True, False])
    d["scalar"] = torch.tensor(2.5)
    d["empty"] = torch.zeros(0, 3)
    d["base"] = base
    d["base.again"] = base
    d["base.transposed"] = base.t()
    d["base.column"] = base[:, 2]
    d["base.rows"] = base[1:]
    d["base.steps"] = base[::2, ::3]
    d["base.diagonal"] = base[:3, :3].diagonal()
    d["expanded"] = numbers(6, 3, 1).expand(3, 4)
    d["channels_last"] = numbers(7, 2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    d["half.transposed"] = numbers(8, 2, 3, dtype=torch.float16).t()
    d["parameter"] = torch.nn.Parameter(numbers(9, 2))
    return d


def network(first):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    for i, p in enumerate(net.parameters()):
        p.data = numbers(first + i, *p.shape)
    return net


def optimizer(net):
    o = torch.optim.Adam(net.parameters(), lr=1e-3)
    net(torch.ones(1, 2)).sum().backward()
    o.step()
    return o.state_dict()


def ddim():
    """[model, optimizer, epoch, step, ema], as training with DataParallel leaves it."""
    net = network(0)
    model = {"module." + k: v for k, v in net.state_dict().items()}
    return [model, optimizer(network(0)), 3, 790000, dict(network(100).state_dict())]


def lightning():
    callback = foreign("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    config = foreign("omegaconf.dictconfig", "DictConfig", dict)
    odd = foreign("somewhere.else", "Thing")
    thing = odd()
    thing.weight = numbers(50, 2)
    c = config(base=1)
    c.more = {"a": [1, 2]}
    return {
        "epoch": 7, "global_step": 1000, "pytorch-lightning_version": "1.4.2",
        "state_dict": network(0).state_dict(),
        "callbacks": {callback: {"best": numpy.float64(0.25), "path": "a/b"}},
        "optimizer_states": [optimizer(network(1))],
        "lr_schedulers": [], "hyper_parameters": c, "thing": thing,
        "big": 1 << 70, "negative": -3, "real": 0.125, "set": {1, 2}, "frozen": frozenset([1]),
        "bytes": b"\x00\xff", "array": numpy.arange(4),
    }


def dit():
    return {"model": network(0).state_dict(), "ema": network(100).state_dict(),
            "opt": optimizer(network(1)), "args": argparse.Namespace(model="DiT-XL/2")}


def odd_tensors():
    return {
        "plain": numbers(1, 2),
        "sparse": torch.eye(2).to_sparse(),
        "quantized": torch.quantize_per_tensor(numbers(0, 4), 0.5, 0, torch.qint8),
    }


torch.manual_seed(0)
for legacy in (False, True):
    tag = "-legacy" if legacy else ""
    save("kinds%s.pt" % tag, kinds(), legacy)
    save("ddim%s.ckpt" % tag, ddim(), legacy)
    save("lightning%s.ckpt" % tag, lightning(), legacy)
save("dit.pt", dit())
save("tensor.pt", numbers(1, 2, 2))
save("odd.pt", odd_tensors())
save("module.pt", network(0))
torch.jit.save(torch.jit.script(network(0)), os.path.join(folder, "script.pt"))
