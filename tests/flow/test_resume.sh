#!/usr/bin/env bash
# A run that is killed, stopped, cut into shards or given other threads ends with the bytes of one that
# was left alone. bash test_resume.sh PATH_OF_DMQ SCRATCH [SEED of the random moments]
. "$(dirname "$(realpath "$0")")/lib.sh"
RANDOM=${3:-$((10#$(date +%N) % 32768))}
kills_wanted=20
results="calib.h5 images-fp.h5 quant.h5 images-q.h5 metrics.json blocks.json"

make_models
make_config
# an array and not a function where the program itself has to be killed, not a shell around it
tiny=("$dmq" run --progress none -c tiny.yaml --set quant.act.bits=8)
run() {
    "${tiny[@]}" -q "$@"
}
same_run() {
    local file
    for file in $results; do
        same "$1/$file" "$2/$file"
    done
    find "$2" -name '*.tmp' | grep . && fail "temporary files are left in $2"
}
now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

start=$(now_ms)
ok run -o alone || finish
took=$(($(now_ms) - start))
echo "undisturbed: $took ms"

# ------------------------------------------------------------------ killed at random moments
# Up to a third of a run at a time, so that every stage is hit; at most 60 times a folder.
kills=0
folders=0
while [ $kills -lt $kills_wanted ] && [ $folders -lt 8 ]; do
    folders=$((folders + 1))
    rm -rf killed
    for attempt in $(seq 60) last; do
        "${tiny[@]}" -q -o killed 2>err.txt &
        pid=$!
        if [ "$attempt" != last ]; then
            ms=$((took / 20 + RANDOM % (took / 3)))
            sleep $((ms / 1000)).$(printf %03d $((ms % 1000)))
            kill -KILL $pid 2>/dev/null
        fi
        wait $pid 2>/dev/null
        code=$?
        [ $code -eq 0 ] && break
        if [ $code -ne 137 ]; then
            fail "exit code $code of a run that goes on"
            sed 's/^/    /' err.txt >&2
            break
        fi
        kills=$((kills + 1))
    done
    same_run alone killed
done
echo "killed $kills times in $folders folders; the last one was started $(sed -n \
    's/.*"starts": \([0-9]*\).*/\1/p' killed/run.json) times"
[ $kills -ge $kills_wanted ] || fail "only $kills real kills"

# ------------------------------------------------------------------ stopped in order
# One unit of many iterations: the signal comes inside it, and the rest is learned after a restart.
long=("${tiny[@]}" --set quant.policy=rules --set "quant.rules=['mid.block_1.*: w4']"
    --set recon.iters=3000)
ok "${long[@]}" -o long-alone
for signal in TERM USR2 INT; do
    rm -rf long
    : >err.txt # what is in it is of the run before until the shell behind & has opened it
    "${long[@]}" -o long 2>err.txt &
    pid=$!
    for _ in $(seq 200); do
        grep -q '^dmq: quantize: ' err.txt && break
        sleep 0.05
    done
    sleep 0.$((RANDOM % 3))
    kill -$signal $pid
    wait $pid
    code=$?
    checks=$((checks + 1))
    [ $code -eq 75 ] || fail "exit code $code after $signal instead of 75"
    ok "${long[@]}" -o long
    same_run long-alone long
    grep -q 'goes on inside a unit' long/log.txt && inside=1
done
[ "${inside:-0}" = 1 ] || fail "no signal came inside a unit"

# ------------------------------------------------------------------ threads, memory, micro-batches
for threads in 1 3; do
    ok run -o threads --threads $threads
    same_run alone threads
    rm -rf threads
done
OMP_NUM_THREADS=1 ok run -o threads
same_run alone threads
ok run -o memory --set recon.cache_budget=4M
grep -q 'cache-recompute' memory/log.txt || fail "4 MiB are too much to make units recompute"
same_run alone memory
DMQ_SCRATCH=$scratch/rows ok run -o disk --set recon.cache_budget=1M --set recon.cache_disk=1G
grep -q 'cache: .*, disk [0-9.]* MiB at the peak' disk/log.txt || fail "nothing lay on the disk"
[ -d rows ] && [ -z "$(ls rows)" ] || fail "the folder of rows is not there, or not empty"
same_run alone disk
for batch in 1 9 64; do
    ok run -o batch --set sample.batch=$batch
    same_run alone batch
    rm -rf batch
done

# ------------------------------------------------------------------ shards, side by side
cp -r alone shards
rm shards/images-q.h5 shards/images-fp.h5 shards/metrics.json
shard() {
    "$dmq" sample "${tiny[@]:2}" -q -o shards --threads 1 "$@"
}
for which in '' --fp; do
    pids=
    for i in 1 2 3; do
        shard $which --shard $i/3 2>err-$i.txt &
        pids="$pids $!"
    done
    for pid in $pids; do
        checks=$((checks + 1))
        wait "$pid" || fail "a shard: $(cat err-?.txt)"
    done
    ok shard $which --merge
done
ok run -o shards
same_run alone shards

# ------------------------------------------------------------------ afresh
ok run -o alone --resume never
same_run killed alone

finish
