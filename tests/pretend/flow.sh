#!/usr/bin/env bash
# Every stage on a pretended CUDA device (pretend.h): the host code of cuda/, with streams that do their work as
# late, as early or as mixed as they may. bash flow.sh PATH_OF_DMQ_PRETEND SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/../flow/lib.sh"

# on_device COMMAND...: ok, and nothing of the device was left
on_device() {
    ok "$@" || return
    ! grep -qE '^(pretend|check): ' err.txt || fail "$(cat err.txt) after: $*"
}

# close FILE FILE: losses of units to 1e-4 of their size, cosines (of FP32 gradients, so that 1 is their size) to 1e-5
close() {
    checks=$((checks + 1))
    for file in "$1" "$2"; do
        grep -E '"(nearest_train|nearest_held|final_train|final_held|cosine_before|cosine_after)"' "$file" |
            tr -d '",' >"$(dirname "$file")/losses.txt"
    done
    awk '
        function size(x) { return x < 0 ? -x : x }
        NR == FNR { name[FNR] = $1; value[FNR] = $2; lines = FNR; next }
        {
            may = $1 ~ /^cosine/ ? 1e-5 : 1e-4 * size(value[FNR])
            if ($1 != name[FNR] || !(size($2 - value[FNR]) <= may)) bad = 1
        }
        END { exit bad || lines < 10 || FNR != lines }' \
        "$(dirname "$1")/losses.txt" "$(dirname "$2")/losses.txt" || fail "$1 and $2 are not close"
}

# bits RUN RUN: the same numbers everywhere
bits() {
    for file in calib.h5 images-fp.h5 quant.h5 images-q.h5 blocks.json metrics.json; do
        same "$1/$file" "$2/$file"
    done
}

export PRETEND_TOTAL=128 # of which a queue takes 34

# ------------------------------------------------------------------ a network of 16 pixels
cat >net.yaml <<'EOF'
schema: dmq/1
name: net
model: {ch: 4, ch_mult: [1], num_res_blocks: 1, attn_resolutions: [4], resolution: 4, norm_groups: 2}
EOF
cat >micro.yaml <<'EOF'
schema: dmq/1
name: micro
model: {checkpoint: net.yaml}
sampler: {kind: ddim, steps: 2, eta: 1.0, spacing: uniform, clip_x0: true}
calibrate: {per_timestep: 4, interval: 1, validation: 0.25, held_out: 0.25}
quant: {policy: tfmq, weight: {bits: 4, round: adaround}, act: {bits: 8}}
recon: {iters: 3, batch: 6, lr: 0.05}
reweight: {form: surrogate, groups: 2, batch: 4, visits: 1}
sample: {count: 3, batch: 8, grid: 1}
evaluate: {metrics: [paired]}
EOF
run=("$dmq" run -c micro.yaml --progress none)

# ------------------------------------------------------------------ what the reference computes, in every order
ok "${run[@]}" -o ref --device ref --threads 1
for order in late early random:2; do
    PRETEND_ORDER=$order on_device "${run[@]}" -o "$order" --device cuda
    bits late "$order"
done
close ref/blocks.json late/blocks.json
grep -q 'cudnn-refuses\|no-cudnn\|no-cublaslt\|fp16-as-tf32' late/log.txt && fail "$(cat late/log.txt)"

# rows that lie in host memory and on the disk are brought while the device computes
for order in late early; do
    PRETEND_ORDER=$order on_device "${run[@]}" -o "tiers-$order" --device cuda --set recon.cache_budget=1K \
        --set recon.cache_host=4K --set recon.cache_disk=1G
done
bits tiers-late tiers-early
grep -qE 'cache: device [0-9.]+ B, host [0-9.]+ KiB, disk [0-9.]+ KiB at the peak' tiers-late/log.txt ||
    fail "log.txt does not tell where rows lay: $(grep cache: tiers-late/log.txt)"
close ref/blocks.json tiers-late/blocks.json

# ------------------------------------------------------------------ other precisions, other forms of the weights
on_device "${run[@]}" -o tf32 --device cuda --set device.precision=tf32 --set reweight.form=sequential \
    --set reweight.jacobian=matrix_free
for order in late early; do
    PRETEND_ORDER=$order on_device "${run[@]}" -o "fp16-$order" --device cuda --set device.precision=fp16 \
        --set reweight.form=original
done
bits fp16-late fp16-early
PRETEND_DEVICES=2 on_device "${run[@]}" -o exact --device cuda:1 --set reweight.mode=exact

# ------------------------------------------------------------------ no memory, a stop: the run goes on
DMQ_CUDA_BUDGET=34864K refuses 71 'no [0-9.]+ MiB of device memory \(beyond the budget\)' 'hint: ' -- \
    "${run[@]}" -o again --device cuda
! grep -E '^(pretend|check): ' err.txt || fail "a run without memory leaves something"
"${run[@]}" -o again --device cuda >out.txt 2>err.txt &
for ((i = 0; i < 600; i++)); do
    compgen -G 'again/ckpt/block-*' >/dev/null && break
    sleep 0.1
done
kill -TERM $!
wait $!
code=$?
checks=$((checks + 1))
[ $code -eq 75 ] || fail "exit code $code of a run that was stopped: $(cat err.txt)"
! grep -E '^(pretend|check): ' err.txt || fail "a run that is stopped leaves something"
on_device "${run[@]}" -o again --device cuda
bits late again

finish
