#!/usr/bin/env bash
# data/fetch.sh: downloads from file:// addresses, whole, stopped, wrong in size or checksum, replaced by a web page;
# what is good is never written over; the shipped table is as its readers expect. bash test_fetch.sh DMQ SCRATCH
root=$(realpath "$(dirname "$(realpath "$0")")/../..")
. "$root/tests/flow/lib.sh"
command -v curl >/dev/null 2>&1 || { echo "skipped: no curl, which alone reads file://"; exit 77; }
export DMQ_FETCH_TABLE=$scratch/table 
shell=sh
command -v dash >/dev/null 2>&1 && shell=dash
fetch=($shell "$root/data/fetch.sh")

exits() { # CODE COMMAND...
    local want=$1 code
    shift
    checks=$((checks + 1))
    "$@" >out.txt 2>err.txt
    code=$?
    [ $code -eq "$want" ] || { fail "exit code $code instead of $want of: $*"; sed 's/^/    /' err.txt >&2; }
}
says() { # PATTERN FILE
    checks=$((checks + 1))
    grep -qE -- "$1" "$2" || { fail "no \"$1\" in $2"; sed 's/^/    /' "$2" >&2; }
}
row() { # NAME FILE BYTES CHECKSUM SOURCE NEXT
    printf '%s\t%s\t%s\t%s\tfile://%s\tof a test\t%s\n' "$1" "$2" "$3" "$4" "$5" "$6" >>table
}

mkdir served
head -c 3000000 /dev/urandom >served/a.bin
head -c 1000 /dev/urandom >served/b.bin
printf '<!DOCTYPE html>\n<html>moved</html>\n' >served/page.bin
md5=$(md5sum <served/a.bin | cut -d' ' -f1)
sha=$(sha256sum <served/a.bin | cut -d' ' -f1)
printf '# name\tfile\tbytes\tchecksum\turl\twhat\tnext\n' >table
row whole a.ckpt 3000000 "md5:$md5" "$scratch/served/a.bin" 'dmq import @/a.ckpt --network ddpm-cifar10 -o @/a.h5'
row begins c.ckpt - "sha256:${sha%????????????????????????????????????????????????????????}*" "$scratch/served/a.bin" -
row unknown b.npz - - "$scratch/served/b.bin" -
row short s.ckpt 3000001 - "$scratch/served/a.bin" -
row long l.ckpt 2999999 - "$scratch/served/a.bin" -
row wrong w.ckpt 3000000 "md5:00000000000000000000000000000000" "$scratch/served/a.bin" -
row page p.ckpt - - "$scratch/served/page.bin" -
row gone g.ckpt - - "$scratch/served/nothere.bin" -

# ------------------------------------------------------------------ whole, and again
exits 0 "${fetch[@]}" --list
[ "$(wc -l <out.txt)" = 8 ] || fail "--list has $(wc -l <out.txt) lines"
exits 0 "${fetch[@]}" whole begins unknown
same served/a.bin data/a.ckpt
same served/a.bin data/c.ckpt
says "^dmq import $scratch/data/a.ckpt --network ddpm-cifar10 -o $scratch/data/a.h5$" out.txt
says "b.npz: no checksum is published; its sha256 is $(sha256sum <served/b.bin | cut -d' ' -f1)" err.txt
was=$(stat -c '%i %Y' data/a.ckpt)
mv served/a.bin served/a.away
exits 0 "${fetch[@]}" whole
[ "$was" = "$(stat -c '%i %Y' data/a.ckpt)" ] || fail "a good file was written again"
mv served/a.away served/a.bin
exits 0 "${fetch[@]}" --check whole begins unknown
says '^whole +good +md5:' out.txt
says '^unknown +good +no published checksum; sha256' out.txt
exits 0 "${fetch[@]}" --list
says '^\* whole ' out.txt
says '^  short ' out.txt

