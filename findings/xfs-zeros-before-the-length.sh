#!/usr/bin/env bash
# A file that is cut inside a page has zeros in it, on XFS, while it still has its old length.
#
# Guess, before it was run: ftruncate(2) makes the file shorter first and clears the rest of its last page then, so
# whoever reads zeros there through a mapping, and asks fstat(2) afterwards, gets the new length. On any filesystem.
# Seen: so on ext4, btrfs and tmpfs (0 of 20,000 rounds got the old length). On XFS some 200 of 20,000 rounds read
# zeros and were then told the old length. A pread(2), wherever, waits there for the cut: after one, none was.
# So a reader of a mapping who looks for cuts by fstat(2) alone takes zeros for data once in a while.
#
# Needs: root, loop devices, mkfs.ext4, mkfs.xfs, mkfs.btrfs, cc, two processors.
set -euo pipefail
work=$(mktemp -d)
mounted=()
trap 'for m in "${mounted[@]}"; do umount "$m"; done; rm -rf "$work"' EXIT
cat >"$work/probe.c" <<'C'
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, OLD_LEN = 64 * PAGE, CUT = 32 * PAGE, NEW_LEN = CUT + 100, ROUNDS = 20000 };
static int file;

static void *cut(void *unused) {
    if (ftruncate(file, NEW_LEN) != 0) exit(2);
    return unused;
}

/* The rounds in which the old length was told to who had read zeros. */
static int told_old(const char *path, int reads_first) {
    static char ones[OLD_LEN];
    int old = 0;
    memset(ones, 1, OLD_LEN);
    for (int round = 0; round < ROUNDS; round++) {
        file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (file < 0 || pwrite(file, ones, OLD_LEN, 0) != OLD_LEN) exit(2);
        volatile char *map = mmap(0, OLD_LEN, PROT_READ, MAP_SHARED, file, 0);
        if (map == MAP_FAILED || map[CUT] != 1) exit(2);
        pthread_t cutter;
        if (pthread_create(&cutter, 0, cut, 0) != 0) exit(2);
        while (map[CUT + PAGE - 1] == 1) {}
        char byte;
        struct stat stat;
        if (reads_first && pread(file, &byte, 1, 0x7ffffffffffffffeL) != 0) exit(2);
        if (fstat(file, &stat) != 0) exit(2);
        old += stat.st_size == OLD_LEN;
        pthread_join(cutter, 0);
        munmap((void *)map, OLD_LEN);
        close(file);
    }
    return old;
}

int main(int count, char **words) {
    (void)count;
    int by_stat = told_old(words[1], 0);
    printf("%d %d\n", by_stat, told_old(words[1], 1));
    return 0;
}
C
cc -O1 -pthread -o "$work/probe" "$work/probe.c"
status=0
for fs in ext4 xfs btrfs tmpfs; do
  mkdir "$work/$fs"
  if [ $fs = tmpfs ]; then
    mount -t tmpfs none "$work/$fs"
  else
    truncate -s 512M "$work/$fs.img"
    "mkfs.$fs" -q "$work/$fs.img"
    mount -o loop "$work/$fs.img" "$work/$fs"
  fi
  mounted+=("$work/$fs")
  read -r by_stat by_read < <("$work/probe" "$work/$fs/file")
  echo "$fs: of 20000 who saw zeros, the old length was told to $by_stat; after a pread(2) to $by_read"
  [ "$by_read" = 0 ] || status=1
  case $fs in
    xfs) [ "$by_stat" -gt 0 ] || status=1 ;;
    *) [ "$by_stat" = 0 ] || status=1 ;;
  esac
done
echo "$(uname -sr)"
[ $status = 0 ] || echo "this has changed"
exit $status
