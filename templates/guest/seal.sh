# shellcheck shell=bash
# Makes a provisioned machine the origin of others: what is its own is taken out, cloud-init gives way to two units of
# ours, nothing is left running that would write again what was removed. May run again, on a sealed machine as well.
# Runs as root in a folder that holds the other files of templates/guest.

programs=/usr/local/lib/machine
units=/etc/systemd/system
boot=/var/lib/machine/boot
: >sealed

# Installs a file; machine-boot removes it again when it hands over to cloud-init.
put() {
  install -D -m "$3" "$1" "$2"
  echo "$2" >>sealed
}

# Keeps a unit or generator from running. An empty file would do as well, but a link says what it is for.
mask() {
  local path
  for path in "$@"; do
    mkdir -p "${path%/*}"
    ln -sfn /dev/null "$path"
    echo "$path" >>sealed
  done
}

install_units() {
  local unit
  put machine-boot.sh "$programs/boot" 0755
  put machine-later.sh "$programs/later" 0755
  put machine-grow.sh "$programs/grow" 0755
  for unit in machine.target machine-rest.target machine-boot.service machine-later.path machine-later.service machine-later.timer; do
    put "$unit" "$units/$unit" 0644
  done
  for unit in ssh.service systemd-logind.service dbus.{service,socket} user{,-runtime-dir}@.service; do
    put machine-early.conf "$units/$unit.d/20-machine.conf" 0644
  done
  put machine-ssh.conf "$units/ssh.service.d/30-machine.conf" 0644
  put machine-logind.conf "$units/systemd-logind.service.d/30-machine.conf" 0644
  put machine-user.conf "$units/user@.service.d/30-machine.conf" 0644
  put machine-user-bus.conf /etc/systemd/user/dbus.socket.d/30-machine.conf 0644
  put machine.network /etc/systemd/network/10-machine.network 0644
  put machine.link /etc/systemd/network/10-machine.link 0644
  mkdir -p /mnt/lima-cidata
  # sshd's own settings are there since the first boot; they go with the rest when cloud-init takes over.
  ls /etc/ssh/sshd_config.d/10-machine.conf "$units/ssh.service.d/10-machine.conf" >>sealed
}

# A boot stops at what a session needs. `machine-later` starts `machine-rest.target`, which wants what is taken off the
# way there, and then the target the system came with, which wants no more than before.
defer_the_rest() {
  local path unit group target rest="$units/machine-rest.target.wants"
  local needed='^(systemd-(journald|machine-id-commit)|dbus\.|ssh\.|tmp\.mount|run-lock\.)'
  # A machine has no TPM, no hibernation, no firmware to store a crash, no password to ask for, and no image below it
  # that somebody could change: these would only look and find nothing. Its floor is there before its network is, and comes
  # once more with the rest: `nftables.service`, where somebody enabled it, takes all rules away.
  local idle='^(systemd-(ask-password|creds|firstboot|hibernate|hwdb|journal-catalog|network-generator|pcr|pstore|sysext|sysusers|tpm2|update-done)|ldconfig\.)'
  # What lies in a /tmp on the disk must go before somebody puts something there.
  findmnt -n -t tmpfs /tmp >/dev/null || needed="$needed|^systemd-tmpfiles-setup\."
  rm -rf "$rest"
  mkdir -p "$rest"
  echo "$rest" >>sealed
  for path in {/usr/lib,/etc}/systemd/system/{sysinit,local-fs,sockets,timers,paths}.target.wants/*; do
    unit=${path##*/} group=${path%/*} group=${group##*/}
    if [[ -L $path && ! $unit =~ $needed ]]; then
      # Above /etc/systemd/system in rank, so that what is enabled there stays enabled.
      mask "/etc/systemd/system.control/$group/$unit"
      [[ $unit =~ $idle ]] || ln -s "$(readlink -f "$path")" "$rest/$unit"
    fi
  done
  # Two that come from fstab. `machine-later` grows the file system itself, when there is reason to.
  mask /etc/systemd/system.control/local-fs.target.wants/systemd-remount-fs.service
  ln -s /usr/lib/systemd/system/systemd-remount-fs.service "$rest/"
  # Such units are not ordered before a target of themselves.
  printf '[Unit]\nAfter=%s\n' "$(cd "$rest" && echo *)" >after.conf
  put after.conf "$units/machine-rest.target.d/10-machine.conf" 0644
  mask "$units/systemd-growfs-root.service"
  target=$(systemctl get-default)
  if [ "$target" != machine.target ]; then
    echo "$target" >default-target
    install -D -m 0644 default-target /etc/machine/default-target
    [ ! -L "$units/default.target" ] || mv "$units/default.target" "$units/default.target.stock"
  fi
  ln -sfn machine.target "$units/default.target"
  echo "$units/default.target" >>sealed
}

