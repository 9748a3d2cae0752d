#!/usr/bin/env bash
# Checkpoints that PyTorch writes now, of one network in every form, imported and compared with what PyTorch computes.
# bash test_import.sh PATH_OF_DMQ SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
python=/usr/bin/python3
$python -c 'import torch, numpy' 2>/dev/null || { echo "skipped: no PyTorch in $python"; exit 77; }
$python "$here/make_checkpoints.py" "$scratch" || { echo "make_checkpoints.py failed"; exit 1; }
cat >net.yaml <<'EOF'
schema: dmq/1
model: {ch: 16, ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [8], resolution: 16, norm_groups: 8}
EOF

into() {
    "$dmq" import --threads 1 -q --overwrite -c net.yaml -o model.h5 "$@"
}

# takes FILE REFERENCE PATTERN... [-- OPTION...]: imported, computes as the reference does, and says each pattern
takes() {
    local file=$1 reference=$2 patterns=()
    shift 2
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        patterns+=("$1")
        shift
    done
    shift
    ok into "$file" --reference "ref-$reference.npz" "$@"
    for pattern in "${patterns[@]}" "^parameters: $(cat parameters)\$" '^reference_distance: [0-9.]+e-0[67]$'; do
        grep -qE -- "$pattern" out.txt || fail "import $file $*: no line like $pattern in: $(tr '\n' '|' <out.txt)"
    done
}

# ------------------------------------------------------------------ every form
takes plain.ckpt ema '^container: PyTorch, zip$' '^checksums: compared$' '^state_dict: the root$' '^weights: as they stand there$' \
    '^layout: as published$' "^files: name plain.ckpt sha256 $(sha256sum plain.ckpt | cut -c 1-64)\$"
takes legacy.ckpt ema '^container: PyTorch, before 1.6$'
takes strided.ckpt ema
takes double.ckpt ema
takes arrays.npz ema '^container: NumPy archive$'
takes ddim.ckpt ema '^state_dict: 4/$' '^weights: averaged$' '^elsewhere: [1-9]'
takes ddim.ckpt raw '^state_dict: 0/$' '^weights: as they stand there$' -- --weights raw
takes ddim-noema.ckpt raw '^state_dict: 0/$' '^weights: as they stand there$'
takes dit.ckpt ema '^state_dict: ema/$' '^weights: averaged$'
takes dit.ckpt raw '^state_dict: model/$' -- --weights raw
takes dit.ckpt raw '^state_dict: model/$' -- --root model
takes lightning.ckpt raw '^state_dict: state_dict/$'
takes deep.ckpt ema '^state_dict: nets/1/unet/$' -- --root nets/1/unet
takes new/diffusion_pytorch_model.bin ema '^layout: diffusers$'
takes old/diffusion_pytorch_model.bin ema '^layout: diffusers$' -- --layout diffusers --strict
takes shards/model.safetensors.index.json ema '^container: safetensors$' \
    '^files: name model-00001-of-00002.safetensors sha256' '^files: name model-00002-of-00002.safetensors sha256'
ok "$dmq" import --threads 1 -q transformer.pt -o transformer.h5 --set model.kind=dit --set model.in_channels=4 \
    --set model.out_ch=8 --set model.resolution=8 --set model.hidden=16 --set model.depth=2 --set model.num_heads=2 \
    --set model.n_classes=3 --set model.patch=2
for pattern in '^state_dict: ema/$' '^weights: averaged$' '^foreign: argparse.Namespace$' '^tensors: 32$' \
    '^check: t 500 mean '; do
    grep -qE "$pattern" out.txt || fail "transformer.pt: no line like $pattern"
done
refuses 65 'names what is not needed for tensors: argparse.Namespace' 'hint: ' -- \
    "$dmq" inspect --strict transformer.pt
ok "$dmq" inspect model.h5
grep -q '^model-00002-of-00002.safetensors sha256' out.txt || fail "model.h5 does not say where it comes from"
ok into model.h5 --dry-run -o again.h5
[ -e again.h5 ] && fail "--dry-run wrote again.h5"
ok into plain.ckpt --json
grep -q '"layout": "as published"' out.txt || fail "--json: $(cat out.txt)"
cp model.h5 first.h5
ok into plain.ckpt
same model.h5 first.h5

