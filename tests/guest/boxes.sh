# shellcheck shell=bash
# The checks of boxes: built once, sealed, nothing of one machine in another.
# shellcheck disable=SC2154 # machine, home, data, config and output are set by the suite.
# shellcheck disable=SC2016 # What stands in single quotes is for the guest, or shown to the reader.

box_folders() { find "$home/.cache/machine/boxes" -mindepth 1 -maxdepth 1 -name '[0-9a-f]*'; }

# Runs before any other: Ctrl-C in the middle of the machine that builds the first box.
interrupted_bake() {
  printf '#!/bin/bash\ntouch /opt/began\n[ -e /opt/go ] || sleep 600\n' >"$config/install.sh"
  provision '"jq", "rsync"' 'script = "install.sh"'
  local pid status=0 begin end
  "$machine" up blog >"$home/interrupted" 2>&1 &
  pid=$!
  until quiet_ssh 'test -e /opt/began' 2>/dev/null; do
    kill -0 "$pid"
    sleep 2
  done
  begin=$(date +%s%N)
  kill -INT "$pid"
  wait "$pid" || status=$?
  end=$(date +%s%N)
  cat "$home/interrupted"
  same "$status" 130
  [ $(((end - begin) / 1000000)) -lt 2000 ]
  same "$(box_folders)" ''
  output=$("$machine" box list)
  contains 'unfinished'
  quiet_ssh 'sudo touch /opt/go'
}

# The whole road; the box goes on at the step that was cut off.
box_goes_on_where_it_stopped() {
  expect 0 "$machine" box bake blog
  # The step that was cut off, and the floor, which is open while a box is built.
  contains '2 of '
  same "$(box_folders | wc -l)" 1
  same "$(processes)" ''
  expect 0 "$machine" box bake blog
  contains 'cached'
}

# Identity of a guest, as words.
identity_of() {
  "$machine" run "$1" -- sh -c 'cat /etc/machine-id /etc/hostname /etc/machine/ssh_host_ed25519_key.pub 2>/dev/null
    sudo sha256sum /etc/machine/ssh_host_ed25519_key /var/lib/systemd/random-seed 2>/dev/null | cut -c1-64
    cat /proc/sys/kernel/random/boot_id; ip -o link show | grep -o "link/ether [^ ]*"'
}

# While the system still starts, a process of ours hears the power button; it may go only once logind does.
button_is_heard() {
  "$machine" run "$1" -- sudo timeout 60 bash -c '
    until [ -s /run/machine-boot/watcher ]; do sleep 0.05; done
    read -r watcher button </run/machine-boot/watcher
    while kill -0 "$watcher" 2>/dev/null; do sleep 0.05; done
    for file in "/proc/$(systemctl show --property=MainPID --value systemd-logind)/fd"/*; do
      [ ! "$file" -ef "$button" ] || exit 0
    done
    exit 1' </dev/null
}

# Whatever became of it, what comes after finds one machine.
drop_second_machine() {
  "$machine" destroy two --discard --discard-unseen || true
  sed -i '/^\[two\]/,$d' "$config/projects.toml"
}

second_machine() {
  trap drop_second_machine EXIT
  printf '\n[two]\nmemory = "2GiB"\ndisk = "8GiB"\n' >>"$config/projects.toml"
  expect 0 "$machine" up two
  contains 'cached'
  lacks 'building the box'
  button_is_heard two
  local one two
  one=$(identity_of blog) two=$(identity_of two)
  printf '%s\n--\n%s\n' "$one" "$two"
  same "$(printf '%s\n%s\n' "$one" "$two" | sort | uniq -d)" ''
  [ "$(wc -l <<<"$one")" -ge 5 ]
  same "$("$machine" run two -- hostname)" lima-two
  same "$("$machine" run two -- sh -c 'systemctl is-active cloud-init.service || true')" inactive
  # The disk grew to what the project wants, on a filesystem that fills it.
  [ "$("$machine" run two -- df --output=size -BM / | tail -n 1 | tr -dc 0-9)" -gt 7000 ]
  same "$("$machine" run two -- systemctl is-system-running --wait)" running
  # Loaded before the network, and once more after whoever takes all rules away.
  same "$("$machine" run two -- systemctl is-active machine-floor.service)" active
  expect 0 "$machine" destroy two --yes
}

# Looks into the box itself: nothing of the machine that built it, of its network, its time or the host.
box_holds_nothing() {
  local disk file word
  disk=$(box_folders)/disk
  look() { PATH=$PATH:/usr/sbin:/sbin debugfs -R "$1" "$disk" 2>&1; }
  same "$(look 'cat /etc/machine-id' | grep -c '^[0-9a-f]\{32\}')" 0
  for file in /etc/ssh/ssh_host_ed25519_key /etc/machine/ssh_host_ed25519_key /root/.ssh/authorized_keys \
    /home/dev/.ssh/authorized_keys /home/dev/.bash_history /root/.bash_history /var/lib/systemd/random-seed \
    /var/lib/cloud/instance /var/lib/dhcp/dhclient.leases /var/log/cloud-init.log /var/log/cloud-init-output.log; do
    output=$(look "stat $file")
    contains 'File not found'
  done
  output=$(look 'ls -p /var/log/journal')
  same "$(grep -c '^/[0-9]*/[0-9]*/[0-9]*/[0-9]*/[0-9a-f]\{32\}/' <<<"$output")" 0
  for word in "$home" "$CANARY_VARIABLE" "$(cut -d' ' -f2 "$data/lima/_config/user.pub")"; do
    if grep -qaF -- "$word" "$disk"; then
      echo "found in the box: $word"
      return 1
    fi
  done
}

