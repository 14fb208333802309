#!/usr/bin/env bash
# The work of the rows npm, pip and reads, the same in a guest and on the computer: prints its measurement.
#
#   install.sh npm-prepare     fetches npm and fills its cache, in the folder of this file
#   install.sh npm|pip         seconds of one installation into nothing
#   install.sh file            makes the file that is read
#   install.sh reads           random reads a second
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

npm_install() {
  rm -rf project/node_modules project/package-lock.json
  python3 clock.py end -- node npm/bin/npm-cli.js install --prefix project --cache cache --prefer-offline \
    --no-audit --no-fund --update-notifier=false --loglevel=error
  [ "$(node npm/bin/npm-cli.js ls --prefix project --all --parseable | wc -l)" -gt 100 ]
}

case $1 in
npm-prepare)
  mkdir -p npm project
  npm pack --silent npm@10.9.4 >/dev/null
  tar -xzf npm-10.9.4.tgz -C npm --strip-components=1
  sed -e '/^#/d' -e 's/\(.*\)@\(.*\)/  "\1": "\2"/' npm-packages.txt | sed '$!s/$/,/' |
    { printf '{"dependencies": {\n' && cat && printf '}}\n'; } >project/package.json
  npm_install
  ;;
npm) npm_install ;;
pip)
  rm -rf venv
  python3 -m venv venv
  python3 clock.py end -- venv/bin/pip install --quiet --no-index --no-deps --find-links wheels -r pip-packages.txt
  ;;
file)
  head -c 268435456 /dev/urandom >file
  sync
  ;;
reads) python3 clock.py reads file 5 ;;
*) exit 2 ;;
esac
