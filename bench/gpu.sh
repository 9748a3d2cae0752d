#!/usr/bin/env bash
# What a GPU has to show, in one script that needs no network, no root and no package manager there.
#
#   bench/gpu.sh --pack DIR [--build build]    here: programs, golden values, data and the shared libraries that
#                                              another machine may lack, into DIR/dmq.tar beside this script
#   DIR/gpu.sh --run DIR OUT [--only PARTS]    there: unpack, then the parts in this order
#
# PARTS, separated by commas:
#   doctor     build, driver, devices, libraries, a self-test of each          OUT/doctor.txt
#   tests      every test of an operation on the cuda backend                  OUT/tests.txt
#   sanitizer  memcheck of the small ones, racecheck of those that reduce      OUT/sanitizer.txt
#   bench      the benches that take the backend cuda                          OUT/bench.tsv
# OUT/results.json and OUT/table.md join them. What is left out is told with its reason.
#
# Exit 0: all that ran passed; 1: something failed; 77: there is no device, or nothing ran; 64: usage.
# PYTHON names the interpreter among whose packages cuDNN, cuBLAS and NCCL are looked for (default python3).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
most=$((60 << 20)) # bytes of the archive
usage() { sed -n '2,18p' "$0" >&2; exit 64; }
say() { echo "gpu.sh: $*" >&2; }

