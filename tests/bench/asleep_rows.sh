# shellcheck shell=bash
# The rows of tests/bench/run about machines that sleep, which takes QEMU. Awake they are compared with a cold start.
# shellcheck disable=SC2016,SC2154 # Backticks are Markdown; variables are shared with the files beside it.

rows+=(sleep wake image rss-asleep)

bench_asleep() {
  wants sleep wake image rss-asleep || return 0
  [ "$system" = Linux ] || return 0
  row sleep s '`sleep` of a running machine' ''
  row wake s '`run P -- true` on a machine that sleeps' '`limactl start` of a stopped instance'
  row image MB 'image of its memory on the disk' ''
  row rss-asleep MB 'host memory of a machine that sleeps: processes that are left' ''
  need_stage
  need_both
  quietly "${ours[@]}" up two
  local turn
  for ((turn = 0; turn < n; turn++)); do
    timed sleep ours "${ours[@]}" sleep two
    sample image ours $(($(stat -c %s "$our_lima/two/memory.image") / 1000000))
    sample rss-asleep ours "$(left_processes)"
    timed wake ours "${ours[@]}" run two -- true
    timed wake theirs "${lima[@]}" start --timeout 30m stock
    quietly "${lima[@]}" stop stock
  done
  quietly "${ours[@]}" down two
}

# Megabytes of all processes that name the machine's folder.
left_processes() {
  ps -ww -u "$(id -u)" -o rss=,args= | awk -v folder="$our_lima/two/" 'index($0, folder) && !/awk/ { sum += $1 } END { print int(sum / 1000) }'
}
