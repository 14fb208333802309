# shellcheck shell=bash
# The agent filter with a real guest: what the project's own git host is granted, and nobody else.
# shellcheck disable=SC2034 # output is read by contains.
# shellcheck disable=SC2154 # machine, home, config and git_folder are set by the suite.
# shellcheck disable=SC2016 # What stands in single quotes is for the guest.

# A commit that the agent signs, pushed to the suite's git host; then the configuration as it was.
signed_and_pushed() {
  local before key
  before=$(cat "$config/config.toml")
  key=$(cut -d' ' -f1,2 "$home/.ssh/id_work.pub")
  sed -i "s|^email = .*|&\nsigning_key = \"$key\"|" "$config/config.toml"
  expect 0 "$machine" up blog
  expect 0 "$machine" run blog -- sh -c 'echo signed >>README && git commit -qam signed && git push -q && git log -1 --format=%G?'
  contains G
  same "$(git -C "$git_folder/blog.git" log -1 --format=%s main)" signed
  # Another purpose, with the same key.
  expect 255 "$machine" run blog -- bash -c "echo x | ssh-keygen -q -Y sign -n file -f <(echo $key)"
  contains 'a signature for `file` is not granted'
  printf '%s\n' "$before" >"$config/config.toml"
  expect 0 "$machine" up blog
}

# An sshd that would take the key, and that the project does not name.
another_host_is_refused() {
  local port user login
  port=$(free_port) user=$(id -un)
  ssh-keygen -q -t ed25519 -N '' -f "$git_folder/other_key"
  sed -e "s|^Port .*|Port $port|" -e "s|host_key|other_key|" -e "s|sshd.pid|other.pid|" "$git_folder/sshd_config" >"$git_folder/other_config"
  "$(PATH=$PATH:/usr/sbin command -v sshd)" -f "$git_folder/other_config"
  # The floor is no reason to be refused here.
  set_access "allow = [\"192.168.5.2:$git_port\", \"192.168.5.2:$port\"]"
  login="ssh -o BatchMode=yes -o UserKnownHostsFile=/tmp/other -p $port $user@192.168.5.2 echo inside"
  "$machine" run blog -- sh -c "echo '[192.168.5.2]:$port $(cut -d' ' -f1,2 "$git_folder/other_key.pub")' >/tmp/other"
  expect 255 "$machine" run blog -- sh -c "$login"
  lacks inside
  contains 'is none that this project may log in to'
  kill "$(cat "$git_folder/other.pid")"
  set_access
}

# What outlives a session, such as tmux, finds the agent again under the name it knows.
stable_name() {
  local key
  key=$(ssh-add -l | cut -d' ' -f2)
  "$machine" ssh blog <<'SHELL'
setsid sh -c 'while sleep 1; do timeout 5 ssh-add -l; echo "status $?"; done >>/tmp/outlives 2>&1' </dev/null >/dev/null 2>&1 &
echo $! >/tmp/outlives.pid
echo "$SSH_AUTH_SOCK" >/tmp/outlives.name
SHELL
  same "$(quiet_ssh cat /tmp/outlives.name)" /home/dev/.ssh/agent.sock
  sleep 3
  quiet_ssh ': >/tmp/outlives'
  sleep 4
  output=$(quiet_ssh cat /tmp/outlives)
  contains 'status '
  lacks 'status 0'
  lacks "$key"
  # Any session will do, also one without a terminal.
  "$machine" run blog -- sleep 12
  output=$(quiet_ssh cat /tmp/outlives)
  contains "$key"
  quiet_ssh 'kill $(cat /tmp/outlives.pid)'
}

# With no session open at all, for as long as it was said.
keys_are_held() {
  local key look='SSH_AUTH_SOCK=~/.ssh/agent.sock timeout 10 ssh-add -l'
  key=$(ssh-add -l | cut -d' ' -f2)
  if quiet_ssh "$look"; then
    return 1
  fi
  expect 0 "$machine" keys hold blog --for 30m
  sleep 3
  output=$(quiet_ssh "$look")
  contains "$key"
  expect 0 "$machine" list
  contains 'its keys are held for 30 min'
  expect 0 "$machine" keys blog
  contains 'and the keys are held'
  expect 0 "$machine" keys release blog
  sleep 1
  if quiet_ssh "$look"; then
    return 1
  fi
  # It ends with its machine.
  expect 0 "$machine" keys hold blog
  expect 0 "$machine" down blog
  sleep 2
  same "$(processes)" ''
  expect 0 "$machine" up blog
}
