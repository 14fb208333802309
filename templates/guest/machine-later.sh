#!/bin/sh
# What can wait until the first command is done: the units that sealing took off its way, then the target the system came
# with, room on a disk that has grown, and Lima's own boot script, for which Lima waits.
set -u

# This waits: what follows is to find it set up.
systemctl start machine-rest.target
read -r target </etc/machine/default-target
systemctl --no-block start "$target"
# The power button has a listener now.
read -r watcher </run/machine-boot/watcher
kill "$watcher"
# systemd may have read the old name while `machine-boot` wrote the new one.
cat /etc/hostname >/proc/sys/kernel/hostname
/usr/local/lib/machine/grow
export LIMA_CIDATA_MNT=/mnt/lima-cidata
exec "$LIMA_CIDATA_MNT/boot.sh"
