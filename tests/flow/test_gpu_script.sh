#!/usr/bin/env bash
# bench/gpu.sh --run on an archive of made-up programs: what it tells, what it exits with, what it writes; and
# bench/protocol.sh at its smallest with the real one, stopped and gone on with elsewhere.
# bash test_gpu_script.sh PATH_OF_DMQ SCRATCH
bench=$(realpath "$(dirname "$0")/../../bench")
script=$bench/gpu.sh
dmq=$(realpath "$1")
scratch=$2
failed=0
fail() { echo "test_gpu_script: $*"; failed=1; }
rm -rf "$scratch"
mkdir -p "$scratch"
cd "$scratch" || exit 1

# A program: folder/name, its script.
program() { mkdir -p "all/${1%/*}"; printf '#!/bin/sh\n%s\n' "$2" >"all/$1"; chmod +x "all/$1"; }
pack() {
    (cd all && find . -type f ! -name sums -print0 | sort -z | xargs -0 sha256sum >sums)
    mkdir -p packed
    tar -C all -cf - . | gzip >packed/dmq.tar
}
# Exit code, then what has to be in FILE of the results.
runs() { # code, options...
    local want=$1 code=0
    shift
    rm -rf out
    bash "$script" --run packed out "$@" >table 2>talk || code=$?
    [ $code = "$want" ] || { fail "exit $code, must be $want: $*"; cat talk; }
}
has() { grep -qF -- "$2" "$1" || fail "$1 does not say: $2"; }

mkdir -p all/lib all/golden
echo 0123abcd >all/commit
program bin/dmq 'echo "cuda:0   a \"device\""'
program tests/test_good '[ "$1" = cuda ] && [ -d "$DMQ_GOLDEN" ] && echo "skipped: a part"'
program tests/test_elsewhere 'echo "skipped: not here"; exit 77'
program bench/bench_device 'printf "op\tbackend\tshape\tus\nconv\t$2\t8x8\t2.5\n"'
program bench/bench_each 'sleep 30'
program bench/bench_meta 'echo "skipped: no such form" >&2; exit 77'
pack
runs 0 --only doctor,tests
has out/table.md '| tests | test_good | pass |'
has out/table.md '| tests | test_elsewhere | skip |'
has out/table.md 'not here'
has out/results.json '"commit": "0123abcd"'
has out/results.json 'a \"device\"'
has talk '2 passed, 0 failed, 1 skipped'
cmp -s table out/table.md || fail "the table on stdout is another one"

# what is too slow fails, and does not end the others; without time nothing begins
LIMIT=5 runs 1 --only bench
has out/table.md '| bench | ranges | skip | 0 | bench_ranges is not in the archive |'
has out/table.md 'longer than 5 s'
has out/table.md '| conv | cuda | 8x8 | 2.5 |'
runs 77 --only bench --seconds 0
has out/table.md '| bench | each tf32 | skip | 0 | no time was left |'
rm all/bench/bench_each
pack
runs 0 --only bench
has out/table.md '| bench | meta tf32, 128@32 | skip | 0'
has out/table.md 'no such form'
has out/table.md '| conv | cuda | 8x8 | 2.5 |'
mv out first

# references: left out without PyTorch, else their lines; made-up ones
mkdir -p all/bench/reference/device modules
for name in iteration forward hyper each ranges pointwise inception; do : >"all/bench/reference/device/$name.py"; done
program bin/python 'case $1 in -c) case $2 in *torch*) [ -f "$0.has" ] || { echo "no torch" >&2; exit 1; } ;; esac ;;
*iteration.py) echo "{\"op\": \"iteration\", \"style\": \"R_a\"}" ;;
*) exit 3 ;; esac'
mv all/bin/python .
pack
PYTHON=$PWD/python runs 77 --only reference
has out/table.md '| reference | PyTorch | skip | 0 | no torch |'
: >python.has
PYTHON=$PWD/python runs 1 --only reference
has out/table.md '| reference | iteration | pass |'
has out/table.md '| reference | forward | fail |'
has out/reference.jsonl '"style": "R_a"'

