# shellcheck shell=bash
# The checks of the boundary: what `machine boundary` says, whether it notices, and what a malicious package gets.
# shellcheck disable=SC2154 # machine, home, data, config, here, git_port and output are set by the suite.
# shellcheck disable=SC2016,SC2088 # What stands in single quotes is for the guest.

# Runs `boundary`, which must end with this code; its document is in $output, and what it says is shown a line a channel.
look() {
  local code=$1 project=$2 got=0
  own_ssh
  output=$(PATH=$home/own-ssh:$PATH "$machine" boundary "$project" --json 2>"$home/said") || got=$?
  cat "$home/said"
  /usr/bin/python3 -c '
import json, sys
for line in json.loads(sys.argv[1])["channels"]:
    print(line["verdict"].ljust(22), line["channel"].ljust(19), line["detail"])' "$output"
  same "$got" "$code"
}

# ssh finds its user's file by the system's list of users, which does not know this home.
own_ssh() {
  mkdir -p "$home/own-ssh"
  printf '#!/bin/sh\ncase " $* " in *" -G "*) set -- -F "%s" "$@" ;; esac\nexec %s "$@"\n' "$home/.ssh/config" \
    "$(command -v ssh)" >"$home/own-ssh/ssh"
  chmod +x "$home/own-ssh/ssh"
}

# One word of a channel, `verdict` or `detail`, in the last document.
of_channel() {
  /usr/bin/python3 -c '
import json, sys
for line in json.loads(sys.argv[1])["channels"]:
    if line["channel"] == sys.argv[2]:
        print(line[sys.argv[3]])' "$output" "$1" "$2"
}

verdict() { of_channel "$1" verdict; }

# Every channel of a machine that runs, with an agent on the host.
boundary_says() {
  look 0 blog
  local channel outside=crosses filter=without
  # Rules inside the guest bind its user; only a network of QEMU's own binds its root.
  [ "$(readlink "/proc/$(cat "$(instance)/qemu.pid")/ns/net")" = "$(readlink /proc/self/ns/net)" ] || outside=closed
  for channel in host-127.0.0.1 host-::1; do
    echo "$channel"
    same "$(verdict "$channel")" "$outside"
  done
  for channel in files lima-settings environment agent-at-rest lima-connection secrets repository-file guest-ports host-key \
    ssh-options x11 host-files; do
    echo "$channel"
    same "$(verdict "$channel")" closed
  done
  for channel in lima-data identity agent-in-a-session dns terminal hypervisor; do
    echo "$channel"
    same "$(verdict "$channel")" crosses
  done
  ! "qemu-system-$(uname -m)" -sandbox on -accel help >/dev/null 2>&1 || filter=with
  output=$(of_channel hypervisor detail)
  contains "$filter a filter of system calls"
  # Nothing of it is left in the guest.
  same "$(quiet_ssh 'ip -o link show type macvlan')" ''
}

# What is mended at once is broken here: each line turns red, and the exit code says so.
boundary_notices() {
  chmod 0755 "$data"
  look 1 blog
  same "$(verdict host-files)" failed
  chmod 0700 "$data"
  printf 'ssh:\n  forwardAgent: true\n' >"$data/lima/_config/override.yaml"
  look 1 blog
  rm "$data/lima/_config/override.yaml"
  same "$(verdict lima-settings)" failed
  # A guest whose half of the probe does not work is not called closed.
  local word
  quiet_ssh 'mkdir -p ~/.local/bin && printf "#!/bin/sh\nexec /bin/false\n" >~/.local/bin/perl && chmod +x ~/.local/bin/perl'
  look 0 blog || word=failed
  quiet_ssh 'rm ~/.local/bin/perl'
  same "${word-}" ''
  for word in host-127.0.0.1 host-::1 host-address guest-ports; do
    same "$(verdict "$word")" 'not probed'
  done
}

