#!/usr/bin/env bash
# ext4 answers fsync(2) and RWF_DSYNC with success for bytes that are zeros after the next mount, where its journal
# is aborted while they are written to new blocks.
#
# Guess, before it was run: a call that waits until bytes are durable fails where the filesystem goes down while it
# waits; whatever was answered with success is there.
# Seen: not so for blocks that were reserved before (and likewise for those of a file that grows). ext4 writes the
# bytes, then notes in its journal that the block has something. Where the journal is aborted in between, the note is
# lost; no error is kept for the file, the journal has no transaction to wait for, and the call returns 0. So after a
# shutdown (the ioctl for such tests), and where ext4 finds a fault in itself (errors=remount-ro). It is so in half
# of the rounds here; never where the blocks were written to before. A second fdatasync(2) does not always tell.
# Taking an extended attribute away that is not there does, by EROFS or EIO in place of ENODATA: it begins to write
# the journal.
#
# Needs: root, loop devices, mkfs.ext4, python3.
set -euo pipefail
work=$(mktemp -d)
trap 'umount "$work/mnt" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/mnt"
cat >"$work/probe.py" <<'PY'
import errno, fcntl, os, random, struct, sys, threading, time
folder, device, kind, end, ask = sys.argv[1:]
SHUTDOWN, NO_LOG_FLUSH, PIECE = 0x8004587D, 2, 8192
top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
file = os.open(folder + "/file", os.O_RDWR | os.O_CREAT, 0o600)
os.posix_fallocate(file, 0, 64 * PIECE)
if kind == "written":
    os.pwrite(file, bytes(64 * PIECE), 0)
os.fsync(file)
os.fsync(top)
begun = threading.Event()
def go_down():
    begun.wait()
    until = time.perf_counter() + random.uniform(0, 400e-6)
    while time.perf_counter() < until:
        pass
    if end == "shutdown":
        fcntl.ioctl(top, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    else:
        with open(f"/sys/fs/ext4/{device}/trigger_fs_error", "w") as trigger:
            trigger.write("a test")
thread = threading.Thread(target=go_down)
thread.start()
begun.set()
done = 0
try:
    while done < 64:
        os.pwritev(file, [b"x" * PIECE], done * PIECE, os.RWF_DSYNC)
        if ask == "fdatasync":
            os.fdatasync(file)
        if ask == "write":
            os.pwrite(file, b"", 0)
        if ask == "attribute":
            try:
                os.removexattr(file, "user.none")
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
        done += 1
except OSError:
    pass
thread.join()
print(done)
PY
status=0
round() {
  truncate -s 64M "$work/img"
  mkfs.ext4 -q -F -O has_journal "$work/img"
  mount -o loop,errors=remount-ro "$work/img" "$work/mnt"
  device=$(awk -v at="$work/mnt" '$2 == at { sub("/dev/", "", $1); print $1 }' /proc/self/mounts)
  done=$(python3 "$work/probe.py" "$work/mnt" "$device" "$@")
  umount "$work/mnt"
  mount -o loop "$work/img" "$work/mnt"
  head -c $((done * 8192)) "$work/mnt/file" | tr -d x | wc -c
  umount "$work/mnt"
  rm "$work/img"
}
try() {
  lost=0
  for _ in $(seq "$1"); do
    [ "$(round "${@:2}")" = 0 ] || lost=$((lost + 1))
  done
  echo "$2 blocks, $3, asked afterwards by $4: $1 rounds, $lost in which something durable was lost"
}
try 24 reserved shutdown nothing
[ $lost -gt 0 ] || status=1
try 24 reserved fault nothing
[ $lost -gt 0 ] || status=1
try 24 written shutdown nothing
[ $lost = 0 ] || status=1
try 24 reserved shutdown attribute
[ $lost = 0 ] || status=1
try 24 reserved fault attribute
[ $lost = 0 ] || status=1
try 24 reserved shutdown write
[ $lost = 0 ] || status=1
# Those that do not always tell. It takes luck to see it.
try 48 reserved fault write
try 48 reserved fault fdatasync
truncate -s 64M "$work/img"
mkfs.ext4 -q -F -O has_journal "$work/img"
mount -o loop "$work/img" "$work/mnt"
python3 - "$work/mnt/file" <<'PY'
import os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.pwrite(file, bytes(1 << 20), 0)
os.fsync(file)
def write():
    os.pwritev(file, [b"x" * 8192], 0, os.RWF_DSYNC)
def ask():
    try:
        os.removexattr(file, "user.none")
    except OSError:
        pass
def both():
    write()
    ask()
def median(call, times):
    taken = []
    for _ in range(times):
        started = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - started)
    return sorted(taken)[times // 2] / 1000
alone = median(ask, 2000)
pairs = [(median(write, 50), median(both, 50)) for _ in range(20)]
plain, asked = (sorted(part)[10] for part in zip(*pairs))
print(f"to ask takes {alone:.1f} us; RWF_DSYNC of 8 KiB, {plain:.0f} us; with asking, {asked:.0f} us (medians, in turn)")
PY
umount "$work/mnt"
echo "$(uname -sr)"
[ $status = 0 ] || echo "this has changed"
exit $status
