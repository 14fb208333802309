#!/bin/sh
# Run by cloud-init before the network is up: waits for an address, half a minute at most.
for _ in $(seq 30); do
  ip -4 addr show dev eth0 2>/dev/null | grep -q inet && break
  sleep 1
done
