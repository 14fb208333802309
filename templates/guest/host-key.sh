#!/bin/sh
# Lima runs this as root at every boot, before it reports the machine ready.
# It gives sshd the one host key that the host has pinned, and makes sshd say on the console that it listens.
# The lines that set KEY stand above, written by `machine`; in a strict machine, whose login user is no root, also ROOT.
set -eu

folder=/etc/machine
key=$folder/ssh_host_ed25519_key
sshd=/etc/ssh/sshd_config.d/10-machine.conf
unit=/etc/systemd/system/ssh.service.d/10-machine.conf

# The key by which the host is root, and nobody else.
if [ -n "${ROOT-}" ]; then
  [ -d "$folder" ] || install -d -m 0755 "$folder"
  known=''
  [ ! -f "$folder/root_keys" ] || read -r known <"$folder/root_keys"
  [ "$known" = "restrict $ROOT" ] || echo "restrict $ROOT" >"$folder/root_keys"
  # Lima's boot.sh comes after this. It would give the login user a password and leave that in the home folder, written by
  # root through whatever link may wait there, unless this file says that it has: so it must not be that user's to remove.
  mark=/home/dev/.lima-password-set
  if [ ! -f "$mark" ]; then
    : >"$mark"
    chattr +i "$mark"
  fi
fi

present=''
[ ! -f "$key" ] || present=$(cat "$key")
if [ -f "$unit" ] && [ "$present" = "$KEY" ]; then
  exit 0
fi

# Beside cloud-init's keys, not among them: it deletes those at every boot.
[ -d "$folder" ] || install -d -m 0755 "$folder"
(umask 077 && printf '%s\n' "$KEY" >"$key")
# In a box sshd's settings are in place, and `machine-boot` comes before sshd does.
[ "${1-}" != early ] || exit 0
{
  echo "HostKey $key"
  echo "MaxSessions 100"
  # OpenSSH 9.8 began to punish addresses; ours is the user-mode network's only one, shared with Lima's probes.
  if sshd -T 2>/dev/null | grep -qi '^persourcepenalties'; then
    echo "PerSourcePenalties no"
  fi
  # The last of them, as it counts up to the file's end. What lies in root's home folder has no say.
  if [ -n "${ROOT-}" ]; then
    printf '%s\n' 'PasswordAuthentication no' 'PermitRootLogin prohibit-password' 'Match User root' "  AuthorizedKeysFile $folder/root_keys"
  fi
} >"$sshd"
install -d "${unit%/*}"
cat >"$unit" <<'UNIT'
[Service]
ExecStartPost=-/bin/sh -c 'for tty in /dev/console /dev/hvc0; do [ ! -w $tty ] || echo MACHINE-SSHD-UP >$tty; done'
UNIT
systemctl daemon-reload
systemctl restart ssh.service
