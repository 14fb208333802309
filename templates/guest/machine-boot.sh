#!/bin/sh
# Gives a machine made from a box what is its own, before sshd and the network start: name, host key, login key. All of
# it comes from the disk that Lima attaches at every boot. A disk that is not as Lima 2.2 writes it in plain mode is left
# to cloud-init, which understands everything: slow is better than dead.
# A shell that starts fast, its own words wherever they do: every other program costs an emulated guest some 20 ms.
set -u

cidata=/mnt/lima-cidata
stock=/etc/systemd/system/default.target.stock
turn=/run/machine-boot
becomes=${1-}
user='' uid='' home='' plain='' address='' gateway='' resolver='' name='' key='' commands=0 found=''

say() { echo "<3>machine-boot: $*" >/dev/kmsg; }

# Undoes what sealing put in place, so that the image boots as it came. This unit is gone then, so it happens once.
fall_back() {
  say "$*"
  # Nobody needs a machine that cannot become another one: it is made anew.
  [ -z "$becomes" ] || exit 1
  say 'cloud-init takes over, after one more boot'
  while read -r path; do
    rm -rf "$path"
  done </etc/machine/sealed
  rm -f /etc/machine/sealed
  [ ! -L "$stock" ] || mv "$stock" "${stock%.stock}"
  sync
  # Whether systemd is there already or not: read-only, and away.
  echo u >/proc/sysrq-trigger
  sleep 1
  echo b >/proc/sysrq-trigger
  exit 1
}

# udev loads what drivers are missing. Under QEMU the initrd brings those that matter, and udev may come later.
find_devices() {
  [ -z "$found" ] || return 0
  ! systemctl --no-block start systemd-udev-trigger.service || found=yes
}

# A CD-ROM under QEMU, the second disk elsewhere. The time is long: a busy host is no reason to give a machine up.
mount_disk() {
  [ -d "$cidata" ] || mkdir -p "$cidata"
  tries=0
  while [ "$tries" -lt 3000 ]; do
    for device in /dev/sr0 /dev/vdb /dev/disk/by-label/cidata; do
      [ -b "$device" ] || continue
      mount -t iso9660 -o ro,mode=0700,dmode=0700,overriderockperm,exec,uid=0 "$device" "$cidata" && return
    done
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || find_devices
    sleep 0.1
  done
  fall_back 'there is no disk of Lima'
}

read_settings() {
  while read -r line; do
    case $line in
    LIMA_CIDATA_USER=*) user=${line#*=} ;;
    LIMA_CIDATA_UID=*) uid=${line#*=} ;;
    LIMA_CIDATA_HOME=*) home=${line#*=} ;;
    LIMA_CIDATA_PLAIN=*) plain=${line#*=} ;;
    LIMA_CIDATA_SLIRP_IP_ADDRESS=*) address=${line#*=} ;;
    LIMA_CIDATA_SLIRP_GATEWAY=*) gateway=${line#*=} ;;
    LIMA_CIDATA_SLIRP_DNS=*) resolver=${line#*=} ;;
    esac
  done <"$cidata/lima.env"
  while read -r word value; do
    [ "$word" != local-hostname: ] || name=$value
  done <"$cidata/meta-data"
}

# The login user's keys. A setting that only cloud-init would carry out is a reason to let it.
read_user_data() {
  while IFS= read -r line; do
    case $line in
    '      - "ssh-'*'"')
      line=${line#*\"}
      key="$key${line%\"}
"
      ;;
    '' | ' '* | '#'* | growpart: | users: | write_files: | bootcmd: | resolv_conf: | 'manage_resolv_conf: '*) ;;
    '- |') commands=$((commands + 1)) ;;
    *) fall_back "user-data says \`$line\`" ;;
    esac
  done <"$cidata/user-data"
}

is_user() {
  while IFS=: read -r entry _ entry_uid _ _ entry_home _; do
    [ "$entry:$entry_uid:$entry_home" != "$user:$uid:$home" ] || return 0
  done </etc/passwd
  return 1
}

check_disk() {
  for file in lima.env meta-data user-data boot.sh; do
    [ -s "$cidata/$file" ] || fall_back "the disk has no $file"
  done
  read_settings
  read_user_data
  # Lima's own command mends network names; any other is a `mode: boot` script.
  [ "$commands" -le 1 ] || fall_back 'there are boot commands'
  [ "$plain" = 1 ] || fall_back 'it is not in plain mode'
  [ -n "$key" ] || fall_back 'there is no key to log in with'
  is_user || fall_back "there is no user \`$user\` with id $uid and home \`$home\`"
  case $name in
  '' | *[!A-Za-z0-9.-]*) fall_back "the host name \`$name\` is none" ;;
  esac
}

set_name() {
  echo "$name" >/proc/sys/kernel/hostname
  # `machine` calls no project's like that. Once it is another one, this is over.
  case $name in
  lima-bake-*) : >/run/machine-bake ;;
  *) rm -f /run/machine-bake ;;
  esac
  old='' hosts=''
  [ ! -f /etc/hostname ] || read -r old </etc/hostname
  [ "$old" != "$name" ] || return 0
  echo "$name" >/etc/hostname
  while IFS= read -r line; do
    case $line in
    127.0.1.1[!0-9]*) ;;
    *) hosts="$hosts$line
