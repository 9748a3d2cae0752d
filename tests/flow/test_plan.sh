#!/usr/bin/env bash
# dmq plan: passes against a count by hand, memory against a run, nothing written. bash test_plan.sh DMQ SCRATCH
. "$(dirname "$(realpath "$0")")/lib.sh"
make_models
make_config

value() { # of lines "key": value,
    sed 's/.*: //; s/,$//'
}

stage() { # STAGE KEY of plan.json
    sed -n "/\"$1\": {/,/}/p" plan.json | grep -m1 "\"$2\": " | value
}

whole() { # KEY of plan.json, of the run as a whole: behind its stages and units
    sed -n '/"cache_bytes"/,$p' plan.json | grep -m1 "\"$1\": " | value
}

equal() { # WHAT HAVE WANT
    checks=$((checks + 1))
    awk "BEGIN {exit !($2 == $3)}" || fail "$1: $2 instead of $3"
}

between() { # WHAT LOW HAVE HIGH
    checks=$((checks + 1))
    awk "BEGIN {exit !($2 <= $3 && $3 <= $4)}" || fail "$1: $3 is not in $2 .. $4"
}

# ------------------------------------------------------------------ one run
ok "$dmq" plan -c tiny.yaml -o r --json --progress none || finish
[ -e r ] && fail "plan made the folder"
cp out.txt plan.json
# 7 steps (every 166th t), 8 + 2 samples of each; 6 moves a trajectory
equal "passes of calibrate" "$(stage calibrate passes)" $((6 * 10))
equal "passes of sample-fp" "$(stage sample-fp passes)" $((7 * 32))
equal "passes of sample" "$(stage sample passes)" $((7 * 32))
equal "passes of evaluate" "$(stage evaluate passes)" $((7 * 2 * 2))
# no tables (act: off): the weight set of 70 samples on both paths
equal "passes of quantize" "$(stage quantize passes)" $((2 * 70))
between "seconds" 0.01 "$(whole seconds)" 1000
units=$(grep -c '"seconds_per_iteration"' plan.json)
ok "$dmq" run -c tiny.yaml -o r -q --progress none || finish
equal "units" "$units" "$(grep -c '"nearest_train"' r/blocks.json)"
peak=$(grep -m1 '"peak_memory_bytes"' r/run.json | value)
between "memory" "$(awk "BEGIN {print $peak * 0.7}")" "$(whole host_bytes)" "$(awk "BEGIN {print $peak * 1.3}")"
size=$(stat -c %s r/calib.h5)
between "bytes of calib.h5" "$(awk "BEGIN {print $size * 0.9}")" "$(stage calibrate disk_bytes)" "$size"

# ------------------------------------------------------------------ as people read it
ok "$dmq" plan -c tiny.yaml -o r --progress none
for word in calibrate sample-fp quantize 'sample weights' 'iterations' evaluate '^all'; do
    grep -q "$word" out.txt || fail "plan does not speak of $word"
done
ok "$dmq" plan -c tiny.yaml -o r --progress none --set recon.cache_budget=1M
grep -q 'computed anew' out.txt || fail "plan does not tell that prefixes are recomputed"

# ------------------------------------------------------------------ a sweep: what is shared counts once
cat >sweep.yaml <<'YAML'
schema: dmq/1
extends: [tiny.yaml]
name: two
sweep:
  seeds: [5]
  arms: ["nearest: quant.weight.round=nearest", "gac: reweight=surrogate"]
YAML
ok "$dmq" plan -c sweep.yaml -o s --progress none
[ "$(grep -c 'shared$' out.txt)" -eq 2 ] || fail "shared stages: $(grep -c 'shared$' out.txt) instead of 2"
ok "$dmq" plan -c sweep.yaml -o s --progress none --json
[ "$(grep -c '"label"' out.txt)" -eq 2 ] || fail "--json does not list two runs"

# ------------------------------------------------------------------ what cannot be
refuses 78 'recon.batch' -- "$dmq" plan -c tiny.yaml --set recon.batch=0
refuses 71 'needs .* of memory, .* are free' 'hint: ' -- \
    "$dmq" plan -c tiny.yaml --progress none --set sample.count=1000000000 --set sample.batch=65536
finish
