#!/usr/bin/env bash
# Root's part of the rust profile: one toolchain for everybody, owned by the
# login user so that `rustup update` and a project's rust-toolchain.toml need no
# root. rustup itself, with `cargo` and `rustc`, is the distribution's.
set -euo pipefail

export RUSTUP_HOME=/usr/local/rustup

# Not root: what is in that folder is the login user's to change.
as_dev() {
  runuser -u dev -- env HOME=/home/dev USER=dev LOGNAME=dev "$@"
}

[[ -e $RUSTUP_HOME ]] || install -d -o dev -g dev "$RUSTUP_HOME"
if [[ ! -x $(as_dev rustup which --toolchain stable cargo-clippy 2>/dev/null) ]]; then
  as_dev rustup --quiet toolchain install stable --no-self-update --profile minimal \
    --component clippy --component rustfmt
fi
as_dev rustup --quiet default stable
# In a strict machine nobody becomes root that way.
[[ ! -e /etc/machine/strict ]] || exit 0
# Root by way of sudo has the same toolchain.
echo 'Defaults env_keep += "RUSTUP_HOME"' >machine-rust
install -m 0440 machine-rust /etc/sudoers.d/machine-rust
