#!/usr/bin/env bash
# The agents, for the login user, who may update them; install.sh runs this.
# npm unpacks in JavaScript: with programs of this size that takes minutes under
# emulation. So it installs the small half of each agent, and curl and tar the
# program, whose digest is checked before anything of it runs. An agent that is
# there stays as it is, since it may have updated itself.
set -euo pipefail

modules=~/.local/lib/node_modules
registry=$(npm config get registry)
work=$(mktemp -d -p /var/tmp)
trap 'rm -rf "$work"' EXIT

# Unpacks an archive to $1, whole or not at all: $2 below the registry, with the digest $3.
program() {
  local archive=$work/${2##*/}
  curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$archive" "$registry$2"
  echo "$3  $archive" | sha512sum --check --quiet -
  mkdir "$archive.d"
  tar --extract --no-same-owner --strip-components=1 --file "$archive" --directory "$archive.d"
  mkdir -p "${1%/*}"
  mv "$archive.d" "$1"
}

agents=() jobs=()
while read -r _ agent package _ archive digest; do
  place=$modules/${agent%@*}/node_modules/$package
  [[ ! -e $place ]] || continue
  agents+=("$agent")
  program "$work/${agent%@*}" "$archive" "$digest" &
  jobs+=($!)
done < <(grep "^$(uname -m) " agents.txt)

if ((${#agents[@]})); then
  # For no processor at all: that leaves out every package with a program.
  npm install --global --no-audit --loglevel=error --cpu=none --ignore-scripts "${agents[@]}"
fi
for job in "${jobs[@]}"; do
  wait "$job"
done

while read -r _ agent package command _; do
  agent=${agent%@*}
  place=$modules/$agent/node_modules/$package
  [[ -d $work/$agent ]] || continue
  mkdir -p "${place%/*}"
  [[ $command == - ]] || ln -f "$work/$agent/$command" "$modules/$agent/bin/${command##*/}.exe"
  mv "$work/$agent" "$place"
done < <(grep "^$(uname -m) " agents.txt)
