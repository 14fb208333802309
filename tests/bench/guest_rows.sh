# shellcheck shell=bash
# The rows of tests/bench/run that look into guests: what they take of the computer's memory, and how fast they work.
# shellcheck disable=SC2016,SC2034,SC2154 # Backticks are Markdown; variables are shared with the files beside it.

rows+=(idle rss-before rss-touched rss-after npm pip reads base shared copy-base)
# Minutes after which a guest counts as idle, and after which memory should have come back.
settle=300
touched=1258291200

# Runs a command in a guest: of ours or of theirs, by name.
in_guest() {
  local side=$1 name=$2
  shift 2
  if [ "$side" = ours ]; then
    "${ours[@]}" run "$name" -- "$@"
  else
    "${lima[@]}" shell --workdir / "$name" "$@"
  fi
}

bench_memory() {
  wants idle rss-before rss-touched rss-after || return 0
  local name=two what='bare guest' turn
  [ -z "$long" ] || name=whole what='guest of the default box'
  row idle MB "memory in use in an idle $what, 5 min after its boot" 'stock guest'
  row rss-before MB 'host memory of its process then' 'QEMU of a stock guest'
  row rss-touched MB '… after 1.2 GB were used, and a file of that size written and read' 'the same'
  row rss-after MB '… 5 min later' 'the same'
  if [ -n "$quick" ]; then
    for turn in idle rss-before rss-touched rss-after; do
      skip "$turn" 'takes minutes; left out by --quick'
    done
    return
  fi
  need_stage
  need_both
  if [ -n "$long" ]; then
    quietly "${ours[@]}" --config "$place/whole" up whole
    quietly "${ours[@]}" down whole
  fi
  for ((turn = 0; turn < n; turn++)); do
    quietly "${ours[@]}" up "$name"
    measure_memory ours "$name" "$our_lima/$name/qemu.pid"
    quietly "${ours[@]}" down "$name"
    quietly "${lima[@]}" start --timeout 30m stock
    measure_memory theirs stock "$lima_home/stock/qemu.pid"
    quietly "${lima[@]}" stop stock
  done
}

# From the boot on: five minutes of nothing, much work, five minutes of nothing.
measure_memory() {
  local side=$1 name=$2 pidfile=$3
  sleep "$settle"
  sample idle "$side" "$(in_guest "$side" "$name" cat /proc/meminfo |
    awk '/^MemTotal/ { all = $2 } /^MemAvailable/ { free = $2 } END { printf "%.0f", (all - free) * 1024 / 1e6 }')"
  sample rss-before "$side" "$(resident "$pidfile")"
  # shellcheck disable=SC2016 # For the guest.
  quietly in_guest "$side" "$name" sh -c 'head -c "$0" /dev/zero | tail -c "$0" | wc -c
    dd if=/dev/zero of=/var/tmp/touched bs=1M count=1200 conv=fsync && cat /var/tmp/touched | wc -c' "$touched"
  sample rss-touched "$side" "$(resident "$pidfile")"
  sleep "$settle"
  sample rss-after "$side" "$(resident "$pidfile")"
  quietly in_guest "$side" "$name" rm /var/tmp/touched
}

