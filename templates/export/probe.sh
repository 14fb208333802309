#!/bin/bash
# Lima runs this over its own connection, where the agent is, while provisioning still runs: it waits for that, then
# clones. It ends with 0 whatever came of it, since Lima would only ask again, for ten minutes; `message` says how to
# look.
for ((second = 0; second < 7200; second++)); do
  [ ! -s /run/lima-boot-done ] || break
  sleep 1
done
/usr/local/bin/machine-finish repositories >/run/machine/finish.log 2>&1 </dev/null

# Groups and variables count from a new connection on, and Lima keeps this one for all that follows. After steps have
# run it is ended from here; Lima makes another, and asks again.
[ -e /run/machine/changed ] || exit 0
rm -f /run/machine/changed
process=$PPID
while [ "$process" -gt 1 ]; do
  read -r _ name _ parent _ <"/proc/$process/stat"
  if [[ $name == \(sshd* ]]; then
    kill "$process"
    break
  fi
  process=$parent
done
exit 0
