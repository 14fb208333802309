# shellcheck shell=bash
# Makes a machine of its own of one that was resumed from a warm box, as others were and will be: what it has that others
# have as well is replaced before anybody but this script comes in. $2 is the time, in seconds since 1970; the line that
# sets `seed`, to random bytes of the host in hexadecimal digits, stands above. Runs as root.
# shellcheck disable=SC2154 # That line is not in this file.
set -eu

# Comes first: what is drawn from now on is this machine's own. QEMU's vmgenid has told the kernel by itself already,
# where it has that device. The numbers are RNDADDENTROPY and RNDRESEEDCRNG of linux/random.h.
reseed() {
  perl -e 'my $bytes = pack "H*", <STDIN> =~ s/\s+//r;
open my $pool, ">", "/dev/random" or die "/dev/random: $!\n";
ioctl $pool, 0x40085203, pack "i i a*", 8 * length $bytes, length $bytes, $bytes or die "RNDADDENTROPY: $!\n";
ioctl $pool, 0x5207, 0 or die "RNDRESEEDCRNG: $!\n"' <<<"$seed"
}

# The journal of the boot that all of them share goes with the id. journald would write it once more if it were told to
# end; systemd starts it again at once.
change_machine_id() {
  local old fresh journald
  read -r old </etc/machine-id
  read -r fresh </proc/sys/kernel/random/uuid
  echo "${fresh//-/}" >/etc/machine-id
  read -r journald </sys/fs/cgroup/system.slice/systemd-journald.service/cgroup.procs
  kill -KILL "$journald"
  rm -rf "/run/log/journal/$old" "/var/log/journal/$old"
}

# Name, login key and host key come from the disk that Lima has made for this machine; the network card is begun anew.
read_own_disk() {
  local mnt=/mnt/lima-cidata device source where
  while read -r source where _; do
    [ "$where" != "$mnt" ] || device=$source
  done </proc/mounts
  umount "$mnt" || umount --lazy "$mnt"
  blockdev --flushbufs "$device"
  /usr/local/lib/machine/boot become
}

reseed
date --utc --set="@$2" >/dev/null
change_machine_id
read_own_disk
# sshd begins anew, with its new key, and leaves this connection alone.
kill -HUP "$(cat /run/sshd.pid)"
systemctl --no-block start machine-later.timer
