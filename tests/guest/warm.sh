# shellcheck shell=bash
# The checks of tests/guest/run about warm boxes; each fails by a command that fails.
# shellcheck disable=SC2034,SC2154,SC2016 # output is for the suite; machine, config and data are set by the suite; what is in single quotes is the guest's.

in_guest() { "$machine" run "$1" -- bash -c "$2" </dev/null; }

# What no two machines may have in common, a line each, begun by its name. The network's own words come with DHCP.
own_things() {
  in_guest "$1" 'echo "hostname $(hostname)"
echo "hosts $(grep 127.0.1.1 /etc/hosts)"
echo "machine-id $(cat /etc/machine-id)"
echo "systemd $(busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.DBus.Peer GetMachineId)"
echo "journal $(ls /run/log/journal /var/log/journal 2>/dev/null | grep -x "[0-9a-f]*")"
echo "host-key $(sudo ssh-keygen -lf /etc/machine/ssh_host_ed25519_key)"
echo "offered $(ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null)"
echo "getrandom $(head -c 32 /dev/urandom | base64)"
echo "perl $(perl -e "print rand")"
echo "uuid $(cat /proc/sys/kernel/random/uuid)"
rm -f /tmp/key; ssh-keygen -q -t ed25519 -N "" -f /tmp/key; echo "key $(cut -d" " -f2 /tmp/key.pub)"
echo "address $(cat /sys/class/net/eth0/address)"
echo "permanent $(networkctl status eth0 --no-pager | sed -n "s/.*ermanent Hardware Address: //p; s/^ *Hardware Address: //p" | tail -1)"
for turn in $(seq 60); do networkctl status eth0 --no-pager | grep -q "DHCPv4 Client ID" && break; sleep 1; done
echo "dhcp $(networkctl status eth0 --no-pager | grep "DHCPv4 Client ID")"
echo "seed $(sudo sha256sum /var/lib/systemd/random-seed)"'
}

# Two machines of one warm box, and one that went on from it a second time after it was destroyed.
warm_machines_are_different() {
  sed -i 's/^warm_boxes = false/warm_boxes = true/' "$config/config.toml"
  printf '[warmone]\nmemory = "2GiB"\ndisk = "8GiB"\n[warmtwo]\nmemory = "2GiB"\ndisk = "12GiB"\n' >>"$config/projects.toml"
  expect 0 "$machine" box bake warmone
  local name line first second
  for name in warmone warmtwo; do
    expect 0 "$machine" up -v "$name"
    contains 'from the warm box'
    lacks 'boots cold'
  done
  first=$(own_things warmone)
  second=$(own_things warmtwo)
  printf '%s\n' "$first" "$second"
  while read -r name line; do
    [ -n "$line" ]
    ! grep -qxF "$name $line" <<<"$second"
  done <<<"$first"
  same "$(in_guest warmone 'hostname')" lima-warmone
  # The pinned key is the one it has; nobody else's is accepted.
  grep -qF "$(in_guest warmtwo 'sudo ssh-keygen -yf /etc/machine/ssh_host_ed25519_key' | cut -d' ' -f2)" \
    "$home/.local/state/machine/machines/warmtwo/machine.json"
}

# All that a boot would have done is done: room, names, the floor, Lima's own check, no unit that failed.
warm_machines_are_whole() {
  local turn
  [ "$(in_guest warmtwo 'df --output=size -BG / | tail -1 | tr -dc 0-9')" -ge 11 ]
  in_guest warmtwo '! ls /run/machine-bake 2>/dev/null && [ -z "$(systemctl --failed --plain --no-legend)" ]'
  in_guest warmtwo 'getent hosts deb.debian.org && ! timeout 5 bash -c "</dev/tcp/192.168.5.2/22"'
  for ((turn = 0; turn < 60; turn++)); do
    ! grep -q READY "$home/.local/state/machine/machines/warmtwo/start.log" || break
    sleep 1
  done
  [ "$turn" -lt 60 ]
  # It is a machine like any other.
  expect 0 "$machine" down warmtwo
  expect 0 "$machine" run warmtwo -- hostname
  contains lima-warmtwo
}

# A byte that is not the one that was written, and a size that it was not made for.
warm_boxes_that_do_not_fit() {
  local memory
  memory=$(find "$home/.cache/machine/boxes" -name warm.memory)
  expect 0 "$machine" destroy warmone --discard
  printf '\x5a\xa5' | dd of="$memory" bs=1 seek=$(($(stat -c %s "$memory") - 9000)) conv=notrunc status=none
  expect 0 "$machine" up -v warmone
  contains 'boots cold'
  in_guest warmone '[ "$(hostname)" = lima-warmone ] && [ ! -e /run/machine-bake ]'
  expect 0 "$machine" destroy warmone --discard
  expect 0 "$machine" destroy warmtwo --discard
  sed -i '/^\[warmone\]/,$ s/2GiB/1GiB/' "$config/projects.toml"
  expect 0 "$machine" up -v warmone
  contains 'boots cold: the warm box has 2 cpus and 2 GiB'
  expect 0 "$machine" destroy warmone --discard
  sed -i '/^\[warmone\]/,$ d' "$config/projects.toml"
  sed -i 's/^warm_boxes = true/warm_boxes = false/' "$config/config.toml"
}
