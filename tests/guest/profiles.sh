# shellcheck shell=bash
# The checks of the bundled profiles, for tests/guest/run; each fails by a command that fails.
# shellcheck disable=SC2154 # machine, home and config are set by the suite, output by the other checks.
# shellcheck disable=SC2016,SC2088 # What stands in single quotes is for the guest, or shown to the reader.

whole_ssh() { ssh -F "$home/.ssh/config.d/machine" -o BatchMode=yes machine-whole "$@"; }

# Gives the machine `whole` these profiles, in TOML, on top of base.
configure_whole() {
  printf '[whole]\nmemory = "4GiB"\ndisk = "30GiB"\nprofiles = [%s]\n' "${1-}" >"$config/projects.toml"
  : >"$config/provision.toml"
}

base_profile() {
  configure_whole
  expect 0 "$machine" up whole
  contains 'it happens once'
  contains ' checks '
  # A long-term release, whichever is current.
  expect 0 "$machine" run whole -- node --print 'process.release.lts && process.versions.node.split(".")[0] % 2'
  same "$output" 0
}

# Each tool is the same program for `run`, a login shell, an interactive one, and an editor's way in.
found_everywhere() {
  local tool path
  for tool in claude codex opencode aider node npm uv docker gh; do
    path=$("$machine" run whole -- sh -c "command -v $tool")
    [ -n "$path" ]
    same "$(whole_ssh "command -v $tool")" "$path"
    same "$(echo "command -v $tool" | "$machine" ssh whole)" "$path"
    same "$(echo "command -v $tool" | whole_ssh -T bash -l)" "$path"
  done
  for tool in claude codex opencode aider; do
    expect 0 "$machine" run whole -- "$tool" --version
    [[ $output =~ [0-9]+\.[0-9]+\.[0-9]+ ]]
    expect 0 whole_ssh "$tool" --version
    # Who uses it may update it, so the link and what it leads to are the login user's.
    expect 0 "$machine" run whole -- sh -c 'test -O "$(command -v '$tool')" && test -O "$(readlink -f "$(command -v '$tool')")"'
  done
  expect 0 "$machine" run whole -- npm install --global --dry-run @openai/codex@latest
}

# Docker sleeps until it is used, and the login user needs no root for it. No registry is asked: images come from scratch.
docker_by_dev() {
  # What keeps an idle machine small.
  whole_ssh 'systemctl is-enabled docker.socket && ! systemctl is-enabled docker.service containerd.service'
  whole_ssh 'mkdir -p ~/scratch && cd ~/scratch && cat >hello.c && cc -static -o hello hello.c' <<'C'
#include <stdio.h>
int main(void) { puts("hello from scratch"); return 0; }
C
  whole_ssh 'cat >~/scratch/Dockerfile' <<'DOCKER'
FROM scratch
COPY hello /hello
CMD ["/hello"]
DOCKER
  whole_ssh 'cat >~/scratch/compose.yaml' <<'YAML'
services:
  hello:
    build: .
YAML
  expect 0 whole_ssh 'cd ~/scratch && docker buildx build --quiet --tag scratch-hello . && docker run --rm scratch-hello'
  contains 'hello from scratch'
  expect 0 whole_ssh 'cd ~/scratch && docker compose up --build --abort-on-container-exit && docker compose down --rmi all'
  contains 'hello from scratch'
}

# The others, on the same machine: their own steps only, and their checks.
other_profiles() {
  local before
  before=$(whole_ssh 'ls /var/lib/machine/steps' | sort)
  configure_whole '"python", "rust", "go", "cypress"'
  expect 0 "$machine" up whole
  lacks 'base: install.sh'
  whole_ssh 'ls /var/lib/machine/steps' | sort >"$home/after"
  # Only what sessions see is set anew; all that base left is as it was.
  same "$(comm -23 <(echo "$before") "$home/after" | sed 's/\..*//')" environment
  same "$(whole_ssh 'command -v cargo go ruff pyright chromium' | wc -l)" 5
  expect 0 "$machine" up whole
  contains 'whole is ready'
}

# What a profile downloads itself, from a server of this suite: a file that is not the pinned one is refused. The copy of
# supabase-fly stands in for the bundled one, whose server may be out of reach.
copied_profile() {
  local port work=$home/releases archive
  mkdir -p "$work"
  port=$(free_port)
  start_https "$port" "$work"
  archive=$work/flyctl_0.4.99_Linux_x86_64.tar.gz
  expect 0 "$machine" profiles new my-fly --from supabase-fly
  local script=$config/profiles/my-fly/setup.sh
  sed -i "s#https://github.com/superfly/flyctl/releases/download/v\$version#https://192.168.5.2:$port#" "$script"
  printf '#!/bin/sh\necho "flyctl v0.4.99 of the suite"\n' >"$work/flyctl"
  chmod 755 "$work/flyctl"
  tar --create --gzip --file "$archive" --directory "$work" flyctl
  configure_whole '"my-fly"'
  printf 'allow = ["192.168.5.2:%s"]\n' "$port" >>"$config/projects.toml"
  # Behind an enclosure, doors of this computer itself open at a start.
  expect 0 "$machine" down whole
  expect 1 "$machine" up whole
  contains 'the step `my-fly: setup.sh` failed in the guest'
  contains FAILED
  same "$(whole_ssh 'ls ~/.fly 2>/dev/null | wc -l')" 0
  sed -i "s/sha256=[0-9a-f]\{64\}/sha256=$(sha256sum "$archive" | cut -d' ' -f1)/" "$script"
  expect 0 "$machine" up whole
  same "$(whole_ssh fly version)" 'flyctl v0.4.99 of the suite'
  expect 0 whole_ssh supabase --version
}

# The bundled profile as it is.
real_flyctl() {
  whole_ssh 'rm -rf ~/.fly'
  configure_whole '"supabase-fly"'
  expect 0 "$machine" up whole
  output=$(whole_ssh flyctl version)
  contains 'flyctl v'
}

# Serves a folder by https under a certificate of our own, which guests are told to trust; perhaps to one log-in only,
# given as name:password.
start_https() {
  local port=$1 folder=$2 log_in=${3-}
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=suite' \
    -addext 'subjectAltName=IP:192.168.5.2' -keyout "$home/https.key" -out "$home/https.crt" 2>/dev/null
  sed -i "s#^ca_certs = \[#&\"$home/https.crt\", #" "$config/config.toml"
  # By its environment, as arguments are for all to see.
  LOG_IN=$log_in /usr/bin/python3 - "$port" "$folder" "$home/https.crt" "$home/https.key" <<'PY' &
import base64, functools, http.server, os, ssl, sys
port, folder, certificate, key = int(sys.argv[1]), *sys.argv[2:]
log_in = os.environ["LOG_IN"]
expected = "Basic " + base64.b64encode(log_in.encode()).decode()
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if log_in and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=suite")
            self.end_headers()
        else:
            super().do_GET()
handler = functools.partial(Handler, directory=folder)
server = http.server.HTTPServer(("127.0.0.1", port), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PY
  echo $! >"$home/https.pid"
}
