# shellcheck shell=bash
# How the demo shows and checks things. Sourced by story.sh.
# shellcheck disable=SC2034 # good, bad, plain, failures and checks are used there, too

heading='' good='' bad='' faint='' plain=''
if [[ ${SVCPLANE_DEMO_COLOUR:-} == yes ]]; then
  heading=$'\e[1;36m' good=$'\e[32m' bad=$'\e[1;31m' faint=$'\e[2m' plain=$'\e[0m'
fi
steps=0 checks=0 failures=0 code=0
output=/run/demo-output

title() { # TEXT
  steps=$((steps + 1))
  printf '\n%s== %d. %s ==%s\n\n' "$heading" "$steps" "$1" "$plain"
}

# As svcplane colours a plan on a terminal.
paint() {
  if [[ -z $plain ]]; then cat; else
    sed $'s/^+ .*/\e[32m&\e[0m/; s/^~ .*/\e[33m&\e[0m/; s/^- .*/\e[31m&\e[0m/; s/^\\(rejected\\|warning\\):/\e[1m&\e[0m/'
  fi
}

# Shows a command line, runs it, and shows what it prints. Leaves the exit code in code, the output in $output.
show() { # COMMAND
  printf '%s$ %s%s\n' "$faint" "$1" "$plain"
  bash -o pipefail -c "$1" >"$output" 2>&1
  code=$?
  paint <"$output"
}

verdict() { # yes|no TEXT EXPECTATION
  checks=$((checks + 1))
  if [[ $1 == yes ]]; then
    printf '  %s✓%s %s\n' "$good" "$plain" "$2"
  else
    failures=$((failures + 1))
    printf '  %s✗ %s (expected: %s)%s\n' "$bad" "$2" "$3" "$plain"
  fi
}

expect_code() { # CODE MEANING
  local ok=no
  ((code != $1)) || ok=yes
  verdict "$ok" "exit code $code: $2" "exit code $1"
}

expect_output() { # PATTERN TEXT
  local ok=no
  ! grep -qE -- "$1" "$output" || ok=yes
  verdict "$ok" "$2" "a line with $1"
}

expect_no_output() { # PATTERN TEXT
  local ok=yes
  ! grep -qE -- "$1" "$output" || ok=no
  verdict "$ok" "$2" "no line with $1"
}

# Sets curl to the command of a client; a namespace may say by which of its addresses.
client() { # node|NAMESPACE[@ADDRESS]
  local namespace=${1%@*}
  curl=(curl --silent)
  [[ $1 != *@* ]] || curl+=(--interface "${1#*@}")
  [[ $namespace == node ]] || curl=(ip netns exec "$namespace" "${curl[@]}")
}

# Sets who to the answers. One curl asks all, for starting one takes a second where the processor is emulated; the
# servers close each connection, so that each request is balanced anew.
ask_times() { # CLIENT URL COUNT
  local curl urls i
  client "$1"
  for ((i = 0; i < $3; i++)); do urls[i]=$2; done
  mapfile -t who < <("${curl[@]}" --max-time 5 "${urls[@]}")
}

answered() { # yes|no CLIENT URL ANSWER EXPECTATION
  local address=${2#*@}
  [[ $2 == *@* ]] || address=''
  verdict "$1" "$(printf '%-8s %-27s %s' "${2%@*}" "$3" "$4${address:+ to $address}")" "$5"
}

# Asks once per name; each of them must answer once, in whatever order.
ask() { # CLIENT URL NAME...
  local ok=yes who name
  ask_times "$1" "$2" $(($# - 2))
  ((${#who[@]} == $# - 2)) || ok=no
  for name in "${@:3}"; do [[ " ${who[*]} " == *" $name "* ]] || ok=no; done
  answered "$ok" "$1" "$2" "${who[*]:-nobody}" "${*:3}"
}

# Asks four times; whoever answers first must answer always.
ask_same() { # CLIENT URL
  local ok=no who
  ask_times "$1" "$2" 4
  [[ -z ${who[*]} || ${who[*]} != "${who[0]} ${who[0]} ${who[0]} ${who[0]}" ]] || ok=yes
  answered "$ok" "$1" "$2" "${who[*]:-nobody}" 'four times the same'
}

# Asks the server which client address it sees.
ask_source() { # CLIENT FRONTEND ADDRESS
  local ok=no who
  ask_times "$1" "$2/cgi-bin/source" 1
  [[ ${who[*]} != "$3" ]] || ok=yes
  answered "$ok" "$1" "$2/" "seen as ${who[*]:-nobody}" "$3"
}

# Asks, and must be refused: neither an answer nor silence.
ask_refused() { # CLIENT URL
  local curl ok=no code=0 seconds
  client "$1"
  seconds=$("${curl[@]}" --max-time 20 --output /dev/null --write-out '%{time_total}' "$2") || code=$?
  ((code != 7)) || ok=yes
  answered "$ok" "$1" "$2" "$(if ((code == 7)); then echo refused; else echo "curl's exit code $code"; fi) after $seconds s" refused
}

# Asks, and must get neither an answer nor a refusal.
ask_in_vain() { # CLIENT URL
  local curl ok=no code=0
  client "$1"
  "${curl[@]}" --connect-timeout 4 --output /dev/null "$2" || code=$?
  ((code != 28)) || ok=yes
  answered "$ok" "$1" "$2" "$(if ((code == 28)); then echo no answer; else echo "curl's exit code $code"; fi)" 'no answer'
}
