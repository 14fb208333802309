# shellcheck shell=bash
# Prepares a guest for sleep: ends the connections, which would not survive it, and leaves the disk as after a clean
# journal replay, so that a memory that has to be thrown away costs no more than a power cut in an idle moment.
# Runs as root over the last connection.
set -u

# Secrets are overwritten where they lie, since their pages would stay in the memory that is written out, and go. Who has
# one open keeps the machine awake. They come again with the next session.
clear_secrets() {
  local secrets=/run/secrets
  mountpoint -q "$secrets" || return 0
  if [ -n "$(find /proc/[0-9]*/fd /proc/[0-9]*/cwd -lname "$secrets*" -print -quit 2>/dev/null)" ]; then
    echo "a process in it uses $secrets" >&2
    exit 1
  fi
  find "$secrets" -type f -exec shred --iterations=0 --zero --remove=unlink -- {} +
  umount "$secrets" || exit 1
}

# Copies of a secret lie where it has passed through, until a kernel that was told so clears what is freed. The file is
# there since secrets came, whether they are still there or not.
if [ -e /run/sysctl.d/99-machine-secrets.conf ] && ! grep -qw init_on_free=1 /proc/cmdline; then
  echo 'it has secrets since a boot that did not know of them; it sleeps again once it was down and up' >&2
  exit 1
fi

# Every connection is a child of the daemon; ours is the one this very script descends from.
end_other_connections() {
  local daemon own=$$ parent children pid
  read -r daemon </run/sshd.pid || return 0
  while read -r _ _ _ parent _ <"/proc/$own/stat" && [ "$parent" != "$daemon" ]; do
    [ "$parent" -gt 1 ] || return 0
    own=$parent
  done
  read -r -a children <"/proc/$daemon/task/$daemon/children"
  for pid in "${children[@]}"; do
    [ "$pid" = "$own" ] || kill "$pid"
  done
}

# What takes long, and may not come to an end, comes first: nothing is lost by it.
sync
clear_secrets
end_other_connections 2>/dev/null
sync
# Freezing writes the journal out, and nothing has to stay frozen for that. Not every file system can.
fsfreeze --freeze / 2>/dev/null && fsfreeze --unfreeze /
exit 0
