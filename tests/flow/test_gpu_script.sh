#!/usr/bin/env bash
# bench/gpu.sh --run on an archive of made-up programs: what it tells, what it exits with, what it writes.
# bash test_gpu_script.sh PATH_OF_DMQ SCRATCH
script=$(realpath "$(dirname "$0")/../../bench/gpu.sh")
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
program bench/bench_some '# --backend
printf "op\tbackend\tshape\tus\nconv\t$2\t8x8\t2.5\n"'
program bench/bench_other 'exit 1'
pack
runs 0 --only doctor,tests,bench
has out/table.md '| tests | test_good | pass |'
has out/table.md '| tests | test_elsewhere | skip |'
has out/table.md 'not here'
has out/table.md '| bench | bench_other | skip | 0 | it has no --backend |'
has out/table.md '| conv | cuda | 8x8 | 2.5 |'
has out/results.json '"commit": "0123abcd"'
has out/results.json 'a \"device\"'
has talk '3 passed, 0 failed, 2 skipped'
cmp -s table out/table.md || fail "the table on stdout is another one"

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
[ $failed = 0 ] && echo "test_gpu_script: all as it should be"
exit $failed
