"""save(name, seed, arrays): one HDF5 file of golden values, the same bytes for the same content."""
import os

import h5py
import numpy
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, seed, arrays):
    """tests/golden/<name>.h5: each array, flat, under its key ("group/name"); seed and PyTorch's version as attributes."""
    path = os.path.join(HERE, name + ".h5")
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    file_plist = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    file_plist.set_obj_track_times(False)
    group_plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    group_plist.set_obj_track_times(False)
    with h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, file_plist, access)) as file:
        file.attrs["seed"] = seed
        file.attrs["torch"] = str(torch.__version__)
        for group in dict.fromkeys(key.split("/")[0] for key in arrays if "/" in key):
            h5py.h5g.create(file.id, group.encode(), gcpl=group_plist)
        for key, value in arrays.items():
            if isinstance(value, torch.Tensor):
                value = value.detach().cpu().numpy()
            file.create_dataset(key, data=numpy.asarray(value).reshape(-1), track_times=False)
    print(path, os.path.getsize(path), "bytes")


def grid(*shape):
    """Normal numbers that float32 holds exactly, in float64."""
    return torch.randn(*shape).float().double()


def operation(arrays, group, shape, function, inputs):
    """One case for tests/check_op.h: shape (whole numbers in the order of the test's struct), in<k>, out, dout, din<k>,
    tan<k>, out_tan. None among the inputs is left out; the function gets it as None."""
    inputs = [None if x is None else x.float() for x in inputs]
    leaf = [None if x is None else x.double().requires_grad_() for x in inputs]
    at = [k for k, x in enumerate(leaf) if x is not None]
    out = function(*leaf)
    dout = grid(*out.shape)
    din = torch.autograd.grad(out, [leaf[k] for k in at], dout, retain_graph=True)
    tan = [grid(*leaf[k].shape) for k in at]
    # J v is the derivative of u^T J v by u.
    u = torch.zeros(out.shape, dtype=out.dtype, requires_grad=True)
    rows = torch.autograd.grad(out, [leaf[k] for k in at], u, create_graph=True)
    out_tan, = torch.autograd.grad(sum((r * t).sum() for r, t in zip(rows, tan)), u)
    values = dict(shape=torch.tensor(shape, dtype=torch.int32), out=out, dout=dout.float(), out_tan=out_tan)
    for k, d, t in zip(at, din, tan):
        values.update({f"in{k}": inputs[k], f"din{k}": d, f"tan{k}": t.float()})
    arrays.update({f"{group}/{key}": value for key, value in values.items()})
