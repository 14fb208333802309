#!/bin/bash
# Runs one step of provisioning, unless an earlier boot has done it: `step NAME STAMP`, its script on standard input.
# Lima runs all steps at every boot and goes on when one fails; those behind a failed one could only fail, too.
set -u
name=$1 stamp=$2
[ ! -e /run/machine/failed ] || exit 0
[ ! -e "/var/lib/machine/steps/$stamp" ] || exit 0
printf 'machine: %s\n' "$name" | tee -a /var/log/machine-steps.log

# A unit of its own keeps the boot's environment out, and ends what a step leaves running.
output=$(mktemp /run/machine/output.XXXXXX)
systemd-run --quiet --wait --pipe --collect --unit="machine-step-${stamp//./-}" -p KillMode=control-group \
  -p TimeoutStopSec=3 -p RuntimeMaxSec=7200 /bin/bash -s 2>&1 | tee -a "$output" /var/log/machine-steps.log
status=${PIPESTATUS[0]}

: >/run/machine/changed
if [ "$status" != 0 ]; then
  { echo "the step \`$name\` failed with code $status, its last lines were:" && tail -n 20 "$output"; } >/run/machine/failed
fi
rm -f "$output"
exit "$status"
