#!/bin/sh
# Lima runs this as root at every boot, before it reports the machine ready.
# It gives sshd the one host key that the host has pinned, and makes sshd say on the console that it listens.
# The lines that set KEY stand above, written by `machine`.
set -eu

folder=/etc/machine
key=$folder/ssh_host_ed25519_key
sshd=/etc/ssh/sshd_config.d/10-machine.conf
unit=/etc/systemd/system/ssh.service.d/10-machine.conf

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
} >"$sshd"
install -d "${unit%/*}"
cat >"$unit" <<'UNIT'
[Service]
ExecStartPost=-/bin/sh -c 'for tty in /dev/console /dev/hvc0; do [ ! -w $tty ] || echo MACHINE-SSHD-UP >$tty; done'
UNIT
systemctl daemon-reload
systemctl restart ssh.service
