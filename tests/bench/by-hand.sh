#!/usr/bin/env bash
# What a person would type to have the tools of the base profile in a fresh Debian, one after another.
#
# Without Aider: it wants a Python that this release does not have, so by hand it takes more than a line.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
install() { sudo -E apt-get -q -y install --no-install-recommends "$@"; }
sudo -E apt-get -q update
install ca-certificates curl git python3-pip unzip
install build-essential chrony direnv fish gh jq pkgconf ripgrep tmux zsh
install docker.io docker-cli docker-buildx docker-compose
install nodejs npm
for agent in @anthropic-ai/claude-code @openai/codex opencode-ai; do
  sudo npm install --global --no-fund --no-audit "$agent"
done
install pipx
pipx install uv