# ------------------------------------------------------------------ what is no such network
rm model.h5
refuses 65 'is [0-9.]+ away from eps \(relative L2\), 1e-05 is allowed' 'hint: ' -- into ddim.ckpt --reference ref-raw.npz
refuses 65 'no averaged weights' 'hint: --weights auto' -- into lightning.ckpt --weights ema
refuses 65 'no state dict' 'hint: dmq inspect' -- into deep.ckpt
refuses 65 'no tensors under "nowhere"' 'hint: dmq inspect' -- into plain.ckpt --root nowhere
refuses 65 '2 missing: conv_in.bias, up.0.block.0.conv1.weight$' -- into missing.ckpt
refuses 65 '2 unknown to it: loss.weight, loss.bias$' -- into extra.ckpt
refuses 65 '1 unknown to it: loss.bias$' -- into extra.ckpt --ignore loss.w
refuses 65 'mid.block_1.conv1.bias: 32 of 32 numbers are NaN or infinite' -- into nan.ckpt
refuses 65 'conv_out.weight is \(16, 3, 3, 3\), the network.s is \(3, 16, 3, 3\)' -- into shape.ckpt
refuses 65 '"conv_in.bias" is I64 \[16\]: floating-point numbers were expected' -- into whole.ckpt
refuses 65 '184 missing: down.0.block.1' -- "$dmq" import plain.ckpt --network ddpm-cifar10 -o model.h5
refuses 65 'missing: time_embedding' -- into plain.ckpt --layout diffusers
sed -i 's/"flip_sin_to_cos": false/"flip_sin_to_cos": true/' new/config.json
refuses 65 'new/config.json: flip_sin_to_cos must be false' -- into new/diffusion_pytorch_model.bin
sed -i 's/"norm_eps": 1e-06/"norm_eps": 1e-05/' old/config.json
refuses 65 'old/config.json: norm_eps must be 1e-06' -- into old/diffusion_pytorch_model.bin
[ -e model.h5 ] && fail "a refused file became a model"
ok into extra.ckpt --ignore loss.
grep -q '^passed_over: 2$' out.txt || fail "--ignore: $(cat out.txt)"
# a bit of a weight: the last byte before the directory of the archive that is not zero
"$python" - <<'EOF'
import zipfile
name = [i for i in zipfile.ZipFile("plain.ckpt").infolist() if i.filename.endswith("data/0")][0]
data = bytearray(open("plain.ckpt", "rb").read())
data[data.index(b"data/0") + 200] ^= 1
open("bit.ckpt", "wb").write(data)
EOF
refuses 65 'data/0" has CRC-32' 'hint: .*--no-checksum' -- into bit.ckpt
ok into bit.ckpt --no-checksum
grep -q '^checksums: left out$' out.txt || fail "--no-checksum: $(cat out.txt)"

refuses 65 'is a file of another program \(ZIP\)' 'hint: dmq import .*plain.ckpt -o model.h5' -- \
    "$dmq" forward --model plain.ckpt --input ref-ema.npz -o y.h5

# ------------------------------------------------------------------ the command line
refuses 64 'needs one FILE and -o' 'hint: ' -- "$dmq" import plain.ckpt
refuses 64 'written as .h5' -- "$dmq" import plain.ckpt -o model.pt
refuses 64 'says what the network is' 'hint: ' -- into plain.ckpt --network ddpm-cifar10
refuses 64 '--weights some: must be one of auto' -- into plain.ckpt --weights some
refuses 66 'nothere.ckpt' -- into nothere.ckpt
refuses 73 'is there already' 'hint: --overwrite' -- "$dmq" import plain.ckpt -o model.h5
refuses 78 'no published network "dpm-cifar10"' 'did you mean "ddpm-cifar10"' -- "$dmq" import plain.ckpt --network dpm-cifar10 -o x.h5
refuses 78 'has no layout "diffuser"' 'there is "diffusers"' -- into plain.ckpt --layout diffuser
finish
