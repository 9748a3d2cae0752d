#!/usr/bin/env bash
# The Inception of the FID from a checkpoint of PyTorch: names, totals, batch norm folded, what is refused.
# bash test_import_inception.sh PATH_OF_DMQ SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
python=/usr/bin/python3
$python -c 'import torch, numpy, h5py' 2>/dev/null || { echo "skipped: no PyTorch or h5py in $python"; exit 77; }
$python "$here/make_inception_checkpoints.py" "$scratch" || { echo "make_inception_checkpoints.py failed"; exit 1; }

into() {
    "$dmq" import --threads 1 -q --overwrite --network inception-2015-12-05 "$@"
}

ok into whole.pth -o inception.h5
for pattern in '^layout: pytorch-fid$' '^tensors: 472$' '^passed_over: 96$' '^convolutions: 94$' '^convolution_weights: 21751136$' \
    '^batch_norm_channels: 17216$' '^learnable: 23850960$' '^check: of pool mean [0-9.]+ std ' \
    '^check: of spatial ' '^check: of logits '; do
    grep -qE "$pattern" out.txt || fail "no line like $pattern in: $(tr '\n' '|' <out.txt)"
done
[ "$(grep -c '^check: ' out.txt)" -eq 3 ] || fail "not three outputs: $(grep '^check: ' out.txt)"
ok "$dmq" inspect inception.h5
grep -q '^kind: inception$' out.txt || fail "inspect: $(head -3 out.txt)"
grep -q "^whole.pth sha256 $(sha256sum whole.pth | cut -c 1-64)\$" out.txt || fail "inception.h5 does not say where it comes from"
"$python" - <<'PYTHON' || fail "the weights are not those of PyTorch with batch norm folded"
import h5py, numpy
want = numpy.load("folded.npz")
with h5py.File("inception.h5") as file:
    assert set(file) == set(want.files), set(file) ^ set(want.files)
    for name in want.files:
        assert numpy.array_equal(file[name][()], want[name]), name
PYTHON

# ------------------------------------------------------------------ what is no such network
refuses 65 '1 missing: Mixed_6e.branch7x7_2.bn.running_var$' -- into lacks.pth -o x.h5
refuses 65 '1 unknown to it: fc.scale$' -- into extra.pth -o x.h5
refuses 65 'fc.weight is \(1000, 2048\), the network.s is \(1008, 2048\)' -- into torchvision.pth -o x.h5
refuses 65 'Mixed_7a.branch3x3_2.bn.running_var\[0\] is -0.25' 'in variance.pth' -- into variance.pth -o x.h5
refuses 65 'inception' -- "$dmq" sample --set model.checkpoint=inception.h5 -o y
[ -e x.h5 ] && fail "a refused file became a model"
finish
