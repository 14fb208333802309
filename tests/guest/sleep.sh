# shellcheck shell=bash
# The checks of tests/guest/run about sleep; each fails by a command that fails.
# shellcheck disable=SC2034,SC2154,SC2016 # output is for the suite; machine, home and data are set by the suite; what is in single quotes is the guest's.

image() { echo "$(instance)/memory.image"; }

guest() { "$machine" run blog -- bash -c "$1" </dev/null; }

# What has to live on: a process that counts, one whose word is in memory alone, a file it writes, tmux. Those of an
# earlier check end first.
start_lives() {
  guest '[ ! -e /tmp/pid ] || kill "$(cat /tmp/pid)"
rm -f /home/dev/written
cat >/tmp/count.sh <<"S"
i=0
exec 3>>/home/dev/written
while :; do
  i=$((i + 1))
  echo "$i" >/dev/shm/count
  echo "line $i" >&3
  sleep 0.2
done
S
word=CANARY; word=$word-IN-MEMORY; export word
nohup bash /tmp/count.sh >/dev/null 2>&1 & echo $! >/tmp/pid
command -v tmux >/dev/null || { sudo apt-get -qq update && sudo apt-get -qq install tmux; } >/dev/null 2>&1
tmux has-session -t work 2>/dev/null || tmux new-session -d -s work "sleep 100000"'
}

# How far it has counted; for a moment the file is empty.
counted() { guest 'until read -r count </dev/shm/count; do :; done; echo "$count"'; }

# Fails unless all of that is there and goes on; the clock is right, Lima is content and the file system is whole.
lives() {
  local before after begun clock
  before=$(counted)
  sleep 2
  after=$(counted)
  [ "$after" -gt "$before" ]
  guest 'kill -0 "$(cat /tmp/pid)" && tmux has-session -t work'
  # Every line once, in order: nothing was lost or done twice.
  guest 'awk "{ if (\$2 != NR) exit 1 }" /home/dev/written'
  # Within a second of the time it is asked, however long asking takes.
  begun=$(date +%s)
  clock=$(guest 'date +%s')
  [ "$clock" -ge $((begun - 1)) ] && [ "$clock" -le $(($(date +%s) + 1)) ]
  guest '! sudo dmesg | grep -E "EXT4-fs (error|warning)|I/O error"'
}

# A dev server on a declared port, which has to be the same process ever after.
start_server() {
  server_port=$(free_port)
  expect 0 "$machine" ports blog add "$server_port"
  guest_server served 127.0.0.1 "$server_port"
  soon "127.0.0.1:$server_port"
  server_pid=$(guest 'systemctl show --property=MainPID --value served')
}

server_lives() {
  soon "127.0.0.1:$server_port"
  same "$(guest 'systemctl show --property=MainPID --value served')" "$server_pid"
}

# A container, which has to be the same one ever after; `install_docker` is in compose.sh.
start_container() {
  install_docker
  guest 'sudo docker rm --force lives >/dev/null 2>&1
    sudo docker run --detach --name lives web /busybox sh -c "while :; do /busybox sleep 1; done"'
  container=$(inspect_container)
}

inspect_container() { guest 'sudo docker inspect --format "{{.State.Status}} {{.State.Pid}} {{.State.StartedAt}}" lives'; }

container_lives() {
  same "$(inspect_container)" "$container"
  same "$(guest 'sudo docker exec lives /busybox echo inside')" inside
}

sleep_and_wake() {
  start_lives
  start_server
  start_container
  local round rounds=${SLEEPS:-50}
  for ((round = 1; round <= rounds; round++)); do
    expect 0 "$machine" sleep blog
    same "$(processes)" ''
    output=$("$machine" list)
    contains 'asleep ('
    expect 0 "$machine" run blog -- true
    contains 'awake, where it fell asleep'
    lacks 'boots cold'
    lives
    server_lives
    container_lives
  done
  guest 'sudo docker rm --force lives'
  expect 0 "$machine" ports blog remove "$server_port"
  same "$(ls "$XDG_RUNTIME_DIR/machine")" ''
}

