#!/usr/bin/env bash
# The whole path under valgrind, on networks as small as they can be: no error and no leak. What a library
# of others does is suppressed by name in tests/valgrind.supp. In one thread, since valgrind runs
# one at a time in any case. Two minutes of a core.   bash valgrind.sh PATH_OF_DMQ SCRATCH
command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed"; exit 77; }
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
. "$here/npz.sh"

# an array and not a function where the program itself has to be stopped, not a shell around it
vg=(valgrind -q --leak-check=full --show-leak-kinds=definite,possible
    --errors-for-leak-kinds=definite,possible --error-exitcode=9 --num-callers=30
    "--suppressions=$here/../valgrind.supp" "$dmq")
export OMP_WAIT_POLICY=passive # a thread that waits in a loop has the one that works wait
took() {
    echo "$SECONDS s: $*"
}

# ------------------------------------------------------------------ train
mkdir -p data
cat >train-unet.yaml <<'END'
schema: dmq/1
name: unet
model: {ch: 4, ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [8], resolution: 16, norm_groups: 4}
train: {task: diffusion, data: shapes16, iters: 2, batch: 16, warmup: 1, lr: 1.0e-3}
END
cat >train-features.yaml <<'END'
schema: dmq/1
name: features
model: {norm_groups: 4}
train: {task: features, data: shapes16, iters: 1, batch: 16, warmup: 1, channels: [4, 8]}
END
ok "${vg[@]}" train -q --threads 1 -c train-unet.yaml -o data/unet.h5
ok "${vg[@]}" train -q --threads 1 -c train-features.yaml -o data/features.h5
took trained

# ------------------------------------------------------------------ calibrate ... evaluate, three ways
cat >tiny.yaml <<'END'
schema: dmq/1
name: tiny
model: {checkpoint: "data:unet.h5"}
sampler: {kind: ddim, steps: 2, eta: 0.0, spacing: uniform, clip_x0: true}
calibrate: {per_timestep: 4, interval: 1, validation: 0.25, held_out: 0.25}
quant: {weight: {bits: 4, mse_candidates: 4}, act: {bits: 8}}
recon: {iters: 2, batch: 4, lr: 0.02}
reweight: {form: off, groups: 2, batch: 4, visits: 1}
sample: {count: 8, batch: 8, grid: 4}
evaluate: {metrics: [fd, is], features: "data:features.h5", reference: shapes16, reference_count: 16}
END
cat >sweep.yaml <<'END'
schema: dmq/1
extends: [tiny.yaml]
name: three
sweep:
  seeds: [5]
  arms:
    - "nearest: quant.weight.round=nearest"
    - "tfmq: quant.policy=tfmq"
    - "gac: reweight=surrogate reweight.mode=exact"
END
ok "${vg[@]}" sweep -q --progress none --threads 1 -c sweep.yaml -o s
took the sweep

# ------------------------------------------------------------------ stopped, and going on
# Many iterations in one unit, so that the signal comes inside it
long=(run --progress none --threads 1 -c tiny.yaml --set quant.act=off --set quant.policy=rules
    --set "quant.rules=['mid.block_1.*: w4']" --set recon.iters=40 -o long)
checks=$((checks + 1))
"${vg[@]}" "${long[@]}" 2>err.txt &
for _ in $(seq 1200); do
    grep -q '^dmq: quantize: ' err.txt && break
    sleep 0.1
done
kill -TERM $!
wait $!
code=$?
[ $code -eq 75 ] || fail "exit code $code after TERM instead of 75: $(cat err.txt)"
ok "${vg[@]}" "${long[@]}"
took stopped and resumed

# ------------------------------------------------------------------ what the other verbs say
head -c $((3 * 16 * 16 * 4)) /dev/zero | npy x.npy '<f4' '1, 3, 16, 16'
printf '\x07\x03\0\0\0\0\0\0' | npy t.npy '<i8' '1,'
npz in.npz x.npy t.npy
ok "${vg[@]}" forward -q --threads 1 --model data:unet.h5 --input in.npz -o eps.h5
for file in data/unet.h5 s/gac-s5/calib.h5 s/gac-s5/quant.h5 s/gac-s5/ckpt/block-004.h5 \
    s/gac-s5/metrics.json; do
    ok "${vg[@]}" inspect $file
done
ok "${vg[@]}" config show --origin -c sweep.yaml
ok "${vg[@]}" status s
ok "${vg[@]}" table s
ok "${vg[@]}" report -q s
ok "${vg[@]}" verify s
ok "${vg[@]}" doctor
took the rest

finish
