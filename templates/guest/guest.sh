# shellcheck shell=bash
# What every machine has, whatever its profiles: our helpers, quiet apt, a user session that outlives a login.
install -D -m 0755 session.sh /usr/local/lib/machine/session
install -D -m 0755 reclaim.sh /usr/local/lib/machine/reclaim
install -m 0755 secrets.pl /usr/local/lib/machine/secrets
install -m 0755 git-credential.sh /usr/local/lib/machine/git-credential
install -m 0644 direnv.sh /usr/local/lib/machine/direnv.sh
install -m 0644 machine-reclaim.service machine-reclaim.timer /etc/systemd/system/
systemctl enable --now machine-reclaim.timer

cat >/etc/apt/apt.conf.d/90-machine <<'APT'
Acquire::Retries "3";
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
DPkg::Lock::Timeout "600";
APT

# Lima leaves this out in plain mode, and sudo then waits for a name server.
name=$(hostname)
grep -qw -- "$name" /etc/hosts || echo "127.0.1.1 $name" >>/etc/hosts

loginctl enable-linger dev

# Exported secrets reach every session by way of ~/.ssh/environment, a link into their memory file system.
echo 'PermitUserEnvironment yes' >/etc/ssh/sshd_config.d/30-machine-secrets.conf
systemctl reload ssh.service
as_dev mkdir -p /home/dev/.config/direnv/lib
as_dev ln -sfn /usr/local/lib/machine/direnv.sh /home/dev/.config/direnv/lib/machine.sh
