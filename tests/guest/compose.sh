# shellcheck shell=bash
# Docker beside the floor: what a container publishes appears where it was declared, and the floor holds for containers.
# shellcheck disable=SC2154 # machine, home and listener_port are set by the suite.
# shellcheck disable=SC2034 # output is read by contains.
# shellcheck disable=SC2016,SC2088 # What stands in single quotes is for the guest.

# A server in a container, with a port that is published in the guest.
web_service() {
  cat <<'YAML'
services:
  web:
    image: web
    command: ["/busybox", "httpd", "-f", "-p", "8080", "-h", "/"]
    ports: ["5173:8080"]
YAML
}

# Docker and compose are Debian's; the image is made of one program, so that no registry is needed.
install_docker() {
  "$machine" run blog -- sudo sh -c 'apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install \
    --no-install-recommends docker.io docker-cli docker-compose iptables busybox-static' </dev/null
  web_service | quiet_ssh 'mkdir -p ~/web && cd ~/web && cp "$(command -v busybox)" busybox && echo from-a-container >index.html &&
    tar -c busybox index.html | sudo docker import - web && cat >compose.yaml'
}

in_container() { quiet_ssh "sudo docker exec web-web-1 /busybox $*" </dev/null 2>&1; }

compose_under_the_floor() {
  start_listener
  install_docker
  expect 0 quiet_ssh 'cd ~/web && sudo docker compose up --detach --wait' </dev/null
  same "$(quiet_ssh '~/web/busybox wget -q -O - http://127.0.0.1:5173/index.html' </dev/null)" from-a-container
  local port
  port=$(free_port)
  expect 0 "$machine" ports blog add "$port:5173"
  same "$(curl --silent --show-error "http://127.0.0.1:$port/index.html")" from-a-container
  # The controls: a container reaches what is open, by name, and the listener answers here.
  output=$(in_container wget -q -O - http://deb.debian.org/debian/dists/stable/Release)
  contains Debian
  same "$(probe_here tcp 127.0.0.1 "$listener_port")" open
  # That it is the floor which refuses, and not what is behind it, a counter in its rules says.
  quiet_ssh "sudo nft insert rule inet machine_floor uplink ip daddr 192.168.5.2 tcp dport $listener_port counter"
  output=$(in_container nc -w 3 192.168.5.2 "$listener_port" || true)
  lacks here
  output=$(quiet_ssh 'sudo nft list chain inet machine_floor uplink')
  [[ $output =~ counter\ packets\ [1-9] ]]
  quiet_ssh 'sudo nft --file /etc/machine/floor.nft; cd ~/web && sudo docker compose down'
  expect 0 "$machine" ports blog remove "$port"
}
