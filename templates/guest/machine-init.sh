#!/bin/sh
# All that a box needs before its root file system: the disk's driver. A distribution's initrd brings hundreds.
export PATH=/bin

mount -t proc proc /proc
mount -t devtmpfs dev /dev
root=/dev/vda
read -r line </proc/cmdline
for word in $line; do
  case $word in
  root=*) root=${word#root=} ;;
  esac
done
while read -r module; do
  insmod "/modules/$module"
done </modules/order

tries=0
while [ ! -b "$root" ] && [ "$tries" -lt 300 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
mount -t ext4 -o ro "$root" /root
umount /proc
# Errors that the file system remembers are for systemd to mend, which it does while nothing is written.
mount -t sysfs sys /sys
errors=0 count=/sys/fs/ext4/${root#/dev/}/errors_count
[ ! -f "$count" ] || read -r errors <"$count"
umount /sys
[ "$errors" != 0 ] || mount -o remount,rw "$root" /root
exec run-init /root /sbin/init "$@"
