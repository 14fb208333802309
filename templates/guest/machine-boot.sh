#!/bin/sh
# Gives a machine made from a box what is its own, before sshd and the network start: name, host key, login key. All of
# it comes from the disk that Lima attaches at every boot. A disk that is not as Lima 2.2 writes it in plain mode is left
# to cloud-init, which understands everything: slow is better than dead.
# A shell that starts fast, its own words wherever they do: every other program costs an emulated guest some 20 ms.
set -u

cidata=/mnt/lima-cidata
user='' uid='' home='' plain='' name='' key='' commands=0

say() { echo "<3>machine-boot: $*" >/dev/kmsg; }

# Undoes what sealing put in place, so that the image boots as it came. This unit is gone then, so it happens once.
fall_back() {
  say "$*; cloud-init takes over, after one more boot"
  while read -r path; do
    rm -f "$path"
  done </etc/machine/sealed
  rm -f /etc/machine/sealed
  sync
  systemctl --no-block --force reboot
  exit 1
}

# A CD-ROM under QEMU, the second disk elsewhere. The time is long: a busy host is no reason to give a machine up.
mount_disk() {
  mkdir -p "$cidata"
  tries=0
  while [ "$tries" -lt 3000 ]; do
    for device in /dev/sr0 /dev/vdb /dev/disk/by-label/cidata; do
      [ -b "$device" ] || continue
      mount -t iso9660 -o ro,mode=0700,dmode=0700,overriderockperm,exec,uid=0 "$device" "$cidata" && return
    done
    tries=$((tries + 1))
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
  read -r old </etc/hostname
  [ "$old" != "$name" ] || return 0
  echo "$name" >/etc/hostname
  hosts=''
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
  mkdir -p "$home/.ssh"
  printf '%s%s' "$present" "$key" >"$file"
  chmod 0700 "$home/.ssh"
  chmod 0600 "$file"
  chown -R "$user:" "$home/.ssh"
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
    "KEY='-----BEGIN OPENSSH PRIVATE KEY-----") "$script" early ;;
    esac
  done
}

mount_disk
check_disk
set_name
set_login_key
set_host_key
