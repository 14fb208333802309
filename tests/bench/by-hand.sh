#!/usr/bin/env bash
# What a person would type to have the tools of the base profile in a fresh Debian, one after another.
#
#   by-hand.sh 'APT PACKAGES' 'NPM PACKAGES'
#
# Without Aider: it wants a Python that this release does not have, so by hand it takes more than a line.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # Both are lists of names.
{
  sudo -E apt-get -q update
  sudo -E apt-get -q -y install --no-install-recommends $1
  sudo -E apt-get -q -y install --no-install-recommends nodejs npm
  sudo npm install --global --no-fund --no-audit $2
}
sudo -E apt-get -q -y install --no-install-recommends pipx
pipx install uv
