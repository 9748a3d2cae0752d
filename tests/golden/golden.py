"""save(name, seed, arrays): one HDF5 file of golden values, the same bytes for the same content."""
import os

import h5py
import numpy
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, seed, arrays):
    """Datasets by name in tests/golden/<name>.h5; seed and version of PyTorch as attributes."""
    path = os.path.join(HERE, name + ".h5")
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    plist = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    plist.set_obj_track_times(False)
    with h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, plist, access)) as file:
        file.attrs["seed"] = seed
        file.attrs["torch"] = str(torch.__version__)
        for key, value in arrays.items():
            if isinstance(value, torch.Tensor):
                value = value.detach().cpu().numpy()
            file.create_dataset(key, data=numpy.ascontiguousarray(value), track_times=False)
    print(path, os.path.getsize(path), "bytes")