" ;;
    esac
  done </etc/hosts
  printf '%s127.0.1.1 %s\n' "$hosts" "$name" >/etc/hosts
}

# Adds what is missing, and takes nothing away that somebody put there.
set_login_key() {
  file=$home/.ssh/authorized_keys
  present=''
  [ ! -f "$file" ] || while IFS= read -r line; do
    present="$present$line
"
  done <"$file"
  case "
$present" in
  *"
$key"*) return ;;
  esac
  # As that user: root must not follow what may have been put in its way.
  # shellcheck disable=SC2016 # The inner shell expands it.
  setpriv --reuid "$user" --regid "$user" --init-groups sh -c '
    umask 077
    mkdir -p "$1"
    [ ! -s "$1/authorized_keys" ] || echo >>"$1/authorized_keys"
    printf %s "$2" >>"$1/authorized_keys"
    chmod 0700 "$1"
    chmod 0600 "$1/authorized_keys"' sh "$home/.ssh" "$key"
}

# Our own provision script, which Lima's boot.sh runs again once sshd is up, brings the host key that is pinned.
set_host_key() {
  for script in "$cidata"/provision.system/*; do
    [ -f "$script" ] || continue
    {
      read -r line
      read -r line
    } <"$script"
    case $line in
    "KEY='-----BEGIN OPENSSH PRIVATE KEY-----") (
      set -- early
      # shellcheck disable=SC1090 # It lies on the disk.
      . "$script"
    ) ;;
    esac
  done
}

# The address that DHCP is going to give as well, so that nobody waits for it; systemd-networkd takes over from here.
set_network() {
  is_address "$address" && is_address "$gateway" && is_address "$resolver" || return 0
  find_card
  [ -n "$card" ] || return 0
  # A distribution's initrd may have named it by its place. Lima calls it so.
  [ "$card" = eth0 ] || ! ip link set "$card" name eth0 || card=eth0
  # First what may not be reached, then a way to reach it.
  /usr/sbin/nft --file /etc/machine/floor.nft || say 'the floor is not in place: this machine reaches its host'
  echo 1 >"/proc/sys/net/ipv6/conf/$card/disable_ipv6"
  ip -batch - <<COMMANDS
link set $card up
address add $address/24 dev $card
route add default via $gateway dev $card metric 2048
COMMANDS
  mkdir -p /run/systemd/resolve
  echo "nameserver $resolver" >/run/systemd/resolve/stub-resolv.conf
}

# A network card that went on from a warm box has the address it had there. Begun anew by its driver it has the one that
# QEMU gave it in this machine.
renew_card() {
  driver=/sys/bus/virtio/drivers/virtio_net
  for path in "$driver"/virtio*; do
    echo "${path##*/}" >"$driver/unbind"
    echo "${path##*/}" >"$driver/bind"
  done
}

find_card() {
  card='' tries=0
  while [ "$tries" -lt 100 ]; do
    for path in /sys/class/net/*; do
      [ ! -e "$path/device" ] || card=${path##*/}
    done
    [ -z "$card" ] || return 0
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || find_devices
    sleep 0.1
  done
}

is_address() {
  case $1 in
  '' | *[!0-9.]*) return 1 ;;
  esac
}

# The host listens to the console. sshd starts next; a knock that comes before it costs nothing.
call_host() {
  for tty in /dev/console /dev/hvc0; do
    [ ! -w "$tty" ] || echo MACHINE-SSHD-NEXT >"$tty"
  done
}

# logind hears the power button once udev has shown it to it. Until then a shutdown must not go unheard.
watch_button() {
  tries=0
  while [ "$tries" -lt 100 ]; do
    for path in /sys/class/input/event*; do
      label=''
      [ ! -f "$path/device/name" ] || read -r label <"$path/device/name"
      [ "$label" = 'Power Button' ] && break 2
    done
    tries=$((tries + 1))
    sleep 0.2
  done
  # One event has 24 bytes.
  dd bs=24 count=1 of=/dev/null status=none <"/dev/input/${path##*/}" &
  echo "$! /dev/input/${path##*/}" >"$turn/watcher"
  wait $! && systemctl poweroff
}

# `machine` runs this once more in a machine that was resumed from a warm box: the disk is another one by then.
if [ "$becomes" = become ]; then
  mount_disk
  check_disk
  renew_card
  set_network
  set_name
  set_login_key
  set_host_key
  exit
fi
# The initrd runs this beside systemd's own start; systemd runs it as well, and then only waits for the other.
if ! mkdir "$turn" 2>/dev/null; then
  until [ -e "$turn/done" ]; do
    sleep 0.1
  done
  exit
fi
# A boot loader starts the kernel with a file system that systemd still has to look at.
[ -w /etc ] || systemctl start systemd-remount-fs.service
mount_disk
check_disk
set_network
set_name
set_login_key
set_host_key
call_host
: >"$turn/done"
watch_button &