# Lima's own last check passes as well: its start is left to finish, and says READY.
lima_is_content() {
  local turn
  expect 0 "$machine" sleep blog
  expect 0 "$machine" up blog
  for ((turn = 0; turn < 60; turn++)); do
    ! grep -q READY "$home/.local/state/machine/machines/blog/start.log" || return 0
    sleep 1
  done
  return 1
}

memory_is_ciphertext() {
  expect 0 "$machine" sleep blog
  [ -s "$(image)" ]
  ! grep -aq 'CANARY-IN-MEMORY' "$(image)"
  ! grep -aq 'Linux version' "$(image)"
  same "$(stat -c %a "$(image)")" 600
  same "$(stat -c %a "$XDG_RUNTIME_DIR/machine")" 700
  # Packed memory would show its own kind of header somewhere.
  ! zstd -dqc "$(image)" >/dev/null 2>&1
}

# What lay in /run/secrets and was read by nobody is not in the memory that is written, although that is only encrypted; a
# word of a process is, which is how the search is known to find something.
memory_holds_no_secret() {
  local key memory=$home/memory
  (umask 077 && printf 'CANARY-OF-%s-%s' A SECRET >"$home/canary")
  cp "$config/projects.toml" "$home/projects.kept"
  sed -i "/^\[blog\]/a secrets = { CANARY = { file = \"$home/canary\" } }" "$config/projects.toml"
  expect 0 "$machine" up blog
  # Booted before it had a secret, it clears nothing of what is freed.
  expect 1 "$machine" sleep blog
  contains 'once it was down and up'
  expect 0 "$machine" down blog
  expect 0 "$machine" up blog
  guest 'grep -qw init_on_free=1 /proc/cmdline'
  guest 'word=CANARY; word=$word-IN-MEMORY; export word; nohup sleep 100000 >/dev/null 2>&1 & [ -s /run/secrets/CANARY ]'
  expect 0 "$machine" sleep blog --force
  key=$(find "$XDG_RUNTIME_DIR/machine" -name '*.key')
  /usr/bin/python3 "$here/open-memory.py" "$key" "$(image)" >"$memory"
  grep -aq 'word=CANARY-IN-MEMORY' "$memory"
  ! grep -aq 'CANARY-OF-A-SECRET' "$memory"
  ! grep -aq 'CANARY-OF-A-SECRET' "$(image)"
  rm "$memory" "$home/canary"
  mv "$home/projects.kept" "$config/projects.toml"
  expect 0 "$machine" up blog
}

# Changes what it sleeps on, and expects a cold boot that gives this reason and loses nothing of the disk.
boots_cold() {
  local reason=$1
  shift
  guest 'echo "on the disk" >~/kept; sync'
  expect 0 "$machine" sleep blog
  "$@"
  expect 0 "$machine" run blog -- cat /home/dev/kept
  contains "boots cold: $reason"
  contains 'on the disk'
  guest '! sudo dmesg | grep -E "EXT4-fs error"; [ ! -e /dev/shm/count ]'
  [ ! -e "$(image)" ]
}

empty_runtime_folder() { rm -rf "$XDG_RUNTIME_DIR/machine"; }

cut_image() { truncate -s -4096 "$(image)"; }

flip_bit() {
  local middle
  middle=$(($(stat -c %s "$(image)") / 2))
  printf '\x5a\xa5\x5a\xa5' | dd of="$(image)" bs=1 seek="$middle" conv=notrunc status=none
}

write_to_disk() { touch "$(instance)/disk"; }

no_memory_is_left_to_chance() {
  start_lives
  boots_cold 'the key of its memory is gone' empty_runtime_folder
  boots_cold 'the image of its memory has another size' cut_image
  boots_cold 'the image of its memory is damaged' flip_bit
  boots_cold 'its disk has changed' write_to_disk
}

