#!/usr/bin/env bash
# dmq inspect tells what evaluate would take a file of another program for.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/npz.sh"

zeros() { head -c "$1" /dev/zero; }

# holds FILE TEXT: the line and the member of the JSON
holds() {
    ok "$dmq" inspect "$1"
    grep -qxF "holds: $2" out.txt || fail "inspect $1: $(head -3 out.txt)"
    ok "$dmq" inspect --json "$1"
    grep -qF "\"holds\": \"$2\"" out.txt || fail "inspect --json $1: $(head -3 out.txt)"
}

zeros $((3 * 4 * 6 * 3)) | npy arr_0.npy '|u1' '3, 4, 6, 3'
zeros 24 | npy arr_1.npy '<i8' '3,'
zeros 16 | npy mu.npy '<f8' '2,'
zeros 32 | npy sigma.npy '<f8' '2, 2'
zeros 8 | npy mu_s.npy '<f8' '1,'
zeros 8 | npy sigma_s.npy '<f8' '1, 1'
npz pack.npz arr_0.npy
npz labelled.npz arr_0.npy arr_1.npy
npz fid.npz mu.npy sigma.npy
npz adm.npz mu.npy sigma.npy mu_s.npy sigma_s.npy arr_0.npy
npz weights.npz mu.npy
holds pack.npz 'a pack of 3 images of 6x4'
holds labelled.npz 'a pack of 3 images of 6x4, with labels'
holds fid.npz 'reference statistics of 2 features'
holds adm.npz 'reference statistics of 2 features and of spatial ones, and 3 images of 6x4'
ok "$dmq" inspect weights.npz
! grep -q '^holds' out.txt || fail "inspect weights.npz: $(cat out.txt)"

truncate -s 30730000 test_batch.bin
holds test_batch.bin 'cifar10-test, 10000 images of 32x32 with labels'
truncate -s 30730001 test_batch.bin
refuses 65 'test_batch.bin: has 30730001 bytes: .* has 30730000' 'hint: unpack' -- "$dmq" inspect test_batch.bin
base64 -d >one.png <<EOF
iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAC0lEQVR4nGNgwAQAABQAAX3+Hu4AAAAASUVORK5CYII=
EOF
holds one.png 'one image of 3x2'
holds "$here/../golden/lsun.mdb" 'LMDB database of 31 records'
finish
