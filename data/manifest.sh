#!/usr/bin/env bash
# Write data/MANIFEST: name, bytes, sha256, licence, command. Run after a file of this folder was made anew.
set -eu
cd "$(dirname "$0")"
row() { printf '%s\t%s\t%s\tApache-2.0\t%s\n' "$1" "$(stat -c %s "$1")" "$(sha256sum "$1" | cut -d' ' -f1)" "$2"; }
{
    printf '# name\tbytes\tsha256\tlicence\tcommand\n'
    row shapes16-unet.h5 'dmq train -c experiments/train/shapes16-unet.yaml -o data/shapes16-unet.h5'
    row shapes16-features.h5 'dmq train -c experiments/train/shapes16-features.yaml -o data/shapes16-features.h5'
    row shapes16-grid.png './quickstart.sh; cp runs/quickstart/nearest-w4a8-s1234/grid-fp.png data/shapes16-grid.png'
    row shapes32-unet.h5 'dmq train -c experiments/train/shapes32-unet.yaml -o data/shapes32-unet.h5'
    row shapes32-features.h5 'dmq train -c experiments/train/shapes32-features.yaml -o data/shapes32-features.h5'
    row shapes32-grid.png 'dmq run -c experiments/cards/shapes32.yaml -c experiments/methods/nearest.yaml --set quant.weight.bits=4 --set sample.count=64 --set calibrate.per_timestep=2 -o runs/look; cp runs/look/grid-fp.png data/shapes32-grid.png'
} > MANIFEST
