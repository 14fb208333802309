#!/bin/sh
# Grows the root file system, and the partition it may be on, when the disk has grown.
set -eu

device='' disk='' part='' size=''
# The third field is the device's number, the fifth where it is mounted.
while read -r _ _ number _ where _; do
  [ "$where" != / ] || device=/sys/dev/block/$number
done </proc/self/mountinfo

disk=$device
if [ -e "$device/partition" ]; then
  read -r part <"$device/partition"
  disk=$device/..
fi
read -r size <"$disk/size"
known=/etc/machine/disk-sectors
[ ! -f "$known" ] || read -r before <"$known"
[ "${before-}" != "$size" ] || exit 0

if [ -n "$part" ]; then
  # It fails as well when there is nothing to do.
  growpart "/dev/$(basename "$(readlink -f "$disk")")" "$part" || true
fi
/usr/lib/systemd/systemd-growfs /
echo "$size" >"$known"