damaged_box() {
  local box
  box=$(box_folders)
  cp "$box/vmlinuz" "$home/vmlinuz"
  printf x >>"$box/vmlinuz"
  output=$("$machine" box list)
  contains damaged
  cp "$home/vmlinuz" "$box/vmlinuz"
  output=$("$machine" box list)
  lacks damaged
}

# The box on another computer's disk, whose seed is none of Lima's: cloud-init has to take the machine over.
box_meets_a_foreign_seed() {
  local box place=$home/foreign port pid status=0
  box=$(box_folders)
  port=$(free_port)
  mkdir -p "$place/seed"
  cp --sparse=always --reflink=auto "$box/disk" "$place/disk"
  ssh-keygen -q -t ed25519 -N '' -f "$place/key"
  printf 'instance-id: foreign\nlocal-hostname: elsewhere\n' >"$place/seed/meta-data"
  {
    printf '#cloud-config\nusers:\n- name: guest\n  ssh_authorized_keys: ["%s"]\n' "$(cat "$place/key.pub")"
    printf 'ssh_keys:\n  ed25519_public: "%s"\n  ed25519_private: |\n' "$(cat "$place/key.pub")"
    sed 's/^/    /' "$place/key"
  } >"$place/seed/user-data"
  printf 'foreign %s\n' "$(cut -d' ' -f1,2 "$place/key.pub")" >"$place/known_hosts"
  genisoimage -quiet -R -V cidata -o "$place/seed.iso" "$place/seed"
  local cmdline='root=/dev/vda rw console=ttyS0' processor=(-accel 'tcg,thread=multi' -cpu max)
  [ ! -w /dev/kvm ] || processor=(-accel kvm -cpu host)
  qemu-system-x86_64 -machine q35 "${processor[@]}" -smp 2 -m 1024 -display none -serial "file:$place/serial" \
    -drive "file=$place/disk,format=raw,if=virtio" -device virtio-scsi-pci -device scsi-cd,drive=seed \
    -drive "id=seed,if=none,format=raw,readonly=on,file=$place/seed.iso" -device virtio-rng-pci \
    -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=net \
    -kernel "$box/vmlinuz" -initrd "$box/initrd" -append "$cmdline" -daemonize -pidfile "$place/pid"
  pid=$(cat "$place/pid")
  asks_the_foreign_guest || status=$?
  kill "$pid"
  grep -a machine-boot "$place/serial" | tail -n 5
  rm -rf "$place"
  return "$status"
}

asks_the_foreign_guest() {
  local tries=0 options=(-F /dev/null -i "$place/key" -p "$port" -o BatchMode=yes -o ConnectTimeout=10)
  options+=(-o HostKeyAlias=foreign -o "UserKnownHostsFile=$place/known_hosts" guest@127.0.0.1)
  # Two boots, one of them with all of cloud-init. Seldom: this sshd punishes those who do not log in.
  until output=$(ssh "${options[@]}" cloud-init status --wait 2>&1) && [[ $output == *done* ]]; do
    tries=$((tries + 1))
    if [ "$tries" = 60 ]; then
      printf '%s\n' "$output"
      return 1
    fi
    sleep 10
  done
  same "$(ssh "${options[@]}" hostname)" elsewhere &&
    same "$(ssh "${options[@]}" 'ls /etc/machine/sealed /usr/local/lib/machine/boot 2>/dev/null')" ''
}
