#!/usr/bin/env bash
# What the compiler made of the kernels for sm_90: none uses local memory, and what has packs of four moves 16 bytes
# at a time. Neither shows in a result, and both cost a kernel that is bound by memory its speed.
#
#   check_sass.sh OBJECT...      those of kernels/*.cu; others are passed over
#
# Exit 77 where cuobjdump is not here, or the objects hold nothing for sm_90.
set -u
dump=$(command -v cuobjdump || ls /usr/local/cuda/bin/cuobjdump 2>/dev/null)
[ -n "$dump" ] || { echo "skipped: cuobjdump, which comes with the CUDA toolkit, is not here"; exit 77; }

# Kernels that may have local memory: a pattern of their mangled name, and why.
may() {
    cat <<'END'
embed_time     sine and cosine of any double keep a table there; some thousand numbers a network
step15dmq_logits one block, whose phases share few registers: hundreds of numbers
whole.*group_norm    64 registers (128 with 16 packs), so that two blocks fit: packs in the L1 cache and not in registers
gather.*group_norm   likewise
apply.*group_norm    likewise
product.*dmq_matmul  what stands in where cuBLASLt knows no way; none of it in the loop
score_chunk    8 bytes outside the loop over candidates
END
}
# Kernels of packs of four, by what their names hold.
wide='dmq_map_packsILi4E|dmq_row_slicesILi4E|dmq_col_slicesILi4E|dmq_channel_parts|transposeILi4E|timesILi4E'
wide=$wide'|(derive|forward|backward|tangent)ILi(32|256)ELi4E|(whole|gather|apply)I(Lb[01]E)?Li4E|everyIL4pass'

objects=()
for object in "$@"; do
    case $object in *.cu.o) objects+=("$object") ;; esac
done
[ ${#objects[@]} -gt 0 ] || { echo "no object of a .cu file was named"; exit 64; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for object in "${objects[@]}"; do
    "$dump" -arch sm_90 -res-usage "$object" 2>&1 | awk '
        $1 == "Function" { name = $2; sub(/:$/, "", name) }
        /STACK:/ { stack = $0; sub(/.*STACK:/, "", stack); print name, stack + 0 }' >>"$work/stack"
    "$dump" -arch sm_90 -sass "$object" 2>/dev/null | awk '
        function tell() { if (name) print name, loads, stores }
        $1 == "Function" { tell(); name = $3; loads = stores = 0 }
        / LDG?\.E[.A-Z0-9]*\.128/ { loads++ }
        / STG?\.E[.A-Z0-9]*\.128/ { stores++ }
        END { tell() }' >>"$work/packs"
done
[ -s "$work/packs" ] || { echo "skipped: the objects hold no code for sm_90"; exit 77; }

bad=0
allowed=$(may | awk '{ print $1 }' | paste -sd'|')
names() { if command -v c++filt >/dev/null; then c++filt; else cat; fi; }
complain() { echo "$1" | names; bad=1; }
while read -r name stack; do
    [ "$stack" -gt 0 ] || continue
    grep -qE "$allowed" <<<"$name" || complain "$name: $stack bytes of local memory a thread"
done <"$work/stack"
while read -r name loads stores; do
    grep -qE "$wide" <<<"$name" || continue
    [ $((loads + stores)) -gt 0 ] || complain "$name: has packs of four, and no access of 16 bytes"
done <"$work/packs"
found=$(grep -cE "$wide" "$work/packs")
[ "$found" -gt 50 ] || { echo "only $found kernels have names of those with packs of four: the list is out of date"; bad=1; }
echo "$(wc -l <"$work/packs") kernels, $found of them with packs of four"
exit $bad
