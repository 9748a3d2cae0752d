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