# MB that a process has of the computer's memory.
resident() {
  if [ "$system" = Darwin ]; then
    "${ours[@]}" list --json | "$python" -c 'import json, sys
print(max(row["resident_bytes"] or 0 for row in json.load(sys.stdin)) // 1000000)'
  else
    awk '/^VmRSS/ { printf "%.0f", $2 * 1024 / 1e6 }' "/proc/$(cat "$1")/status"
  fi
}

# The same work in a guest and on this computer.
bench_guest() {
  wants npm pip reads || return 0
  row npm s '`npm install` of 100 packages in a guest, from a full cache' 'on this computer'
  row pip s '`pip install` of 50 packages in a guest, from files' 'on this computer'
  row reads /s 'random reads of 4 KiB in a guest, past its page cache' 'on this computer, past its page cache'
  local row reason=''
  [ -z "$quick" ] || reason='installs packages; left out by --quick'
  if [ -n "$reason" ]; then
    for row in npm pip reads; do
      skip "$row" "$reason"
    done
    return
  fi
  need_stage
  quietly "${ours[@]}" --config "$place/tools" up tools
  prepare_work
  bench_npm
  bench_pip
  bench_reads
  quietly "${ours[@]}" down tools
}

# The same files on both sides; the packages are fetched once, on this side.
prepare_work() {
  local work=$place/work
  mkdir -p "$work"
  cp "$here/clock.py" "$here/npm-packages.txt" "$here/pip-packages.txt" "$here/install.sh" "$work/"
  if wants pip && python3 -m venv "$work/venv" 2>>"$place/log"; then
    grep -v '^#' "$here/pip-packages.txt" >"$work/pip-packages.txt"
    quietly "$work/venv/bin/pip" download --no-deps --only-binary=:all: --platform any --abi none --implementation py \
      --dest "$work/wheels" -r "$work/pip-packages.txt"
  fi
  if wants npm && command -v node >/dev/null; then
    quietly bash "$work/install.sh" npm-prepare
  fi
  rm -rf "$work/venv"
  tar -C "$work" -cf - . | "${ours[@]}" run tools -- sh -c 'mkdir -p work && tar -C work -xf -'
  if wants npm && [ -d "$work/npm" ]; then
    quietly "${ours[@]}" run tools -- bash work/install.sh npm
  fi
}

# One turn of install.sh on each side; it prints the seconds.
both_sides() {
  local row=$1 turn
  shift
  for ((turn = 0; turn < n; turn++)); do
    sample "$row" ours "$("${ours[@]}" run tools -- bash work/install.sh "$@" 2>>"$place/log")"
    sample "$row" theirs "$(bash "$place/work/install.sh" "$@" 2>>"$place/log")"
  done
}

bench_npm() {
  wants npm || return 0
  if [ ! -d "$place/work/npm" ]; then
    skip npm 'there is no node on this computer'
    return
  fi
  note npm "node $(in_guest ours tools node --version), here $(node --version)"
  both_sides npm npm
}

bench_pip() {
  wants pip || return 0
  if [ ! -d "$place/work/wheels" ]; then
    skip pip '`python3 -m venv` does not work on this computer'
    return
  fi
  note pip "$(in_guest ours tools python3 --version), here $(python3 --version)"
  both_sides pip pip
}

bench_reads() {
  wants reads || return 0
  quietly "${ours[@]}" run tools -- bash work/install.sh file
  quietly bash "$place/work/install.sh" file
  both_sides reads reads
}

# The whole base profile: built by us once, and the same tools by hand in Lima's own instance, one after another.
bench_base() {
  wants base shared copy-base || return 0
  row base s 'first machine with the whole `base` profile' 'the same tools but Aider, by hand in a stock instance'
  row shared s 'first machine of a second stack on top of it' ''
  row copy-base s 'copy of the base box for one more machine' ''
  local row
  if [ -z "$long" ]; then
    for row in base shared copy-base; do
      skip "$row" 'builds the whole base profile; --long does it'
    done
    return
  fi
  need_stage
  build_base
  build_base_by_hand
  time_up whole more
  sample shared ours "$(phases all)"
  note shared "$(phases detail provision)"
  quietly "${ours[@]}" destroy more --discard
  quietly "${ours[@]}" destroy whole --discard
  time_up whole whole
  sample copy-base ours "$(phases only create)"
  note copy-base "$(du -sm "$our_lima/whole" | cut -f 1) MiB, $(filesystem)"
  quietly "${ours[@]}" down whole
}

build_base() {
  time_up whole whole
  sample base ours "$(phases all)"
  quietly "${ours[@]}" down whole
}

build_base_by_hand() {
  local certificates
  certificates=$(sed -n 's/^ca_certs = \(.*\)/\1/p' "$place/.config/machine/config.toml" | sed 's/, *\]/]/')
  {
    cat "$place/stock.yaml"
    [ -z "$certificates" ] || printf 'caCerts: {files: %s}\n' "$certificates"
  } >"$place/by-hand.yaml"
  quietly "${lima[@]}" create --name by-hand "$place/by-hand.yaml"
  quietly "${lima[@]}" start --timeout 30m by-hand
  quietly "${lima[@]}" copy "$here/by-hand.sh" by-hand:/tmp/by-hand.sh
  timed base theirs "${lima[@]}" shell --workdir / by-hand bash /tmp/by-hand.sh
  quietly "${lima[@]}" delete -f by-hand
}
