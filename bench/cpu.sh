#!/usr/bin/env bash
# Everything that bench/ claims on the CPU, against PyTorch on the same cores in the same run.
#
#   bench/cpu.sh [--build build] [--threads 2] [--reps 20] [--only TEXT] [--machine NAME] [-o DIR]
#
# Case by case, ours and PyTorch in turn (A B C C B A: ours, PyTorch NCHW, PyTorch NHWC and back), so that
# whatever else the machine does, or its clock, meets all of them. bench/compare.py joins what came out
# into a table on stdout and DIR/NAME-DATE.json (default bench/results), raw lines included. Exit 1 when a
# required ratio is missed, 2 when a bench fails. PYTHON names the interpreter that has torch.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=build threads=2 reps=20 only='' machine='' out=$here/results
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$2 ;;
    --threads) threads=$2 ;;
    --reps) reps=$2 ;;
    --only) only=$2 ;;
    --machine) machine=$2 ;;
    -o) out=$2 ;;
    *) sed -n '2,10p' "$0" >&2; exit 64 ;;
    esac
    shift 2
done
python=${PYTHON:-/usr/bin/python3}
export OMP_NUM_THREADS=$threads
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
few=$((reps / 4 > 3 ? reps / 4 : 3)) # of what takes PyTorch seconds

for program in roof iteration meta forward inception conv2d; do
    [ -x "$build/bench/bench_$program" ] || { echo "cpu.sh: $build/bench/bench_$program is missing: build first" >&2; exit 2; }
done
"$python" -c 'import torch' || { echo "cpu.sh: $python has no torch (PYTHON=...)" >&2; exit 2; }
case $build in /*) ;; *) build=$PWD/$build ;; esac

# Jiffies that all cores were busy: what others took is this less our own.
busy() { awk '/^cpu /{print $2 + $3 + $4 + $7 + $8}' /proc/stat; }
note() { echo "$1 $(cut -d' ' -f1 /proc/loadavg)" >>"$raw/load"; echo "cpu.sh: $1, load $(cut -d' ' -f1-3 /proc/loadavg)" >&2; }
ours() { # program, file, options
    local program=$1 file=$2
    shift 2
    "$build/bench/bench_$program" --threads "$threads" --reps "$reps" "$@" >>"$raw/ours.$file" || exit 2
}
torch() { # script, layout, file, options
    local script=$1 layout=$2 file=$3 n=$reps
    shift 3
    case $script in meta) n=$few ;; inception) n=3 ;; esac
    (cd "$here/reference" && "$python" "$script.py" --threads "$threads" --repeats "$n" --warmup "$((n / 4 + 1))" \
        $([ "$layout" = nhwc ] && echo --channels-last) "$@") >>"$raw/torch-$layout.$file" || exit 2
}
# A case: name; then the options of our program and of the script, as words.
case_() { # name, program, options of ours, options of theirs
    local name=$1 program=$2
    local -a a b
    read -ra a <<<"$3"
    read -ra b <<<"$4"
    [[ $name == *"$only"* ]] || return 0
    note "$name"
    ours "$program" 1 "${a[@]}"
    torch "$program" nchw 1 "${b[@]}"
    torch "$program" nhwc 1 "${b[@]}"
    torch "$program" nhwc 2 "${b[@]}"
    torch "$program" nchw 2 "${b[@]}"
    ours "$program" 2 "${a[@]}" --check 0
}

began=$(date +%s) busy_began=$(busy)
"$build/bench/bench_roof" >"$raw/roof"
for size in 32@32 64@16 128@32; do
    case_ iteration/$size iteration "--only $size" "--only $size"
done
for size in 32@32 64@16; do
    case_ meta/$size meta "--only $size/" "--only $size"
done
small="--ch 32 --mult 1,2,2 --res-blocks 1 --groups 8 --batch 16"
case_ forward/shapes16 forward "--only shapes16" "--resolution 16 --attention 8 $small --name forward/shapes16/b16"
case_ forward/shapes32 forward "--only shapes32" "--resolution 32 --attention 16 $small --name forward/shapes32/b16"
case_ forward/cifar10 forward "--only cifar10" "--batch 8 --name forward/cifar10/b8"
case_ forward/inception inception "--batch 48" "--batch 48"
[ -n "$only" ] || "$build/bench/bench_conv2d" --shapes tiny --threads "$threads" --check 0 >"$raw/conv2d"
"$build/bench/bench_roof" >>"$raw/roof"

times >"$raw/times" # not in a pipe: that would be another shell's
{
    echo "seconds $(($(date +%s) - began))"
    echo "busy_seconds $((($(busy) - busy_began) / $(getconf CLK_TCK)))"
    echo "threads $threads"
    echo "reps $reps"
    echo "date $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "machine $machine"
    echo "cpu $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), family $(sed -n 's/^cpu family[^:]*: //p' /proc/cpuinfo | head -1), model $(sed -n 's/^model[[:space:]]*: //p' /proc/cpuinfo | head -1)"
    echo "cores $(nproc)"
    echo "system $(uname -sr)"
    echo "commit $(git -C "$here" rev-parse HEAD 2>/dev/null || echo unknown)$(git -C "$here" diff --quiet HEAD 2>/dev/null || echo ' and changes')"
    echo "compiler $("$(sed -n 's/^CMAKE_C_COMPILER:[^=]*=//p' "$build/CMakeCache.txt")" --version | head -1)"
    echo "build $(sed -n 's/^CMAKE_BUILD_TYPE:[^=]*=//p' "$build/CMakeCache.txt")"
    echo "omp_wait_policy ${OMP_WAIT_POLICY:-default}"
    [ ! -x "$build/dmq" ] || "$build/dmq" doctor 2>/dev/null | sed 's/^/doctor /' || true
    sed -n '2s/^/own /p' "$raw/times"
} >"$raw/machine"
mkdir -p "$out"
"$python" "$here/compare.py" "$raw" "$out"
