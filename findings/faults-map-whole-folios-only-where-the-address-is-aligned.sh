#!/usr/bin/env bash
# A page fault of a mapped file maps a whole folio of the page cache only where the mapping lies in memory as the file
# does: at addresses that differ from its offsets by a multiple of 2 MiB.
#
# Guess, before it was run: where in memory a file is mapped makes no difference but for huge pages; each fault maps the
# pages around it that are in the page cache, 64 KiB of them (fault_around_bytes).
# Seen: not so. A file that was written by calls of 1 MiB lies in folios of 1 MiB, for which there are no huge pages. At
# an aligned address a fault maps a whole folio; 64 KiB further, it takes eight times as many faults to touch the same
# pages, and more than twice the time. mmap(2) of a file chooses aligned addresses by itself. Who reserves a range first
# and maps files into it (MAP_FIXED), as databases and allocators do, gets an aligned one only if its length is a multiple
# of 2 MiB: addresses of anonymous ranges of other lengths are not aligned.
#
# Needs: root, loop devices, mkfs.ext4, python3; seen on Linux 6.18, x86-64.
set -euo pipefail
work=$(mktemp -d)
trap 'umount "$work/mnt" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/mnt"
truncate -s 512M "$work/img"
mkfs.ext4 -q -F "$work/img"
mount -o loop "$work/img" "$work/mnt"
status=0
python3 - "$work/mnt/file" <<'PY' || status=1
import ctypes, mmap, os, resource, sys, time
MIB = 1 << 20
LEN = 256 * MIB
NONE, READ, PRIVATE, FIXED, ANONYMOUS = 0, 1, 2, 0x10, 0x20
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
def mapped(at, length, rights, flags, fd):
    start = libc.mmap(at, length, rights, flags, fd, 0)
    assert start not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
    return start
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
for _ in range(LEN // MIB):
    os.write(file, b"x" * MIB)
os.fsync(file)
def touch(shift):
    reserved = mapped(None, LEN + 4 * MIB, NONE, PRIVATE | ANONYMOUS, -1)
    start = -(-reserved // (2 * MIB)) * 2 * MIB + shift
    mapped(start, LEN, READ, PRIVATE | FIXED, file)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.monotonic()
    pages = (ctypes.c_char * LEN).from_address(start)
    for page in range(0, LEN, 4096):
        pages[page]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, time.monotonic() - began
aligned, shifted = touch(0), touch(64 << 10)
for what, (faults, seconds) in ("aligned as the file", aligned), ("64 KiB further", shifted):
    print(f"{what}: {faults} faults for {LEN // MIB} MiB that are in memory, {seconds * 1e9 / (LEN // 4096):.0f} ns a page, python's own part included")
def alignment(length):
    return mapped(None, length, NONE, PRIVATE | ANONYMOUS, -1) % (2 * MIB)
whole, other = alignment(64 * MIB), [alignment(64 * MIB + pages * 4096) for pages in (3, 5, 7)]
print(f"behind a multiple of 2 MiB: a range of 64 MiB {whole} bytes; of 3, 5, 7 pages more {other}")
sys.exit(not (aligned[0] * 4 < shifted[0] and whole == 0 and any(other)))
PY
echo "$(uname -sr)"
[ $status = 0 ] || echo "this has changed"
exit $status