# A listener on this computer's own 127.0.0.1 and on all its addresses, which says who it is.
start_canary() {
  canary_port=$(free_port)
  /usr/bin/python3 -c '
import socket, sys
listener = socket.create_server(("", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    client.sendall(b"canary-on-the-host\n")
    client.close()' "$canary_port" &
  canary_pid=$!
  sleep 1
}

knock_at() { timeout 5 bash -c "head -n 1 </dev/tcp/$1/$2" 2>/dev/null; }

# A package with a hostile postinstall; how it is installed is said by the arguments, a command in the guest.
hostile_package() {
  local project=$1 address canary_port canary_pid key
  shift
  mkdir -p "$home/.aws"
  echo 'aws_secret_access_key = canary-in-the-credentials' >"$home/.aws/credentials"
  start_canary
  address=$(/usr/bin/python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("198.51.100.1", 9)); print(s.getsockname()[0])')
  # The control on this side: what is to be kept from the guest is there to be had.
  same "$(knock_at 127.0.0.1 "$canary_port")" canary-on-the-host
  same "$(knock_at "$address" "$canary_port")" canary-on-the-host
  key=$(ssh-add -L | cut -d' ' -f2)

  rm -rf "$home/hostile"
  cp -R "$here/hostile" "$home/hostile"
  printf '%s\n' '127.0.0.1 22' "192.168.5.2 $canary_port" "fec0::2 $canary_port" "$address $canary_port" \
    '192.168.5.2 22' '169.254.169.254 80' >"$home/hostile/targets"
  tar -C "$home" -cf - hostile | "$machine" run "$project" -- tar -C /home/dev -xf -
  # The control on that side: a thief who finds what the guest itself has.
  "$machine" run "$project" -- sh -c 'mkdir -p ~/.aws && echo decoy-of-the-guest >~/.aws/credentials'
  expect 0 "$machine" run "$project" -- "$@"
  kill "$canary_pid"

  output=$(quiet_ssh_of "$project" 'cd ~/loot && tail -n +1 all files environment answers squatted agent text.sig 2>&1 || true')
  printf '%s\n' "$output"
  contains $'==> all <==\nall'
  contains decoy-of-the-guest
  contains 'HOME=/home/dev'
  contains 'reached 127.0.0.1 22'
  contains 'ssh-ed25519'
  contains $'==> squatted <==\n10'
  local word
  for word in canary-in-the-credentials "$CANARY_VARIABLE" canary-on-the-host "$home" \
    'reached 192.168.5.2' 'reached fec0' "reached $address" 'reached 169.254.169.254' 'BEGIN SSH SIGNATURE' \
    "$(sed -n 3p "$home/.ssh/id_work")"; do
    lacks "$word"
  done
  # Nothing that it took away is away, and nothing that it squats is here.
  same "$(ssh-add -L | cut -d' ' -f2)" "$key"
  local port
  for port in 80 443 3000 3306 5173 5432 6379 8080 9229 11434; do
    [ "$(knock_at 127.0.0.1 "$port")" != squatted ]
  done
  # What it left behind has no agent once the session is over.
  sleep 5
  output=$(quiet_ssh_of "$project" 'tail -n 3 ~/loot/later')
  contains turn
  lacks "$key"
  # Its programs and hooks run in the guest, and what `machine` asks there comes back all the same.
  expect 0 "$machine" run "$project" -- git version
  same "$(quiet_ssh_of "$project" 'tail -n 1 ~/loot/ran')" owned
  look 0 "$project"
  quiet_ssh_of "$project" 'sudo pkill perl; rm -rf ~/loot ~/hostile ~/.local/bin ~/.aws; sed -i /owned/d ~/.profile'
}

# As quiet_ssh, for a project by its name.
quiet_ssh_of() {
  local project=$1 folder
  shift
  folder=$(grep -l "machine-$project " "$data"/s/*/known_hosts)
  ssh -F "${folder%/*}/config" -T guest -- "$@"
}

hostile_postinstall() { hostile_package blog sh -c 'cd ~/hostile && sh -c "$(jq -r .scripts.postinstall package.json)"'; }

hostile_npm() { hostile_package whole sh -c 'mkdir -p ~/victim && cd ~/victim && npm install --foreground-scripts ~/hostile'; }
