#!/bin/sh
# What a boot of the guest has to do, in the order Lima keeps: essential scripts, provisioning, password, done.
# A failing script is named and counted, but holds nothing up: Lima goes on too.
set -eu
code=0

say() {
  echo "LIMA $(date -Iseconds)| $*"
}

warn() {
  say "WARNING: $*"
  code=1
}

# Exports the lines of a KEY=VALUE file.
export_lines() {
  while read -r line; do
    case $line in
    '' | '#'*) ;;
    *) export "${line?}" ;;
    esac
  done <"$1"
}

run_all() {
  for script in "$1"/*; do
    [ -f "$script" ] || continue
    say "Executing $script"
    "$script" || warn "Failed to execute $script"
  done
}

# Gives a user who must type a password one, and writes it where they find it.
set_password() {
  [ ! -f "$LIMA_CIDATA_HOME/.lima-password-set" ] || return 0
  password=$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \n')
  if ! echo "$LIMA_CIDATA_USER:$password" | chpasswd; then
    warn 'failed to set the password'
    return 0
  fi
  (umask 077 && echo "$password" >"$LIMA_CIDATA_HOME/password")
  touch "$LIMA_CIDATA_HOME/.lima-password-set"
  chown "$LIMA_CIDATA_USER:" "$LIMA_CIDATA_HOME/password" "$LIMA_CIDATA_HOME/.lima-password-set"
}

rm -f /run/lima-boot-done
for file in lima.env param.env etc_environment; do
  export_lines "$LIMA_CIDATA_MNT/$file"
done
run_all "$LIMA_CIDATA_MNT/boot.essential.Linux"
say 'Plain mode. Skipping to run non-essential boot scripts. Provisioning scripts will be still executed.'
run_all "$LIMA_CIDATA_MNT/provision.system"
[ "$LIMA_CIDATA_PASSWORDLESS_SUDO" = 1 ] || set_password
echo "$LIMA_CIDATA_IID" >/run/lima-boot-done
say "Exiting with code $code"
exit "$code"
