#!/bin/sh
# Public checkpoints and references, downloaded and checked: for a machine that reaches the network, such as a login
# node. Nothing else of dmq uses a network.
#
#   data/fetch.sh NAME...            download what is not there, check it, tell the command that comes next
#   data/fetch.sh --list             names, what they are, whether they are there
#   data/fetch.sh --check [NAME...]  check what is there, download nothing
#
# Files go to $DMQ_DATA, or to the folder of this script. data/SOURCES (DMQ_FETCH_TABLE names another) says where each
# comes from; - stands for a size or checksum that nobody has published. Such a file's sha256 is kept at the first
# download in FETCHED.sha256 beside it, and compared from then on. A stopped download goes on where it was. A file that
# is there is never written over: one that is not as told is named, and left as it is.
#
# Exit codes: 0 all is there and as told; 64 usage; 65 a file is not as told; 69 neither curl nor wget; 74 a download
# failed and can be gone on with.
set -u
# shellcheck disable=SC2317 # functions are called by the name in $each
LC_ALL=C
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
table=${DMQ_FETCH_TABLE:-$here/SOURCES}
into=${DMQ_DATA:-$here}
tab=$(printf '\t')

say() { printf 'fetch: %s\n' "$*" >&2; }

usage() {
    sed -n 's/^#   \(data.*\)/  \1/p' "$0" >&2
    exit 64
}

# row NAME: sets file bytes sum url what next; fails for a name that the table does not have
row() {
    line=$(awk -F"$tab" -v name="$1" '$1 == name && !/^#/ { print; exit }' "$table")
    [ -n "$line" ] || return 1
    field() { printf '%s\n' "$line" | cut -f"$1"; }
    file=$(field 2) bytes=$(field 3) sum=$(field 4) url=$(field 5) what=$(field 6) next=$(field 7)
}

names() { awk -F"$tab" '!/^#/ && NF { print $1 }' "$table"; }

size_of() { wc -c <"$1" | tr -d ' '; }

# digest KIND FILE; fails where no program computes it
digest() {
    if command -v "${1}sum" >/dev/null 2>&1; then
        "${1}sum" <"$2" | cut -d' ' -f1
    elif command -v openssl >/dev/null 2>&1; then
        openssl dgst "-$1" <"$2" | sed 's/.*[ =]//'
    else
        return 1
    fi
}

# What was noted of a file at its first download; empty when nothing was.
noted() { [ -f "$into/FETCHED.sha256" ] && awk -v f="$1" '$2 == f { print $1; exit }' "$into/FETCHED.sha256"; }

# as_told PATH: whether a file has the size and the checksum of its row; says what differs
as_told() {
    have=$(size_of "$1")
    if [ "$bytes" != - ] && [ "$have" != "$bytes" ]; then
        say "$1 has $have bytes, $bytes are told"
        return 1
    fi
    case $(dd if="$1" bs=512 count=1 2>/dev/null | tr -d ' \r\n\t\000' | tr '[:upper:]' '[:lower:]') in
        '<!doctypehtml'* | '<html'*)
            say "$1 is a web page: the address has changed, or wants a login"
            return 1
            ;;
    esac
    case $sum in
        -) kind=sha256 want=$(noted "$file") from="noted at its first download" ;;
        *) kind=${sum%%:*} want=${sum#*:} from="published" ;;
    esac
    got=$(digest "$kind" "$1") || { say "neither ${kind}sum nor openssl is here: $1 cannot be checked"; return 1; }
    [ -n "$want" ] || return 0
    # shellcheck disable=SC2254 # a published beginning ends in *
    case $got in
        $want) return 0 ;;
    esac
    say "$1 has $kind $got, $from is $want"
    return 1
}

# note FILE: keep the sha256 of a file that nobody publishes one of
note() {
    [ "$sum" = - ] || return 0
    say "$1: no checksum is published; its sha256 is $got"
    [ -n "$(noted "$1")" ] || printf '%s  %s\n' "$got" "$1" >>"$into/FETCHED.sha256"
}

# download URL PART: goes on with what is there
download() {
    quiet=-sS # a meter is for people
    [ ! -t 2 ] || quiet=
    if command -v curl >/dev/null 2>&1; then
        # shellcheck disable=SC2086 # an option, or nothing
        curl $quiet -fL --retry 3 --connect-timeout 30 -C - -o "$2" "$1"
        code=$?
        # 33: this server cannot go on in the middle
        if [ "$code" -eq 33 ]; then
            rm -f "$2"
            # shellcheck disable=SC2086
            curl $quiet -fL --retry 3 --connect-timeout 30 -o "$2" "$1"
            code=$?
        fi
        return "$code"
    elif command -v wget >/dev/null 2>&1; then
        wget -c -t 3 -T 30 -O "$2" "$1"
    else
        say "neither curl nor wget is here"
        exit 69
    fi
}

tell_next() {
    say "$1: $into/$file is there and as told"
    [ "$next" = - ] || printf '%s\n' "$next" | sed "s|@|$into|g"
}

fetch_one() {
    if [ -e "$into/$file" ]; then
        if as_told "$into/$file"; then
            note "$file"
            tell_next "$1"
            return 0
        fi
        say "hint: it is not written over; move it away and run this again"
        return 65
    fi
    mkdir -p "$into" || return 74
    part=$into/$file.part
    if ! { [ "$bytes" != - ] && [ -f "$part" ] && [ "$(size_of "$part")" = "$bytes" ]; }; then
        say "$1: $what, from $url"
        download "$url" "$part" || { say "$1: the download stopped; run this again to go on with it"; return 74; }
    fi
    if [ "$bytes" != - ] && [ "$(size_of "$part")" -lt "$bytes" ]; then
        say "$1: $(size_of "$part") of $bytes bytes came; run this again to go on"
        return 74
    fi
    if ! as_told "$part"; then
        rm -f "$part"
        say "hint: what came is thrown away; run this again, or see $table for the source"
        return 65
    fi
    mv "$part" "$into/$file" || return 74
    note "$file"
    tell_next "$1"
}

check_one() {
    if [ ! -e "$into/$file" ]; then
        printf '%-22s missing   data/fetch.sh %s\n' "$1" "$1"
    elif as_told "$into/$file"; then
        why=$sum
        [ "$sum" != - ] || why="no published checksum; sha256 $got"
        printf '%-22s good      %s\n' "$1" "$why"
    else
        printf '%-22s BAD       %s\n' "$1" "$into/$file"
        return 65
    fi
}

list_one() {
    there=' '
    [ ! -e "$into/$file" ] || there='*'
    printf '%s %-22s %s\n' "$there" "$1" "$what"
}

[ -r "$table" ] || { say "there is no table $table"; exit 64; }
each=fetch_one
case ${1:-} in
    --list) each=list_one; shift; [ $# -eq 0 ] || usage ;;
    --check) each=check_one; shift ;;
    -* | '') usage ;;
esac
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names have no spaces
    set -- $(names)
fi
for name; do
    row "$name" || { say "there is no \"$name\"; data/fetch.sh --list tells what there is"; exit 64; }
done
worst=0
for name; do
    row "$name"
    $each "$name"
    code=$?
    [ "$code" -le "$worst" ] || worst=$code
done
exit $worst
