#!/usr/bin/env bash
# The published protocol on a network that is trained here first, within the time that is given; again, to go on.
#
#   bench/protocol.sh -o DIR [--dmq build/dmq] [--device cuda] [--seconds N] [--train-minutes 3] [--train-iters N]
#                     [--first 1024] [--images 50000] [--arms 4] [--precision tf32] [--carry OUT] [--from OUT] [--dry]
#
#   1  train        experiments/train/shapes32-large-unet.yaml, as many iterations as --train-minutes allow (or
#                   --train-iters), told by a few that are timed; the number is kept in DIR/plan
#   2  arms         experiments/protocol/config.yaml: nearest, TFMQ-DM, GAC, permuted GAC; --first images each
#   3  images       the arms again with as many images as the time that is left allows, at most --images
#
# DIR/protocol.md and DIR/protocol.json tell results and the seconds of every stage, after each arm. What is stopped by
# the end of its time (or after the first --arms) goes on where it was: exit 75 then, 0 when nothing is left, else that of dmq.
#
# --carry leaves in OUT what makes the work of hours and is small: plan, results, quantized networks, as
# carry-*.part of 15 MiB each, at most 3; what does not fit is told. --from begins with such pieces: the network is
# trained again with the same number of iterations, calibration data and images are made again.
# --dry: the same on a network of 0.2 million parameters with a few iterations of everything: a minute on a CPU.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n '2,18p' "$0" >&2; exit 64; }
say() { echo "protocol.sh: $*" >&2; }
dir='' dmq=build/dmq device=cuda seconds=1000000 minutes=3 iters='' first=1024 images=50000 arms=4 precision=tf32 carry='' from='' dry=0
while [ $# -gt 0 ]; do
    case $1 in
    -o) dir=${2:?}; shift ;;
    --dmq) dmq=${2:?}; shift ;;
    --device) device=${2:?}; shift ;;
    --seconds) seconds=${2:?}; shift ;;
    --train-minutes) minutes=${2:?}; shift ;;
    --train-iters) iters=${2:?}; shift ;;
    --first) first=${2:?}; shift ;;
    --images) images=${2:?}; shift ;;
    --arms) arms=${2:?}; shift ;;
    --precision) precision=${2:?}; shift ;;
    --carry) carry=${2:?}; shift ;;
    --from) from=${2:?}; shift ;;
    --dry) dry=1 ;;
    *) usage ;;
    esac
    shift
done
[ -n "$dir" ] || usage
[ -x "$dmq" ] || { say "$dmq is missing: build first"; exit 64; }
began=$(date +%s)
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
dmq=$(realpath "$dmq")
[ -d "$here/../experiments" ] || { say "no experiments beside bench/"; exit 64; }
experiments=$(realpath "$here/../experiments")
export DMQ_DATA=${DMQ_DATA:-$(realpath "$here/../data")}

train=() run=()
case $device in
cuda*) run=(--set "device.precision=$precision") train=("${run[@]}") ;;
*) precision=fp32 ;;
esac
if [ $dry = 1 ]; then
    first=16 images=40 iters=${iters:-10}
    train+=(--set model.ch=16 --set 'model.ch_mult=[1, 2]' --set model.num_res_blocks=1 --set model.norm_groups=8
        --set train.batch=16 --set train.warmup=2)
    run+=(--set sampler.steps=8 --set calibrate.per_timestep=10 --set calibrate.interval=1 --set calibrate.held_out=0.2
        --set calibrate.validation=0.3 --set recon.iters=10 --set recon.batch=8 --set sample.grid=16
        --set evaluate.reference_count=64)
fi
left() { echo $((began + seconds - 15 - $(date +%s))); } # the rest is for what is carried
if [ -n "$from" ] && [ ! -f "$dir/plan" ] && compgen -G "$from/carry-*.part" >/dev/null; then
    cat "$from"/carry-*.part | xz -dc | tar -C "$dir" -xf -
    say "goes on with what $from holds"
fi
touch "$dir/plan" "$dir/stages.tsv"
plan() { sed -n "s/^$1 //p" "$dir/plan" | tail -1; }
keep() { echo "$1 $2" >>"$dir/plan"; }
now() { date +%s.%N; }
took() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.1f", b - a}'; }

