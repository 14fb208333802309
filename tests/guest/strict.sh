# shellcheck shell=bash
# The checks of a machine whose login user is no root: every way to become it is tried, and root's own way in is there.
# shellcheck disable=SC2154 # machine, home, here, config, data and git_port are set by the suite.
# shellcheck disable=SC2016 # The guest's shell expands it.
# shellcheck disable=SC2034 # output is read by contains.

in_strict() { "$machine" run cell -- bash -c "$1" </dev/null; }

# As the host is root there; the connection is the one that `machine` uses.
root_in_strict() {
  local uuid
  uuid=$(sed -n 's/.*"uuid": "\(........\).*/\1/p' "$home/.local/state/machine/machines/cell/machine.json")
  ssh -F "$data/s/$uuid/root-config" guest -- "$1" </dev/null
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

strict_sandboxes() {
  same "$(in_strict 'bwrap --ro-bind / / --unshare-all --die-with-parent id -u')" 1000
  # In the namespace it may become root, of nothing.
  in_strict 'unshare --user --map-root-user sh -c "test \$(id -u) = 0 && ! /usr/sbin/nft list ruleset"'
  expect 1 "$machine" sleep cell
  contains 'does not sleep'
  "$machine" destroy cell --discard
  [ ! -e "$home/.local/state/machine/machines/cell/root_key" ]
}
