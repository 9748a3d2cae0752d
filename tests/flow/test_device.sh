#!/usr/bin/env bash
# A device whose memory the host cannot touch computes what the reference does, bit for bit: every stage on
# --device check against --device ref, in a micro configuration. bash test_device.sh PATH_OF_DMQ SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
. "$here/npz.sh"
mkdir -p data

# on_check COMMAND...: ok, and all memory of the device was freed
on_check() {
    ok "$@" || return
    ! grep -q 'were not freed' err.txt || fail "$(cat err.txt) after: $*"
}

cat >unet.yaml <<'EOF'
schema: dmq/1
name: unet
model: {ch: 8, ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [8], resolution: 16, norm_groups: 4}
train: {task: diffusion, data: shapes16, iters: 2, batch: 20, warmup: 1, lr: 1.0e-3}
EOF
cat >features.yaml <<'EOF'
schema: dmq/1
name: features
model: {norm_groups: 4}
train: {task: features, data: shapes16, iters: 2, batch: 20, warmup: 1, channels: [4, 8]}
EOF
# eta: the sampler draws noise, too; more images than one group
cat >micro.yaml <<'EOF'
schema: dmq/1
name: micro
model: {checkpoint: "data:unet.h5"}
sampler: {kind: ddim, steps: 3, eta: 1.0, spacing: uniform, clip_x0: true}
calibrate: {per_timestep: 4, interval: 1, validation: 0.25, held_out: 0.25}
quant: {weight: {bits: 4, round: nearest}, act: {bits: 8}}
reweight: {form: off}
sample: {count: 10, batch: 8, grid: 4}
evaluate: {metrics: [fd, is], features: "data:features.h5", reference: shapes16, reference_count: 16}
EOF

# ------------------------------------------------------------------ trained on either device
for task in unet features; do
    ok "$dmq" train -q -c $task.yaml -o data/$task.h5 --device ref --threads 1
    on_check "$dmq" train -q -c $task.yaml -o data/$task-check.h5 --device check --threads 2
    same data/$task.h5 data/$task-check.h5
    [ -e data/$task.h5 ] || finish
done

# ------------------------------------------------------------------ every stage after the other
# arm NAME SETTING...
arm() {
    local name=$1 set=() file
    shift
    for setting in "$@"; do
        set+=(--set "$setting")
    done
    ok "$dmq" run -q -c micro.yaml "${set[@]}" -o ref-$name --device ref --threads 1
    on_check "$dmq" run -q -c micro.yaml "${set[@]}" -o check-$name --device check --threads 2
    for file in calib.h5 images-fp.h5 quant.h5 images-q.h5 metrics.json blocks.json; do
        same ref-$name/$file check-$name/$file
    done
}

arm nearest
refuses 73 'now is: ' 'hint: --device ref goes on with it' -- \
    "$dmq" run -q -c micro.yaml -o ref-nearest --device cpu
ok "$dmq" run -q -c micro.yaml -o ref-nearest --device check # whose bits are those of ref
arm tables quant.policy=qdiffusion quant.act.tables=single quant.act.init=mse quant.weight.init=max
arm tensor quant.policy=qdiffusion quant.weight.granularity=tensor quant.act.init=minmax \
    calibrate.trajectories=fresh
arm channel quant.act.granularity=channel quant.act.init=mse

# ------------------------------------------------------------------ reconstruction, with and without weights
learn=(quant.weight.round=adaround recon.iters=3 recon.batch=6 recon.lr=0.05)
gac=("${learn[@]}" reweight.groups=2 reweight.batch=4 reweight.visits=1)
arm tfmq "${learn[@]}" quant.policy=tfmq
# rows that lie in host memory and on the disk, not on the device
on_check "$dmq" run -c micro.yaml -o check-tiers --device check --threads 2 --progress none \
    --set quant.weight.round=adaround --set recon.iters=3 --set recon.batch=6 --set recon.lr=0.05 \
    --set quant.policy=tfmq --set recon.cache_budget=1K --set recon.cache_host=64K --set recon.cache_disk=1G
for file in quant.h5 images-q.h5 blocks.json; do
    same ref-tfmq/$file check-tiers/$file
done
grep -qE 'cache: device [0-9.]+ [KB].*, host [0-9.]+ KiB, disk [0-9.]+ [KM]iB at the peak' \
    check-tiers/log.txt || fail "log.txt does not tell where rows lay: $(grep cache: check-tiers/log.txt)"
find check-tiers -name 'scratch-*' | grep . && fail "files of rows are left"
arm reference-order "${learn[@]}" quant.policy=all recon.order=reference
arm r1 "${gac[@]}" reweight.form=surrogate
arm r2 "${gac[@]}" reweight.form=sequential reweight.jacobian=matrix_free
arm r3 "${gac[@]}" reweight.form=original reweight.similarity=cosine
arm exact "${gac[@]}" reweight.form=surrogate reweight.mode=exact reweight.normalize=true

# ------------------------------------------------------------------ the network once
head -c $((9 * 3 * 16 * 16 * 4)) /dev/zero | npy x.npy '<f4' '9, 3, 16, 16'
head -c 36 /dev/zero | npy t.npy '<f4' '9'
npz in.npz x.npy t.npy
ok "$dmq" forward -q --model data/unet.h5 --input in.npz -o ref.h5 --device ref
on_check "$dmq" forward -q --model data/unet.h5 --input in.npz -o check.h5 --device check
same ref.h5 check.h5

finish
