#!/usr/bin/env bash
# cachestat(2) and sync_file_range(2) of a file on overlayfs succeed, and mean a page cache that is empty.
#
# Guess, before it was run: overlayfs passes calls on to the file below, as it does reads, writes, fsync(2) and
# posix_fadvise(2); so what asks about pages in memory, and what writes some of them, is about the pages there are.
# Seen: not so. The pages are those of the file below, and these two calls ask the overlay's own file, which has none.
# cachestat(2) says that nothing is in memory and nothing dirty; sync_file_range(2) with all of its flags returns 0 and
# writes nothing. Through the file below, both do what they say. mincore(2) of a mapping of the overlay's file tells
# the truth, since the mapping is of the file below. Who limits what is in memory by these calls limits nothing in a
# container, whose root is an overlay.
#
# Needs: root, loop devices, mkfs.ext4, python3; cachestat(2), so Linux 6.5.
set -euo pipefail
work=$(mktemp -d)
trap 'umount "$work/merged" "$work/mnt" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/mnt" "$work/merged"
truncate -s 64M "$work/img"
mkfs.ext4 -q -F "$work/img"
mount -o loop "$work/img" "$work/mnt"
mkdir "$work/mnt/lower" "$work/mnt/upper" "$work/mnt/work"
mount -t overlay -o "lowerdir=$work/mnt/lower,upperdir=$work/mnt/upper,workdir=$work/mnt/work" overlay "$work/merged"
status=0
python3 - "$work" <<'PY' || status=1
import ctypes, mmap, os, sys
work, PAGES, CACHESTAT, ALL_FLAGS = sys.argv[1], 1024, 451, 7
libc = ctypes.CDLL(None, use_errno=True)
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
def stat(fd):
    span, found = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    assert libc.syscall(CACHESTAT, fd, ctypes.byref(span), ctypes.byref(found), 0) == 0, os.strerror(ctypes.get_errno())
    return found[0], found[1] + found[2]
above = os.open(work + "/merged/file", os.O_RDWR | os.O_CREAT, 0o600)
os.write(above, b"x" * 4096 * PAGES)
below = os.open(work + "/mnt/upper/file", os.O_RDWR)
seen = [("written", stat(above), stat(below))]
assert libc.sync_file_range(above, 0, 0, ALL_FLAGS) == 0
seen.append(("after sync_file_range above", stat(above), stat(below)))
assert libc.sync_file_range(below, 0, 0, ALL_FLAGS) == 0
seen.append(("after sync_file_range below", stat(above), stat(below)))
mapped = mmap.mmap(above, 4096 * PAGES)
vector = (ctypes.c_ubyte * PAGES)()
start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(4096 * PAGES), vector) == 0
resident = sum(flags & 1 for flags in vector)
for what, *pages in seen:
    print(f"{what}: pages in memory, and dirty or being written, by cachestat: above {pages[0]}, below {pages[1]}")
print(f"by mincore of a mapping above: {resident}")
right = [pages for _, *pages in seen] == [[(0, 0), (PAGES, PAGES)], [(0, 0), (PAGES, PAGES)], [(0, 0), (PAGES, 0)]]
sys.exit(not (right and resident == PAGES))
PY
echo "$(uname -sr)"
[ $status = 0 ] || echo "this has changed"
exit $status