# Prints which of the named units start by themselves; systemctl is a slow program in an emulated guest, so it is asked
# once.
enabled() {
  systemctl list-unit-files --state=enabled --plain --no-legend --no-pager -- "$@" | cut -d' ' -f1
}

# cloud-init is most of a stock boot.
leave_cloud_init() {
  put /dev/null /etc/cloud/cloud-init.disabled 0644
  # Sessions are welcome at once; and a machine has no screen, nor an agent of its own.
  mask "$units"/{systemd-networkd-wait-online,modprobe@drm}.service /etc/tmpfiles.d/systemd-nologin.conf
  mask /etc/systemd/system.control/ssh.service.wants/sshd-keygen.service
  mask /etc/systemd/user/ssh-agent.socket /etc/systemd/user-generators/systemd-xdg-autostart-generator
  # Each is a program to start. Nobody can log in on a console: there is no password.
  mask /etc/systemd/system-generators/{cloud-init-generator,netplan}
  mask /etc/systemd/system-generators/systemd-{debug,getty,gpt-auto,hibernate-resume,run,ssh,system-update,tpm2}-generator
  mask /etc/systemd/system.control/getty.target.wants/getty{@tty1,-static}.service
  systemctl -q enable systemd-networkd.service
  # Ubuntu's ssh listens by a socket, and would print no marker before somebody connects.
  if [ -n "$(enabled ssh.socket)" ]; then
    systemctl -q disable ssh.socket
    systemctl -q enable ssh.service
  fi
}

# What wakes an idle machine, or keeps memory that a machine has no use for. Docker waits for its first use.
quiet() {
  local names
  mapfile -t names < <(enabled apt-daily{,-upgrade}.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fwupd-refresh.timer man-db.timer motd-news.timer sysstat-{collect,summary}.timer ua-timer.timer \
    update-notifier-{download,motd}.timer unattended-upgrades.service ModemManager.service multipathd.service \
    udisks2.service docker.service containerd.service)
  [ "${#names[@]}" = 0 ] || systemctl -q disable --now -- "${names[@]}"
  rm -rf /etc/update-motd.d
  put machine-sysctl.conf /etc/sysctl.d/90-machine.conf 0644
  [[ " ${names[*]} " != *' docker.service '* ]] || systemctl -q enable docker.socket
}

# A service that runs could write its log, lease or clock again.
stop_services() {
  local unit keep='^(ssh|dbus|systemd-(journald|logind|networkd|resolved|udevd)|user@|machine-|run-|(serial-)?getty)'
  local running=('*.timer' docker.socket)
  while read -r unit _; do
    [[ $unit =~ $keep ]] || running+=("$unit")
  done < <(systemctl list-units --type=service --state=running --plain --no-legend)
  # One that is not there is no reason to complain.
  systemctl stop -- "${running[@]}" 2>/dev/null || true
  # Neither a seed nor a log may be saved at the shutdown to come; a next boot knows nothing of this.
  mkdir -p /run/systemd/system/systemd-random-seed.service.d
  printf '[Service]\nExecStop=\n' >/run/systemd/system/systemd-random-seed.service.d/seal.conf
  systemctl daemon-reload
  journalctl --relinquish-var 2>/dev/null || true
}

