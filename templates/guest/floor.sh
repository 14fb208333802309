# shellcheck shell=bash
# Keeps this machine from its host and from the networks around: rules that every boot loads before the network is up.
if ! command -v nft >/dev/null; then
  apt-get -q update
  apt-get -q -y install --no-install-recommends -- nftables
fi
# Lima says which address answers for names; under QEMU it is not the host's.
resolver=$(sed -n 's/^LIMA_CIDATA_SLIRP_DNS=\([0-9.]*\)$/\1/p' /mnt/lima-cidata/lima.env)
sed -i "s/RESOLVER/${resolver:-192.168.5.3}/" floor.nft
nft --check --file floor.nft
install -D -m 0644 floor.nft /etc/machine/floor.nft
if ! cmp -s machine-floor.service /etc/systemd/system/machine-floor.service; then
  install -m 0644 machine-floor.service /etc/systemd/system/
  systemctl -q enable machine-floor.service
fi
nft --file /etc/machine/floor.nft
