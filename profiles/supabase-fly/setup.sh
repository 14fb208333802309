#!/usr/bin/env bash
# The login user's part: flyctl, which no package registry has, from its
# release on GitHub. It lies where its own installer puts it, so that
# `fly version upgrade` works; one that did upgrade is left alone.
set -euo pipefail

# Both digests as recorded, from the release's own list of checksums, in
# https://github.com/rios0rios0/pipelines, global/scripts/shared/pinned-versions.sh.
version=0.4.99
case $(uname -m) in
x86_64) arch=x86_64 sha256=384a14958b214b18ebda784dee101a633ceae626ac4bcccee0fc7ebb111247a4 ;;
aarch64) arch=arm64 sha256=23fcf016fb7812b743674ee06167abbd68ffb74e00f61c45b7e213f0bd4694ab ;;
*) echo "There is no flyctl for $(uname -m)." >&2 && exit 1 ;;
esac

if [[ ! -x ~/.fly/bin/flyctl ]]; then
  work=$(mktemp -d -p /var/tmp)
  trap 'rm -rf "$work"' EXIT
  curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$work/archive" \
    "https://github.com/superfly/flyctl/releases/download/v$version/flyctl_${version}_Linux_$arch.tar.gz"
  echo "$sha256  $work/archive" | sha256sum --check --quiet -
  tar --extract --file "$work/archive" --directory "$work" flyctl
  install -D -m 0755 "$work/flyctl" ~/.fly/bin/flyctl
fi
mkdir -p ~/.local/bin
ln -sf ~/.fly/bin/flyctl ~/.local/bin/flyctl
ln -sf ~/.fly/bin/flyctl ~/.local/bin/fly
