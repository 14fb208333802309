# shellcheck shell=bash
# The checks of `[network] proxy`: a proxy of this computer's, by which a guest gets what it cannot reach.
# shellcheck disable=SC2154 # machine, home, here and config are set by the suite.
# shellcheck disable=SC2034 # output is read by contains.

# A proxy that answers for every address with a line of its own.
start_proxy() {
  proxy_port=$(free_port)
  /usr/bin/python3 "$here/proxy.py" "$proxy_port" >/dev/null 2>&1 &
  echo $! >"$home/proxy.pid"
  soon "127.0.0.1:$proxy_port"
}

# name_proxy [URL]: config.toml names it, or none, and the machine is brought there.
name_proxy() {
  sed -i '/^\[network\]$/,/^$/d' "$config/config.toml"
  [ -z "${1-}" ] || printf '[network]\nproxy = "%s"\n\n' "$1" >>"$config/config.toml"
  expect 0 "$machine" up blog
  # What is reached at 192.168.5.2 counts in the enclosure from then on.
  if [[ $output == *'from the next start on'* ]]; then
    "$machine" down blog
    "$machine" up blog
  fi
}

proxied() { "$machine" run blog -- "$@" </dev/null 2>&1; }

proxy_leads_out() {
  start_listener
  local proxy_port get=(curl --silent --show-error --max-time 20 http://nowhere.invalid/)
  start_proxy
  output=$(proxied "${get[@]}" || true)
  contains 'Could not resolve host'
  name_proxy "http://localhost:$proxy_port"
  same "$(proxied "${get[@]}")" 'by the proxy: http://nowhere.invalid/'
  same "$(proxied sudo "${get[@]}")" 'by the proxy: http://nowhere.invalid/'
  same "$(proxied sudo systemd-run --quiet --pipe --wait -- "${get[@]}")" 'by the proxy: http://nowhere.invalid/'
  same "$(host_ssh "${get[*]}")" 'by the proxy: http://nowhere.invalid/'
  # It is the only door: what the project's own table opens is reached directly, and nothing more of this computer.
  proxied git fetch -q
  output=$(probe_in_guest tcp 192.168.5.2 "$listener_port")
  contains closed
  output=$("$machine" doctor)
  contains "machines use http://192.168.5.2:$proxy_port"
  output=$("$machine" boundary blog --json || true)
  contains 'the proxy of your config.toml'
  name_proxy
  output=$(proxied "${get[@]}" || true)
  contains 'Could not resolve host'
  output=$(proxied sudo find /etc -name '*machine-proxy*')
  same "$output" ''
  kill "$(cat "$home/proxy.pid")"
}
