#!/usr/bin/env bash
# Run every fuzzer for a while, one after the other, from seeds and from what earlier runs found.
#
#   tests/fuzz/run.sh BUILD SECONDS [READER]...      BUILD: see CMakeLists.txt here, target fuzz
#
# What is worth keeping goes to BUILD/corpus, what crashes, leaks or takes too long to BUILD/found; then the exit
# code is 1. Memory is limited to 1 GiB and a file to 64 KiB: a reader that allocates what a file claims is found.
set -u
build=$(realpath "${1:?usage: tests/fuzz/run.sh BUILD SECONDS [READER]...}")
seconds=${2:?usage: tests/fuzz/run.sh BUILD SECONDS [READER]...}
shift 2
here=$(dirname "$(realpath "$0")")
readers=("$@")
[ $# -gt 0 ] || readers=(safetensors pickle torch_zip torch_legacy npz lmdb)
bad=0

mkdir -p "$build/found"
"$build/tests/fuzz/fuzz_seeds" "$build/seeds" || exit 1
for reader in "${readers[@]}"; do
    mkdir -p "$build/corpus/$reader"
    log=$build/found/$reader.log
    nice -n 19 "$build/tests/fuzz/fuzz_$reader" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=1024 \
        -dict="$here/words.dict" -artifact_prefix="$build/found/$reader-" -print_final_stats=1 -verbosity=1 \
        "$build/corpus/$reader" "$build/seeds/$reader" >"$log" 2>&1
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    echo "$reader: ${runs:-?} files, $cover edges, exit code $code"
    [ $code -eq 0 ] || { bad=1; grep -E 'ERROR|SUMMARY|runtime error' "$log" | head -3; }
done
exit $bad
