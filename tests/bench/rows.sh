# shellcheck shell=bash
# The rows of tests/bench/run that time machines from the host, each beside Lima's own in turn.
# shellcheck disable=SC2016,SC2034,SC2154 # Backticks are Markdown; variables are shared with the files beside it.

rows=(new warm up-new copy disk stopped running run ssh connect list help complete)

# A new machine of a stack that is cached, against a new instance of the stock image.
bench_new() {
  wants new warm up-new copy disk || return 0
  local lima_new="\`limactl create\` + \`start\`"
  row new s 'new machine from a cached box, until ssh answers' "$lima_new"
  row warm s 'the same, from a warm box' "$lima_new"
  row up-new s 'the same, the whole of `up`' "$lima_new"
  row copy s 'of that the copy of the disk' ''
  row disk MB 'disk of one more machine' 'one more instance'
  need_stage
  local turn
  for ((turn = 0; turn < n; turn++)); do
    keep_boxes_warm false
    new_machine
    keep_boxes_warm true
    warm_machine
    new_instance
  done
  note copy "$(filesystem)"
}

# Whether new machines go on from the memory that is kept beside a box.
keep_boxes_warm() {
  local file=$place/.config/machine/config.toml text
  text=$(sed "/^warm_boxes /d" "$file" 2>/dev/null || true)
  printf 'warm_boxes = %s\n%s\n' "$1" "$text" >"$file"
}

warm_machine() {
  time_up '' two
  if [ "$(phases detail boot)" = 'ssh ready, from the warm box' ]; then
    sample warm ours "$(phases until boot)"
  else
    skip warm "$(phases detail boot)"
  fi
  quietly "${ours[@]}" destroy two --discard
}

new_machine() {
  local before
  before=$(disk_used)
  time_up '' two
  sample new ours "$(phases until boot)"
  sample up-new ours "$(phases all)"
  sample copy ours "$(phases only create)"
  sample disk ours "$(disk_taken "$before" "$our_lima/two")"
  quietly "${ours[@]}" destroy two --discard
}

# Brings a machine of a configuration up; what it says of its phases is kept, and how long all of it took.
time_up() {
  local config=$place/${1:-.config/machine}
  seconds=$("${clock[@]}" end --output "$place/up.json" -- "${ours[@]}" --config "$config" up "$2" --json \
    2>>"$place/log") || fail "up failed: $(tail -n 5 "$place/log")"
}

new_instance() {
  local before seconds
  before=$(disk_used)
  seconds=$("${clock[@]}" end -- sh -c '"$@" create --name stock "$0" && "$@" start --timeout 30m stock' \
    "$place/stock.yaml" "${lima[@]}" 2>>"$place/log") || fail "limactl failed: $(tail -n 5 "$place/log")"
  sample new theirs "$seconds"
  sample up-new theirs "$seconds"
  sample warm theirs "$seconds"
  sample disk theirs "$(disk_taken "$before" "$lima_home/stock")"
  quietly "${lima[@]}" delete -f stock
}

# Of the last time_up: `all` seconds, those of the phases `until boot`, `only create`, the `detail` of one.
phases() {
  "$python" - "$place/up.json" "$seconds" "$@" <<'PY'
import json, sys

file, seconds, which, *name = sys.argv[1:]
if which == "all":
    print(seconds)
    raise SystemExit
phases = json.load(open(file))["phases"]
last = [phase["phase"] for phase in phases].index(name[0])
if which == "detail":
    print(phases[last]["detail"])
else:
    print(sum(phase["ms"] for phase in phases[last if which == "only" else 0 : last + 1]) / 1000)
PY
}

# KiB in use on the disk, where files can share blocks; elsewhere a folder tells it better.
disk_used() {
  if can_clone; then
    sync
    df -Pk "$place" | awk 'NR == 2 { print $3 }'
  fi
}

disk_taken() {
  local kibibytes
  if [ -n "$1" ]; then
    kibibytes=$(($(disk_used) - $1))
  else
    kibibytes=$(du -sk "$2" | cut -f 1)
  fi
  echo $((kibibytes * 1024 / 1000000))
}

can_clone() {
  if [ -z "${clones-}" ]; then
    clones=no
    if [ "$system" = Darwin ] || cp --reflink=always "$place/log" "$place/clone" 2>/dev/null; then
      clones=yes
    fi
  fi
  [ "$clones" = yes ]
}

# Machines that are stopped, against Lima's own.
bench_stopped() {
  wants stopped || return 0
  row stopped s '`up` of a stopped machine' '`limactl start` of a stopped instance'
  need_stage
  local turn
  need_both
  for ((turn = 0; turn < n; turn++)); do
    timed stopped ours "${ours[@]}" up two
    quietly "${ours[@]}" down two
    timed stopped theirs "${lima[@]}" start --timeout 30m stock
    quietly "${lima[@]}" stop stock
  done
}

