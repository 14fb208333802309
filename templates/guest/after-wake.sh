# shellcheck shell=bash
# Tells a guest that woke what has changed outside: the time, $1 in seconds since 1970, and the disk that Lima has made
# anew for this start. Lima's last check compares that disk's id with /run/lima-boot-done. Runs as root.
set -u

clock=/sys/class/rtc/rtc0/since_epoch
# QEMU's hardware clock goes with the host's. It counts whole seconds, but also those that this script came late.
now=$1 second=0
[ ! -r "$clock" ] || read -r second <"$clock"
[ "$second" -le "${now%.*}" ] || now=$second
date --utc --set="@$now" >/dev/null

# As it begins its next second.
set_exactly() {
  local next now
  [ -r "$clock" ] || return 0
  read -r second <"$clock"
  printf -v now '%(%s)T' -1
  # One that stood still as well knows less than the host said.
  [ "$second" -ge $((now - 1)) ] || return 0
  while read -r next <"$clock" && [ "$next" = "$second" ]; do
    sleep 0.02
  done
  date --utc --set="@$next"
}

new_disk() {
  local mnt=/mnt/lima-cidata device
  device=$(findmnt --noheadings --output SOURCE "$mnt") || device=/dev/disk/by-label/cidata
  # A reader may have it open still; new ones see the new disk all the same.
  umount "$mnt" || umount --lazy "$mnt"
  blockdev --flushbufs "$device"
  mount -t iso9660 -o ro,mode=0700,dmode=0700,overriderockperm,exec,uid=0 "$device" "$mnt"
  sed -n 's/^LIMA_CIDATA_IID=//p' "$mnt/lima.env" >/run/lima-boot-done
}

(
  set_exactly
  new_disk
) </dev/null >/dev/null 2>&1 &
exit 0
