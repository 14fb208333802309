# shellcheck shell=bash
# For an .envrc: `use machine_secrets` exports all secrets of the project, `use machine_secrets NAME…` the named ones.
use_machine_secrets() {
  local name
  watch_file /run/secrets/.env
  if [ ! -r /run/secrets/.env ]; then
    log_error 'no secrets are here; on the host: machine secrets'
    return 1
  fi
  if [ "$#" = 0 ]; then
    set -a
    # shellcheck source=/dev/null
    . /run/secrets/.env
    set +a
    return
  fi
  for name in "$@"; do
    if [ ! -r "/run/secrets/$name" ]; then
      log_error "there is no secret $name in /run/secrets"
      return 1
    fi
    export "$name=$(<"/run/secrets/$name")"
  done
}
