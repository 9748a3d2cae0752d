#!/usr/bin/env bash
# Small latent diffusion networks with random weights: imported, run once, calibrated, quantized to W4A8, sampled
# as latents; with classes and without. bash test_ldm.sh PATH_OF_DMQ SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
. "$here/npz.sh"
golden=$here/../golden/ldm_unet.h5

common='ch: 8, ch_mult: [1, 2], num_res_blocks: 1, resolution: 8, norm_groups: 4'
card() { # NAME SETTINGS
    cat >"$1.yaml" <<EOF
schema: dmq/1
name: $1
model: {kind: ldm_unet, $common, $2}
schedule: {kind: scaled_linear, beta_start: 0.0015, beta_end: 0.0195}
EOF
    ok "$dmq" import "$golden" --root "$1/model" -c "$1.yaml" -o "$1.h5" || finish
}
card beds 'attn_resolutions: [4], head_channels: 8'
card cin 'attn_resolutions: [4], num_heads: 2, context_dim: 12, n_classes: 6'
card church 'attn_resolutions: [8, 4], num_heads: 4, scale_shift: true, resblock_updown: true, in_channels: 4, out_ch: 4'
ok "$dmq" inspect cin.h5
grep -q '^kind: ldm_unet$' out.txt || fail "inspect: $(head -3 out.txt)"
refuses 65 'another network' 'context_dim: 12' -- \
    "$dmq" calibrate --set model.checkpoint=cin.h5 --set model.kind=ldm_unet --set model.num_heads=4 -o x
refuses 78 'has no effect on model.kind' -- "$dmq" config check --set model.num_heads=4

# ------------------------------------------------------------------ the network once
npy x.npy '<f4' '2, 3, 8, 8' < <(head -c 1536 /dev/zero | tr '\0' '\100') # 3.0039 each
npy t.npy '<f4' '2' < <(head -c 8 /dev/zero)
npy label.npy '<i4' '2' < <(le32 6; le32 2)
npz in.npz x.npy t.npy label.npy
npz unlabelled.npz x.npy t.npy
ok "$dmq" forward -q --model cin.h5 --input in.npz -o eps.h5
ok "$dmq" forward -q --model cin.h5 --input in.npz -o eps-check.h5 --device check
ok "$dmq" forward -q --model cin.h5 --input in.npz -o eps-ref.h5 --device ref
same eps-ref.h5 eps-check.h5
refuses 65 'label' -- "$dmq" forward -q --model cin.h5 --input unlabelled.npz -o x.h5
ok "$dmq" forward -q --model beds.h5 --input unlabelled.npz -o eps-beds.h5

cat >run.yaml <<'EOF'
schema: dmq/1
name: ldm
sampler: {kind: ddim, steps: 4, eta: 0.0, spacing: uniform}
calibrate: {per_timestep: 8, interval: 1, validation: 0.25, held_out: 0.25}
quant: {policy: tfmq, weight: {bits: 4}, act: {bits: 8}}
recon: {iters: 12, batch: 8, lr: 0.02}
reweight: {form: off, groups: 2, batch: 8}
sample: {count: 16, batch: 8, grid: 16}
evaluate: {metrics: [paired]}
EOF
run() { # FOLDER NETWORK SETTINGS...
    local folder=$1 network=$2 keys=()
    shift 2
    for key; do keys+=(--set "$key"); done
    ok "$dmq" run -c run.yaml --set "model.checkpoint=$network.h5" "${keys[@]}" -o "$folder" -q --progress none
}
run beds beds
run beds-gac beds reweight=surrogate
run church church
run church-gac church reweight=surrogate
run cin cin
run cin-gac cin reweight=surrogate
run cin-q cin quant.policy=qdiffusion recon.cache_budget=1700K
run beds-q beds quant.policy=qdiffusion quant.act.tables=single
checks=$((checks + 1))
grep -q 'operands of attention products' beds-q/log.txt || fail "no operand was quantized"
for folder in beds beds-gac church church-gac cin cin-gac cin-q beds-q; do
    checks=$((checks + 1))
    for file in calib.h5 quant.h5 images-fp.h5 images-q.h5 metrics.json; do
        [ -s "$folder/$file" ] || fail "$folder has no $file"
    done
    grep -q '"mse"' "$folder/metrics.json" || fail "$folder: no distance to full precision"
done
checks=$((checks + 1))
ok "$dmq" inspect cin/calib.h5
grep -q '^label ' out.txt || fail "the calibration set holds no labels"
same cin/calib.h5 cin-gac/calib.h5
cmp -s cin/quant.h5 cin-gac/quant.h5 && fail "sample weights changed nothing"

# ------------------------------------------------------------------ what it will take: both branches of guidance, a label each
ok "$dmq" plan -c run.yaml --set model.checkpoint=cin.h5 --set reweight=surrogate --set sampler.guidance=3 \
    --set sampler.repository=ldm --json --progress none
checks=$((checks + 1))
[ "$(grep -A1 '"sample": {' out.txt | sed -n 's/.*"passes": \([0-9]*\).*/\1/p')" = $((4 * 16 * 2)) ] ||
    fail "plan counts $(grep -A1 '"sample": {' out.txt | tail -1) instead of $((4 * 16 * 2))"

# ------------------------------------------------------------------ guidance, in the steps of latent diffusion
run guided cin reweight=surrogate sampler.repository=ldm sampler.guidance=3
run guided-plms cin quant.weight.round=nearest sampler.repository=ldm sampler.kind=plms sampler.guidance=1.5
run guided-dpm cin quant.weight.round=nearest sampler.kind=dpm_solver sampler.guidance=1.5
for folder in guided guided-plms guided-dpm; do
    checks=$((checks + 1))
    [ -s "$folder/images-q.h5" ] || fail "$folder has no images"
done
ok "$dmq" inspect guided/images-fp.h5
grep -qE '^label +i32 +\[16\]' out.txt || fail "the images have no labels"
ok "$dmq" inspect guided/calib.h5
grep -q '^sampler: .* guidance 3$' out.txt || fail "calib.h5 was made for: $(grep sampler out.txt)"
refuses 78 'per_timestep = 7' -- "$dmq" run -c run.yaml --set model.checkpoint=cin.h5 --set sampler.guidance=3 \
    --set calibrate.per_timestep=7 -o x -q --progress none
refuses 65 'knows no classes' -- "$dmq" run -c run.yaml --set model.checkpoint=beds.h5 --set sampler.guidance=3 -o x

# ------------------------------------------------------------------ the same bits on two threads, and of memory apart
run cin-2 cin reweight=surrogate
same cin-gac/images-q.h5 cin-2/images-q.h5
for device in ref check; do
    ok "$dmq" run -c run.yaml --set model.checkpoint=cin.h5 --set reweight=surrogate --set sample.count=8 \
        --device $device --threads 1 -o $device -q --progress none
done
same ref/quant.h5 check/quant.h5
same ref/images-q.h5 check/images-q.h5
for device in ref check; do
    ok "$dmq" sample --fp -c guided-plms/config.yaml --set sample.count=8 --device $device --threads 1 \
        -o guided-$device -q --progress none
done
same guided-ref/images-fp.h5 guided-check/images-fp.h5
finish
