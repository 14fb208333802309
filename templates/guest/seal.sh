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
  put machine-boot.sh "$programs/boot" 0755
  put machine-grow.sh "$programs/grow" 0755
  put machine-boot.service "$units/machine-boot.service" 0644
  put machine-lima.service "$units/machine-lima.service" 0644
  put machine.network /etc/systemd/network/10-machine.network 0644
  put machine.link /etc/systemd/network/10-machine.link 0644
  systemctl -q enable machine-boot.service machine-lima.service systemd-networkd.service
  find "$units" -lname '*/machine-*.service' -o -lname 'machine-*.service' >>sealed
  # sshd's own settings are there since the first boot; they go with the rest when cloud-init takes over.
  ls /etc/ssh/sshd_config.d/10-machine.conf "$units/ssh.service.d/10-machine.conf" >>sealed
}

# cloud-init is most of a stock boot.
leave_cloud_init() {
  put /dev/null /etc/cloud/cloud-init.disabled 0644
  mask /etc/systemd/system-generators/cloud-init-generator
  mask "$units/systemd-networkd-wait-online.service"
  # Ubuntu's ssh listens by a socket, and would print no marker before somebody connects.
  if systemctl -q is-enabled ssh.socket 2>/dev/null; then
    systemctl -q disable ssh.socket
    systemctl -q enable ssh.service
  fi
}

# What wakes an idle machine, or keeps memory for what a machine has no use for.
quiet() {
  local unit
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    man-db.timer motd-news.timer ua-timer.timer update-notifier-download.timer update-notifier-motd.timer \
    fwupd-refresh.timer sysstat-collect.timer sysstat-summary.timer unattended-upgrades.service \
    ModemManager.service multipathd.service udisks2.service; do
    ! systemctl -q is-enabled "$unit" 2>/dev/null || systemctl -q disable --now "$unit"
  done
  if systemctl -q is-enabled docker.socket 2>/dev/null || systemctl -q is-enabled docker.service 2>/dev/null; then
    systemctl -q disable docker.service containerd.service
    systemctl -q enable docker.socket
  fi
}

# A service that runs could write its log, lease or clock again.
stop_services() {
  local unit keep='^(ssh|dbus|systemd-(journald|logind|networkd|resolved|udevd)|user@|machine-|run-|(serial-)?getty)'
  systemctl stop -- '*.timer' docker.socket 2>/dev/null || true
  while read -r unit _; do
    [[ $unit =~ $keep ]] || systemctl stop -- "$unit"
  done < <(systemctl list-units --type=service --state=running --plain --no-legend)
  # Neither a seed nor a log may be saved at the shutdown to come; a next boot knows nothing of this.
  mkdir -p /run/systemd/system/systemd-random-seed.service.d
  printf '[Service]\nExecStop=\n' >/run/systemd/system/systemd-random-seed.service.d/seal.conf
  systemctl daemon-reload
  journalctl --relinquish-var 2>/dev/null || true
}

# What is this machine's own, or the network's and the time's in which it was made.
remove_identity() {
  rm -f /etc/ssh/ssh_host_* /etc/machine/ssh_host_* /var/lib/dbus/machine-id /etc/machine/disk-sectors
  : >/etc/machine-id
  rm -rf /root/.ssh/authorized_keys /home/dev/.ssh/authorized_keys /home/*/.ssh/known_hosts* /root/.ssh/known_hosts*
  rm -f /home/dev/.ssh/agent.sock
  sed -i '/^127\.0\.1\.1[[:space:]]/d' /etc/hosts
  echo localhost >/etc/hostname
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

# The smallest initrd that boots this machine's own kernel; false where the tools for it are missing.
build_initrd() {
  local release word path
  release=$(uname -r)
  [ -x /usr/lib/klibc/bin/run-init ] && command -v cpio >/dev/null || return 1
  mkdir -p tree/{bin,dev,proc,root,sys,modules,lib}
  cp -a /usr/lib/klibc/bin/{sh,mount,umount,insmod,run-init,sleep} tree/bin/
  ln -s . tree/usr
  cp -aL /usr/lib/klibc-*.so tree/lib/
  install -m 0755 machine-init.sh tree/init
  : >tree/modules/order
  while read -r word path _; do
    [ "$word" = insmod ] || continue
    case $path in
    *.xz) xz -dc "$path" >"tree/modules/$(basename "$path" .xz)" ;;
    *.zst) zstd -qdc "$path" >"tree/modules/$(basename "$path" .zst)" ;;
    *) cp "$path" tree/modules/ ;;
    esac
    path=${path##*/} path=${path%.ko*}.ko
    grep -qx "$path" tree/modules/order || echo "$path" >>tree/modules/order
  done < <(modprobe --set-version "$release" --show-depends -a virtio_pci virtio_blk ext4)
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
prepare_boot_files
install -D -m 0644 sealed /etc/machine/sealed
stop_services
remove_identity
remove_traces
sync
fstrim / || true
