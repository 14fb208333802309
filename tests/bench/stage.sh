# shellcheck shell=bash
# The stage of tests/bench/run: a home of its own, Lima's own instance beside ours, words that describe the computer.
# shellcheck disable=SC2016,SC2034,SC2154 # Backticks are Markdown; variables are shared with the files beside it.

projects='[defaults]
cpus = 2
memory = "4GiB"
disk = "%s"
'

set_stage() {
  local program
  [ "$(id -u)" != 0 ] || fail 'Lima refuses root: run it as an ordinary user'
  for program in limactl ssh "${python:-python3}"; do
    command -v "$program" >/dev/null || fail "$program is not on PATH"
  done
  program=$(command -v "${MACHINE:-machine}") || fail 'machine is not on PATH; name it in MACHINE'
  case $program in
  /*) ;;
  *) program=$PWD/$program ;;
  esac
  place=$(mktemp -d "$HOME/.mb.XXXXXX")
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  facts=$place/facts
  : >"$facts"
  : >"$place/log"
  unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_CACHE_HOME MACHINE_CONFIG_DIR LIMA_HOME SSH_AUTH_SOCK
  export HOME=$place
  ours=("$program")
  our_lima=$place/.local/share/machine/lima
  write_configuration
}

# One configuration for bare machines, one with what the guest's rows need, one for the whole base profile.
write_configuration() {
  local config=$place/.config/machine folder
  for folder in "$config" "$place/tools" "$place/whole/profiles/one-more"; do
    mkdir -p "$folder"
  done
  if [ -n "${MACHINE_GUEST_IMAGE-}" ]; then
    write_test_computer >"$config/config.toml"
  elif [ -f "$users_home/.config/machine/config.toml" ]; then
    cp "$users_home/.config/machine/config.toml" "$config/config.toml"
  fi
  # A folder that is named by --config is the only one that is read.
  for folder in "$place/tools" "$place/whole"; do
    [ ! -e "$config/config.toml" ] || cp "$config/config.toml" "$folder/"
  done
  # shellcheck disable=SC2059 # The text above is the format.
  {
    printf "${projects}[one]\n[two]\n" 10GiB >"$config/projects.toml"
    printf "${projects}[tools]\n" 10GiB >"$place/tools/projects.toml"
    printf "${projects}[whole]\n[more]\nprofiles = [\"one-more\"]\n" 20GiB >"$place/whole/projects.toml"
  }
  printf 'base = false\n' >"$config/provision.toml"
  printf 'base = false\napt = ["nodejs", "python3-venv"]\n' >"$place/tools/provision.toml"
  : >"$place/whole/provision.toml"
  printf 'description = "One package more than base"\napt = ["sl"]\n' >"$place/whole/profiles/one-more/profile.toml"
  # What was downloaded before need not be downloaded again.
  if [ -d "$users_home/.cache/machine/images" ]; then
    mkdir -p "$place/.cache/machine/images"
    cp -R "$users_home/.cache/machine/images/." "$place/.cache/machine/images/"
  fi
}

# The image of the guest tests, booted as they boot it.
write_test_computer() {
  local certificates='' file accelerator=tcg
  for file in /usr/local/share/ca-certificates/*.crt; do
    [ ! -e "$file" ] || certificates+="\"$file\", "
  done
  [ ! -w /dev/kvm ] || accelerator=auto
  cat <<TOML
ca_certs = [$certificates]
accelerator = "$accelerator"

[images.debian-13.amd64]
location = "$MACHINE_GUEST_IMAGE/disk.raw"
kernel = "$MACHINE_GUEST_IMAGE/vmlinuz"
initrd = "$MACHINE_GUEST_IMAGE/initrd"
cmdline = "root=/dev/vda rw console=ttyS0"
TOML
}

# The first machine of the bare stack: it downloads the image, fills the cache, and tells the accelerator.
need_stage() {
  [ -z "${lima-}" ] || return 0
  say 'the first machine of the bare stack, not measured'
  quietly "${ours[@]}" up one
  engine=$(sed -n 's/.*"engine": *"\([a-z]*\)".*/\1/p' "$our_lima/one/launch.json" 2>/dev/null || true)
  quietly "${ours[@]}" destroy one --discard
  write_stock
}

