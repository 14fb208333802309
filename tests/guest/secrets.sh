# shellcheck shell=bash
# The checks of secrets: they arrive, they end with the boot, and they are nowhere but in the guest's memory.
# shellcheck disable=SC2154 # machine, home, data, config, git_folder and output are set by the suite.
# shellcheck disable=SC2016 # What stands in single quotes is for the guest.

export VAULT_SHOWN="it's \$HOME \"x\" # \\"

vault_ssh() { ssh -F "$home/.ssh/config.d/machine" -o BatchMode=yes machine-vault "$@"; }

vault_project() {
  cat <<TOML

[vault]
memory = "2GiB"
disk = "8GiB"
$1

[vault.secrets]
PLAIN = { command = ["cat", "$home/vault/plain"] }
BYTES = { file = "~/vault/bytes" }
SHOWN = { env = "VAULT_SHOWN", export = true }
LINES = { file = "~/vault/lines", export = true }
TOML
}

# A value that nobody but this run knows, in a file that only `cat` and `machine` read. Each check runs in a shell of its
# own, and reads it there.
configure_vault() {
  (umask 077 && mkdir -p "$home/vault")
  echo "canary-$(od -An -tx8 -N8 /dev/urandom | tr -d ' ')" >"$home/vault/plain"
  printf 'it'\''s "two"\0 \xff\nlines' >"$home/vault/bytes"
  printf 'a b\n$HOME `x` '\''y'\''\n' >"$home/vault/lines"
  chmod 600 "$home/vault/"*
  vault_project '' >>"$config/projects.toml"
}

secrets_arrive() {
  local canary
  configure_vault
  canary=$(cat "$home/vault/plain")
  expect 0 "$machine" up vault
  contains '4 in /run/secrets'
  same "$("$machine" run vault -- cat /run/secrets/PLAIN)" "$canary"
  "$machine" run vault -- cat /run/secrets/BYTES >"$home/got"
  cmp "$home/vault/bytes" "$home/got"
  same "$(vault_ssh stat -c "'%a %U'" /run/secrets/PLAIN /run/secrets)" $'400 dev\n700 dev'
  same "$(vault_ssh 'readlink "$XDG_RUNTIME_DIR/dev-secrets"')" /run/secrets
  output=$(vault_ssh findmnt -no FSTYPE,OPTIONS /run/secrets)
  local option
  for option in tmpfs nosuid nodev noexec size=4096k mode=700 uid=1000; do contains "$option"; done
  # Debian 13 has Linux 6.12.
  contains noswap
  same "$(vault_ssh cat /proc/sys/kernel/core_pattern /proc/sys/fs/suid_dumpable)" $'|/bin/false\n0'
}

secrets_in_sessions() {
  local canary
  canary=$(cat "$home/vault/plain")
  same "$("$machine" run vault -- printenv SHOWN)" "$VAULT_SHOWN"
  same "$("$machine" run vault -- printenv LINES)" "$(cat "$home/vault/lines")"
  same "$(echo 'printenv SHOWN' | "$machine" ssh vault)" "$VAULT_SHOWN"
  same "$(vault_ssh printenv SHOWN)" "$VAULT_SHOWN"
  same "$(vault_ssh 'printenv PLAIN || echo none')" none
  same "$(vault_ssh 'set -a; . /run/secrets/.env; printf %s "$LINES"')" "$(cat "$home/vault/lines")"
  # Of direnv only the words that the helper uses.
  same "$(vault_ssh 'watch_file() { :; }; log_error() { echo "$@"; }; . ~/.config/direnv/lib/machine.sh
    use_machine_secrets PLAIN && printf %s "$PLAIN"')" "$canary"
}

# Looks at every process that it may look at, until it is told to stop; prints the names of files with the value.
watch_processes() {
  while [ ! -e "$home/vault/stop" ]; do
    grep -laFf "$home/vault/plain" /proc/[0-9]*/{cmdline,environ} 2>/dev/null
  done
}

secrets_are_nowhere_else() {
  local canary
  canary=$(cat "$home/vault/plain")
  local watcher turn
  watch_processes >"$home/vault/seen" &
  watcher=$!
  for turn in 1 2 3; do
    echo "turn $turn"
    expect 0 "$machine" -v secrets vault
  done
  lacks "$canary"
  : >"$home/vault/stop"
  # Its status is grep's: of processes that ended meanwhile, mostly.
  wait "$watcher" || true
  same "$(cat "$home/vault/seen")" ''
  # The positive control: a word that is written to the disk is found there.
  local word=control-$RANDOM$RANDOM$RANDOM
  vault_ssh "echo $word >control; sync"
  grep -qaF -- "$word" "$data/lima/vault/disk"
  # The disk, cidata, Lima's files and logs, ours, and the configuration.
  local found
  found=$(grep -rlaF -- "$canary" "$data" "$home/.local/state/machine" "$home/.cache/machine" "$config" "$home/.ssh" || true)
  same "$found" ''
  output=$(vault_ssh 'sudo journalctl --no-pager')
  contains 'sshd'
  lacks "$canary"
  output=$(vault_ssh 'sudo sh -c "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null" | tr "\0" "\n"; sudo find /root /home /var/lib/systemd/coredump -xdev -type f -exec cat {} + 2>/dev/null | tr "\0" "\n"')
  lacks "$canary"
}

