# shellcheck shell=bash
# Lists the repositories of this guest, and how much of each exists nowhere else: a line for each count. Reads only.
# Runs as the login user; the line above it sets `mark`, which frames the answer.
set -u
export LC_ALL=C GIT_OPTIONAL_LOCKS=0
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
echo "${mark:?}"
cd "$HOME" || exit 1
home=$(pwd -P)

# A clone that belongs to root is looked at as well. `git status` may run a program that the repository names
# (`core.fsmonitor`): in the guest, which is where it may.
git() {
  command git -c safe.directory='*' "$@"
}

# A folder for people: from the home folder on where it lies there, and on one line.
shown() {
  local dir=$1
  [ "$dir" != "$home" ] || dir=.
  dir=${dir#"$home/"}
  printf '%s' "${dir//[[:cntrl:]]/?}"
}

# Whether an address leads back into this guest. What is a path is git's own rule: no colon before the first slash.
is_here() {
  local host
  case $1 in
  file:*) return 0 ;;
  *://*)
    host=${1#*://}
    host=${host%%/*}
    ;;
  *::*) return 1 ;;
  *:*)
    host=${1%%:*}
    case $host in */*) return 0 ;; esac
    ;;
  *) return 0 ;;
  esac
  case ${host##*@} in
  localhost | localhost:* | 127.* | '[::1]'* | "$HOSTNAME" | "$HOSTNAME":*) return 0 ;;
  esac
  return 1
}

# Whether every address of a remote, as it is configured, is that of another computer.
is_elsewhere() {
  local urls url
  urls=$(git config --get-all "remote.$1.url") || return 1
  urls+=$'\n'$(git config --get-all "remote.$1.pushurl")
  while IFS= read -r url; do
    [ -z "$url" ] || ! is_here "$url" || return 1
  done <<<"$urls"
}

# Sets `range` to the commits that no other computer is known to have: those of every branch, tag and other ref, and of
# the HEADs of all work trees. What `git maintenance` fetches ahead is another computer's.
choose_range() {
  local name
  range=(--exclude=refs/stash '--exclude=refs/prefetch/*' --all --not)
  while IFS= read -r name; do
    is_elsewhere "$name" || continue
    range+=("--remotes=$name")
    # A mirror holds what its remote has, under the same names.
    [ "$(git config --get "remote.$name.fetch")" != '+refs/*:refs/*' ] || range+=(--all)
  done <<<"$(git remote)"
}

# Stashes and commits, which all work trees of a repository share.
look_at_refs() {
  local stashed=0 unpushed
  choose_range
  # `git stash list` wants a work tree.
  if git rev-parse --verify --quiet refs/stash >/dev/null; then
    stashed=$(git rev-list --walk-reflogs --count refs/stash 2>/dev/null) || return 1
  fi
  unpushed=$(git rev-list --count "${range[@]}" 2>/dev/null) || return 1
  printf '%s\n' "stashed $stashed" "unpushed $unpushed"
  git log --no-show-signature --format='example commit %h %s' -n 3 "${range[@]}"
}

# Files, which each work tree has for itself.
look_at_files() {
  local status name all=--untracked-files=all
  # Of a home folder that is a repository, most is not meant to be in it: there its own setting counts.
  [ "$(git rev-parse --show-toplevel)" != "$home" ] || all=
  # shellcheck disable=SC2086 # One word, or none.
  status=$(git status --porcelain=v1 $all --ignore-submodules=none 2>/dev/null) || return 1
  echo "modified $(printf '%s\n' "$status" | grep -c '^[^?! ]\|^ [^ ]')"
  echo "untracked $(printf '%s\n' "$status" | grep -c '^??')"
  for name in MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD rebase-merge rebase-apply BISECT_LOG; do
    [ ! -e "$(git rev-parse --git-path "$name")" ] || echo in-progress
  done
  printf '%s\n' "$status" | head -n 3 | sed -n 's/^...\(.*\)/example \1/p'
}

# Looks at the work tree or bare repository in a folder, each once, and sets `trees` to the work trees that its repository
# has elsewhere.
declare -A seen
visit() {
  local own shared inside files='' refs=''
  trees=
  # An empty folder of that name is no repository.
  [ -z "$(find "$1/.git" -maxdepth 0 -type d -empty 2>/dev/null)" ] || return
  # A repository that is broken is not to be taken for the one around it.
  export GIT_CEILING_DIRECTORIES=${1%/*}
  if ! { cd "$1" && own=$(git rev-parse --absolute-git-dir) && inside=$(git rev-parse --is-inside-work-tree) &&
    shared=$(git rev-parse --path-format=absolute --git-common-dir); } 2>/dev/null; then
    echo "unreadable $(shown "$1")"
    return
  fi
  if [ "$inside" = true ] && [ -z "${seen["files $own"]-}" ]; then
    seen["files $own"]=1
    files=$(look_at_files) || files=unreadable
  fi
  if [ -z "${seen["refs $shared"]-}" ]; then
    seen["refs $shared"]=1
    refs=$(look_at_refs) || refs=unreadable
    trees=$(git worktree list --porcelain 2>/dev/null | sed -n 's/^worktree //p')
  fi
  case $files,$refs in
  ,) ;;
  unreadable,* | *,unreadable) echo "unreadable $(shown "$1")" ;;
  *) printf '%s\n' "repository $(shown "$1")" "$refs" "$files" ;;
  esac
}

# Where tools keep what they fetch. Hidden folders otherwise hold work as others do: agents keep work trees there.
known='.asdf .bun .bundle .cache .cargo .cocoapods .composer .conda .cursor-server .deno .dotnet .gem .goenv .gradle .hex
  .ivy2 .linuxbrew .local/lib .local/share .m2 .mix .nodenv .npm .nuget .nvm .pnpm-store .pub-cache .pyenv .rbenv .rustup
  .sbt .sdkman .swiftpm .vscode-remote .vscode-server .vscode-server-insiders .windsurf-server .yarn .zed_server go/pkg'
prune=(-name node_modules)
for folder in $known; do
  prune+=(-o -path "./$folder")
done

# A bare repository is known by three names in it. The settings that two tools keep below `.local/share` are work.
find . .local/share/chezmoi .local/share/yadm -maxdepth 12 \( "${prune[@]}" \) -prune -o -name .git -prune -print0 \
  -o -name HEAD -print0 2>/dev/null |
  while IFS= read -r -d '' found; do
    dir=$home/${found#./}
    dir=${dir%/*}
    dir=${dir%/.}
    if [ "${found##*/}" = HEAD ]; then
      [ -d "$dir/objects" ] || continue
      [ -d "$dir/refs" ] || continue
    fi
    visit "$dir"
    while IFS= read -r tree; do
      [ ! -e "$tree" ] || visit "$tree"
    done <<<"$trees"
  done
echo "$mark"
