#!/usr/bin/env bash
# XFS that has shut itself down answers the fsync of a folder with success, and the rename it was asked for is lost.
#
# Guess, before it was run: after a filesystem was shut down (as it does itself when its journal cannot be written)
# every fsync(2) is EIO, so whoever syncs a file, renames it and syncs the folder learns that the name is not durable.
# Seen: so on ext4. On XFS the fsync(2) of the folder is 0, while that of any file is EIO; after the next mount the
# file has its old name. fstat(2) of the folder is EIO there (and 0 on ext4), which tells.
#
# Needs: root, loop devices, mkfs.ext4, mkfs.xfs, python3.
set -euo pipefail
work=$(mktemp -d)
trap 'umount "$work"/*/ 2>/dev/null || true; rm -rf "$work"' EXIT
cat >"$work/probe.py" <<'PY'
import errno, fcntl, os, struct, sys
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
file = os.open("old", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder)
os.write(file, b"x")
os.fsync(file)
os.fsync(folder)
os.rename("old", "new", src_dir_fd=folder, dst_dir_fd=folder)
fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
def answer(call, fd):
    try:
        call(fd)
        return "0"
    except OSError as error:
        return errno.errorcode[error.errno]
print(answer(os.fsync, folder), answer(os.fsync, file), answer(os.fstat, folder))
PY
status=0
for fs in ext4 xfs; do
  truncate -s 512M "$work/$fs.img"
  "mkfs.$fs" -q "$work/$fs.img"
  mkdir "$work/$fs"
  mount -o loop "$work/$fs.img" "$work/$fs"
  answers=$(python3 "$work/probe.py" "$work/$fs")
  umount "$work/$fs"
  mount -o loop "$work/$fs.img" "$work/$fs"
  name=$(cd "$work/$fs" && ls -d old new 2>/dev/null || true)
  umount "$work/$fs"
  echo "$fs: fsync of the folder, fsync of the file, fstat of the folder: $answers; after the next mount: $name"
  case $fs in
    ext4) [ "$answers $name" = "EIO EIO 0 old" ] || status=1 ;;
    xfs) [ "$answers $name" = "0 EIO EIO old" ] || status=1 ;;
  esac
done
echo "$(uname -sr)"
[ $status = 0 ] || echo "this has changed"
exit $status
