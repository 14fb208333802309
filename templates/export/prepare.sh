#!/bin/bash
# Runs first at every boot. What an older version of this file placed is replaced.
set -euo pipefail
install -d -m 0755 /usr/local/lib/machine /var/lib/machine /var/lib/machine/steps
install -d -m 0755 -o dev -g dev /run/machine
rm -f /run/machine/failed
printf '%s\n' "${instance:?}" >/var/lib/machine/instance

# place PATH MODE, the text on standard input. A program that runs goes on with its old text.
place() {
  cat >"$1.new"
  chmod "$2" "$1.new"
  mv "$1.new" "$1"
}
