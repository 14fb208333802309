# shellcheck shell=bash
# The checks of a machine whose login user is no root: every way to become it is tried, and root's own way in is there.
# shellcheck disable=SC2154 # machine, home, here, config, data and git_port are set by the suite.
# shellcheck disable=SC2016,SC2088 # The guest's shell expands it.
# shellcheck disable=SC2034 # output is read by contains.

in_strict() { in_strict_with "$1" </dev/null; }

in_strict_with() { "$machine" run cell -- bash -c "$*"; }

# As the host is root there; the connection is the one that `machine` uses.
root_in_strict() { root_in_strict_with "$1" </dev/null; }

root_in_strict_with() {
  local uuid
  uuid=$(sed -n 's/.*"uuid": "\(........\).*/\1/p' "$home/.local/state/machine/machines/cell/machine.json")
  ssh -F "$data/s/$uuid/root-config" guest -- "$1"
}

# Fails if the login user is root, by any way that is known.
is_no_root() {
  local way
  for way in 'sudo -n true' 'echo dev | sudo -S true' 'echo | su -c true' 'pkexec true' 'nft flush ruleset' \
    'nft list ruleset | grep .' 'cat /etc/machine/ssh_host_ed25519_key' 'cat /etc/shadow' 'touch /etc/machine/floor.nft' \
    'rm -f ~/.lima-password-set' 'mv ~/.lima-password-set ~/x' 'ls /mnt/lima-cidata' 'docker -H unix:///run/docker.sock ps' \
    'ssh -o BatchMode=yes -o StrictHostKeyChecking=no root@127.0.0.1 true' 'systemctl stop ssh' \
    'systemd-run --wait true' 'test -e ~/password'; do
    if in_strict "PATH=\$PATH:/usr/sbin; $way"; then
      echo "it may: $way"
      return 1
    fi
  done
  same "$(in_strict 'id -un; id -Gn' | paste -sd' ')" 'dev dev'
  output=$(root_in_strict 'getent shadow dev')
  contains 'dev:!:'
}

strict_is_no_root() {
  printf '[cell]\nmemory = "2GiB"\ndisk = "8GiB"\nisolation = "strict"\n' >>"$config/projects.toml"
  provision '"bubblewrap"'
  expect 0 "$machine" up cell
  is_no_root
  same "$(root_in_strict 'id -u')" 0
  # What Lima leaves of its own accord is not there after a boot, cold and without cloud-init.
  "$machine" down cell
  "$machine" up cell
  is_no_root
  output=$("$machine" boundary cell --json || true)
  contains '"channel": "guest-root"'
  [[ $output == *'"verdict": "closed"'* ]]
}

# A link in the place of what root writes at a boot leads nowhere. sshd reads the second file as well as the first.
strict_survives_links() {
  in_strict 'cd ~/.ssh && mv authorized_keys authorized_keys2 && ln -s /etc/machine/planted authorized_keys &&
    ln -s /etc/machine/planted ~/password && sync'
  "$machine" down cell
  expect 0 "$machine" run cell -- true
  same "$(root_in_strict 'find /etc/machine -name planted -o -not -user root')" ''
  in_strict 'cd ~/.ssh && rm ~/password authorized_keys && mv authorized_keys2 authorized_keys'
}

strict_floor_holds() {
  start_listener
  same "$(probe_here tcp 127.0.0.1 "$listener_port")" open
  output=$("$machine" run cell -- perl -e "$(cat "$here/probe.pl")" -- tcp 192.168.5.2 "$listener_port" </dev/null)
  contains closed
  # In a network of its own that the user may make, there is nothing at all.
  in_strict "unshare --user --map-root-user --net true"
}

# Docker of the user's own, as the base profile sets it up; the image is made of one program, so that no registry is needed.
strict_docker() {
  local install=$here/../../profiles/base/install.sh
  root_in_strict 'apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
    busybox-static docker-buildx docker-cli docker-compose docker.io iptables rootlesskit slirp4netns socat uidmap'
  {
    sed -n '/^put() {/,/^}/p; /^docker_without_root() {/,/^}/p' "$install"
    printf 'set -euo pipefail\nwork=$(mktemp -d)\ndocker_without_root\nloginctl enable-linger dev\n'
  } | root_in_strict_with 'bash -s'
  sed -n '/^if \[\[ -e .etc.machine.strict/,/^fi/p' "$here/../../profiles/base/setup.sh" | in_strict_with bash -s
  "$machine" down cell
  "$machine" up cell
  same "$(in_strict 'docker info --format "{{.SecurityOptions}}" | grep -o rootless')" rootless
  in_strict 'mkdir -p ~/web && cd ~/web && cp "$(command -v busybox)" busybox && echo from-a-container >index.html &&
    tar -c busybox index.html | docker import - web'
  web_service | in_strict_with 'cat >~/web/compose.yaml'
  expect 0 in_strict 'cd ~/web && docker compose up --detach --wait'
  same "$(in_strict '~/web/busybox wget -q -O - http://127.0.0.1:5173/index.html')" from-a-container
  # What a container says arrives, with nothing to say to it and with something.
  same "$(in_strict 'docker run --rm web /busybox echo said')" said
  same "$(echo heard | in_strict_with 'docker run --rm -i web /busybox cat')" heard
  # Root in a container is the login user outside of it, and the floor holds for it.
  start_listener
  output=$(in_strict 'docker run --rm -v /var/lib/machine:/host web /busybox touch /host/steps/mine' 2>&1 || true)
  contains 'ermission denied'
  output=$(in_strict "docker exec web-web-1 /busybox nc -w 3 192.168.5.2 $listener_port" 2>&1 || true)
  lacks here
  output=$(in_strict 'docker exec web-web-1 /busybox wget -q -O - http://deb.debian.org/debian/dists/stable/Release' 2>&1)
  contains Debian
  is_no_root
  expect 0 in_strict 'cd ~/web && docker compose down'
}

strict_sandboxes() {
  same "$(in_strict 'bwrap --ro-bind / / --unshare-all --die-with-parent id -u')" 1000
  # In the namespace it may become root, of nothing.
  in_strict 'unshare --user --map-root-user sh -c "test \$(id -u) = 0 && ! /usr/sbin/nft list ruleset"'
  expect 1 "$machine" sleep cell
  contains 'does not sleep'
  "$machine" destroy cell --discard
  [ ! -e "$home/.local/state/machine/machines/cell/root_key" ]
}