# Lima's own instance: the same image, the same size, and as plain as ours.
write_stock() {
  local image boot='' driver=qemu emulation=()
  image=$(find "$place/.cache/machine/images" -name '*.raw' -o -name '*.qcow2' 2>/dev/null | head -n 1) || true
  image=${image:-$(sed -n 's/^location = "\(.*\)"/\1/p' "$place/.config/machine/config.toml" | head -n 1)}
  if [ -n "${MACHINE_GUEST_IMAGE-}" ]; then
    boot="  kernel: {location: \"$MACHINE_GUEST_IMAGE/vmlinuz\", cmdline: \"root=/dev/vda rw console=ttyS0\"}
  initrd: {location: \"$MACHINE_GUEST_IMAGE/initrd\"}"
  fi
  [ "$system" != Darwin ] || driver=vz
  cat >"$place/stock.yaml" <<YAML
vmType: $driver
images:
- location: "$image"
$boot
cpus: 2
memory: 4GiB
disk: 20GiB
plain: true
mounts: []
containerd: {system: false, user: false}
ssh: {loadDotSSHPubKeys: false}
video: {display: none}
YAML
  lima_home=$place/l
  if [ "$engine" = tcg ]; then
    # What Lima chooses by itself where there is no /dev/kvm.
    emulation=("$(emulator)")
  fi
  lima=(env "LIMA_HOME=$lima_home" "${emulation[@]+"${emulation[@]}"}" limactl --tty=false)
}

emulator() {
  local machine=q35,vmport=off arch
  arch=$(uname -m)
  [ "$arch" = x86_64 ] || machine=virt
  printf 'QEMU_SYSTEM_%s=qemu-system-%s -machine %s -accel tcg,thread=multi,tb-size=512 -cpu max' \
    "$(tr '[:lower:]' '[:upper:]' <<<"$arch")" "$arch" "$machine"
}

clean_up() {
  local name
  [ -n "$place" ] || return 0
  for name in one two tools whole more; do
    if [ -e "$our_lima/$name/lima.yaml" ]; then
      "${ours[@]}" destroy "$name" --discard --discard-unseen >/dev/null 2>&1 </dev/null || true
    fi
  done
  if [ -e "$place/l/stock/lima.yaml" ]; then
    "${lima[@]}" delete -f stock >/dev/null 2>&1 || true
  fi
  # In the log is what failed, if anything did.
  rm -rf "$place"
}

describe_start() {
  printf 'Measured with `tests/bench/run%s`' "${arguments:+ $arguments}"
  load_before=$(load)
}

describe_end() {
  local accelerator=vz
  case ${engine-} in
  tcg) accelerator='software emulation' ;;
  kvm) accelerator=KVM ;;
  '') [ "$system" = Darwin ] || accelerator='no machine started' ;;
  esac
  printf ' on %s, %s processors, %s, %s, %s; %s, %s; %s. Load before %s, after %s.\n' "$(processor)" \
    "$(getconf _NPROCESSORS_ONLN)" "$(memory)" "$(uname -sr)" "$(filesystem)" "$(limactl --version)" "$(qemu)" \
    "$accelerator" "$load_before" "$(load)"
  printf 'Median, with the least and the most; n of each kind.\n\n'
}

processor() {
  if [ "$system" = Darwin ]; then
    sysctl -n machdep.cpu.brand_string
  else
    sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1
  fi
}

memory() {
  if [ "$system" = Darwin ]; then
    printf '%s GiB' "$(($(sysctl -n hw.memsize) >> 30))"
  else
    awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo
  fi
}

filesystem() {
  if [ "$system" = Darwin ]; then
    printf 'APFS'
  else
    stat -f -c %T "$users_home"
  fi
}

qemu() {
  if [ "$system" = Darwin ]; then
    printf 'macOS %s' "$(sw_vers -productVersion)"
  else
    "qemu-system-$(uname -m)" --version | sed -n 's/^QEMU emulator version \([^ ]*\).*/QEMU \1/p'
  fi
}

load() { uptime | sed 's/.*average[s]*: *//; s/,.*//; s/ .*//'; }
