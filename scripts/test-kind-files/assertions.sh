# shellcheck shell=bash
# What must hold on a node that svcplane serves. Whoever sources this says how a node is reached:
#   svcplane_on NODE ARG...   runs svcplane there
#   ipvsadm_on NODE ARG...    runs ipvsadm there
#   ask_from NODE URL         prints what an HTTP server answers a client there

# Runs a check until it holds; shows what it has said the last time where it never does.
eventually() {
  local seconds=$1 deadline said
  shift
  deadline=$((SECONDS + seconds))
  until said=$("$@" 2>&1); do
    if ((SECONDS >= deadline)); then
      echo "not after $seconds s: $*" >&2
      echo "$said" >&2
      return 1
    fi
    sleep 1
  done
}

# The kernel's table is what svcplane says it is, and is not empty. Usage: same_table NODE
same_table() {
  local ours theirs
  ours=$(svcplane_on "$1" snapshot --observed -o ipvsadm-save | LC_ALL=C sort) || return 1
  theirs=$(ipvsadm_on "$1" -Sn | LC_ALL=C sort) || return 1
  [[ -n $theirs ]] || { echo "no virtual server on $1"; return 1; }
  diff <(echo "$ours") <(echo "$theirs")
}

# Of three answers for each name, every name has given one, and nobody else has.
# Usage: answered_by NODE URL NAME...
answered_by() {
  local node=$1 url=$2 answers='' answer count
  shift 2
  for ((count = 0; count < 3 * $#; count++)); do
    answer=$(ask_from "$node" "$url") || { echo "no answer of $url on $node"; return 1; }
    answers+=$answer$'\n'
  done
  diff <(printf '%s\n' "$@" | LC_ALL=C sort) <(printf '%s' "$answers" | LC_ALL=C sort --unique)
}

# Nothing new is sent there: it is gone, or drains. Usage: unused NODE ADDRESS
unused() {
  local table
  table=$(ipvsadm_on "$1" -Sn) || return 1
  ! grep -F -- "-r $2:" <<<"$table" | grep -v -- '-w 0$'
}

# How many connections to it IPVS knows. Usage: connections_to NODE ADDRESS:PORT
connections_to() {
  local all
  all=$(ipvsadm_on "$1" -Lnc) || return 1
  grep -cF -- " $2 " <<<"$all" || true
}

# A connection that the node itself makes goes past IPVS where svcplane says that it serves sockets, else through it.
# Usage: balanced_as_said NODE ADDRESS:PORT
balanced_as_said() {
  local says before after way=through
  says=$(svcplane_on "$1" status | grep '^sockets ') || { echo "no word of sockets on $1"; return 1; }
  [[ $says != *' frontends served, '* ]] || way=past
  before=$(connections_to "$1" "$2") || return 1
  ask_from "$1" "http://$2" >/dev/null || { echo "no answer of $2 on $1"; return 1; }
  after=$(connections_to "$1" "$2") || return 1
  if [[ $way == past ]]; then ((after == before)); else ((after > before)); fi ||
    { echo "not $way IPVS, which knew $before connections, and then $after: $says"; return 1; }
}