# several runs as one
bash "$script" --join joined first out >table 2>talk && fail "join must exit 1"
has joined/table.md '| reference | forward | fail |'
has joined/rows.tsv 'iteration'
has joined/bench.tsv 'conv'

# our rows beside theirs
if command -v python3 >/dev/null; then
    mkdir -p both
    printf 'op\tbackend\tshape\tdtype\treps\tmedian_us\tmin_us\tGB/s\tGFLOP/s\tshare_of_roof\tworst_error\n' >both/bench.tsv
    printf 'iteration\tcuda\t128@32/act8\ttf32\t5\t200.0\t200.0\t100.0\t247350.0\t0.0\t1e-6\n' >>both/bench.tsv
    for row in 'R_a 10000' 'R_b 2400' 'R_c 500'; do
        echo "{\"op\": \"iteration\", \"shape\": \"128@32/act8\", \"style\": \"${row% *}\", \"median_us\": ${row#* }, \"torch\": \"2\"}"
    done >both/reference.jsonl
    echo '{"op": "iter' >>both/reference.jsonl # cut off by a kill
    python3 "$bench/compare_gpu.py" both >both/table.md || fail "compare_gpu.py fails"
    has both/table.md '50.0 / 12.0 / 2.50 | 100.0 | 2.00 |'
    grep -qE '^\| G1 iteration 128@32/act8 .*\| yes \| \*\*no\*\* \|' both/table.md || fail "verdicts: $(grep G1 both/table.md | head -1)"
    has both/compare.json '"pass": true'
fi

# a home that is not there, and a doctor that does not come back
program bin/dmq 'sleep 30'
program tests/test_good '[ -w "$HOME" ] && [ -n "$TRITON_CACHE_DIR" ]'
pack
HOME=/nowhere/at/all LIMIT=5 runs 1 --only doctor,tests
has out/table.md '| doctor | dmq | fail |'
has out/table.md 'longer than 5 s'
has out/table.md '| tests | test_good | pass |'

program bin/dmq 'echo "cuda:0   a \"device\""'
program tests/test_bad 'echo "[  FAILED  ] this | that"; exit 1'
pack
runs 1 --only doctor,tests
has out/table.md '| tests | test_bad | fail |'
has out/results.json 'exit 1: [  FAILED  ] this | that'
rm all/tests/test_bad

program bin/dmq 'echo "devices  none: no driver"'
pack
runs 77
has out/table.md '| device | cuda | skip | 0 | no driver |'

echo more >>all/commit
tar -C all -cf - . | gzip >packed/dmq.tar
runs 1
has talk 'the archive is damaged'
rm packed/dmq.tar
runs 64
has talk 'is missing'

# ------------------------------------------------------------------ the protocol, small, in two visits
protocol() { # code, options...
    local want=$1 code=0
    shift
    bash "$bench/protocol.sh" --dmq "$dmq" --device cpu --dry "$@" 2>talk || code=$?
    [ $code = "$want" ] || { fail "protocol.sh: exit $code, must be $want: $*"; tail -20 talk; }
}
export DMQ_DATA=$(dirname "$bench")/data
finished() { awk '/^    "quantize": \{/ { in_it = 1 } in_it && /"finished"/ { print; exit }' "$1/runs/tfmq-dm-w4a8-s1/run.json"; }
protocol 75 -o visit --arms 2 --carry carried
has visit/protocol.md '| TFMQ-DM W4A8 '
protocol 0 -o other --from carried
has other/protocol.md '| permuted GAC W4A8 '
has other/protocol.md 'images: 40'
has other/protocol.md 'With 16 images'
cmp -s {visit,other}/runs/tfmq-dm-w4a8-s1/quant.h5 || fail "what was carried is another quant.h5"
[ -n "$(finished other)" ] && [ "$(finished other)" = "$(finished visit)" ] || fail "TFMQ-DM was quantized again"
grep -q "$(sed -n 's/^model //p' visit/plan)" other/plan || fail "training again gave another network"
[ $failed = 0 ] && echo "test_gpu_script: all as it should be"
exit $failed
