#!/usr/bin/env bash
# The login user's part of the base profile; may run again at any time.
set -euo pipefail

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

# `use machine_secrets` in an .envrc loads what `machine secrets` filled.
mkdir -p ~/.config/direnv/lib
cat >~/.config/direnv/lib/machine.sh <<'EOF'
use_machine_secrets() {
  dotenv_if_exists /run/secrets/.env
}
EOF
