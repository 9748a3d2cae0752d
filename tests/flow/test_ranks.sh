#!/usr/bin/env bash
# Ranks that are processes, by the program itself: dmq doctor as a scheduler would start it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

export DMQ_SIZE=3 DMQ_LOCAL_SIZE=3 DMQ_JOB=4711 DMQ_COMM_FOLDER=$scratch OMP_NUM_THREADS=1

# doctors RANK...: each in the background, output in RANK.txt and RANK.err; exit codes in codes[RANK]
doctors() {
    local rank
    declare -A pid=()
    for rank in "$@"; do
        DMQ_RANK=$rank "$dmq" doctor >"$rank.txt" 2>"$rank.err" &
        pid[$rank]=$!
    done
    for rank in "$@"; do
        codes[rank]=0
        wait "${pid[$rank]}" || codes[rank]=$?
    done
}
codes=()

doctors 2 1 0
for rank in 0 1 2; do
    checks=$((checks + 1))
    [ "${codes[rank]}" = 0 ] || fail "rank $rank: exit ${codes[rank]}: $(cat $rank.err)"
    grep -qx "group    rank $rank of 3 works (dmq launch, host)" $rank.txt || fail "rank $rank: $(tail -1 $rank.txt)"
done
[ ! -e comm-address-4711 ] || fail "the address of rank 0 is still there"

# one does not come: the others leave with 76 and say who
export DMQ_COMM_SECONDS=2
doctors 0 1
for rank in 0 1; do
    checks=$((checks + 1))
    [ "${codes[rank]}" = 76 ] || fail "rank $rank alone: exit ${codes[rank]}"
    grep -q 'at rank 2: it never joined' $rank.err || fail "rank $rank alone: $(cat $rank.err)"
done

refuses 78 'DMQ_RANK = 3: must be a number from 0 to 2' -- env DMQ_RANK=3 "$dmq" doctor
refuses 78 'DMQ_COMM_SECONDS = soon: must be a number of seconds' -- env DMQ_RANK=0 DMQ_COMM_SECONDS=soon "$dmq" doctor
refuses 78 'knows no place to meet the others' 'hint: set DMQ_COMM_FOLDER' -- env -u DMQ_COMM_FOLDER DMQ_RANK=0 "$dmq" doctor
finish
