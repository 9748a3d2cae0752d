#!/usr/bin/env bash
# A grid of 2 bit settings x 3 methods x 2 seeds on the shipped 16x16 model: what tasks share is made once, also by
# tasks at the same time; killed at random moments and started again it ends with the same bytes; its table is the
# mean and the deviation that awk computes. bash test_sweep.sh PATH_OF_DMQ SCRATCH [SEED of the random moments]
root=$(realpath "$(dirname "$(realpath "$0")")/../..")
. "$root/tests/flow/lib.sh"
export DMQ_DATA=$root/data
RANDOM=${3:-$((10#$(date +%N) % 32768))}
results="calib.h5 images-fp.h5 quant.h5 images-q.h5 metrics.json"

cat >grid.yaml <<YAML
schema: dmq/1
extends: [$root/experiments/cards/shapes16.yaml]
name: grid
sampler: {steps: 5}
calibrate: {per_timestep: 8, interval: 1, validation: 0.25, held_out: 0.25}
recon: {iters: 2, batch: 4, lr: 0.02}
reweight: {batch: 4, visits: 1}
sample: {count: 16, batch: 8, grid: 16}
evaluate: {metrics: [fd, is, paired, noise_error], reference_count: 64}
sweep:
  seeds: [1, 2]
  grid:
    - "nearest: methods/nearest.yaml | TFMQ-DM: methods/tfmq.yaml | GAC: methods/gac.yaml"
    - "W8A8: quant.weight.bits=8 quant.act.bits=8 | W4A8: quant.weight.bits=4 quant.act.bits=8"
YAML
cp -r "$root/experiments/methods" methods
sweep=("$dmq" sweep -c grid.yaml -q --progress none)
now_ms() {
    echo $(($(date +%s%N) / 1000000))
}
equal() { # WHAT HAVE WANT
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1: $2 instead of $3"
}
made() { # FILE FOLDER...: how often these runs made it
    local file=$1
    shift
    cat "${@/%//events.jsonl}" | grep "\"file\": \"$file\"" | grep -c '"shared": false'
}
in_store() { # SWEEP FILE: how many of it
    find "$1/store" -name "*-$2" | wc -l
}

# ------------------------------------------------------------------ twelve tasks, in the order of the table
ok "${sweep[@]}" --list -o alone
cut -f2,3 out.txt >have.txt
for bits in W8A8 W4A8; do
    for method in nearest TFMQ-DM GAC; do
        printf '%s %s\t1\n%s %s\t2\n' $method $bits $method $bits
    done
done >want.txt
same have.txt want.txt
[ -e alone ] && fail "--list made a folder"
refuses 78 'this is a sweep of 6 arms' 'grid.yaml:1[0-9]' -- "$dmq" run -c grid.yaml
refuses 78 'an arm is "LABEL: ' 'not "W4A8"' -- "$dmq" sweep -c grid.yaml --list --set 'sweep.grid=["A: seed=1 | W4A8"]'
refuses 78 'two arms would share the folder a-b-s1' -- "$dmq" sweep -c grid.yaml --list \
    --set 'sweep.grid=["A: name=x", "B: name=y | B: name=z"]'

# ------------------------------------------------------------------ left alone
start=$(now_ms)
ok "${sweep[@]}" -o alone || finish
took=$(($(now_ms) - start))
cp out.txt printed.md
equal "calibration sets" "$(in_store alone calib.h5)" 2 # a seed has its own
equal "sets of full-precision images" "$(in_store alone images-fp.h5)" 1
equal "statistics of the reference" "$(in_store alone reference.h5)" 1
equal "scores of the full-precision images" "$(in_store alone metrics-fp.json)" 1
equal "calibrations" "$(made calib.h5 alone/*-s?)" 2
equal "full-precision samplings" "$(made images-fp.h5 alone/*-s?)" 1
equal "quantizations" "$(made quant.h5 alone/*-s?)" 12
equal "files behind images-fp.h5" "$(stat -c %i alone/*-s?/images-fp.h5 alone/store/*-images-fp.h5 | sort -u | wc -l)" 1
ok "$dmq" status alone
grep -q '^alone: 12 of 12 tasks done, 0 begun' out.txt || fail "status: $(tail -1 out.txt)"
find alone -type f ! -name '*.lock' | sort | xargs sha256sum >before.txt
ok "${sweep[@]}" -o alone
same out.txt printed.md
find alone -type f ! -name '*.lock' | sort | xargs sha256sum | diff before.txt - >/dev/null ||
    fail "a sweep that is done was changed by another start"

# ------------------------------------------------------------------ the table by hand
value() { # FILE METRIC: of the quantized model
    sed -n '/"quantized"/,$p' "$1" | grep -A2 "\"$2\": {" | sed -n 's/.*"value": \([^,]*\),/\1/p' | head -1
}
ok "$dmq" table alone --format csv
sed 's/"[^"]*"/-/g' out.txt >table.csv
for bits in w8a8 w4a8; do
    for method in nearest tfmq-dm gac; do
        for metric in fd is psnr noise_error; do
            a=$(value alone/$method-$bits-s1/metrics.json $metric)
            b=$(value alone/$method-$bits-s2/metrics.json $metric)
            checks=$((checks + 1))
            awk -F, -v a="$a" -v b="$b" -v label="$method $bits" -v metric=$metric '
                function near(x, y) { d = x - y; return (d < 0 ? -d : d) <= 1e-9 * (y < 0 ? -y : y) + 1e-15 }
                NR == 1 { for (i = 1; i <= NF; i++) if ($i == metric) c = i }
                tolower($2) == label && $1 == "mean" { mean = $c; n++ }
                tolower($2) == label && $1 == "sd" { sd = $c; n++ }
                END {
                    m = (a + b) / 2
                    s = sqrt((a - m) ^ 2 + (b - m) ^ 2)
                    exit !(a != "" && b != "" && n == 2 && near(mean, m) && near(sd, s))
                }' table.csv || fail "$metric of $method $bits: $a and $b give another mean or deviation"
        done
        # and as it is printed: two decimals
        a=$(value alone/$method-$bits-s1/metrics.json fd)
        b=$(value alone/$method-$bits-s2/metrics.json fd)
        text=$(awk -v a="$a" -v b="$b" 'BEGIN { m = (a + b) / 2
            printf "%.2f ± %.2f", m, sqrt((a - m) ^ 2 + (b - m) ^ 2) }')
        checks=$((checks + 1))
        grep -iE "^\| $method $bits +\|" printed.md | grep -qF " $text |" ||
            fail "the printed table does not have $text for $method $bits"
    done
done

# ------------------------------------------------------------------ killed at random moments
kills=0
for attempt in $(seq 12) last; do
    "${sweep[@]}" -o killed >out.txt 2>err.txt &
    pid=$!
    if [ "$attempt" != last ] && [ $kills -lt 4 ]; then
        ms=$((took / 20 + RANDOM % (took / 4)))
        sleep $((ms / 1000)).$(printf %03d $((ms % 1000)))
        kill -KILL $pid 2>/dev/null
    fi
    wait $pid 2>/dev/null
    code=$?
    [ $code -eq 0 ] && break
    equal "exit code of a killed sweep" $code 137
    [ $kills -eq 0 ] && "$dmq" status killed | tail -1
    kills=$((kills + 1))
done
echo "killed $kills times"
[ $kills -ge 3 ] || fail "only $kills real kills"
for run in alone/*-s?; do
    for file in $results; do
        same "$run/$file" "killed/${run#alone/}/$file"
    done
done
find killed -name '*.tmp' | grep . && fail "temporary files are left"
equal "calibration sets after kills" "$(in_store killed calib.h5)" 2
equal "sets of full-precision images after kills" "$(in_store killed images-fp.h5)" 1
equal "statistics of the reference after kills" "$(in_store killed reference.h5)" 1
# a kill between a file and its event leaves none; twice means that finished work was done again
checks=$((checks + 1))
for run in killed/*-s?; do
    grep -o '"stage": "[a-z-]*", "file"' "$run/events.jsonl" | sort | uniq -d | grep . && fail "$run made a stage twice"
done

# ------------------------------------------------------------------ tasks at the same time, in no order
pids=
for task in 5 1 3; do
    "${sweep[@]}" -o apart --threads 1 --task $task >out-$task.txt 2>err-$task.txt &
    pids="$pids $!"
done
for pid in $pids; do
    checks=$((checks + 1))
    wait "$pid" || fail "a task beside others: $(cat err-?.txt)"
done
equal "calibrations of three tasks at once" "$(made calib.h5 apart/*-s2)" 1
equal "full-precision samplings of three tasks at once" "$(made images-fp.h5 apart/*-s2)" 1
for run in apart/*-s2; do
    same "$run/metrics.json" "alone/${run#apart/}/metrics.json"
done
ok "$dmq" status apart
grep -q '^apart: 3 of 12 tasks done, 0 begun .*9 not begun' out.txt || fail "status: $(tail -1 out.txt)"
# a damaged file of the store is not taken
name=$(basename apart/store/*-images-fp.h5)
cp "apart/store/$name" copy.h5 && printf x >>copy.h5 && mv copy.h5 "apart/store/$name"
ok "${sweep[@]}" -o apart --task 7
grep -q 'is damaged; it is made again' err.txt || fail "a damaged file of the store was taken"
same apart/nearest-w4a8-s2/images-fp.h5 "alone/store/$name"
finish