secrets_end_with_the_boot() {
  local canary
  canary=$(cat "$home/vault/plain")
  vault_ssh 'sudo systemctl reboot' || true
  sleep 5
  local tries=0
  until output=$(vault_ssh 'ls -A /run/secrets 2>/dev/null | wc -l; cat /proc/uptime' 2>/dev/null); do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ]
    sleep 2
  done
  same "${output%%$'\n'*}" 0
  expect 0 "$machine" secrets vault --status
  contains missing
  output=$(echo 'cat /run/secrets/PLAIN' | "$machine" ssh vault 2>"$home/vault/said")
  contains "$canary"
  grep -q '4 secrets are in /run/secrets' "$home/vault/said"
  expect 0 "$machine" secrets vault --clear
  same "$(vault_ssh 'ls -A /run/secrets | wc -l')" 0
  expect 0 "$machine" up vault
  contains '4 in /run/secrets'
  "$machine" down vault
  expect 1 "$machine" secrets vault
  expect 0 "$machine" run vault -- test -s /run/secrets/PLAIN
}

# What sleeps has none: its memory is on the disk.
secrets_do_not_sleep() {
  local canary
  canary=$(cat "$home/vault/plain")
  expect 0 "$machine" up vault
  expect 0 "$machine" sleep vault
  # Looking wakes it, and fills nothing.
  look 0 vault
  same "$(verdict secrets)" 'not probed'
  same "$("$machine" run vault -- cat /run/secrets/PLAIN)" "$canary"
  vault_ssh 'exec 3</run/secrets/PLAIN; sleep 30' &
  sleep 3
  expect 1 "$machine" sleep vault --force
  contains 'uses /run/secrets'
  wait
  expect 0 "$machine" run vault -- test -s /run/secrets/PLAIN
}

# A place that somebody else made is refused, and so is a half transfer.
secrets_refuse() {
  local canary
  canary=$(cat "$home/vault/plain")
  vault_ssh 'sudo umount /run/secrets && sudo rmdir /run/secrets && sudo ln -s /tmp /run/secrets'
  expect 1 "$machine" secrets vault
  contains '/run/secrets is a link'
  vault_ssh 'sudo rm /run/secrets && sudo mkdir /run/secrets && sudo mount -t tmpfs x /run/secrets'
  expect 1 "$machine" secrets vault
  contains "not a memory file system of the login user's own"
  vault_ssh 'sudo umount /run/secrets'
  expect 0 "$machine" secrets vault
  expect 1 vault_ssh 'printf "machine-secrets 1 ab 1\nPLAIN 0 9\nhalf" | sudo -n /usr/local/lib/machine/secrets fill'
  contains 'cut off'
  same "$(vault_ssh cat /run/secrets/PLAIN)" "$canary"
}

# A private repository behind https: the token is the password, for this host alone.
secrets_clone() {
  local canary
  canary=$(cat "$home/vault/plain")
  local port work=$home/vault/served
  mkdir -p "$work"
  git clone -q --bare "$git_folder/work-blog" "$work/private.git"
  git -C "$work/private.git" update-server-info
  port=$(free_port)
  start_https "$port" "$work" "me:$canary"
  "$machine" destroy vault --discard --yes
  sed -i '/^\[vault\]/,$d' "$config/projects.toml"
  vault_project "repos = [\"https://192.168.5.2:$port/private.git\"]
allow = [\"192.168.5.2:$port\"]
setup = [\"cat /run/secrets/PLAIN >/dev/null\"]
git = { token = \"PLAIN\", username = \"me\" }" >>"$config/projects.toml"
  expect 0 "$machine" up vault
  lacks "$canary"
  same "$("$machine" run vault -- cat README)" blog
  expect 0 "$machine" run vault -- git fetch
  output=$("$machine" run vault -- sh -c 'cat /etc/gitconfig ~/.gitconfig .git/config 2>/dev/null; true')
  contains 'git-credential PLAIN'
  lacks "$canary"
  kill "$(cat "$home/https.pid")"
  "$machine" destroy vault --discard --yes
  sed -i '/^\[vault\]/,$d' "$config/projects.toml"
}
