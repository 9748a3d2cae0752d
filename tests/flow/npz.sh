# npz files by hand, since no test may need Python: sourced
#
#   npy FILE DESCR SHAPE <data        npy x.npy '<f4' '3, 3, 16, 16' <x.bin
#   npz FILE NAME.npy...              stored, not compressed, as numpy.savez writes

le16() {
    printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))"
}

le32() {
    le16 $(($1 & 65535))
    le16 $(($1 >> 16 & 65535))
}

npy() {
    local header="{'descr': '$2', 'fortran_order': False, 'shape': ($3), }" pad
    pad=$(((64 - (10 + ${#header} + 1) % 64) % 64))
    {
        printf '\x93NUMPY\x01\x00'
        le16 $((${#header} + pad + 1))
        printf '%s%*s\n' "$header" $pad ''
        cat
    } >"$1"
}

# The part that a file's local and central header share, from its time on; gzip knows the CRC.
zip_entry() {
    printf '\x00\x00\x21\x00'
    gzip -c "$1" | tail -c 8 | head -c 4
    le32 "$(stat -c %s "$1")"
    le32 "$(stat -c %s "$1")"
    le16 ${#1}
    le16 0
}

npz() {
    local out=$1 name offset=0 central
    shift
    : >"$out"
    : >central.bin
    for name in "$@"; do
        {
            printf 'PK\x01\x02\x14\x00\x14\x00\x00\x00\x00\x00'
            zip_entry "$name"
            printf '\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
            le32 $offset
            printf '%s' "$name"
        } >>central.bin
        {
            printf 'PK\x03\x04\x14\x00\x00\x00\x00\x00'
            zip_entry "$name"
            printf '%s' "$name"
            cat "$name"
        } >>"$out"
        offset=$(stat -c %s "$out")
    done
    central=$(stat -c %s central.bin)
    {
        cat central.bin
        printf 'PK\x05\x06\x00\x00\x00\x00'
        le16 $#
        le16 $#
        le32 "$central"
        le32 $offset
        le16 0
    } >>"$out"
}
