# shellcheck shell=bash
# Prepares a guest for sleep: ends the connections, which would not survive it, and leaves the disk as after a clean
# journal replay, so that a memory that has to be thrown away costs no more than a power cut in an idle moment.
# Runs as root over the last connection.
set -u

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

end_other_connections 2>/dev/null
sync
# Freezing writes the journal out, and nothing has to stay frozen for that. Not every file system can.
fsfreeze --freeze / 2>/dev/null && fsfreeze --unfreeze /
exit 0
