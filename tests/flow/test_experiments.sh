#!/usr/bin/env bash
# The experiments that ship: every configuration is without mistakes, a dry run of the published tables tells all that is
# missing and nothing else, their passes are counted without weights, and the twins of random weights run.
# bash test_experiments.sh PATH_OF_DMQ SCRATCH
root=$(realpath "$(dirname "$(realpath "$0")")/../..")
. "$root/tests/flow/lib.sh"
experiments=$root/experiments
mkdir data
for file in shapes16-unet.h5 shapes16-features.h5 shapes32-unet.h5 shapes32-features.h5; do
    ln -s "$root/data/$file" data/$file
done
small=(--set recon.iters=2 --set recon.batch=4 --set reweight.visits=1 --set reweight.batch=4
    --set calibrate.per_timestep=8 --set sample.count=8 --set quant.act.batch=4 --set sample.grid=4)

# ------------------------------------------------------------------ all of them
n=0
for config in "$experiments"/*/config.yaml "$experiments"/*/twin.yaml; do
    n=$((n + 1))
    ok "$dmq" config check -c "$config"
    ok "$dmq" sweep --list -c "$config" -o s
    [ -f "$(dirname "$config")/README.md" ] || fail "$config has no README.md beside it"
done
[ $n -ge 10 ] || fail "only $n configurations"
for readme in "$experiments"/*/README.md; do
    checks=$((checks + 1))
    grep -q '^\*\*Question\.\*\*' "$readme" || fail "$readme asks nothing"
    grep -q '^\*\*Command\.\*\*' "$readme" || fail "$readme has no command"
    for file in $(grep -o 'experiments/[a-z0-9/.-]*\.yaml' "$readme"); do
        [ -f "$root/$file" ] || fail "$readme speaks of $file, which is not there"
    done
done
# names that READMEs, cards and configurations tell data/fetch.sh
grep -hoE 'data/fetch\.sh [a-z0-9-]+( [a-z0-9-]+)*' "$experiments"/*/*.md "$experiments"/*/*.yaml |
    cut -d' ' -f2- | tr ' ' '\n' | grep -v -- '^--' | sort -u >told.txt
[ "$(wc -l <told.txt)" -ge 6 ] || fail "only $(wc -l <told.txt) names of data/fetch.sh"
while read -r name; do
    checks=$((checks + 1))
    cut -f1 "$root/data/SOURCES" | grep -qx -- "$name" || fail "data/fetch.sh does not know $name"
done <told.txt
for config in "$experiments"/{quickstart,shapes16,shapes32}/config.yaml "$experiments"/cifar10/twin.yaml; do
    ok "$dmq" sweep --dry-run -q -c "$config" -o s
done

# ------------------------------------------------------------------ the published tables, without their files
dry() { # EXPERIMENT TASK MISSING...
    local config=$experiments/$1/config.yaml task=$2
    shift 2
    refuses 66 "$# files are missing; all else is in order" 'evaluate: would make s/.*/metrics.json' \
        'hint: data/fetch.sh inception' 'hint: dmq import .* --network' "${@/#/warning .missing.: there is no .*}" \
        -- "$dmq" sweep --dry-run -c "$config" -o s --task "$task"
}
for task in 0 13; do
    dry cifar10 $task ddpm-cifar10.h5 inception-2015-12-05.h5 cifar-10-batches-bin
done
dry lsun-bedrooms 13 ldm4-beds.h5 vq-f4.h5 inception-2015-12-05.h5 VIRTUAL_lsun_bedroom256.npz
dry imagenet 13 ldm4-cin-v2.h5 vq-f4.h5 inception-2015-12-05.h5 VIRTUAL_imagenet256_labeled.npz
refuses 66 'there is no checkpoint' -- "$dmq" sweep -c "$experiments/cifar10/config.yaml" -o s -q
refuses 78 'quant.weight.bits = 9' -- "$dmq" sweep --dry-run -c "$experiments/cifar10/config.yaml" -o s \
    --set 'sweep.grid=["A: quant.weight.bits=9"]'
refuses 66 '3 files are missing' -- "$dmq" run --dry-run -c "$experiments/cifar10/config.yaml" -o s --set 'sweep.grid=[]'
[ -e s ] && fail "a dry run made a folder"

