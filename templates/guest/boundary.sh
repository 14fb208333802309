# shellcheck shell=bash disable=SC2154 # What is not set here stands in front of it: mark, user_word, root_word, dns,
# targets, and the two programs reach and listen.
# Says what of the host this guest can see and reach. Changes nothing: the network of its own that root tries from ends
# with the program in it.
set -u
{
  echo "$mark"
  printf 'escape \033]52;c;bWFjaGluZQ==\a\033[31m\n'
  echo "account $(getent passwd "$(id -u)")"
  echo "hostname $(cat /proc/sys/kernel/hostname)"
  findmnt --raw --noheadings --output FSTYPE,TARGET | sed 's/^/mount /'
  variables=$(env -0 | cat - /etc/environment | base64 --wrap=0)
  echo "variables $variables"

  # sshd names the socket to every session of a connection over which one session was lent it.
  readlink -e -- "${SSH_AUTH_SOCK-}" ~/.ssh/agent.sock ~/.ssh/agent/* /tmp/ssh-*/agent.* 2>/dev/null | sort -u | while read -r socket; do
    # An agent without a key and a forwarded socket that nobody serves both end with 1; only the first one says so.
    said=$(SSH_AUTH_SOCK=$socket LC_ALL=C timeout 5 ssh-add -l 2>&1) && said=keys
    case $said in
    keys | 'The agent has no identities.') echo 'agent answers' ;;
    *) echo 'agent dead' ;;
    esac
  done

  # How secrets lie there; of what they are nothing is said.
  # Before a sleep all of it goes but the empty folder.
  if mountpoint -q /run/secrets || [ -n "$(find -H /run/secrets -mindepth 1 -print -quit 2>/dev/null)" ]; then
    kind=$(findmnt --raw --noheadings --output FSTYPE,OPTIONS --mountpoint /run/secrets | tail -n 1)
    others=unknown
    if sudo -n -u nobody test -x / 2>/dev/null; then
      others=closed
      ! sudo -n -u nobody test -x /run/secrets || others=open
    fi
    count=$(find /run/secrets -type f -not -name '.*' 2>/dev/null | wc -l)
    swaps=$(tail -n +2 /proc/swaps | wc -l)
    echo "secrets ${kind:-none -} $(stat -c '%a %U' /run/secrets) $count $others $swaps"
  else
    echo 'secrets'
  fi

  perl -e "$listen" "$user_word" 2>/dev/null
  # shellcheck disable=SC2086 # One word a target.
  perl -e "$reach" "$user_word" control,127.0.0.1,22,0 "DNS,$dns" $targets 2>/dev/null

  # What would make the login user as good as root.
  ! sudo -n true 2>/dev/null || echo 'way sudo'
  [ ! -w /run/docker.sock ] || echo 'way the socket of Docker'
  [ ! -w /etc/machine/floor.nft ] || echo "way the floor's file"
  [ ! -r /etc/machine/ssh_host_ed25519_key ] || echo "way sshd's key"
  ! nft list table inet machine_floor >/dev/null 2>&1 || echo "way the floor's rules"

  # Rules inside the guest count for its own network only; whoever is root can leave that for another one on the same wire.
  if sudo -n true 2>/dev/null; then
    echo root
    wire=$(ip -4 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
    # shellcheck disable=SC2016,SC2086 # The inner shell expands it; one word a target.
    timeout 30 sudo -n unshare --net bash -c '
  nsenter --target 1 --net ip link add link "$1" name past0 netns $$ type macvlan mode bridge || exit
  ip address add 192.168.5.99/24 dev past0
  ip address add fec0::99/64 dev past0 nodad
  ip link set past0 up
  ip route add default via 192.168.5.2
  ip route add default via fec0::2
  shift
  exec perl -e "$@"
' bash "$wire" "$reach" "$root_word" "DNS,$dns" $targets 2>/dev/null | sed 's/^tried /past /'
  fi
  echo "$mark"
} </dev/null
