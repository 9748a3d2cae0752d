#!/usr/bin/env bash
# What a GPU has to show, in one script that needs no network, no root and no package manager there.
#
#   bench/gpu.sh --pack DIR [--build build] [--only PARTS]
#                                              here: programs, golden values, data, references and the shared
#                                              libraries that another machine may lack, into DIR/dmq.tar; with
#                                              --only what those parts need: less to carry
#   DIR/gpu.sh --run DIR OUT [--only PARTS] [--seconds N] [--state DIR]
#                                              there: unpack, then the parts in this order
#   bench/gpu.sh --join INTO OUT...            the results of several such runs as one
#
# PARTS, separated by commas (all but the sanitizer without --only):
#   doctor     build, driver, devices, libraries, a self-test of each
#   tests      every test of an operation on the cuda backend, JOBS (4) at a time
#   sanitizer  memcheck of the small ones, racecheck of those that reduce
#   bench      our rows                                                 OUT/bench.tsv
#   reference  the same in PyTorch, where PYTHON has it                 OUT/reference.jsonl
#   protocol   bench/protocol.sh: the published protocol on a network that is trained here first; what it has
#              lies in the folder of --state and is gone on with by the next run
#
# OUT/results.json and OUT/table.md join them after every part; OUT/rows.tsv and the files above grow line by line: a
# run that is killed loses nothing. Every step has a time limit, and no more than is left of --seconds. What fails
# does not end the others. What is left out is told with its reason. The protocol leaves carry-*.part in OUT: put
# beside the archive, the next --run begins with them where DIR of --state is gone.
#
# Exit 0: all that ran passed; 1: something failed; 77: there is no device, or nothing ran; 64: usage.
# PYTHON names the interpreter that has PyTorch, and among whose packages cuDNN, cuBLAS and NCCL are looked for
# (default python3). PROTOCOL: more options of bench/protocol.sh. LIMIT: no step longer than so many seconds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
most=$((48 << 20)) # bytes of the archive: it may have to travel beside the sources, 64 MiB in all
usage() { sed -n '2,28p' "$0" >&2; exit 64; }
say() { echo "gpu.sh: $*" >&2; }
# The benches that keep their arrays on the device; the others are the CPU's.
benches='device bandwidth iteration forward each meta ranges inception collective'

