# shellcheck shell=bash
# The checks of an exported file, with real Lima alone: no `machine` and nothing of this computer is used to boot it.
# shellcheck disable=SC2034,SC2154 # The suite's own variables, as in checks.sh.

# Whether the double stands in, which plays neither probes nor a forwarded agent.
is_double() { [[ $(readlink -f "$(command -v limactl)") == */limactl-qemu ]]; }

# Lima in a home of its own, as on a computer where `machine` never was.
plain_lima() {
  local qemu='qemu-system-x86_64 -machine q35,vmport=off -accel tcg,thread=multi,tb-size=512 -cpu max'
  [ ! -w /dev/kvm ] || qemu='qemu-system-x86_64'
  LIMA_HOME=$home/p QEMU_SYSTEM_X86_64=$qemu limactl --tty=false "$@"
}

plain_shell() { plain_lima shell exported "$@"; }

# The exported file, but for the image, which a test has on its disk. apt needs no certificates.
with_test_image() {
  sed -e "s|location: https://.*amd64.*|location: $image/disk.raw|" -e '/location: .*arm64/,+2d' \
    -e "s|^  digest: .*|  kernel: {location: $image/vmlinuz, cmdline: root=/dev/vda rw console=ttyS0}\n  initrd: {location: $image/initrd}|" \
    "$1"
  printf 'firmware:\n  legacyBIOS: true\n'
}

# A script with all that here-documents, YAML and Lima's templates might change; it keeps its own text.
hostile_script() {
  cat <<'SCRIPT'
#!/bin/bash
# {{ .Name }} {{{ }} {{/* "' $HOME ` \ : - | é →
: <<'MACHINE_FILE'

   MACHINE_STEP
MACHINE_STEP
MACHINE_FILE_2
MACHINE_FILE
install -m 0644 "$0" /opt/kept
usermod --append --groups games dev
SCRIPT
  printf '#\ttab, and spaces at the end  \n\n'
}

export_is_valid() {
  hostile_script >"$config/install.sh"
  provision '"jq"' 'script = "install.sh"'
  expect 0 "$machine" export blog -o "$home/exported.yaml"
  expect 0 plain_lima template validate "$home/exported.yaml"
  lacks warning
  output=$(cat "$home/exported.yaml")
  local word
  for word in "$home" "$CANARY_VARIABLE" test@example.com 'Test Person' 'BEGIN '; do
    lacks "$word"
  done
}

export_boots() {
  with_test_image "$home/exported.yaml" >"$home/plain.yaml"
  expect 0 plain_lima start --timeout=30m --name=exported "$home/plain.yaml"
  contains 'limactl shell exported machine-finish'
  expect 0 plain_shell machine-finish
  contains 'nothing is missing'
  expect 0 plain_shell jq --version
  same "$(plain_shell head -n 1 /home/dev/code/blog/README)" blog
  same "$(plain_shell cat /home/dev/code/design/README)" theme
  same "$(plain_shell cat /home/dev/setup-ran)" once
  same "$(plain_shell printenv GREETING)" "it's \"here\" \\ \$HOME # too"
  plain_shell cat /opt/kept | cmp - "$config/install.sh"
  # The connection is one from after provisioning.
  output=$(plain_shell id -nG)
  contains games
}

export_starts_again_without_an_agent() {
  local stamps
  stamps=$(plain_shell ls -l --time-style=full-iso /var/lib/machine/steps)
  plain_shell rm -rf code/design
  plain_lima stop exported
  (
    unset SSH_AUTH_SOCK
    expect 0 plain_lima start --timeout=30m exported
    expect 1 plain_shell machine-finish
    contains 'the repository design is not cloned'
    contains 'limactl shell --reconnect exported machine-finish'
    output=$(plain_shell bash -lic true 2>&1)
    contains 'the repository design is not cloned'
  )
  same "$(plain_shell ls -l --time-style=full-iso /var/lib/machine/steps)" "$stamps"
  expect 0 plain_lima shell --reconnect exported machine-finish
  contains 'cloning design'
  same "$(plain_shell cat /home/dev/code/design/README)" theme
  same "$(plain_shell cat /home/dev/setup-ran)" once
  plain_lima delete -f exported
}