# ------------------------------------------------------------------ what there is to tell
# Seconds of a stage of a run; nothing when it is not done.
stage_seconds() { # run.json, stage
    awk -v stage="\"$2\": {" '$0 ~ "^    " stage { in_it = 1 } in_it && /"seconds":/ { gsub(/[^0-9.e-]/, "", $2); printf "%.1f", $2; exit }' "$1"
}
tell() {
    local run stage n
    {
        echo "## The protocol"
        echo
        echo "Network: $(cat "$dir"/runs/*/run.json 2>/dev/null | sed -n 's/.*"parameters": \([0-9]*\).*/\1/p' | head -1) parameters, $(plan train_iters) iterations of training, sha256 $(plan model | cut -c1-16); $(plan device); images: ${count:-none yet}."
        echo
        if [ -f "$dir/runs/table.md" ]; then cat "$dir/runs/table.md"; else echo "No arm is done yet."; fi
        [ ! -f "$dir/table-first.md" ] || { echo; echo "With $first images:"; echo; sed -n '/^|/p' "$dir/table-first.md"; }
        echo
        echo "| run | calibrate, s | FP images | quantize | images | evaluate |"
        echo "|---|---|---|---|---|---|"
        for run in "$dir"/runs/*/run.json; do
            [ -f "$run" ] || continue
            echo "| $(basename "$(dirname "$run")")$(for stage in calibrate sample-fp quantize sample evaluate; do printf ' | %s' "$(stage_seconds "$run" $stage)"; done) |"
        done
        echo
        echo "| step of the script | seconds | exit | at |"
        echo "|---|---|---|---|"
        awk -F'\t' '{ printf "| %s | %s | %s | %s |\n", $1, $2, $3, $4 }' "$dir/stages.tsv"
    } >"$dir/protocol.new" && mv "$dir/protocol.new" "$dir/protocol.md"
    {
        echo '{"schema": "dmq-protocol/1", "plan": {'
        awk '{ k = $1; sub(/^[^ ]+ /, ""); gsub(/"/, "\\\""); v[k] = $0 } END { for (k in v) printf "%s\"%s\": \"%s\"", (n++ ? ", " : ""), k, v[k] }' "$dir/plan"
        echo '}, "steps": ['
        awk -F'\t' '{ printf "%s{\"name\": \"%s\", \"seconds\": %s, \"exit\": %s, \"at\": \"%s\"}", (NR > 1 ? ",\n" : ""), $1, $2, $3, $4 }' "$dir/stages.tsv"
        echo '], "runs": {'
        n=0
        for run in "$dir"/runs/*/; do
            [ -f "$run/run.json" ] || continue
            [ $n = 0 ] || echo ,
            n=1
            printf '"%s": {"run": ' "$(basename "$run")"
            cat "$run/run.json"
            for stage in metrics blocks; do
                [ ! -f "$run/$stage.json" ] || { printf ', "%s": ' $stage; cat "$run/$stage.json"; }
            done
            echo '}'
        done
        echo '}}'
    } >"$dir/protocol.new" && mv "$dir/protocol.new" "$dir/protocol.json"
}
# The pieces: what is not made again in seconds.
pack() {
    [ -n "$carry" ] || return 0
    local most=$((3 * 15 << 20)) names=() arm size sum
    mkdir -p "$carry"
    rm -f "$carry"/carry-*.part
    (cd "$dir" && find . -type f ! -name '*.h5' ! -name '*.train' ! -name '*.new' ! -name LOCK ! -name '*.png' | sort) >"$dir/carried.new"
    # what is left of the time is short: every file is compressed once to know its size, and blocks only of what is
    # not whole yet
    sum=$(tar -C "$dir" -cf - -T "$dir/carried.new" | xz -1 -T0 -c | wc -c)
    for arm in tfmq gac permuted nearest; do
        names=("$dir"/runs/$arm*/quant.h5)
        [ -f "${names[0]}" ] || names=("$dir"/runs/$arm*/ckpt/*.h5)
        for name in "${names[@]}"; do
            [ -f "$name" ] || continue
            size=$(($(xz -1 -T0 -c "$name" | wc -c) + 1024))
            if [ $((sum + size)) -le $most ]; then
                sum=$((sum + size))
                echo "./${name#"$dir"/}" >>"$dir/carried.new"
            else
                say "not carried: ${name#"$dir"/} ($(($(stat -c %s "$name") >> 20)) MiB)"
            fi
        done
    done
    tar -C "$dir" -cf - -T "$dir/carried.new" | xz -1 -T0 -c | split -d -a 1 -b 15m --additional-suffix=.part - "$carry/carry-"
    rm -f "$dir/carried.new"
    say "carried: $(cat "$carry"/carry-*.part | wc -c) bytes in $(ls "$carry"/carry-*.part | wc -l) pieces"
}
leave() { # exit code
    tell
    pack
    exit "$1"
}
# A step within the time that is left; 75: it was stopped in order, or not begun.
step() { # name, command...
    local name=$1 at code=0 limit
    shift
    limit=$(left)
    [ "$limit" -ge 10 ] || { say "no time is left for: $name"; leave 75; }
    at=$(now)
    say "$name, $limit s are left"
    timeout -s TERM -k 60 "$limit" "$@" || code=$?
    [ $code != 124 ] || code=75 # the signal came before dmq could answer it
    printf '%s\t%s\t%s\t%s\n' "$name" "$(took "$at")" "$code" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >>"$dir/stages.tsv"
    [ $code = 0 ] || { say "$name: exit $code"; leave $code; }
    tell
}

# ------------------------------------------------------------------ 1: the network
training=("$dmq" train -c "$experiments/train/shapes32-large-unet.yaml" "${train[@]}" --device "$device" --progress plain)
[ -n "$(plan device)" ] || keep device "$device, $precision, dmq $("$dmq" --version 2>/dev/null | head -1 | sed 's/^dmq //')"
if [ -z "$(plan train_iters)" ]; then
    if [ -z "$iters" ]; then # 20 and 80 iterations: the difference is free of what every start costs
        for n in 20 80; do
            at=$(now)
            "${training[@]}" --set train.iters=$n --overwrite -o "$dir/speed-$n.h5" || leave $?
            eval "t$n=$(took "$at")"
            rm -f "$dir/speed-$n.h5"*
        done
        iters=$(awk -v a="$t20" -v b="$t80" -v m="$minutes" 'BEGIN {
            d = b - a; if (d < 0.1) d = 0.1
            n = int(m * 60 * 60 / d / 100) * 100; print n < 100 ? 100 : n }')
        say "80 iterations of training took $t80 s, 20 took $t20: $iters in $minutes minutes"
    fi
    keep train_iters "$iters"
fi
if [ ! -f "$dir/unet.h5" ]; then
    step train "${training[@]}" --set "train.iters=$(plan train_iters)" -o "$dir/unet.h5"
    hash=$(sha256sum "$dir/unet.h5" | cut -d' ' -f1)
    if [ -n "$(plan model)" ] && [ "$(plan model)" != "$hash" ]; then
        say "training again gave another network ($hash, it was $(plan model)): the arms begin anew"
        [ ! -d "$dir/runs" ] || mv "$dir/runs" "$dir/runs-of-$(plan model | cut -c1-8)"
    fi
    keep model "$hash"
fi

# ------------------------------------------------------------------ 2 and 3: the arms
run_arms() { # images, options...
    local n=$1 task
    shift
    count=$n
    for task in 0 1 2 3; do
        [ $task -lt "$arms" ] || leave 75
        step "arm $task, $n images" "$dmq" sweep -c "$experiments/protocol/config.yaml" "${run[@]}" \
            --set "model.checkpoint=$dir/unet.h5" --set "sample.count=$n" --device "$device" --progress plain \
            --task $task -o "$dir/runs" "$@"
        "$dmq" table "$dir/runs" >"$dir/runs/table.md" 2>/dev/null || true
    done
}
if [ -z "$(plan images)" ]; then
    run_arms "$first"
    cp "$dir/runs/table.md" "$dir/table-first.md"
    # seconds of an image, mean over the arms; full precision has to be sampled, too
    n=$(for run in "$dir"/runs/*/run.json; do stage_seconds "$run" sample; echo; done | awk -v left="$(left)" -v first="$first" -v most="$images" '
        { t += $1; k++ } END { each = t / k / first; n = int((left - 20) * 0.9 / (5 * each)); print n < most ? n : most }')
    [ $dry = 0 ] || n=$images
    [ "$n" -ge $((2 * first)) ] || { say "no time is left for more than $first images"; leave 75; }
    [ "$n" = "$images" ] || n=$((n / 256 * 256))
    keep images "$n"
fi
run_arms "$(plan images)" --overwrite
[ "$(plan images)" = "$images" ] || say "$(plan images) images instead of $images: that is what the time allowed"
leave 0
