#!/bin/sh
# Run by cloud-init at each boot: hands over to what the seed disk brings.
set -eux
export LIMA_CIDATA_MNT=/mnt/lima-cidata
mkdir -p "$LIMA_CIDATA_MNT"
chmod 700 "$LIMA_CIDATA_MNT"
mount -o ro,mode=0700,dmode=0700,overriderockperm,exec,uid=0 /dev/disk/by-label/cidata "$LIMA_CIDATA_MNT"
exec "$LIMA_CIDATA_MNT"/boot.sh