# ------------------------------------------------------------------ stopped in the middle
rm data/a.ckpt
# a curl that brings a third of what is left, and then hangs
mkdir slow
cat >slow/curl <<'SLOW'
#!/bin/sh
while [ $# -gt 1 ]; do
    [ "$1" != -o ] || to=$2
    shift
done
from=${1#file://}
have=$(wc -c <"$to" 2>/dev/null || echo 0)
tail -c +$((have + 1)) "$from" | head -c $(((3000000 - have) / 3)) >>"$to"
sleep 60
SLOW
chmod +x slow/curl
for attempt in 1 2; do
    PATH=$scratch/slow:$PATH timeout -s TERM 0.7 "${fetch[@]}" whole >out.txt 2>err.txt
    [ -e data/a.ckpt ] && fail "a stopped download has its final name"
done
size=$(stat -c %s data/a.ckpt.part)
[ "$size" = 1666666 ] || fail "$size bytes are left of a stopped download"
inode=$(stat -c %i data/a.ckpt.part)
exits 0 "${fetch[@]}" whole
same served/a.bin data/a.ckpt
[ "$(stat -c %i data/a.ckpt)" = "$inode" ] || fail "it did not go on with what was there"
# all of it is there but its name
mv data/a.ckpt data/a.ckpt.part
exits 0 "${fetch[@]}" whole
same served/a.bin data/a.ckpt
# what was there is another file's beginning
rm data/a.ckpt
head -c 1000 /dev/zero >data/a.ckpt.part
exits 65 "${fetch[@]}" whole
says "has md5 .*, published is $md5" err.txt
[ -e data/a.ckpt.part ] && fail "what came wrong is kept"
exits 0 "${fetch[@]}" whole
same served/a.bin data/a.ckpt

# ------------------------------------------------------------------ not as told
exits 74 "${fetch[@]}" short
says '3000000 of 3000001 bytes came' err.txt
[ -e data/s.ckpt ] && fail "a short file has its final name"
exits 65 "${fetch[@]}" long
says 'has 3000000 bytes, 2999999 are told' err.txt
exits 65 "${fetch[@]}" wrong
says "has md5 $md5, published is 0000" err.txt
exits 65 "${fetch[@]}" page
says 'is a web page' err.txt
exits 74 "${fetch[@]}" gone
says 'the download stopped' err.txt
for file in l w p g; do
    [ -e data/$file.ckpt ] && fail "$file.ckpt is there"
done
# a file that changed since its first download, and one of the user's own: told, not touched
printf x >>data/b.npz
exits 65 "${fetch[@]}" unknown
says 'noted at its first download is' err.txt
says 'not written over' err.txt
echo mine >data/w.ckpt
exits 65 "${fetch[@]}" wrong
says 'has 5 bytes, 3000000 are told' err.txt
[ "$(cat data/w.ckpt)" = mine ] || fail "a file was written over"
exits 65 "${fetch[@]}" --check
says '^wrong +BAD' out.txt
says '^short +missing +data/fetch.sh short' out.txt
exits 64 "${fetch[@]}" whol
says 'there is no "whol"' err.txt
exits 64 "${fetch[@]}"
exits 64 "${fetch[@]}" --nonsense

# ------------------------------------------------------------------ the table that ships
unset DMQ_FETCH_TABLE
checks=$((checks + 1))
awk -F'\t' '/^#/ { next }
    NF != 7 || $3 !~ /^(-|[0-9]+)$/ || $4 !~ /^(-|md5:[0-9a-f]+|sha256:[0-9a-f]+\*?)$/ || ($4 ~ /^md5:/ && length($4) != 36) || $5 !~ /^https:/ { bad = 1; print }
    $1 in name || $2 in file { bad = 1; print }
    { name[$1]; file[$2] }
    END { exit bad }' "$root/data/SOURCES" || fail "lines of data/SOURCES"
exits 0 "${fetch[@]}" --list
: >empty.ckpt
grep -o -- '--network [^ ]*' "$root/data/SOURCES" | cut -d' ' -f2 | sort -u >names.txt
while read -r name; do
    refuses 65 'empty.ckpt' -- "$dmq" import empty.ckpt --network "$name" -o m.h5
done <names.txt
finish
