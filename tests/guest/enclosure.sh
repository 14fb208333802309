# shellcheck shell=bash
# The checks of the network that QEMU has of its own: each of the two layers holds without the other, and nothing of it is
# left when the machine ends.
# shellcheck disable=SC2154 # machine, home, data and git_port are set by the suite.
# shellcheck disable=SC2034 # output is read by contains.
# shellcheck disable=SC2016 # What stands in single quotes is for the guest, or another shell.

qemu_pid() { cat "$(instance)/qemu.pid"; }

# The helpers of a machine.
helpers() { pgrep -u "$(id -u)" -f 'launcher-part (keep|take-over)|[p]asta.* --foreground' || true; }

# Fails unless every helper is gone within five seconds.
no_helpers() {
  local tries=0
  while [ -n "$(helpers)" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ]
    sleep 0.1
  done
}

drop_floor() {
  "$machine" run blog -- sudo nft 'add table inet machine_floor; delete table inet machine_floor' </dev/null
}

# Root of the guest takes the floor away, and the host keeps what it refuses.
enclosed_without_floor() {
  start_listener
  local pid
  pid=$(qemu_pid)
  output=$(grep -h '^Cap\(Inh\|Prm\|Eff\|Amb\)' "/proc/$pid/status" | tr -s '\t0' ' ')
  same "$(tr -cd '1-9a-f' <<<"${output//Cap???:/}")" ''
  [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
  drop_floor
  host_is_closed
  # IPv6 is put in order by hand, as a hostile root would, and leads nowhere.
  "$machine" run blog -- sudo sh -c 'echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
    ip address add fec0::5/64 dev eth0 nodad; ip -6 route add default via fec0::2 dev eth0' </dev/null
  local address
  for address in fec0::2 ::ffff:7f00:1; do
    output=$(probe_in_guest tcp "$address" "$listener_port" 2>&1)
    lacks open
  done
  # What is not private goes on, names as well.
  "$machine" run blog -- sudo apt-get -q update
  # The door that the project has leads on: its git host.
  "$machine" run blog -- git fetch -q
}

# A door that is opened on a running machine counts for both layers, within seconds.
doors_open_while_it_runs() {
  start_listener
  local own
  own=$(own_address)
  if [ -z "$own" ]; then
    echo 'this computer has no address of its own: nothing to open'
    return
  fi
  drop_floor
  output=$(probe_in_guest tcp "$own" "$listener_port")
  contains closed
  set_access "allow = [\"192.168.5.2:$git_port\", \"$own:$listener_port\"]"
  local tries=0
  until [ "$(probe_in_guest tcp "$own" "$listener_port")" = open ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 10 ]
    sleep 1
  done
  set_access
  sleep 4
  drop_floor
  output=$(probe_in_guest tcp "$own" "$listener_port")
  contains closed
}

# Without rules on the host the floor stands alone, and it is said; without that as well the guest reaches the host.
floor_without_enclosure() {
  start_listener
  local programs=$home/without-rules
  mkdir -p "$programs"
  ln -sfn /bin/false "$programs/nft"
  "$machine" down blog
  expect 0 env PATH="$programs:$PATH" "$machine" up blog
  contains "nothing but the guest's own floor"
  contains 'modprobe nf_tables'
  same "$(helpers)" ''
  host_is_closed
  drop_floor
  same "$(probe_in_guest tcp 192.168.5.2 "$listener_port")" open
  same "$(probe_in_guest udp 192.168.5.2 "$listener_port")" open
  "$machine" down blog
  "$machine" up blog
  [ -n "$(helpers)" ]
}

# Asks for an address of this name at 127.0.0.53, where systemd-resolved listens.
ask_local_resolver() {
  /usr/bin/python3 -c '
import socket
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(3)
asker.sendto(b"Mk\1\0\0\1\0\0\0\0\0\0\3deb\6debian\3org\0\0\1\0\1", ("127.0.0.53", 53))
print(asker.recv(512)[7])' 2>/dev/null
}

# The computer's resolver at a loopback address, which is another one inside: names are looked up all the same, by UDP and
# TCP. Where resolv.conf names another one, the machine is started with a resolv.conf of its own.
names_of_a_local_resolver() {
  local up=("$machine" up blog)
  if ! grep -q '^nameserver 127\.0\.0\.53' /etc/resolv.conf; then
    echo 'nameserver 127.0.0.53' >"$home/resolv.conf"
    up=(unshare --map-current-user --mount --keep-caps bash -c 'mount --bind "$1" /etc/resolv.conf && shift &&
      exec setpriv --inh-caps=-all --ambient-caps=-all "$@"' bash "$home/resolv.conf" "${up[@]}")
  fi
  "$machine" down blog
  expect 0 "${up[@]}"
  expect 0 "$machine" run blog -- getent ahostsv4 deb.debian.org
  expect 0 "$machine" run blog -- perl -MIO::Socket::INET -e '
    my $server = IO::Socket::INET->new("192.168.5.3:53") or die "$!\n";
    print {$server} pack "n/a*", "Mk\1\0\0\1\0\0\0\0\0\0\3deb\6debian\3org\0\0\1\0\1";
    $server->flush;
    read $server, my $length, 2;
    read $server, my $answer, unpack "n", $length;
    printf "%s has %d addresses\n", unpack "a2 x4 n", $answer;'
  [[ $output =~ Mk\ has\ [1-9] ]]
  "$machine" down blog
  "$machine" up blog
}

nothing_stays_behind() {
  [ -n "$(helpers)" ]
  kill -KILL "$(qemu_pid)"
  no_helpers
  "$machine" up blog
  kill -KILL "$(cat "$(instance)/ha.pid")"
  "$machine" down blog
  no_helpers
  "$machine" up blog
  "$machine" down blog
  no_helpers
  "$machine" up blog
  # pasta alone: the helper starts another one.
  pkill -KILL -u "$(id -u)" -f '[p]asta.* --foreground'
  sleep 4
  "$machine" run blog -- true
  # The helper, and pasta with it: whoever comes next starts another one, which ends with the machine as well.
  guest 'nohup sleep 100000 >/dev/null 2>&1 & echo $! >/dev/shm/lives'
  pkill -KILL -u "$(id -u)" -f '[l]auncher-part keep '
  no_helpers
  expect 0 "$machine" run blog -- sh -c 'kill -0 "$(cat /dev/shm/lives)" && getent ahostsv4 deb.debian.org'
  contains 'another one connects it'
  "$machine" down blog
  no_helpers
  "$machine" up blog
}