# ------------------------------------------------------------------ pack
# All that the loader would take, but for the C and C++ libraries, older here than there (and what NVIDIA ships
# may need the newer ones), and what belongs to the driver.
libraries() {
    ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
        grep -Ev '/(libc|libm|libdl|librt|libpthread|libresolv|libutil|libanl|libgcc_s|libstdc\+\+|libcuda|libnvidia-[a-z]*|ld-linux[^/]*)\.so'
}
pack() {
    local dir=$1 build=$2 root program name
    root=$(cd "$here/.." && pwd)
    [ -x "$build/dmq" ] || { say "$build/dmq is missing: build first"; exit 64; }
    stage=$(mktemp -d)
    trap 'rm -rf "$stage"' EXIT # stage is no local name: the trap outlives the function
    mkdir -p "$stage"/{bin,tests,bench,lib,golden,shapes,data} "$dir"
    cp "$build/dmq" "$stage/bin/"
    for program in "$root"/tests/ops/test_*.c "$root"/tests/cuda/test_*.c; do
        name=$(basename "$program" .c)
        [ -x "$build/tests/$name" ] || { say "left out: $name is not built"; continue; }
        cp "$build/tests/$name" "$stage/tests/"
    done
    for program in "$build"/bench/bench_*; do
        [ -f "$program" ] && [ -x "$program" ] && cp "$program" "$stage/bench/"
    done
    [ -n "$(ls "$stage/bench")" ] || say "left out: no bench is built (-DDMQ_BENCH=ON)"
    libraries "$stage"/bin/* "$stage"/tests/* | while read -r program; do cp -L "$program" "$stage/lib/"; done
    strip "$stage"/bin/* "$stage"/tests/* 2>/dev/null || true
    [ -z "$(ls "$stage/bench")" ] || strip "$stage"/bench/*
    cp "$root"/tests/golden/*.h5 "$stage/golden/"
    cp "$root"/bench/shapes/*.txt "$stage/shapes/"
    [ ! -d "$root/data" ] || cp -r "$root"/data/. "$stage/data/"
    git -C "$root" rev-parse HEAD >"$stage/commit" 2>/dev/null || echo unknown >"$stage/commit"
    git -C "$root" diff --quiet HEAD 2>/dev/null || echo "and changes" >>"$stage/commit"
    (cd "$stage" && find . -type f ! -name sums -print0 | sort -z | xargs -0 sha256sum >sums)
    rm -f "$dir/dmq.tar" # gzip, or xz where that would be too large: slower by far
    tar -C "$stage" -cf - . | gzip -6 >"$dir/dmq.tar"
    [ "$(stat -c %s "$dir/dmq.tar")" -le "$most" ] || tar -C "$stage" -cf - . | xz -T0 -9 >"$dir/dmq.tar"
    cp "$here/gpu.sh" "$dir/"
    local size
    size=$(stat -c %s "$dir/dmq.tar")
    say "$dir/dmq.tar: $((size >> 10)) KiB, $(ls "$stage/tests" | wc -l) tests, $(ls "$stage/bench" | wc -l) benches, $(ls "$stage/lib" | wc -l) libraries"
    [ "$size" -le "$most" ] || { say "the archive is larger than $((most >> 20)) MiB"; exit 1; }
}

# ------------------------------------------------------------------ run
# One line a result: part, name, pass|fail|skip, seconds, what there is to say. JSON and table come from it.
note() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "${5:-}" >>"$rows"; say "$1 $2: $3${5:+ ($5)}"; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.1f", b - a}'; }

# Where NVIDIA's libraries are: the folders of the interpreter's packages, then the toolkit's.
find_libraries() {
    local sites site found=''
    sites=$("${PYTHON:-python3}" -c 'import site, sys; print("\n".join(site.getsitepackages() + [site.getusersitepackages()] + sys.path))' 2>/dev/null || true)
    while IFS= read -r site; do
        [ -n "$site" ] && [ -d "$site/nvidia" ] || continue
        case ":$found:" in *":$site:"*) continue ;; esac
        found=$found${found:+:}$site
    done <<<"$sites"
    [ ! -d /usr/local/cuda/lib64 ] || found=$found${found:+:}/usr/local/cuda/lib64
    export DMQ_CUDA_LIBS=${DMQ_CUDA_LIBS:+$DMQ_CUDA_LIBS:}$found
    # cuDNN loads its parts, and those load others, by name alone
    local folder
    for folder in ${found//:/ }; do
        for site in "$folder"/nvidia/*/lib "$folder"; do
            if compgen -G "$site/lib*.so*" >/dev/null; then LIBS=${LIBS:+$LIBS:}$site; fi
        done
    done
}
# A program of ours with the libraries that came along; what is theirs comes last.
ours() { LD_LIBRARY_PATH=$work/lib${LIBS:+:$LIBS}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"; }

run_doctor() {
    local began code=0
    began=$(now)
    ours "$work/bin/dmq" doctor >"$out/doctor.txt" 2>&1 || code=$?
    cat "$out/doctor.txt" >&2
    [ $code = 0 ] && note doctor dmq pass "$(since "$began")" || note doctor dmq fail "$(since "$began")" "exit $code"
}
# Runs a test; its reason when it skips, the first failed case when it fails.
run_test() { # part, log, name, command...
    local part=$1 log=$2 name=$3 began code=0 said
    shift 3
    began=$(now)
    echo "=== $name" >>"$log"
    said=$(mktemp)
    ours timeout "${SECONDS_OF_A_TEST:-300}" "$@" >"$said" 2>&1 || code=$?
    cat "$said" >>"$log"
    echo "=== $name: exit $code" >>"$log"
    case $code in
    0) note "$part" "$name" pass "$(since "$began")" "$(grep -m1 -o '^skipped: .*' "$said" || true)" ;;
    77) note "$part" "$name" skip "$(since "$began")" "$(grep -m1 -o '^skipped: .*' "$said" | cut -c10- || echo 'no reason given')" ;;
    124) note "$part" "$name" fail "$(since "$began")" "longer than ${SECONDS_OF_A_TEST:-300} s" ;;
    *) note "$part" "$name" fail "$(since "$began")" "exit $code: $(grep -m1 -E 'ERROR|FAILED|off by|must' "$said" | cut -c1-160 || true)" ;;
    esac
    rm -f "$said"
}
run_tests() {
    local test
    : >"$out/tests.txt"
    for test in "$work"/tests/test_cuda_*; do
        [ ! -x "$test" ] || run_test tests "$out/tests.txt" "$(basename "$test")" "$test"
    done
    for test in "$work"/tests/test_*; do
        case $test in */test_cuda_*) continue ;; esac
        # the one that takes its golden file by name
        run_test tests "$out/tests.txt" "$(basename "$test")" "$test" cuda $([ "$(basename "$test")" != test_unet ] || echo "$work/golden/unet.h5")
    done
}
run_sanitizer() {
    local tool test log=$out/sanitizer.txt
    : >"$log"
    tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
    [ -n "$tool" ] || { note sanitizer memcheck skip 0 "compute-sanitizer is not here"; return; }
    if ! ours timeout 120 "$tool" "$work/tests/test_layout" cuda >>"$log" 2>&1 && grep -qi 'not supported' "$log"; then
        note sanitizer memcheck skip 0 "compute-sanitizer refuses this device"
        return
    fi
    for test in fake_quant adaround matmul conv2d softmax group_norm layer_norm loss observe optim layout embed noise; do
        [ -x "$work/tests/test_$test" ] || continue
        SECONDS_OF_A_TEST=120 run_test sanitizer "$log" "memcheck $test" "$tool" --error-exitcode 9 "$work/tests/test_$test" cuda
    done
    for test in matmul conv2d group_norm softmax loss; do
        [ -x "$work/tests/test_$test" ] || continue
        SECONDS_OF_A_TEST=120 run_test sanitizer "$log" "racecheck $test" "$tool" --tool racecheck --error-exitcode 9 "$work/tests/test_$test" cuda
    done
}
run_bench() {
    local program name ran=0
    : >"$out/bench.tsv"
    for program in "$work"/bench/bench_*; do
        [ -x "$program" ] || continue
        name=$(basename "$program")
        grep -qa -e '--backend' "$program" || { note bench "$name" skip 0 "it has no --backend"; continue; }
        one_bench "$name" "$program" --backend cuda
        ! grep -qa -e '--precision' "$program" || one_bench "$name tf32" "$program" --backend cuda --precision tf32
        ran=1
    done
    [ $ran = 1 ] || say "no bench takes the backend cuda"
}
one_bench() { # name, command...
    local name=$1 began code=0 said
    shift
    began=$(now) said=$(mktemp)
    ours timeout 400 "$@" >>"$out/bench.tsv" 2>"$said" || code=$?
    case $code in
    0) note bench "$name" pass "$(since "$began")" ;;
    77) note bench "$name" skip "$(since "$began")" "$(sed -n 's/^skipped: //p' "$said" | head -1)" ;;
    *) note bench "$name" fail "$(since "$began")" "exit $code: $(tail -1 "$said" | cut -c1-160)" ;;
    esac
    rm -f "$said"
}
# The rows as JSON, with the machine; strings are freed of what JSON would not take.
write_json() {
    awk -F'\t' -v commit="$(paste -sd' ' "$work/commit")" -v when="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        -v doctor="$out/doctor.txt" -v bench="$out/bench.tsv" '
    function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/[\001-\037]/, " ", s); return "\"" s "\"" }
    function strings(file,    line, n) {
        while ((getline line <file) > 0) printf "%s\n    %s", (n++ ? "," : ""), text(line)
        close(file)
    }
    BEGIN { printf "{\n  \"commit\": %s,\n  \"date\": %s,\n  \"doctor\": [", text(commit), text(when)
            strings(doctor); printf "\n  ],\n  \"results\": [" }
    { printf "%s\n    {\"part\": %s, \"name\": %s, \"result\": %s, \"seconds\": %s, \"said\": %s}", (NR > 1 ? "," : ""), text($1), text($2), text($3), $4, text($5) }
    END { printf "\n  ],\n  \"bench\": ["; strings(bench); printf "\n  ]\n}\n" }' "$rows" >"$out/results.json"
}
write_table() {
    {
        echo "| part | name | result | s | |"
        echo "|---|---|---|---|---|"
        awk -F'\t' '{ gsub(/\|/, "/", $5); printf "| %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5 }' "$rows"
        [ ! -s "$out/bench.tsv" ] || awk -F'\t' 'NF > 3 { line = ""; for (i = 1; i <= NF; i++) line = line " " $i " |"
            if (!(NF in head)) { printf "\n|%s\n|", line; for (i = 1; i <= NF; i++) printf "---|"; print ""; head[NF] = 1 } else print "|" line }' "$out/bench.tsv"
    } >"$out/table.md"
    cat "$out/table.md"
}
run() {
    local dir=$1 part
    out=$2
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    work=$(mktemp -d) rows=$(mktemp) LIBS=''
    trap 'rm -rf "$work" "$rows"' EXIT
    [ -f "$dir/dmq.tar" ] || { say "$dir/dmq.tar is missing: gpu.sh --pack first"; exit 64; }
    tar -C "$work" -xf "$dir/dmq.tar" 2>/dev/null ||
        "${PYTHON:-python3}" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$dir/dmq.tar" "$work"
    (cd "$work" && sha256sum --quiet -c sums) || { say "the archive is damaged"; exit 1; }
    export DMQ_GOLDEN=$work/golden DMQ_SHAPES=$work/shapes DMQ_DATA=$work/data
    find_libraries
    say "libraries of the device in ${DMQ_CUDA_LIBS:-no folder of their own}"
    : >"$out/doctor.txt"
    : >"$out/bench.tsv"
    if [[ ,$parts, == *,doctor,* ]]; then
        run_doctor
        if grep -q '^devices *none' "$out/doctor.txt"; then
            note device cuda skip 0 "$(sed -n 's/^devices *none: //p' "$out/doctor.txt")"
        fi
    fi
    for part in tests sanitizer bench; do
        [[ ,$parts, != *,$part,* ]] || "run_$part"
    done
    write_json
    write_table
    awk -F'\t' '{ n[$3]++ } END { printf "gpu.sh: %d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"] }' "$rows" >&2
    ! grep -qP '\tfail\t' "$rows" || exit 1
    ! grep -qP '^device\tcuda\tskip' "$rows" && grep -qP '\tpass\t' "$rows" || exit 77
}

mode='' parts=doctor,tests,sanitizer,bench build=build where=()
while [ $# -gt 0 ]; do
    case $1 in
    --pack | --run) mode=${1#--} ;;
    --build) build=${2:?}; shift ;;
    --only) parts=${2:?}; shift ;;
    -*) usage ;;
    *) where+=("$1") ;;
    esac
    shift
done
case $mode/${#where[@]} in
pack/1) pack "${where[0]}" "$build" ;;
run/2) run "${where[0]}" "${where[1]}" ;;
*) usage ;;
esac
