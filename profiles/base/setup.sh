#!/usr/bin/env bash
# The login user's part of the base profile; may run again at any time.
set -euo pipefail

# Aider, with exactly these versions. uv does not heed that Aider wants a
# Python below 3.13, so it is told; pip is for Aider's own `--upgrade`. The
# receipt must not pin what `uv tool upgrade aider-chat` may replace later,
# and an Aider that did replace itself is left alone.
aider=0.86.2
if [[ ! -x ~/.local/bin/aider ]]; then
  for python in 3.12 3.11 3.10; do
    command -v "python$python" >/dev/null && break
  done
  uv tool install --quiet --python "$python" --with pip==26.3 "aider-chat==$aider"
  sed -i 's/, specifier = "==[^"]*"//' "$(uv tool dir)/aider-chat/uv-receipt.toml"
  uv cache clean --quiet
fi

# Adds the line $2 to the file $1, once.
line() {
  mkdir -p "$(dirname "$1")"
  touch "$1"
  grep -qxF -- "$2" "$1" || printf '%s\n' "$2" >>"$1"
}

# shellcheck disable=SC2016 # For the shell that reads it.
line ~/.bashrc 'eval "$(direnv hook bash)"'
# An absent .zshrc makes zsh ask its questions for new users.
# shellcheck disable=SC2016
line ~/.zshrc 'eval "$(direnv hook zsh)"'
line ~/.config/fish/conf.d/direnv.fish 'direnv hook fish | source'

# What npm downloaded is installed by now; half a gigabyte nobody needs again.
rm -rf ~/.npm/_cacache

# The login user's own Docker, where it may not use root's.
if [[ -e /etc/machine/strict ]] && ! docker context inspect rootless &>/dev/null; then
  docker context create rootless --docker "host=unix:///run/user/$(id -u)/docker.sock" >/dev/null
  docker context use rootless >/dev/null
fi
