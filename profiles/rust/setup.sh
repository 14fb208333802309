#!/usr/bin/env bash
# The login user's part of the rust profile: what `cargo install` builds is found.
set -euo pipefail

mkdir -p ~/.cargo ~/.local/bin
[[ -e ~/.cargo/bin ]] || ln -s ../.local/bin ~/.cargo/bin
