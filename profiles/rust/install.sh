#!/usr/bin/env bash
# Root's part of the rust profile: one toolchain for everybody, owned by the
# login user so that `rustup update`, a project's rust-toolchain.toml and
# `cargo install` need no root. rustup itself is the distribution's.
set -euo pipefail

export RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo
mkdir -p "$CARGO_HOME/bin"
if [[ ! -x $(rustup which --toolchain stable cargo-clippy 2>/dev/null) ]]; then
  rustup --quiet toolchain install stable --no-self-update --profile minimal \
    --component clippy --component rustfmt
fi
rustup --quiet default stable
chown -R dev:dev "$RUSTUP_HOME" "$CARGO_HOME"
