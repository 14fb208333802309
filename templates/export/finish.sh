#!/bin/bash
# machine-finish: does what this machine still lacks, and says what it was. Goes on with a step of provisioning that
# failed, then clones and sets up the repositories. `machine-finish repositories` leaves out the first half.
set -uo pipefail
instance=$(cat /var/lib/machine/instance)
problems=()

problem() {
  printf 'machine: %s\n' "$1" >&2
  problems+=("machine: $1")
}

again() {
  echo "to try again: \`limactl shell $instance machine-finish\`"
}

# The steps lie where Lima put them, with what has to run before them.
provision() {
  [ -s /run/lima-boot-done ] || echo 'machine: waiting for the provisioning of this boot' >&2
  until [ -s /run/lima-boot-done ]; do sleep 1; done
  [ ! -e /run/machine/failed ] ||
    sudo sh -c 'for script in /mnt/lima-cidata/provision.system/*; do "$script"; done'
}

# clone FOLDER TRANSPORT, the script on standard input.
clone() {
  local folder=$1 transport=$2 script
  script=$(cat)
  [ ! -e ~/code/"$folder" ] || return 0
  if [ "$transport" = ssh ] && ! timeout 20 ssh-add -l >/dev/null 2>&1; then
    problem "the repository $folder is not cloned, since no ssh key reaches this machine.
On your computer, with an ssh-agent: \`ssh-add\`, then \`limactl shell --reconnect $instance machine-finish\`"
    return
  fi
  echo "machine: cloning $folder"
  bash -c "$script" </dev/null 9>&- || problem "the repository $folder could not be cloned; $(again)"
}

# set_up FOLDER, the script on standard input. A fresh clone is set up once, and without the agent.
set_up() {
  local folder=$1 script
  script=$(cat)
  [ -e ~/code/"$folder"/.git ] && [ ! -e ~/code/"$folder"/.git/machine-setup ] || return 0
  env -u SSH_AUTH_SOCK bash -c "$script" </dev/null 9>&- || problem "the setup of the repository $folder failed; $(again)"
}

main() {
  [ "$(id -un)" = dev ] || { echo 'machine-finish is for the user dev' >&2 && exit 1; }
  # One at a time: Lima's probe and a person may both call it.
  exec 9>/run/machine/lock
  flock 9
  [ "${1-}" = repositories ] || provision
  if [ -e /run/machine/failed ]; then
    problem "$(cat /run/machine/failed)
The whole output is in /var/log/machine-steps.log; $(again)"
  else
    # shellcheck source=/dev/null
    [ ! -f /etc/machine/env.sh ] || . /etc/machine/env.sh
    repositories
  fi
  : >/run/machine/problems
  if [ "${#problems[@]}" != 0 ]; then
    printf '%s\n' "${problems[@]}" >/run/machine/problems
    exit 1
  fi
  echo 'machine: nothing is missing'
}
