# shellcheck shell=bash
# Fails when the login user could become root, by something that a profile has brought.
refuse() {
  echo "isolation = \"strict\" does not hold: $*" >&2
  exit 1
}

! as_dev sudo -n true 2>/dev/null || refuse 'the login user may use sudo'
for group in $(id -nG dev); do
  case $group in
  disk | docker | incus | incus-admin | kmem | libvirt | lxd | root | shadow | sudo | wheel)
    refuse "the login user is in the group $group, which is as good as root"
    ;;
  esac
done
case $(getent shadow dev) in
dev:[!!*]*) refuse 'the login user has a password' ;;
esac
for path in /run/docker.sock /run/containerd/containerd.sock /etc/machine /etc/machine/root_keys /etc/sudoers.d /usr/local/bin; do
  ! as_dev test -w "$path" || refuse "the login user may write to $path"
done
