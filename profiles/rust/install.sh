#!/usr/bin/env bash
# Root's part of the rust profile: one toolchain for everybody, owned by the
# login user so that `rustup update` and a project's rust-toolchain.toml need no
# root. rustup itself, with `cargo` and `rustc`, is the distribution's.
set -euo pipefail

export RUSTUP_HOME=/usr/local/rustup
mkdir -p "$RUSTUP_HOME"
if [[ ! -x $(rustup which --toolchain stable cargo-clippy 2>/dev/null) ]]; then
  rustup --quiet toolchain install stable --no-self-update --profile minimal \
    --component clippy --component rustfmt
fi
rustup --quiet default stable
chown -R dev:dev "$RUSTUP_HOME"
# Root by way of sudo has the same toolchain.
echo 'Defaults env_keep += "RUSTUP_HOME"' >machine-rust
install -m 0440 machine-rust /etc/sudoers.d/machine-rust
