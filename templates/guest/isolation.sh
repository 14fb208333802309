# shellcheck shell=bash
# The login user is no root, and nothing that could make it one is left. Lima has given it neither sudo without a password
# nor, by templates/guest/host-key.sh, a password.
install -d -m 0755 /etc/machine
# Scripts of profiles ask for this file.
: >/etc/machine/strict

# A program that only root may start is none that a hole in it would help. This outlasts upgrades, and comes before what
# is installed later.
for program in /usr/bin/sudo /usr/bin/su /usr/bin/pkexec; do
  dpkg-statoverride --list "$program" >/dev/null || dpkg-statoverride --add root root 0755 "$program"
  [ ! -e "$program" ] || chmod 0755 "$program"
done
rm -f /etc/sudoers.d/90-cloud-init-users
usermod --groups '' --password '!' dev
passwd --quiet --lock root

# Sandboxes of agents and containers without root are made of user namespaces, which Ubuntu keeps to a list of programs.
if [ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ]; then
  echo 'kernel.apparmor_restrict_unprivileged_userns = 0' >/etc/sysctl.d/60-machine-strict.conf
  sysctl --quiet --load /etc/sysctl.d/60-machine-strict.conf
fi
