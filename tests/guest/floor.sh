# shellcheck shell=bash
# The checks of what a guest can reach of its host. Each has its positive control: a listener that answers here.
# shellcheck disable=SC2154 # machine, home, here, config, git_port and git_folder are set by the suite.
# shellcheck disable=SC2034 # output is read by contains.

# Starts the listener once, on every address of this computer; each check runs in a shell of its own.
start_listener() {
  if [ -e "$home/listener.port" ]; then
    listener_port=$(cat "$home/listener.port")
    return
  fi
  listener_port=$(free_port)
  echo "$listener_port" >"$home/listener.port"
  /usr/bin/python3 "$here/listener.py" "$listener_port" "$home/listener.pid" >/dev/null 2>&1 &
  local tries=0
  until [ -s "$home/listener.pid" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ]
    sleep 0.1
  done
}

# The computer's own address on its network; empty without one.
own_address() { ip -4 -o route get 198.51.100.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\) .*/\1/p'; }

# Asks from here, by the guest's own program.
probe_here() { perl "$here/probe.pl" "$@"; }

# Asks from the guest, as root.
probe_in_guest() { "$machine" run blog -- sudo perl -e "$(cat "$here/probe.pl")" -- "$@" </dev/null; }

# Changes a key of the project `blog`, none with no argument, and brings the machine there.
set_access() {
  sed -i '/^host_access\|^lan_access\|^allow/d' "$config/projects.toml"
  sed -i "s|^disk = \"8GiB\"|&\n${1-allow = [\"192.168.5.2:$git_port\"]}|" "$config/projects.toml"
  expect 0 "$machine" up blog
  # What is reached at 192.168.5.2 counts in the enclosure from then on.
  if [[ $output == *'from the next start on'* ]]; then
    "$machine" down blog
    "$machine" up blog
  fi
}

# Its own address, where that is a private one: the guest's own rules know of no other.
own_private_address() { own_address | grep -E '^(10|192\.168|172\.(1[6-9]|2[0-9]|3[01])|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7]))\.' || true; }

# Fails unless the guest is refused at all addresses that lead to this computer, however they are written.
host_is_closed() {
  local address
  for address in 192.168.5.2 192.168.1.1 10.0.0.1 172.16.0.1 100.64.0.1 169.254.169.254 3232236802 0xc0a80502 \
    ::ffff:192.168.5.2 $(own_private_address); do
    output="tcp $address $(probe_in_guest tcp "$address" "$listener_port")"
    echo "$output"
    contains closed
    output="udp $address $(probe_in_guest udp "$address" "$listener_port")"
    echo "$output"
    contains closed
  done
}

floor_is_closed() {
  start_listener
  same "$(probe_here tcp 127.0.0.1 "$listener_port")" open
  same "$(probe_here udp 127.0.0.1 "$listener_port")" open
  host_is_closed
  # Refused, not met by silence.
  expect 1 "$machine" run blog -- sudo ping -c 1 -W 2 192.168.5.2
  contains 'Packet filtered'
  # Names and packages go on.
  "$machine" run blog -- sudo apt-get -q update
}

floor_opens_by_its_keys() {
  start_listener
  set_access 'host_access = true'
  same "$(probe_in_guest tcp 192.168.5.2 "$listener_port")" open
  same "$(probe_in_guest udp 192.168.5.2 "$listener_port")" open
  output=$(probe_in_guest tcp 10.0.0.1 "$listener_port")
  contains closed
  set_access "allow = [\"192.168.5.2:$listener_port\"]"
  same "$(probe_in_guest tcp 192.168.5.2 "$listener_port")" open
  output=$(probe_in_guest tcp 192.168.5.2 "$git_port")
  contains closed
  set_access
  output=$(probe_in_guest tcp 192.168.5.2 "$listener_port")
  contains closed
  "$machine" down blog
  "$machine" up blog
  output=$(probe_in_guest tcp 192.168.5.2 "$listener_port")
  contains 'No route to host'
  output=$("$machine" run blog -- sudo nft list table inet machine_floor)
  contains 'oifname "eth*" jump uplink'
}

closed_door() {
  printf '\n[shut]\nrepos = ["ssh://%s@192.168.5.2:%s%s/blog.git"]\nmemory = "2GiB"\ndisk = "8GiB"\n' "$(id -un)" "$git_port" \
    "$git_folder" >>"$config/projects.toml"
  expect 1 "$machine" up shut
  contains "allow = [\"192.168.5.2:$git_port\"]"
  "$machine" destroy shut --discard --discard-unseen
  sed -i '/^\[shut\]/,$d' "$config/projects.toml"
}
