# shellcheck shell=bash
# The checks of tests/guest/run; each fails by a command that fails.
# shellcheck disable=SC2154 # machine, home, data, config and git_folder are set by the suite.
# shellcheck disable=SC2016,SC2088,SC1003 # What stands in single quotes is for the guest, or shown to the reader.

instance() { echo "$data/lima/blog"; }

# The machine's own ssh file, for looking into the guest without a session of ours.
quiet_ssh() { ssh -F "$(dirname "$(ls "$data"/s/*/config)")/config" -T guest -- "$@"; }

host_ssh() { ssh -F "$home/.ssh/config.d/machine" -o BatchMode=yes machine-blog "$@"; }

# Fails unless both words are the same, and says both.
same() {
  [ "$1" = "$2" ] || {
    printf 'expected: %q\ngot:      %q\n' "$2" "$1"
    return 1
  }
}

# Runs a command and fails unless it exits with the given code; its output is kept in $output.
expect() {
  local code=$1 got=0
  shift
  output=$("$@" 2>&1) || got=$?
  printf '%s\n' "$output"
  same "$got" "$code"
}

contains() {
  [[ $output == *"$1"* ]] || {
    printf 'missing in the output: %s\n' "$1"
    return 1
  }
}

lacks() {
  [[ $output != *"$1"* ]] || {
    printf 'should not be in the output: %s\n' "$1"
    return 1
  }
}

stamps() { quiet_ssh 'sudo ls -l --time-style=full-iso /var/lib/machine/steps'; }

# Processes that have to do with our machines.
processes() { pgrep -u "$(id -u)" -af -- "$data" || true; }

up_from_nothing() {
  expect 0 "$machine" up blog --json
  /usr/bin/python3 - "$output" <<'PY'
import json, sys
text = sys.argv[1]
document = json.loads(text[text.index("{"):])
names = [phase["phase"] for phase in document["phases"]]
assert names[:4] == ["box", "create", "boot", "provision"], names
assert names.count("repos") == 2 and "setup" in names and names[-1] == "ssh", names
assert document["ready"] and document["problems"] == [], document
assert all(isinstance(phase["ms"], int) for phase in document["phases"])
PY
  same "$(stat -c %a "$(instance)/lima.yaml")" 600
}

up_again() {
  local before
  before=$(stamps)
  expect 0 "$machine" -v up blog
  contains 'blog is ready'
  same "$(grep -c '^+ .*limactl' <<<"$output")" 1
  lacks '+ ssh'
  lacks 'curl'
  same "$(stamps)" "$before"
}

run_passes_everything() {
  expect 0 "$machine" run blog -- true
  expect 7 "$machine" run blog -- sh -c 'exit 7'
  expect 127 "$machine" run blog -- no-such-program
  local words=('a b' "it's" 'x;y' '=z' '$HOME' $'new\nline' '' '*' '--' $'\xff\xfe' $'tail\n')
  "$machine" run blog -- printf '%s\0' "${words[@]}" >"$home/got"
  printf '%s\0' "${words[@]}" >"$home/expected"
  cmp "$home/expected" "$home/got"
  head -c 300000 /dev/urandom >"$home/sent"
  "$machine" run blog -- cat <"$home/sent" >"$home/got"
  cmp "$home/sent" "$home/got"
  same "$("$machine" run blog -- pwd </dev/null)" /home/dev/code/blog
}

# What the guest prints on a terminal is cleaned; after a terminal of its own, ours is put right.
clean_terminal() {
  local bytes="'\\033]0;t\\007\\033[2J\\033[?2004h\\033[31mred\\n'"
  output=$(TERM=xterm script -qec "$machine run -T blog -- printf $bytes" /dev/null </dev/null)
  same "${output//$'\r'/}" $'\e[31mred\n\e[0m'
  output=$(TERM=xterm script -qec "$machine run -t blog -- printf $bytes" /dev/null </dev/null)
  contains $'\e]0;t'
  [[ $output == *$'\e[?2004h'*$'\e[!p'*$'\e[?2004l'* ]]
}

same_environment() {
  local greeting="it's \"here\" \\ \$HOME # too"
  same "$("$machine" run blog -- printenv GREETING)" "$greeting"
  same "$(host_ssh printenv GREETING)" "$greeting"
  same "$(echo 'printenv GREETING' | "$machine" ssh blog)" "$greeting"
  local path
  path=$("$machine" run blog -- printenv PATH)
  same "$(host_ssh printenv PATH)" "$path"
  same "$(echo 'printenv PATH' | host_ssh -T bash)" "$path"
  # Services of the user's own find their bus.
  output=$("$machine" run blog -- systemctl --user show-environment)
  contains 'DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus'
  "$machine" run blog -- systemd-run --user --quiet --pipe --wait -- busctl --user --no-pager status
  output=$(echo 'printenv PATH' | "$machine" ssh blog)
  contains /home/dev/.local/bin
}

generated_host() {
  same "$(host_ssh 'echo $((40 + 2))')" 42
  head -c 100000 /dev/urandom >"$home/file"
  scp -q -F "$home/.ssh/config.d/machine" "$home/file" machine-blog:/tmp/file
  scp -q -F "$home/.ssh/config.d/machine" machine-blog:/tmp/file "$home/back"
  cmp "$home/file" "$home/back"
  if command -v rsync >/dev/null; then
    rsync -e "ssh -F $home/.ssh/config.d/machine" "$home/file" machine-blog:/tmp/synced
    same "$(host_ssh cksum /tmp/synced | cut -d' ' -f1)" "$(cksum "$home/file" | cut -d' ' -f1)"
  fi
  # In an emptied environment, as an editor that was started by the desktop has it.
  same "$(echo 'echo from-bash' | env -i HOME="$home" ssh -F "$home/.ssh/config.d/machine" -T machine-blog bash)" from-bash
  output=$(cat "$home/.ssh/config.d/machine")
  contains 'StrictHostKeyChecking yes'
  same "$(head -n 1 "$home/.ssh/config")" 'Include config.d/machine'
}

agent_only_in_a_session() {
  local key sockets
  key=$(ssh-add -l | cut -d' ' -f2)
  output=$("$machine" run blog -- ssh-add -l)
  contains "$key"
  output=$(host_ssh ssh-add -l)
  contains "$key"
  # A socket that a session left, tried directly, with no session of ours open.
  "$machine" run blog -- sh -c 'echo "$SSH_AUTH_SOCK" >/tmp/socket; sleep 1'
  sockets=$(quiet_ssh 'for s in /tmp/ssh-*/agent.* ~/.ssh/agent/*; do [ ! -S "$s" ] || echo "$s"; done')
  local socket
  for socket in $sockets; do
    output=$(quiet_ssh "SSH_AUTH_SOCK=$socket timeout 10 ssh-add -l" 2>&1) && return 1
    lacks "$key"
  done
  # While one session is open another's end changes nothing.
  "$machine" run blog -- sleep 8 &
  sleep 2
  "$machine" run blog -- true
  output=$("$machine" run blog -- ssh-add -l)
  contains "$key"
  wait
}

project_inside() {
  same "$("$machine" run blog -- cat README)" blog
  same "$("$machine" run blog -- cat ../design/README)" theme
  same "$("$machine" run blog -- git config user.email)" test@example.com
  same "$("$machine" run blog -- cat /home/dev/setup-ran)" once
  output=$("$machine" run blog -- cat /etc/ssh/ssh_known_hosts)
  contains 'github.com ssh-ed25519'
  contains '[192.168.5.2]:'
  "$machine" run blog -- git fetch -q
}

cut_connection() {
  local pid
  "$machine" run blog -- sleep 4242 &
  pid=$!
  sleep 5
  output=$(quiet_ssh 'pgrep -fc "^sleep 4242"')
  same "$output" 1
  kill -KILL "$pid"
  pkill -KILL -u "$(id -u)" -f 'ssh -F .* guest -- .*sleep' || true
  sleep 8
  output=$(quiet_ssh 'pgrep -fc "^sleep 4242" || true')
  same "$output" 0
}

failing_step() {
  local before
  before=$(stamps | grep -c .)
  printf '#!/bin/bash\necho about to fail\ntest -e /opt/mended\n' >"$config/install.sh"
  expect 1 "$machine" up blog
  contains 'the step `provision.toml: install.sh` failed in the guest'
  contains 'about to fail'
  contains 'machine up blog'
  quiet_ssh 'sudo touch /opt/mended'
  expect 0 "$machine" up blog
  contains '1 of '
  same "$(stamps | grep -c .)" $((before + 1))
}

interrupted_provisioning() {
  printf '#!/bin/bash\ntouch /opt/began-again\n[ -e /opt/go-again ] || sleep 600\n' >"$config/install.sh"
  local pid status=0 begin end
  "$machine" up blog >"$home/interrupted" 2>&1 &
  pid=$!
  local tries=0
  until quiet_ssh 'test -e /opt/began-again' 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ]
    sleep 1
  done
  begin=$(date +%s%N)
  kill -INT "$pid"
  wait "$pid" || status=$?
  end=$(date +%s%N)
  cat "$home/interrupted"
  same "$status" 130
  [ $(((end - begin) / 1000000)) -lt 2000 ]
  same "$(quiet_ssh "systemctl list-units --no-legend --state=active 'machine-step-*' | wc -l")" 0
  quiet_ssh 'sudo touch /opt/go-again'
  expect 0 "$machine" up blog
  contains '1 of '
}

down_and_up() {
  "$machine" run blog -- sh -c 'echo kept >kept; sync'
  expect 0 "$machine" down blog
  contains 'stopped, disk kept'
  same "$(processes)" ''
  output=$("$machine" list)
  contains stopped
  expect 0 "$machine" up blog
  contains 'all done before'
  same "$("$machine" run blog -- cat kept)" kept
  same "$("$machine" run blog -- cat /home/dev/setup-ran)" once
  "$machine" run blog -- rm kept
}

held_down() {
  "$machine" down blog
  output=$(host_ssh true 2>&1) && return 1
  contains 'put down by hand'
  same "$(processes)" ''
  # `run` starts it, and says so.
  expect 0 "$machine" run blog -- true
}

killed_qemu() {
  local pid
  pid=$(cat "$(instance)/qemu.pid")
  kill -KILL "$pid"
  sleep 2
  expect 0 host_ssh true
  [ "$(cat "$(instance)/qemu.pid")" != "$pid" ]
  expect 0 "$machine" up blog
}

foreign_setting() {
  "$machine" down blog
  printf 'ssh:\n  forwardAgent: true\n' >"$data/lima/_config/override.yaml"
  expect 5 "$machine" up blog
  contains 'ssh.forwardAgent'
  contains _config/override.yaml
  # Plain mode drops mounts, so this one has no effect; the file is refused all the same.
  printf 'mounts:\n- location: /tmp\n' >"$data/lima/_config/override.yaml"
  expect 5 "$machine" up blog
  contains _config/override.yaml
  same "$(processes)" ''
  rm "$data/lima/_config/override.yaml"
}

stranger_on_the_port() {
  local port stranger
  port=$(sed -n 's/^  Port //p' "$home/.ssh/config.d/machine")
  /usr/bin/python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', $port)); s.listen(); time.sleep(900)" &
  stranger=$!
  sleep 1
  expect 0 "$machine" up blog
  contains "port $port is taken"
  kill "$stranger"
  [ "$(sed -n 's/^  Port //p' "$home/.ssh/config.d/machine")" != "$port" ]
  host_ssh true
}

two_at_once() {
  "$machine" down blog
  "$machine" up blog >"$home/first" 2>&1 &
  local first=$!
  sleep 1
  expect 0 "$machine" up blog
  wait "$first"
  contains 'waiting for `machine up blog (process '
  contains 'blog is ready'
}

lost_record() {
  local uuid
  uuid=$(head -n 1 "$(instance)/lima.yaml")
  rm "$home/.local/state/machine/machines/blog/machine.json"
  expect 0 "$machine" up blog
  same "$(head -n 1 "$(instance)/lima.yaml")" "$uuid"
  # Another check has added a line to it.
  same "$("$machine" run blog -- head -n 1 README)" blog
}

# Looks for words of the host in every byte of the disk and of Lima's own disk; the last one must be found.
canary() {
  "$machine" run blog -- sync
  local word
  for word in "$home" "$CANARY_VARIABLE"; do
    if grep -qaF -- "$word" "$(instance)/disk" "$(instance)/cidata.iso"; then
      echo "found in the guest: $word"
      return 1
    fi
  done
  grep -qaF -- test@example.com "$(instance)/disk"
}

destroy_refuses() {
  "$machine" run blog -- sh -c 'echo change >>README; echo new >untracked; git stash -q; echo change >>README'
  "$machine" run blog -- sh -c 'echo new >untracked; git commit -qm local --allow-empty'
  expect 3 "$machine" destroy blog
  contains '~/code/blog'
  contains '1 modified'
  contains '1 untracked'
  contains '1 stashed'
  contains '1 unpushed'
  contains '--discard'
  expect 3 "$machine" destroy blog --yes
  expect 0 "$machine" run blog -- test -e untracked
}

destroy_leaves_nothing() {
  expect 0 "$machine" destroy blog --discard
  same "$(processes)" ''
  [ ! -e "$(instance)" ]
  same "$(find "$data/s" "$home/.local/state/machine/machines" -mindepth 1)" ''
  output=$(cat "$home/.ssh/config.d/machine")
  lacks machine-blog
  expect 0 "$machine" list
  contains none
}

resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(cat "$(instance)/qemu.pid")/status"; }

# Five minutes after the guest used 1.2 GB, both for itself and as the cache of a file, QEMU is as small as before.
memory_comes_back() {
  same "$(quiet_ssh 'systemctl is-active machine-reclaim.timer')" active
  sleep 240
  local before after
  before=$(resident)
  quiet_ssh 'head -c 1200M /dev/zero | tail -c 1200M | wc -c
    dd if=/dev/zero of=/var/tmp/touched bs=1M count=1200 conv=fsync && cat /var/tmp/touched | wc -c'
  sleep 300
  after=$(resident)
  quiet_ssh 'rm /var/tmp/touched'
  echo "before: $before KiB, after: $after KiB"
  [ $((after * 100)) -le $((before * 115)) ]
}

other_shells() {
  local shell words=('a b' "it's" '\' 'x;y' '=z' '*' $'\xff')
  for shell in zsh fish; do
    sed -i "/^shell = /d; s/^memory/shell = \"$shell\"\nmemory/" "$config/projects.toml"
    expect 0 "$machine" up blog
    "$machine" run blog -- printf '%s\0' "${words[@]}" >"$home/got"
    printf '%s\0' "${words[@]}" >"$home/expected"
    cmp "$home/expected" "$home/got"
    output=$("$machine" run blog -- printenv SHELL)
    contains "$shell"
    output=$(echo 'echo $PATH' | "$machine" ssh blog)
    contains /home/dev/.local/bin
    same "$(host_ssh 'printenv GREETING')" "$("$machine" run blog -- printenv GREETING)"
  done
}
