# shellcheck shell=bash
# The environment of sessions, and the proxy, where there is one, of services and of sudo.
install -D -m 0644 env.sh /etc/machine/env.sh
ln -sfn /etc/machine/env.sh /etc/profile.d/zz-machine.sh
install -D -m 0644 env.fish /etc/fish/conf.d/zz-machine.fish
install -m 0644 sshd.conf /etc/ssh/sshd_config.d/20-machine-environment.conf
sshd -t
systemctl reload ssh.service

system=/etc/systemd/system.conf.d/20-machine-proxy.conf
user=/etc/systemd/user.conf.d/20-machine-proxy.conf
sudo=/etc/sudoers.d/20-machine-proxy
before=$system
[ -e "$before" ] || before=/dev/null
# Without a proxy these files are empty.
if ! cmp -s proxy.conf "$before"; then
  if [ -s proxy.conf ]; then
    install -D -m 0644 proxy.conf "$system"
    install -D -m 0644 proxy.conf "$user"
    install -D -m 0440 proxy.sudoers "$sudo"
  else
    rm -f "$system" "$user" "$sudo"
  fi
  # Docker fetches images itself, with the variables that it was started with.
  systemctl daemon-reload
  ! systemctl -q is-active docker.service || systemctl restart docker.service
  if [ -S /run/user/1000/systemd/private ]; then
    as_dev systemctl --user daemon-reload
    as_dev bash -c '! systemctl -q --user is-active docker-rootless.service || systemctl --user restart docker-rootless.service'
  fi
fi
