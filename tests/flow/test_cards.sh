#!/usr/bin/env bash
# The cards that ship: each is a configuration without mistakes, its files are told where they are missing,
# and its import command names a network that dmq knows. bash test_cards.sh PATH_OF_DMQ SCRATCH
root=$(realpath "$(dirname "$(realpath "$0")")/../..")
. "$root/tests/flow/lib.sh"
cards=("$root"/experiments/cards/*.yaml)
checks=$((checks + 1))
[ ${#cards[@]} -ge 7 ] || fail "only ${#cards[@]} cards"

: >empty.ckpt
for card in "${cards[@]}"; do
    ok "$dmq" config check -c "$card"
    grep -q '^ *source:' "$card" || continue
    refuses 66 'there is no checkpoint .*\.h5' 'hint: .*--network' -- \
        "$dmq" run -c "$card" -o run --progress none
    grep -oE -- '--network [^ ]+' "$card" | sort -u >names.txt
    [ -s names.txt ] || fail "$card: source has no import command"
    while read -r _ name; do
        # the file is empty: refused as data, not for the network's name
        refuses 65 'empty.ckpt' -- "$dmq" import empty.ckpt --network "$name" -o m.h5
    done <names.txt
done
refuses 78 'no published network' 'did you mean "ldm4-beds"' -- \
    "$dmq" import empty.ckpt --network ldm4-bed -o m.h5

# dmq config list shows them with what they need
(cd "$root" && "$dmq" config list) >list.txt
for card in "${cards[@]}"; do
    checks=$((checks + 1))
    grep -q "$(basename "$card")" list.txt || fail "config list does not show $card"
done
checks=$((checks + 1))
grep -q 'md5 1fa350b952534ae442b1d5235cce5cd3' list.txt || fail "config list does not tell checksums"
finish
