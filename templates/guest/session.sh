#!/bin/bash
# Starts what `machine ssh` and `machine run` ask for. Its one argument is base64: words joined by NUL,
# mode and folder first, so that no login shell between ssh and here can change a byte.
mapfile -d '' -t words < <(base64 -d <<<"$1")
mode=${words[0]} folder=${words[1]}
command=("${words[@]:2}")
cd "$HOME/$folder" 2>/dev/null || cd || exit 125

if [ "$mode" = login ]; then
  exec -l "$SHELL"
fi

program=$(type -P -- "${command[0]}") || {
  if [ -e "${command[0]}" ]; then
    echo "machine: ${command[0]}: not executable in the guest" >&2
    exit 126
  fi
  echo "machine: ${command[0]}: command not found in the guest" >&2
  exit 127
}

if [ "$mode" = terminal ]; then
  exec -a "${command[0]}" "$program" "${command[@]:1}"
fi

# Without a terminal nobody tells the command that the connection is gone. tail notices a pipe without a reader.
exec 3<&0
(exec -a "${command[0]}" setsid "$program" "${command[@]:1}") <&3 3<&- &
pid=$!
exec 3<&- </dev/null
(
  tail --pid="$pid" -s 1 -f /dev/null 2>/dev/null
  kill -TERM -- "-$pid" && sleep 3 && kill -KILL -- "-$pid"
) 2>/dev/null &
watcher=$!
wait "$pid"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
