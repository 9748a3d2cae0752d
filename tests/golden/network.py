"""Files of golden values that hold a small network with them: weights by name, which gzip packs well."""
import math
import os

import h5py
import torch


def to_grid(model):
    """Round each tensor to a quarter of the power of two next to its spread."""
    with torch.no_grad():
        for p in model.parameters():
            spread = (p - p.mean()).std() if p.numel() > 1 else p.abs()
            unit = 2.0 ** round(math.log2(float(spread))) / 4
            p.copy_(torch.round(p / unit) * unit)


def create(path, *groups):
    """A compact file with these groups, without times of creation: equal content gives equal bytes."""
    access, file_plist = h5py.h5p.create(h5py.h5p.FILE_ACCESS), h5py.h5p.create(h5py.h5p.FILE_CREATE)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    file_plist.set_obj_track_times(False)
    file = h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, file_plist, access))
    for name in groups:
        group_plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        group_plist.set_obj_track_times(False)
        h5py.h5g.create(file.id, name.encode(), gcpl=group_plist)
    return file


def write(file, name, value, dtype, pack=False):
    options = {}
    if pack and value.numel() >= 512:  # a chunk's index takes more room than a small array saves
        options = dict(compression="gzip", compression_opts=9, shuffle=True, chunks=tuple(value.shape))
    file.create_dataset(name, data=value.detach().numpy(), dtype=dtype, track_times=False, **options)
