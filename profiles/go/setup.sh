#!/usr/bin/env bash
# The login user's part of the go profile: what `go install` builds is found.
set -euo pipefail

mkdir -p ~/go ~/.local/bin
[[ -e ~/go/bin ]] || ln -s ../.local/bin ~/go/bin
