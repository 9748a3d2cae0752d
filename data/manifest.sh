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
} > MANIFEST
