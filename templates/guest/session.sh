#!/bin/bash
# Starts what `machine ssh` and `machine run` ask for. Its words are: mode, folder, command…; each begins with a dot,
# and `_` with two hexadecimal digits stands for any byte that some login shell could change on the way.
# When the login shell is bash, this text runs in it as it is, since starting a second bash is most of a short
# command's time in an emulated guest. So there is no single quote in it.
# Exported secrets with line ends, which sshd cannot pass on.
# shellcheck source=/dev/null
[ ! -O /run/secrets/.export ] || . /run/secrets/.export
words=()
for word in "$@"; do
  printf -v word %b "${word//_/\\x}"
  words+=("${word#.}")
done
mode=${words[0]} folder=${words[1]}
set -- "${words[@]:2}"
cd "$HOME/$folder" 2>/dev/null || cd || exit 125

if [ "$mode" != plain ]; then
  # A lent agent has a name that stays the same when the next session comes, for tmux and whatever else outlives this
  # one. A name that leads to a living socket is left: the host keeps it up for as long as it serves any session.
  if [ -S "$SSH_AUTH_SOCK" ] && { [ -S ~/.ssh/agent.sock ] || ln -sfn "$SSH_AUTH_SOCK" ~/.ssh/agent.sock; }; then
    export SSH_AUTH_SOCK=$HOME/.ssh/agent.sock
  fi
  [ "$mode" = terminal ] || exec -l "$SHELL"
  exec "$@"
fi

# Without a terminal nobody tells the command that the connection is gone. tail notices an output without a reader;
# a short command is over before that costs anything.
exec 3<&0
exec "$@" <&3 3<&- &
pid=$!
exec 3<&- </dev/null
(
  read -r -t 3 </dev/ptmx
  trap "kill \$tail; exit" TERM
  tail --pid="$pid" -s 1 -f /dev/null &
  tail=$!
  wait "$tail"
  trap "" TERM
  # Not every login shell becomes its last command, so the group may be that of the shell above.
  read -r _ _ _ _ group _ <"/proc/$$/stat"
  kill -TERM -- "-$group"
  sleep 2
  kill -KILL -- "-$group"
) 2>/dev/null &
watcher=$!
# What bash says of a killed child is no output of the command.
exec 2>/dev/null
wait "$pid"
status=$?
kill "$watcher"
exit "$status"
