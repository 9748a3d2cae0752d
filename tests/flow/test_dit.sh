#!/usr/bin/env bash
# A small DiT with random weights: imported, run, calibrated, quantized to W4A8 block by block, sampled with its
# own sampler and guidance. bash test_dit.sh PATH_OF_DMQ SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
golden=$here/../golden/dit.h5

cat >dit.yaml <<'EOF'
schema: dmq/1
name: dit
model: {kind: dit, resolution: 8, in_channels: 4, out_ch: 8, patch: 2, hidden: 24, depth: 2, num_heads: 3, n_classes: 5}
EOF
ok "$dmq" import "$golden" --root model -c dit.yaml -o dit.h5 || finish
ok "$dmq" inspect dit.h5
grep -q '^kind: dit$' out.txt || fail "inspect: $(head -3 out.txt)"
refuses 65 'another network' 'hidden: 24' -- \
    "$dmq" calibrate --set model.checkpoint=dit.h5 --set model.kind=dit --set model.hidden=48 -o x
refuses 78 'has no effect on model.kind = dit' -- "$dmq" config check -c dit.yaml --set model.ch=64
refuses 78 'has no effect on model.kind = ddpm_unet' -- "$dmq" config check --set model.patch=2
refuses 78 'multiple of heads = 5' -- \
    "$dmq" import "$golden" --root model -c dit.yaml --set model.num_heads=5 -o y.h5

cat >run.yaml <<'EOF'
schema: dmq/1
name: dit
model: {checkpoint: dit.h5}
sampler: {kind: ddpm, steps: 4, spacing: linspace, variance: learned_range}
calibrate: {per_timestep: 8, interval: 1, validation: 0.25, held_out: 0.25}
quant: {policy: tfmq, weight: {bits: 4}, act: {bits: 8}}
recon: {iters: 12, batch: 8, lr: 0.02}
reweight: {form: off, groups: 2, batch: 8}
sample: {count: 16, batch: 8, grid: 0}
evaluate: {metrics: [paired]}
EOF
guided="sampler.guidance=1.5 sampler.guidance_batch=cond_first sampler.guided_channels=3"
run() { # FOLDER SETTINGS...
    local folder=$1 keys=()
    shift
    for key in $guided "$@"; do keys+=(--set "$key"); done
    ok "$dmq" run -c run.yaml "${keys[@]}" -o "$folder" -q --progress none
}
run tfmq
run gac reweight=surrogate
run qdiffusion quant.policy=qdiffusion
for folder in tfmq gac qdiffusion; do
    checks=$((checks + 1))
    for file in calib.h5 quant.h5 images-fp.h5 images-q.h5 metrics.json; do
        [ -s "$folder/$file" ] || fail "$folder has no $file"
    done
    grep -q '"mse"' "$folder/metrics.json" || fail "$folder: no distance to full precision"
    grep -q '"blocks.1"' "$folder/blocks.json" || fail "$folder: blocks.1 is no unit"
done
same tfmq/calib.h5 gac/calib.h5
cmp -s tfmq/quant.h5 gac/quant.h5 && fail "sample weights changed nothing"

# ------------------------------------------------------------------ the kept configuration, and memory apart
ok "$dmq" run -c gac/config.yaml -o again -q --progress none
same gac/images-q.h5 again/images-q.h5
for device in ref check; do
    ok "$dmq" run -c run.yaml --set reweight=surrogate --set sample.count=8 --device $device --threads 1 \
        -o $device -q --progress none
done
same ref/quant.h5 check/quant.h5
same ref/images-q.h5 check/images-q.h5
finish