# What is this machine's own, or the network's and the time's in which it was made.
remove_identity() {
  rm -f /etc/ssh/ssh_host_* /etc/machine/{ssh_host_*,root_keys} /var/lib/dbus/machine-id /etc/machine/disk-sectors
  : >/etc/machine-id
  rm -rf /root/.ssh/authorized_keys /home/dev/.ssh/authorized_keys /home/*/.ssh/known_hosts* /root/.ssh/known_hosts*
  rm -f /home/dev/.ssh/agent.sock
  sed -i '/^127\.0\.1\.1[[:space:]]/d' /etc/hosts
  rm -f /etc/hostname
  rm -f /etc/netplan/50-cloud-init.yaml /etc/network/interfaces.d/50-cloud-init* /var/lib/systemd/random-seed
  rm -rf /var/lib/cloud /var/lib/dhcp/* /var/lib/dhcpcd/* /var/lib/NetworkManager/*lease* /var/lib/systemd/network/*
  rm -rf /var/lib/systemd/timesync/* /var/lib/systemd/timers/* /var/lib/chrony/* /etc/adjtime
  rm -f /var/lib/docker/engine-id /etc/docker/key.json
}

remove_traces() {
  local home name
  find /var/log -type f -delete
  find /var/log/journal -mindepth 1 -delete 2>/dev/null || true
  find /tmp /var/tmp -mindepth 1 -xdev -delete 2>/dev/null || true
  rm -rf /var/lib/systemd/coredump/* /var/lib/systemd/pstore/* /var/crash/* /var/lib/logrotate/* /var/lib/wtmpdb/*
  for home in /root /home/*; do
    for name in bash_history zsh_history python_history node_repl_history lesshst viminfo wget-hsts \
      local/share/fish/fish_history sudo_as_admin_successful; do
      rm -f "$home/.$name"
    done
  done
  apt-get -q clean
  rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old
}

# Puts the drivers for the named devices into the initrd, and their names in order into the list $1.
add_modules() {
  local list=tree/modules/$1 word path name
  shift
  : >"$list"
  while read -r word path _; do
    name=${path##*/} name=${name%.ko*}.ko
    if [ "$word" != insmod ] || [ -e "tree/modules/$name" ]; then
      continue
    fi
    case $path in
    *.xz) xz -dc "$path" ;;
    *.zst) zstd -qdc "$path" ;;
    *) cat "$path" ;;
    esac >"tree/modules/$name"
    echo "$name" >>"$list"
  done < <(modprobe --show-depends -a "$@")
}

# The smallest initrd that boots this machine's own kernel; false where the tools for it are missing.
build_initrd() {
  local unit
  [ -x /usr/lib/klibc/bin/chroot ] && command -v cpio >/dev/null || return 1
  mkdir -p tree/{bin,dev,lib,modules,proc,root,sys}
  # A shell gives what runs in the background this for its input, also when the devices are elsewhere already.
  : >tree/dev/null
  ln -s . tree/usr
  cp -a /usr/lib/klibc/bin/{chroot,insmod,mkdir,mount,sh,sleep} tree/bin/
  cp -aL /usr/lib/klibc-*.so tree/lib/
  install -m 0755 machine-init.sh tree/init
  # systemd loads the last ones itself otherwise, packed as they are on the disk.
  add_modules first virtio_pci virtio_blk ext4 autofs4 ip_tables virtio_rng qemu_fw_cfg
  add_modules second virtio_net virtio_scsi sr_mod isofs button evdev nf_tables nft_reject_inet
  # systemd finds these mounted, and starts no program for them.
  for unit in tmp.mount run-lock.mount; do
    ! systemctl -q is-active "$unit" || systemctl show -P Where -P Options "$unit" | paste -s -d ' ' | sed -n 's,^/\([^ ]*\) \(.*\),\1 \2,p'
  done | sed 's/strictatime,\?//' >tree/mounts
  (cd tree && find . | cpio --quiet -o -H newc) >initrd
}

# What the host takes out of a box to boot it without firmware and boot loader. Its modules must stay those of that
# kernel, so the package is held.
prepare_boot_files() {
  local kernel
  kernel=/boot/vmlinuz-$(uname -r)
  rm -rf "$boot"
  [ "$(uname -m)" = x86_64 ] && [[ $(systemd-detect-virt) =~ ^(qemu|kvm)$ ]] && [ -f "$kernel" ] || return 0
  build_initrd || cp "/boot/initrd.img-$(uname -r)" initrd
  install -D -m 0644 "$kernel" "$boot/kernel"
  install -m 0644 initrd "$boot/initrd"
  findmnt -n -o SOURCE / >"$boot/root"
  dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'linux-image-*' | sed -n 's/^ii  *//p' | xargs -r apt-mark -q hold
}

install_units
leave_cloud_init
quiet
defer_the_rest
prepare_boot_files
install -D -m 0644 sealed /etc/machine/sealed
stop_services
remove_identity
remove_traces
sync
fstrim / || true