# What lies in /run/secrets goes before the memory is written; who uses it keeps the machine awake.
secrets_stay_awake() {
  guest 'sudo mkdir -p /run/secrets && sudo mount -t tmpfs -o mode=0700,uid=1000 tmpfs /run/secrets
echo a-secret >/run/secrets/TOKEN; nohup tail -f /run/secrets/TOKEN >/dev/null 2>&1 & echo $! >/tmp/reader; sleep 1'
  expect 1 "$machine" sleep blog
  contains 'uses /run/secrets'
  same "$(guest 'cat /run/secrets/TOKEN')" a-secret
  guest 'kill "$(cat /tmp/reader)"; sleep 1'
  expect 0 "$machine" sleep blog
  expect 0 "$machine" run blog -- sh -c '! mountpoint -q /run/secrets && [ ! -e /run/secrets/TOKEN ]'
  contains 'awake, where it fell asleep'
}

# The machine's folder on a file system of 20 MB, for one command, in a namespace where mounting is allowed.
with_little_room() {
  # The second namespace gives the command its own user back.
  unshare --user --map-root-user --mount bash -ec '
    folder=$1 whole=$2 user=$3 group=$4
    shift 4
    mkdir "$whole"
    mount --bind "$folder" "$whole"
    mount -t tmpfs -o size=20m,mode=0700 tmpfs "$folder"
    for path in "$whole"/*; do
      : >"$folder/${path##*/}"
      mount --bind "$path" "$folder/${path##*/}"
    done
    exec unshare --user --map-user="$user" --map-group="$group" "$@"
  ' bash "$(instance)" "$home/whole" "$(id -u)" "$(id -g)" "$@"
}

full_disk_while_falling_asleep() {
  start_lives
  expect 1 with_little_room "$machine" sleep blog
  rmdir "$home/whole"
  contains '`blog` did not fall asleep, and goes on running'
  contains 'No space left on device'
  contains 'hint: make room there, or use `machine down`'
  [ ! -e "$(image)" ]
  lives
  expect 0 "$machine" sleep blog
  expect 0 "$machine" run blog -- true
  contains 'awake, where it fell asleep'
  lives
}

drop_budget() {
  "$machine" destroy second --discard --discard-unseen || true
  "$machine" destroy third --discard --discard-unseen || true
  sed -i '/^\[second\]/,$d' "$config/projects.toml"
  sed -i '/^memory_budget/d' "$config/config.toml"
}

made_room() { grep -E "\`$1\`, idle for .*, was put to sleep to make room for \`$2\`" <<<"$output"; }

# Three machines of 2 GiB where there is room for two.
three_in_a_budget() {
  trap drop_budget EXIT
  sed -i '1i memory_budget = "4GiB"' "$config/config.toml"
  printf '\n[second]\nmemory = "2GiB"\ndisk = "8GiB"\n\n[third]\nmemory = "2GiB"\ndisk = "8GiB"\n' \
    >>"$config/projects.toml"
  expect 0 "$machine" run blog -- true
  expect 0 "$machine" up second
  lacks 'put to sleep'
  expect 0 "$machine" up third
  made_room blog third
  output=$("$machine" list)
  contains 'asleep ('
  # Beside each is a helper of the same name.
  same "$(pgrep -u "$(id -u)" -fc -- "^[^ ]*qemu-system[^ ]* -m .*$data/")" 2
  expect 0 "$machine" run blog -- true
  made_room second blog
  contains 'awake, where it fell asleep'
  lacks 'boots cold'
}

# A killed `machine` leaves one that runs, whenever; a killed QEMU one that boots.
killed_while_falling_asleep() {
  local delay
  for delay in 0.3 0.8 1.5; do
    "$machine" sleep blog --force >/dev/null 2>&1 &
    sleep "$delay"
    kill -KILL $! 2>/dev/null || true
    wait $! 2>/dev/null || true
    expect 0 "$machine" run blog -- true
  done
  "$machine" sleep blog --force >/dev/null 2>&1 &
  sleep 1
  pkill -KILL -u "$(id -u)" -f "^[^ ]*qemu-system.*$(instance)/" || true
  wait
  expect 0 "$machine" run blog -- true
  guest '! sudo dmesg | grep -E "EXT4-fs error"'
}
