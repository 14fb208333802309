#!/bin/sh
# What can wait until the first command is done: the units that sealing took off its way, then the target the system came
# with, room on a disk that has grown, and Lima's own boot script, for which Lima waits.
set -u

# Ends the one who listens to the power button once logind does, to whom udev shows it in its own time: a shutdown must not
# come in between.
hand_button_over() {
  tries=0
  # The listener itself waits until udev has loaded the button's driver.
  until [ -s /run/machine-boot/watcher ]; do
    [ "$tries" -lt 100 ] || return
    tries=$((tries + 1))
    sleep 0.3
  done
  read -r watcher button </run/machine-boot/watcher
  tries=0
  while [ "$tries" -lt 100 ]; do
    logind=$(systemctl show --property=MainPID --value systemd-logind.service)
    for file in "/proc/$logind/fd"/*; do
      # shellcheck disable=SC3013 # Debian's sh knows it.
      if [ "$file" -ef "$button" ]; then
        kill "$watcher"
        return
      fi
    done
    tries=$((tries + 1))
    sleep 0.3
  done
}

# This waits: what follows is to find it set up.
systemctl start machine-rest.target
read -r target </etc/machine/default-target
systemctl --no-block start "$target"
hand_button_over &
# systemd may have read the old name while `machine-boot` wrote the new one.
cat /etc/hostname >/proc/sys/kernel/hostname
/usr/local/lib/machine/grow
export LIMA_CIDATA_MNT=/mnt/lima-cidata
exec "$LIMA_CIDATA_MNT/boot.sh"