# ------------------------------------------------------------------ and their passes
passes() { # STAGE of out.txt
    sed -n "/\"$1\": {/,/}/p" out.txt | sed -n 's/.*"passes": \([0-9]*\).*/\1/p' | head -1
}
count() { # EXPERIMENT CALLS_OF_AN_IMAGE CALIBRATE UNITS
    ok "$dmq" plan --dry-run --json -q -c "$experiments/$1/config.yaml" -o s \
        --set 'sweep.grid=[]' -c "$experiments/methods/gac.yaml"
    checks=$((checks + 3))
    [ "$(passes sample)" = $(($2 * 50000)) ] || fail "$1: $(passes sample) passes to sample"
    [ "$(passes calibrate)" = "$3" ] || fail "$1: $(passes calibrate) passes to calibrate"
    [ "$(grep -c '"iterations": 20000' out.txt)" = "$4" ] || fail "$1: $(grep -c '"iterations"' out.txt) units"
    grep -q '"counts_only": true' out.txt || fail "$1: something was measured"
}
# with new noise for each step: n (n - 1) / 2 moves of all samples of a step, held-out ones too
count cifar10 96 $((100 * 99 / 2 * 269)) 32 # four of the 100 steps do not move an image
count lsun-bedrooms 200 $((200 * 199 / 2 * 269)) 26
count imagenet 40 $((20 * 19 / 2 * 538)) 74

# ------------------------------------------------------------------ the twins, smaller still
for twin in lsun-bedrooms imagenet; do
    ok "$dmq" sweep -c "$experiments/$twin/twin.yaml" -o $twin --task 5 -q --progress none "${small[@]}"
    checks=$((checks + 1))
    psnr=$(grep -A2 '"psnr"' $twin/gac-w4a8-s1/metrics.json | sed -n 's/.*"value": \([-0-9.]*\).*/\1/p')
    awk -v p="$psnr" 'BEGIN {exit !(p != "" && p + 0 > 5 && p + 0 < 40)}' || fail "$twin: $psnr dB from full precision"
done
ok "$dmq" inspect imagenet/gac-w4a8-s1/images-fp.h5
grep -qE '^images +f32 +\[8,3,64,64\]' out.txt || fail "the twin's images are no 64x64: $(cat out.txt)"

# ------------------------------------------------------------------ a description is a network
cp "$experiments/lsun-bedrooms/twin-unet.yaml" net.yaml
ok "$dmq" sweep -c "$experiments/imagenet/twin.yaml" -o again --task 3 -q --progress none "${small[@]}"
same imagenet/gac-w4a8-s1/images-fp.h5 again/nearest-w4a8-s1/images-fp.h5
same imagenet/gac-w4a8-s1/calib.h5 again/nearest-w4a8-s1/calib.h5
fp=("$dmq" sample --fp -q --progress none --set model.checkpoint=net.yaml --set sample.count=8 --set sampler.steps=5)
ok "${fp[@]}" -o described
sed -i 's/^seed: 1/seed: 7/' net.yaml
refuses 73 'was made with another configuration' 'it was: model' -- "${fp[@]}" -o described
sed -i 's/ch: 32/ch: 33/' net.yaml
refuses 78 'model.norm_groups = 8: must divide' 'net.yaml' -- "${fp[@]}" -o other
refuses 78 'decoders are imported, not trained' -- \
    "$dmq" train -q -c "$experiments/lsun-bedrooms/twin-decoder.yaml" --set train.iters=1 -o m.h5
refuses 65 'a network of kind decoder' -- "$dmq" sample --fp --set sample.count=8 -o x \
    --set "model.checkpoint=$experiments/lsun-bedrooms/twin-decoder.yaml"
# a decoder of any size is imported by its description
cat >decoder.yaml <<'YAML'
schema: dmq/1
model: {kind: decoder, ch: 8, ch_mult: [1, 2, 4], num_res_blocks: 1, resolution: 16, n_embed: 100, norm_groups: 4}
YAML
ok "$dmq" import "$root/tests/golden/decoder.h5" --root vq -c decoder.yaml -o decoder.h5
ok "$dmq" inspect decoder.h5
grep -q '^kind: decoder' out.txt || fail "what was imported is no decoder: $(head -3 out.txt)"
refuses 65 'n_embed|quantize.embedding' -- \
    "$dmq" import "$root/tests/golden/decoder.h5" --root vq -c decoder.yaml --set model.n_embed=99 -o wrong.h5
refuses 78 'model.n_embed = 4: has no effect on model.kind' -- "$dmq" config check --set model.n_embed=4
finish