# Both of them, started once and stopped.
need_both() {
  if [ ! -e "$our_lima/two" ]; then
    quietly "${ours[@]}" up two
  fi
  quietly "${ours[@]}" down two
  if [ ! -e "$lima_home/stock" ]; then
    quietly "${lima[@]}" create --name stock "$place/stock.yaml"
    quietly "${lima[@]}" start --timeout 30m stock
    quietly "${lima[@]}" stop stock
  fi
}

# What is done many times a day, with one and the same machine running; it is short, so there is more of each.
bench_running() {
  bench_processes
  wants running run ssh connect list || return 0
  need_stage
  quietly "${ours[@]}" up two
  bench_up_again
  bench_run
  bench_ssh
  bench_connect
  bench_list
  quietly "${ours[@]}" down two
}

bench_up_again() {
  wants running || return 0
  local said turn
  row running s '`up` of a running machine' ''
  said=$("${ours[@]}" -v up two 2>&1 | grep '^+ ')
  note running "$(grep -c '^+ .*limactl' <<<"$said") \`limactl\`, $(grep -c '^+ ssh ' <<<"$said" || true) \`ssh\`"
  for ((turn = 0; turn < 4 * n; turn++)); do
    timed running ours "${ours[@]}" up two
  done
}

bench_run() {
  wants run || return 0
  local turn theirs=(env "LIMA_HOME=$our_lima" limactl shell --workdir / two true)
  row run s '`run P -- true`' '`limactl shell P true`'
  quietly "${ours[@]}" run two -- true
  quietly "${theirs[@]}"
  for ((turn = 0; turn < 4 * n; turn++)); do
    timed run ours "${ours[@]}" run two -- true
    timed run theirs "${theirs[@]}"
  done
}

bench_ssh() {
  wants ssh || return 0
  local turn side words plain
  plain=$(find "$place/.local/share/machine/s" -name config)
  row ssh s 'first byte of `ssh P`' 'plain `ssh`, a new connection'
  for ((turn = 0; turn < 4 * n; turn++)); do
    for side in ours theirs; do
      words=("${ours[@]}" ssh two)
      [ "$side" = ours ] || words=(ssh -F "$plain" -o ControlMaster=no -o ControlPath=none -T guest)
      sample ssh "$side" "$("${clock[@]}" byte -- "${words[@]}" 2>>"$place/log")"
    done
  done
}

# What `machine connect` adds to a new connection: the same options, straight to the port that it leads to.
bench_connect() {
  wants connect || return 0
  local turn side words host=$place/.ssh/config.d/machine
  row connect s 'first byte of `ssh machine-P`, a new connection' 'the same connection past `machine connect`'
  for ((turn = 0; turn < 4 * n; turn++)); do
    for side in ours theirs; do
      words=(ssh -F "$host" -o ControlMaster=no -o ControlPath=none -T)
      [ "$side" = ours ] || words+=(-o ProxyCommand=none)
      sample connect "$side" "$("${clock[@]}" byte -- "${words[@]}" machine-two 2>>"$place/log")"
    done
  done
}

# Nine more that look like created ones.
bench_list() {
  wants list || return 0
  local number record=$place/.local/state/machine/machines turn
  row list s '`list` with 10 machines' '`limactl list`'
  for number in 1 2 3 4 5 6 7 8 9; do
    mkdir -p "$our_lima/p$number" "$record/p$number"
    cp "$our_lima/two/lima.yaml" "$our_lima/p$number/"
    : >"$our_lima/p$number/disk"
    sed "s/\"name\": \"two\"/\"name\": \"p$number\"/" "$record/two/machine.json" >"$record/p$number/machine.json"
  done
  for ((turn = 0; turn < 4 * n; turn++)); do
    timed list ours "${ours[@]}" list
    timed list theirs env "LIMA_HOME=$our_lima" limactl list
  done
  for number in 1 2 3 4 5 6 7 8 9; do
    rm -r "${our_lima:?}/p$number" "${record:?}/p$number"
  done
}

# What is over before a machine is looked at, against the start of any process.
bench_processes() {
  local turn row words
  for row in help complete; do
    wants "$row" || continue
    words=("${ours[@]}" --help)
    if [ "$row" = help ]; then
      row help s '`machine --help`' 'start of a process'
    else
      row complete s "completion of a project's name" 'start of a process'
      words=(env COMPLETE=bash _CLAP_COMPLETE_INDEX=2 _CLAP_IFS=' ' "${ours[@]}" -- machine up t)
    fi
    for ((turn = 0; turn < 4 * n; turn++)); do
      timed "$row" ours "${words[@]}"
      timed "$row" theirs true
    done
  done
}
