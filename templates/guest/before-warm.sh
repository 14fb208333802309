# shellcheck shell=bash
# Brings a guest to rest that is to be a warm box: booted as far as a session needs, nothing on its way, no more of this
# boot on its disk than there has to be. Runs as root over the only connection.
set -u

# It is `degraded` as well when a unit failed that nobody waits for.
timeout 120 systemctl is-system-running --wait >/dev/null
later=$(systemctl is-active machine-later.service)
if [ "$later" != inactive ]; then
  echo "machine-later.service is $later: it is no machine that nobody used" >&2
  exit 1
fi
find /var/log -type f ! -path '/var/log/journal/*' -delete
rm -rf /var/lib/wtmpdb/*
sync
# Freezing writes the journal out, and nothing has to stay frozen for that.
fsfreeze --freeze / 2>/dev/null && fsfreeze --unfreeze /
exit 0