# ------------------------------------------------------------------ pack
# All that the loader would take, but for the C and C++ libraries, older here than there (and what NVIDIA ships
# may need the newer ones), and what belongs to the driver.
wanted() { [[ ,$parts, == *,$1,* ]]; }
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
    mkdir -p "$stage"/{bin,tests,bench,lib,golden,shapes,data,experiments} "$dir"
    cp "$build/dmq" "$stage/bin/"
    for program in "$root"/tests/ops/test_*.c "$root"/tests/cuda/test_*.c; do
        wanted tests || wanted sanitizer || break
        name=$(basename "$program" .c)
        [ -x "$build/tests/$name" ] || { say "left out: $name is not built"; continue; }
        cp "$build/tests/$name" "$stage/tests/"
    done
    for name in $benches; do
        wanted bench || break
        [ -x "$build/bench/bench_$name" ] || { say "left out: bench_$name is not built (-DDMQ_BENCH=ON)"; continue; }
        cp "$build/bench/bench_$name" "$stage/bench/"
    done
    libraries "$stage"/bin/* $(find "$stage/tests" "$stage/bench" -type f) | while read -r program; do cp -L "$program" "$stage/lib/"; done
    find "$stage/bin" "$stage/tests" "$stage/bench" -type f -exec strip {} + 2>/dev/null || true
    cp -r "$root"/bench/{reference,compare_gpu.py,protocol.sh} "$stage/bench/"
    rm -rf "$stage"/bench/reference/__pycache__ "$stage"/bench/reference/*/__pycache__
    cp -r "$root"/experiments/. "$stage/experiments/"
    ! wanted tests || cp "$root"/tests/golden/*.h5 "$stage/golden/"
    cp "$root"/bench/shapes/*.txt "$stage/shapes/"
    [ ! -d "$root/data" ] || cp -r "$root"/data/. "$stage/data/"
    git -C "$root" rev-parse HEAD >"$stage/commit" 2>/dev/null || echo unknown >"$stage/commit"
    git -C "$root" diff --quiet HEAD 2>/dev/null || echo "and changes" >>"$stage/commit"
    (cd "$stage" && find . -type f ! -name sums -print0 | sort -z | xargs -0 sha256sum >sums)
    # Forty programs with the same device code: a window that holds several of them does what effort does not.
    tar -C "$stage" --sort=name -cf - . | xz -T1 --lzma2=preset=1,dict=64MiB >"$dir/dmq.tar"
    cp "$here/gpu.sh" "$dir/"
    local size
    size=$(stat -c %s "$dir/dmq.tar")
    say "$dir/dmq.tar: $((size >> 10)) KiB, $(ls "$stage/tests" | wc -l) tests, $(ls "$stage"/bench/bench_* 2>/dev/null | wc -l) benches, $(ls "$stage/lib" | wc -l) libraries"
    [ "$size" -le "$most" ] || { say "the archive is larger than $((most >> 20)) MiB"; exit 1; }
}

# ------------------------------------------------------------------ run
# One line a result: part, name, pass|fail|skip, seconds, what there is to say. JSON and table come from it.
note() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "${5:-}" >>"$out/rows.tsv"; say "$1 $2: $3${5:+ ($5)}"; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.1f", b - a}'; }
# Seconds that a step may take: its limit, or what is left of --seconds; 0 when that is too little to begin.
allowed() {
    local left=$((deadline - $(date +%s)))
    [ $left -ge 5 ] || left=0
    [ $left -le "${LIMIT:-$left}" ] || left=$LIMIT
    echo $((left < $1 ? left : $1))
}
clocks() { # what the device runs at just now, as a line of OUT/rows.tsv
    local seen
    seen=$(nvidia-smi --query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw --format=csv,noheader 2>/dev/null | head -1) || true
    [ -z "$seen" ] || printf 'clocks\t%s\tseen\t0\t%s\n' "$1" "$seen" >>"$out/rows.tsv"
}

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
    local began code=0 limit
    limit=$(allowed 120)
    [ "$limit" -gt 0 ] || { note doctor dmq skip 0 "no time was left"; return; }
    began=$(now)
    ours timeout "$limit" "$work/bin/dmq" doctor >"$out/doctor.txt" 2>&1 || code=$?
    cat "$out/doctor.txt" >&2
    case $code in
    0) note doctor dmq pass "$(since "$began")" ;;
    124) note doctor dmq fail "$(since "$began")" "longer than $limit s" ;;
    *) note doctor dmq fail "$(since "$began")" "exit $code" ;;
    esac
}
# Runs a test; its reason when it skips, the first failed case when it fails.
run_test() { # part, seconds, name, command...
    local part=$1 limit=$2 name=$3 began code=0 said
    shift 3
    limit=$(allowed "$limit")
    [ "$limit" -gt 0 ] || { note "$part" "$name" skip 0 "no time was left"; return; }
    began=$(now)
    said=$(mktemp)
    echo "=== $name" >"$said"
    ours timeout "$limit" "$@" >>"$said" 2>&1 || code=$?
    echo "=== $name: exit $code" >>"$said"
    cat "$said" >>"$out/log.txt"
    case $code in
    0) note "$part" "$name" pass "$(since "$began")" "$(grep -m1 -o '^skipped: .*' "$said" || true)" ;;
    77) note "$part" "$name" skip "$(since "$began")" "$(grep -m1 -o '^skipped: .*' "$said" | cut -c10- || echo 'no reason given')" ;;
    69) note "$part" "$name" skip "$(since "$began")" "$(grep -m1 'error: ' "$said" | cut -c1-160)" ;;
    124) note "$part" "$name" fail "$(since "$began")" "longer than $limit s" ;;
    *) note "$part" "$name" fail "$(since "$began")" "exit $code: $(grep -m1 -E 'ERROR|FAILED|off by|must' "$said" | cut -c1-160 || true)" ;;
    esac
    rm -f "$said"
}
run_tests() {
    local test name
    for test in "$work"/tests/test_*; do
        [ -x "$test" ] || continue
        name=$(basename "$test")
        while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-4}" ]; do wait -n || true; done
        case $name in
        test_cuda_*) run_test tests 120 "$name" "$test" & ;;
        test_unet) run_test tests 120 "$name" "$test" cuda "$work/golden/unet.h5" & ;; # takes its golden file by name
        *) run_test tests 120 "$name" "$test" cuda & ;;
        esac
    done
    wait
    [ ! -f "$work/bench/protocol.sh" ] || # every stage once
        run_test tests 150 stages bash "$work/bench/protocol.sh" --dry --dmq "$work/bin/dmq" --device cuda -o "$work/stages"
}
run_sanitizer() {
    local tool test log=$out/log.txt
    tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
    [ -n "$tool" ] || { note sanitizer memcheck skip 0 "compute-sanitizer is not here"; return; }
    if ! ours timeout 120 "$tool" "$work/tests/test_layout" cuda >>"$log" 2>&1 && grep -qi 'not supported' "$log"; then
        note sanitizer memcheck skip 0 "compute-sanitizer refuses this device"
        return
    fi
    for test in fake_quant adaround matmul conv2d softmax group_norm layer_norm loss observe optim layout embed noise; do
        [ -x "$work/tests/test_$test" ] || continue
        run_test sanitizer 120 "memcheck $test" "$tool" --error-exitcode 9 "$work/tests/test_$test" cuda
    done
    for test in matmul conv2d group_norm softmax loss; do
        [ -x "$work/tests/test_$test" ] || continue
        run_test sanitizer 120 "racecheck $test" "$tool" --tool racecheck --error-exitcode 9 "$work/tests/test_$test" cuda
    done
}
# What the issue is about first, so that little is lost when the time is over.
run_bench() {
    clocks before
    one_bench 'iteration tf32' 120 iteration --precision tf32 --only act8 --reps 5
    one_bench 'forward tf32' 90 forward --precision tf32 --only cifar10 --reps 10
    one_bench 'bandwidth' 60 bandwidth
    one_bench 'each tf32' 60 each --precision tf32 --reps 10
    one_bench 'meta tf32, 128@32' 60 meta --precision tf32 --only 128@32/ --reps 5
    one_bench 'ranges' 60 ranges
    one_bench 'meta tf32, 256@16' 60 meta --precision tf32 --only 256@16/ --reps 5
    one_bench 'iteration tf32, weights' 60 iteration --precision tf32 --only 128@32/weights
    one_bench 'inception tf32' 40 inception --precision tf32 --reps 5
    one_bench 'device tf32' 60 device --precision tf32
    one_bench 'iteration fp32' 60 iteration --only 128@32 --reps 5
    one_bench 'inception fp32' 40 inception --reps 5
    one_bench 'forward fp32' 90 forward --only cifar10/ --reps 5
    one_bench 'device fp32' 60 device
    one_bench 'iteration fp16' 60 iteration --precision fp16 --only 128@32 --reps 5
    one_bench 'device fp16' 60 device --precision fp16
    one_bench 'collective' 60 collective
}
one_bench() { # name, seconds, program, options...
    local name=$1 limit program=$work/bench/bench_$3 began code=0 said
    limit=$(allowed "$2")
    shift 3
    [ -x "$program" ] || { note bench "$name" skip 0 "$(basename "$program") is not in the archive"; return; }
    [ "$limit" -gt 0 ] || { note bench "$name" skip 0 "no time was left"; return; }
    began=$(now) said=$(mktemp)
    ours timeout "$limit" "$program" --backend cuda "$@" >>"$out/bench.tsv" 2>"$said" || code=$?
    { echo "=== bench $name: exit $code"; cat "$said"; } >>"$out/log.txt"
    case $code in
    0) note bench "$name" pass "$(since "$began")" ;;
    77) note bench "$name" skip "$(since "$began")" "$(sed -n 's/^skipped: //p' "$said" | head -1)" ;;
    124) note bench "$name" fail "$(since "$began")" "longer than $limit s" ;;
    *) note bench "$name" fail "$(since "$began")" "exit $code: $(tail -1 "$said" | cut -c1-160)" ;;
    esac
    rm -f "$said"
    clocks "$name"
}
# Released style and good user of everything first: they take seconds; compiling takes minutes.
run_reference() {
    local why
    why=$("${PYTHON:-python3}" -c 'import torch, sys; sys.exit(0 if torch.cuda.is_available() else "PyTorch sees no device")' 2>&1) || {
        note reference PyTorch skip 0 "$(echo "${why:-${PYTHON:-python3} is not here}" | tail -1 | cut -c1-120)"
        return
    }
    one_reference 'iteration' 90 iteration --only act8 --styles R_a,R_b
    one_reference 'forward' 90 forward --styles R_a,R_b
    one_reference 'iteration compiled' 120 iteration --only act8 --styles R_c
    one_reference 'forward compiled, 256' 150 forward --only cifar10/b256 --styles R_c
    one_reference 'hyper' 60 hyper --styles R_a,R_b
    one_reference 'each' 60 each --styles R_a,R_b
    one_reference 'ranges' 60 ranges
    one_reference 'inception' 60 inception --styles R_a,R_b
    one_reference 'each compiled' 60 each --only 128@32 --styles R_c
    one_reference 'forward compiled, w4a8' 100 forward --only cifar10-w4a8/b256 --styles R_c
    one_reference 'forward compiled, 1' 100 forward --only cifar10/b1 --styles R_c
    one_reference 'pointwise' 90 pointwise --styles R_b
    one_reference 'iteration compiled, bf16' 40 iteration --only 128@32/act8 --styles R_c16
    one_reference 'forward compiled, bf16' 100 forward --only cifar10/b256 --styles R_c16
    one_reference 'hyper compiled' 90 hyper --only 128@32 --styles R_c
    one_reference 'pointwise compiled' 90 pointwise --styles R_c
    one_reference 'inception compiled' 90 inception --styles R_c
}
one_reference() { # name, seconds, script, options...
    local name=$1 limit script=$work/bench/reference/device/$3.py began code=0 said lines
    limit=$(allowed "$2")
    shift 3
    [ -f "$script" ] || { note reference "$name" skip 0 "$(basename "$script") is not in the archive"; return; }
    [ "$limit" -gt 0 ] || { note reference "$name" skip 0 "no time was left"; return; }
    began=$(now) said=$(mktemp)
    lines=$(wc -l <"$out/reference.jsonl")
    timeout "$limit" "${PYTHON:-python3}" "$script" --seconds "$((limit * 3 / 4))" "$@" >>"$out/reference.jsonl" 2>"$said" || code=$?
    { echo "=== reference $name: exit $code"; tail -c 20000 "$said"; } >>"$out/log.txt"
    lines=$(($(wc -l <"$out/reference.jsonl") - lines))
    case $code in
    0) note reference "$name" pass "$(since "$began")" "$lines rows, $(tail -n "$lines" "$out/reference.jsonl" | grep -c '"error"' || true) without a time" ;;
    124) note reference "$name" skip "$(since "$began")" "longer than $limit s, after $lines rows" ;;
    *) note reference "$name" fail "$(since "$began")" "exit $code: $(tail -1 "$said" | cut -c1-160)" ;;
    esac
    rm -f "$said"
    clocks "$name"
}
run_protocol() {
    local began code=0 limit
    limit=$(allowed 100000)
    [ -f "$work/bench/protocol.sh" ] || { note protocol protocol skip 0 "protocol.sh is not in the archive"; return; }
    [ "$limit" -gt 20 ] || { note protocol protocol skip 0 "no time was left"; return; }
    began=$(now)
    ours bash "$work/bench/protocol.sh" --dmq "$work/bin/dmq" --device cuda --seconds "$((limit - 10))" \
        ${PROTOCOL:-} --carry "$out" --from "$archive" -o "$state" >&2 2>>"$out/log.txt" || code=$?
    [ ! -f "$state/protocol.json" ] || cp "$state/protocol.json" "$out/"
    [ ! -f "$state/protocol.md" ] || cp "$state/protocol.md" "$out/"
    case $code in
    0) note protocol protocol pass "$(since "$began")" ;;
    69) note protocol protocol skip "$(since "$began")" "$(grep -m1 'error:' "$out/log.txt" | cut -c1-160)" ;;
    75) note protocol protocol pass "$(since "$began")" "stopped in order at the end of its time: run it again" ;;
    *) note protocol protocol fail "$(since "$began")" "exit $code: $(grep -v '^$' "$out/log.txt" | tail -1 | cut -c1-160)" ;;
    esac
}
# The rows as JSON, with the machine; strings are freed of what JSON would not take.
write_json() {
    awk -F'\t' -v commit="$(sed -n 's/^commit\t\([^\t]*\).*/\1/p' "$out/rows.tsv" | head -1)" -v when="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        -v doctor="$out/doctor.txt" -v bench="$out/bench.tsv" '
    function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/[\001-\037]/, " ", s); return "\"" s "\"" }
    function strings(file,    line, n) {
        while ((getline line <file) > 0) printf "%s\n    %s", (n++ ? "," : ""), text(line)
        close(file)
    }
    BEGIN { printf "{\n  \"commit\": %s,\n  \"date\": %s,\n  \"doctor\": [", text(commit), text(when)
            strings(doctor); printf "\n  ],\n  \"results\": [" }
    $1 == "commit" { next }
    $1 == "clocks" { clock[++n_clocks] = $2 ": " $5; next }
    { printf "%s\n    {\"part\": %s, \"name\": %s, \"result\": %s, \"seconds\": %s, \"said\": %s}", (n_rows++ ? "," : ""), text($1), text($2), text($3), $4, text($5) }
    END { printf "\n  ],\n  \"clocks\": ["
          for (i = 1; i <= n_clocks; i++) printf "%s\n    %s", (i > 1 ? "," : ""), text(clock[i])
          printf "\n  ],\n  \"bench\": ["; strings(bench); printf "\n  ]\n}\n" }' "$out/rows.tsv" >"$out/results.json"
}
write_table() {
    {
        echo "| part | name | result | s | |"
        echo "|---|---|---|---|---|"
        awk -F'\t' '$1 != "commit" && $1 != "clocks" { gsub(/\|/, "/", $5); printf "| %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5 }' "$out/rows.tsv"
        [ ! -s "$out/bench.tsv" ] && [ ! -f "$out/protocol.json" ] || "${PYTHON:-python3}" "$compare" "$out" 2>>"$out/log.txt" || {
            echo
            awk -F'\t' 'NF > 3 { line = ""; for (i = 1; i <= NF; i++) line = line " " $i " |"
                if (!(NF in head)) { printf "\n|%s\n|", line; for (i = 1; i <= NF; i++) printf "---|"; print ""; head[NF] = 1 } else print "|" line }' "$out/bench.tsv"
        }
        [ ! -f "$out/protocol.md" ] || { echo; cat "$out/protocol.md"; }
    } >"$out/table.new" && mv "$out/table.new" "$out/table.md"
}
count() { awk -F'\t' '$3 ~ /pass|fail|skip/ { n[$3]++ } END { printf "gpu.sh: %d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"] }' "$out/rows.tsv" >&2; }
finish() { # what there is, joined; the exit code
    # few files: some machines give back eight, three of which may be the protocol's pieces
    find "$out" -maxdepth 1 -type f -empty -delete
    rm -f "$out/protocol.md"                               # it is in the table
    [ -f "$out/bench.tsv" ] || rm -f "$out/compare.json" # the protocol's rows alone: --join makes them again
    cat "$out/table.md"
    count
    ! grep -qP '^(?!clocks|commit).*\tfail\t' "$out/rows.tsv" || exit 1
    ! grep -qP '^device\tcuda\tskip' "$out/rows.tsv" && grep -qP '\tpass\t' "$out/rows.tsv" || exit 77
}
run() {
    local dir=$1 part
    out=$2
    mkdir -p "$out" "$state"
    out=$(cd "$out" && pwd)
    work=$(mktemp -d) LIBS=''
    trap 'rm -rf "$work"' EXIT
    archive=$(cd "$dir" && pwd)
    [ -f "$dir/dmq.tar" ] || { say "$dir/dmq.tar is missing: gpu.sh --pack first"; exit 64; }
    tar -C "$work" -xf "$dir/dmq.tar" 2>/dev/null ||
        "${PYTHON:-python3}" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$dir/dmq.tar" "$work"
    (cd "$work" && sha256sum --quiet -c sums) || { say "the archive is damaged"; exit 1; }
    compare=$work/bench/compare_gpu.py
    export DMQ_GOLDEN=$work/golden DMQ_SHAPES=$work/shapes DMQ_DATA=$work/data
    # what compiles there writes beside what it compiles; a home may be read only, or none
    export TRITON_CACHE_DIR=$work/cache/triton TORCHINDUCTOR_CACHE_DIR=$work/cache/inductor XDG_CACHE_HOME=$work/cache
    export DMQ_CUDA_PLANS=${DMQ_CUDA_PLANS:-$work/cache/plans} # kernels of halves are compiled once, not by each program
    mkdir -p "$DMQ_CUDA_PLANS"
    [ -w "${HOME:-/nowhere}" ] || export HOME=$work
    find_libraries
    say "libraries of the device in ${DMQ_CUDA_LIBS:-no folder of their own}"
    for part in doctor.txt bench.tsv reference.jsonl log.txt; do : >"$out/$part"; done
    printf 'commit\t%s\tseen\t0\t%s\n' "$(paste -sd' ' "$work/commit")" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$out/rows.tsv"
    trap 'write_json; write_table; rm -rf "$work"' EXIT
    if wanted doctor; then
        run_doctor
        if grep -q '^devices *none' "$out/doctor.txt"; then
            note device cuda skip 0 "$(sed -n 's/^devices *none: //p' "$out/doctor.txt")"
        fi
    fi
    for part in tests sanitizer bench reference protocol; do
        wanted "$part" || continue
        "run_$part"
        write_json
        write_table
    done
    write_json
    write_table
    trap 'rm -rf "$work"' EXIT
    finish
}
# Lines of several runs behind one another; of the rows of a device's absence and presence the latter counts.
join() {
    out=$1
    shift
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    compare=$here/compare_gpu.py
    local part from
    for part in doctor.txt bench.tsv reference.jsonl log.txt rows.tsv; do
        : >"$out/$part"
        for from in "$@"; do
            [ ! -f "$from/$part" ] || cat "$from/$part" >>"$out/$part"
        done
    done
    for from in "$@"; do # the last one's, as it goes on where the others were
        [ ! -f "$from/protocol.json" ] || cp "$from/protocol.json" "$out/"
        ! grep -q '^## The protocol' "$from/table.md" 2>/dev/null || sed -n '/^## The protocol/,$p' "$from/table.md" >"$out/protocol.md"
    done
    write_json
    write_table
    finish
}

mode='' parts=doctor,tests,bench,reference,protocol build=build where=() state=${TMPDIR:-/tmp}/dmq-protocol
deadline=$(($(date +%s) + 1000000))
while [ $# -gt 0 ]; do
    case $1 in
    --pack | --run | --join) mode=${1#--} ;;
    --build) build=${2:?}; shift ;;
    --only) parts=${2:?}; shift ;;
    --seconds) deadline=$(($(date +%s) + ${2:?})); shift ;;
    --state) state=${2:?}; shift ;;
    -*) usage ;;
    *) where+=("$1") ;;
    esac
    shift
done
case $mode/${#where[@]} in
pack/1) pack "${where[0]}" "$build" ;;
run/2) run "${where[0]}" "${where[1]}" ;;
join/[2-9]) join "${where[@]}" ;;
*) usage ;;
esac
