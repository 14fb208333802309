#!/bin/sh
# Gives memory that nobody needs back to the host: a guest at rest drops clean caches, and pushes together what is free.
# machine-reclaim.timer runs it once a minute. Most times it only looks, and it starts no other program.
# The host takes free memory back by itself (free page reporting), but only in whole blocks of 2 MiB.
set -eu

state=/run/machine-reclaim
# At rest: two looks in a row, each with at most so much a second of processor time (in ticks of 10 ms), of traffic of
# the disks (in sectors of 512 bytes) and of the network (in bytes). A bare guest that did nothing, emulated on a host
# that was itself overloaded, was seen at 5 to 14 ticks, 2 sectors and 200 bytes.
looks=2 most_ticks=20 most_sectors=64 most_bytes=4096
# What must have come together since the last time, in KiB.
worthwhile=32768

# Whether the host takes part; it is feature 5 of a balloon device.
is_reported() {
  for file in /sys/bus/virtio/drivers/virtio_balloon/virtio*/features; do
    if [ -r "$file" ] && read -r features <"$file"; then
      case $features in
      ?????1*) return 0 ;;
      esac
    fi
  done
  return 1
}

# Counts since the boot.
count_work() {
  read -r _ user nice system _ _ irq softirq _ </proc/stat
  ticks=$((user + nice + system + irq + softirq)) sectors=0 bytes=0
  for file in /sys/block/*/stat; do
    if read -r _ _ in _ _ _ out _ <"$file"; then
      sectors=$((sectors + in + out))
    fi
  done
  for file in /sys/class/net/*/statistics/[rt]x_bytes; do
    if [ "${file%/lo/*}" = "$file" ] && read -r count <"$file"; then
      bytes=$((bytes + count))
    fi
  done
}

# What is cached and could be dropped, or is free in pieces too small to be reported, in KiB.
count_memory() {
  memory=0
  while read -r name size _; do
    case $name in
    Buffers: | Cached: | SReclaimable:) memory=$((memory + size)) ;;
    Dirty: | Mapped: | Shmem:) memory=$((memory - size)) ;;
    SUnreclaim:) break ;;
    esac
  done </proc/meminfo
  while read -r _ _ _ _ counts; do
    size=4
    for count in $counts; do
      if [ "$size" -lt 2048 ]; then
        memory=$((memory + count * size)) size=$((size * 2))
      fi
    done
  done </proc/buddyinfo
}

if ! is_reported; then
  exec systemctl --no-block stop machine-reclaim.timer
fi

read -r now _ </proc/uptime
now=${now%%.*}
count_work
last=0 old_ticks=0 old_sectors=0 old_bytes=0 quiet=0 floor=0
if [ -r "$state" ]; then
  read -r last old_ticks old_sectors old_bytes quiet floor <"$state"
fi

seconds=$((now - last))
if [ $((ticks - old_ticks)) -le $((seconds * most_ticks)) ] &&
  [ $((sectors - old_sectors)) -le $((seconds * most_sectors)) ] &&
  [ $((bytes - old_bytes)) -le $((seconds * most_bytes)) ]; then
  quiet=$((quiet + 1))
else
  quiet=0
fi

if [ "$quiet" -ge "$looks" ]; then
  count_memory
  if [ "$memory" -ge $((floor + worthwhile)) ]; then
    echo 3 >/proc/sys/vm/drop_caches
    echo 1 >/proc/sys/vm/compact_memory
    # Not counted as work: neither what that took, nor what cannot be dropped.
    count_work
    count_memory
    floor=$memory
  elif [ "$memory" -lt "$floor" ]; then
    floor=$memory
  fi
fi
printf '%s\n' "$now $ticks $sectors $bytes $quiet $floor" >"$state"
