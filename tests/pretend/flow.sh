#!/usr/bin/env bash
# Every stage on a pretended CUDA device (pretend.h): the host code of cuda/, with streams that do their work as
# late, as early or as mixed as they may. bash flow.sh PATH_OF_DMQ_PRETEND SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/../flow/lib.sh"

# on_device COMMAND...: ok, and nothing of the device was left
on_device() {
    ok "$@" || return
    ! grep -qE '^(pretend|check): ' err.txt || fail "$(cat err.txt) after: $*"
}

# close FILE FILE TOLERANCE: the same text but for numbers, which differ by so much of 1e-3 + their size
close() {
    checks=$((checks + 1))
    awk -v tolerance="$3" '
        function numbers(line, out,    n) {
            for (n = 0; match(line, /-?[0-9]+\.?[0-9]*([eE][-+]?[0-9]+)?/); n++) {
                out[n] = substr(line, RSTART, RLENGTH) + 0
                line = substr(line, RSTART + RLENGTH)
            }
            return n
        }
        function size(x) { return x < 0 ? -x : x }
        NR == FNR { kept[FNR] = $0; lines = FNR; next }
        {
            n = numbers(kept[FNR], a)
            if (numbers($0, b) != n) bad++
            for (i = 0; i < n; i++) {
                off = size(a[i] - b[i]) / (1e-3 + size(a[i]))
                if (off > worst) worst = off
            }
        }
        END {
            if (bad || FNR != lines || lines == 0 || !(worst <= tolerance)) exit 1
        }' "$1" "$2" || fail "$1 and $2 are not close"
}
