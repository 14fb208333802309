#!/bin/sh
# All that a box needs before systemd: the drivers of its disks and its network card. A distribution's initrd brings
# hundreds, and udev to choose among them. What is this machine's own is fetched beside systemd's start.
export PATH=/bin

mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
root=/dev/vda
read -r line </proc/cmdline
for word in $line; do
  case $word in
  root=*) root=${word#root=} ;;
  esac
done
while read -r module; do
  insmod "/modules/$module"
done </modules/first
tries=0
while [ ! -b "$root" ] && [ "$tries" -lt 300 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
mount -t ext4 -o ro "$root" /root

# Errors that the file system remembers are for systemd to mend, which it does while nothing is written.
errors=0 count=/sys/fs/ext4/${root#/dev/}/errors_count
[ ! -f "$count" ] || read -r errors <"$count"
cd /root || exit
for folder in proc dev sys; do
  mount -o move "/$folder" "$folder"
done
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs run
if [ "$errors" = 0 ]; then
  mount -o remount,rw "$root" .
  while read -r path options; do
    mkdir -p "$path"
    mount -t tmpfs -o "$options" tmpfs "$path"
  done </mounts
fi
(
  while read -r module; do
    insmod "/modules/$module"
  done </modules/second
  [ "$errors" != 0 ] || exec chroot . /usr/local/lib/machine/boot <dev/null
) &
mount -o move . /
exec chroot . /sbin/init "$@"
