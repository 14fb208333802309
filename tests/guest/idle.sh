# shellcheck shell=bash
# The checks of tests/guest/run about machines that nobody uses; each fails by a command that fails.
# shellcheck disable=SC2034,SC2154,SC2016 # output is for the suite; machine, home and config are set by the suite; what is in single quotes is the guest's.

# rests AFTER ACTION: the project says so from now on.
rests() {
  sed -i '/^idle = /d; s/^\[blog\]$/&\nidle = { after = "'"$1"'", action = "'"$2"'" }/' "$config/projects.toml"
  expect 0 "$machine" up blog
}

state() {
  "$machine" list --json | /usr/bin/python3 -c '
import json, sys
print(*(row["state"] for row in json.load(sys.stdin) if row["project"] == "blog"))'
}

# Waits until the machine is in a state; looking is no use of it.
becomes() {
  local turn
  for ((turn = 0; turn < 90; turn++)); do
    [ "$(state)" != "$1" ] || return 0
    sleep 2
  done
  cat "$home/.local/state/machine/machines/blog/watch.log"
  return 1
}

# Fails unless it stays up for more than twice the time after which it would rest.
stays_up() {
  local turn
  for ((turn = 0; turn < 25; turn++)); do
    sleep 2
    [[ $(state) == r* ]] || {
      cat "$home/.local/state/machine/machines/blog/watch.log"
      return 1
    }
  done
}

watchers() { pgrep -u "$(id -u)" -f -- "^[^ ]*machine watch blog$" || true; }

idle_falls_asleep() {
  rests 20s sleep
  same "$(watchers | wc -l)" 1
  becomes asleep
  same "$(processes)" ''
  same "$(watchers)" ''
  tail -n 1 "$home/.local/state/machine/machines/blog/watch.log" | grep '`blog` fell asleep, idle for .*: no session, '
  # Nobody put it to sleep by hand, so whoever connects wakes it.
  host_ssh true
  same "$(watchers | wc -l)" 1
  becomes asleep
}

# What is started here goes on without a session, as in tmux.
idle_is_no_work() {
  local port
  guest 'nohup sh -c "while :; do :; done" >/dev/null 2>&1 & echo $! >/tmp/build'
  stays_up
  guest 'kill "$(cat /tmp/build)"'
  becomes asleep
  port=$(free_port)
  expect 0 "$machine" up blog
  expect 0 "$machine" ports blog add "$port"
  guest_server served 127.0.0.1 "$port"
  soon "127.0.0.1:$port"
  exec 5<>"/dev/tcp/127.0.0.1/$port"
  stays_up
  exec 5>&-
  becomes asleep
  expect 0 "$machine" up blog
  expect 0 "$machine" ports blog remove "$port"
  becomes asleep
}

idle_goes_down() {
  rests 20s down
  becomes stopped
  grep -q '`blog` was put down, idle for ' "$home/.local/state/machine/machines/blog/watch.log"
  sed -i '/^idle = /d' "$config/projects.toml"
  host_ssh true
  expect 0 "$machine" up blog
  # Which one of the old word sees at its next look.
  local turn
  for turn in {1..60}; do
    [ -n "$(watchers)" ] || return 0
    sleep 1
  done
  echo "still watched after $turn looks"
  return 1
}
