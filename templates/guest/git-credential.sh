#!/bin/bash
# Answers git with a secret as the password for a host of the project's repositories. Its words are: the secret's name,
# and what git wants. It knows nothing else, and keeps nothing.
[ "$2" = get ] || exit 0
file=/run/secrets/$1
if [ -r "$file" ]; then
  printf 'password=%s\n' "$(<"$file")"
else
  echo "machine: the secret $1 is not in /run/secrets; on the host: machine secrets" >&2
fi
