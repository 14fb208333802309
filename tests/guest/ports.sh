# shellcheck shell=bash
# The checks of declared ports; run by tests/guest/run.
# shellcheck disable=SC2154 # machine, data, home and config are set by the suite.

# guest_server NAME ADDRESS PORT: a web server in the guest, as root.
guest_server() {
  quiet_ssh "sudo systemctl stop $1 2>/dev/null; sudo systemd-run --quiet --collect --unit=$1 python3 -m http.server --bind $2 $3"
}

answers() { curl --silent --noproxy '*' --output /dev/null --max-time 10 "http://$1/"; }

# A server under emulation takes a while to listen.
soon() {
  local turn
  for turn in {1..60}; do
    answers "$1" && return
    sleep 0.5
  done
  echo "no answer from $1 in $turn turns"
  return 1
}

# A program ends a moment after it was told to.
refused_soon() {
  local turn
  for turn in {1..20}; do
    answers "$1" || return 0
    sleep 0.5
  done
  echo "still an answer from $1 after $turn turns"
  return 1
}

# Everything of this user's that listens on the host by TCP, at any address.
own_listeners() {
  awk -v uid="$(id -u)" '$4 == "0A" && $8 == uid { print FILENAME, $2 }' /proc/net/tcp /proc/net/tcp6 | sort -u
}

# The same by UDP, on one port: QEMU has sockets of its own on others, for what the guest sends.
own_udp() {
  awk -v uid="$(id -u)" -v port="$(printf ':%04X$' "$1")" '$2 ~ port && $8 == uid { print FILENAME, $2 }' \
    /proc/net/udp /proc/net/udp6
}

declared_ports() {
  local web api address
  web=$(free_port) api=$(free_port)
  echo "$web $api" >"$home/ports"
  expect 0 "$machine" ports blog add "$web" "$api:80"
  expect 0 "$machine" ports blog
  contains "nothing listens on port $web in the guest"
  guest_server web 127.0.0.1 "$web"
  guest_server api 0.0.0.0 80
  soon "127.0.0.1:$web"
  soon "127.0.0.1:$api"
  for address in '[::1]' $(hostname -I); do
    [[ $address != *:*:* || $address == '['* ]] || address="[$address]"
    if answers "$address:$web"; then
      echo "it answers at $address"
      return 1
    fi
  done
  expect 0 "$machine" ports blog --json
  same "$(grep -c '"answering"' <<<"$output")" 2
  expect 0 "$machine" list
  contains "$web, $api:80"
}

lima_holds_them_from_its_start() {
  local web api
  read -r web api <"$home/ports"
  expect 0 "$machine" down blog
  if answers "127.0.0.1:$web"; then return 1; fi
  expect 0 "$machine" up blog
  contains "$web, $api:80"
  # Not by us: our own holder is not there.
  same "$(find "$data/s" -name fwd)" ''
  guest_server web 127.0.0.1 "$web"
  soon "127.0.0.1:$web"
  expect 0 "$machine" up blog
  contains 'blog is ready'
}

lost_ports_are_revived() {
  local turn verb web holder="^ssh: $data/lima/blog/ssh.sock|ControlPath=\"$data/s/[0-9a-f]*/fwd\""
  read -r web _ <"$home/ports"
  # Until Lima is through with its start, what is missing is taken for what it has yet to set up.
  for turn in {1..120}; do
    ! grep -q '"running":true' "$(instance)/ha.stdout.log" || break
    sleep 1
  done
  for verb in run up; do
    # Whoever holds them now: Lima's connection, then ours.
    pkill -u "$(id -u)" -f "$holder"
    refused_soon "127.0.0.1:$web"
    if [ "$verb" = run ]; then "$machine" run blog -- true; else expect 0 "$machine" up blog; fi
    soon "127.0.0.1:$web"
  done
  host_ssh true
  pkill -u "$(id -u)" -f "$holder"
  refused_soon "127.0.0.1:$web"
  host_ssh true
  soon "127.0.0.1:$web"
}

taken_and_removed_ports() {
  local late stranger web api
  read -r web api <"$home/ports"
  late=$(free_port)
  /usr/bin/python3 -m http.server --bind 127.0.0.1 "$late" >/dev/null 2>&1 &
  stranger=$!
  soon "127.0.0.1:$late"
  expect 1 "$machine" ports blog add "$late"
  contains "port $late of this computer is taken by \`python3\` (process $stranger)"
  kill "$stranger"
  wait "$stranger" || true
  output=$(cat "$config/projects.toml")
  lacks "$late"
  expect 0 "$machine" ports blog --open "$late"
  guest_server late 127.0.0.1 "$late"
  soon "127.0.0.1:$late"
  expect 0 "$machine" ports blog remove "$late" "$web" "$api"
  if answers "127.0.0.1:$late" || answers "127.0.0.1:$web" || answers "127.0.0.1:$api"; then return 1; fi
  expect 0 "$machine" up blog
  contains 'blog is ready'
}

undeclared_listeners() {
  local before address web count=0 udp='import socket,time
for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
    one = socket.socket(family, socket.SOCK_DGRAM); one.bind((address, 9106)); globals()[address] = one
time.sleep(600)'
  read -r web _ <"$home/ports"
  before=$(own_listeners)
  # The positive control: a declared one does appear.
  grep -q "0100007F:$(printf '%04X' "$web")\$" <<<"$before"
  for address in 0.0.0.0 127.0.0.1 :: ::1; do
    guest_server "hidden-$((++count))" "$address" "$((9100 + count))"
  done
  guest_server hidden-5 0.0.0.0 5432
  quiet_ssh "sudo systemd-run --quiet --collect --unit=hidden-udp python3 -c '$udp'"
  sleep 8
  same "$(own_listeners)" "$before"
  same "$(own_udp 9106)" ''
  quiet_ssh "sudo cat /proc/net/udp /proc/net/udp6" | grep -c ':2392 ' | grep -qx 2
  quiet_ssh "sudo systemctl stop 'hidden-*'"
}
