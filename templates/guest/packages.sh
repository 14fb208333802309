# shellcheck shell=bash
# Prints what is installed, one line a package: where it is from, its name, its version. Runs as the login user.
dpkg-query --show --showformat='apt ${Package} ${Version}\n'
# shellcheck source=/dev/null
[ ! -f /etc/machine/env.sh ] || . /etc/machine/env.sh
PATH=$HOME/.local/bin:$PATH
for manifest in ~/.local/lib/node_modules/{*,@*/*}/package.json; do
  [ ! -f "$manifest" ] || jq -r '"npm \(.name) \(.version)"' "$manifest" 2>/dev/null || true
done
if command -v uv >/dev/null; then
  uv tool list 2>/dev/null | sed -n 's/^\([a-z0-9._-]*\) v\(.*\)$/uv \1 \2/p'
fi
exit 0
