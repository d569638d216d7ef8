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

# Sets who to the names that answer. One curl asks all, for starting one takes a second where the processor is
# emulated; the servers close each connection, so that each request is balanced anew.
ask_times() { # node|NAMESPACE URL COUNT
  local from=() urls i
  [[ $1 == node ]] || from=(ip netns exec "$1")
  for ((i = 0; i < $3; i++)); do urls[i]=$2; done
  mapfile -t who < <("${from[@]}" curl --silent --max-time 5 "${urls[@]}")
}

# Asks once per name; each of them must answer once, in whatever order.
ask() { # node|NAMESPACE URL NAME...
  local ok=yes who name
  ask_times "$1" "$2" $(($# - 2))
  ((${#who[@]} == $# - 2)) || ok=no
  for name in "${@:3}"; do [[ " ${who[*]} " == *" $name "* ]] || ok=no; done
  verdict "$ok" "$(printf '%-8s %-28s %s' "$1" "$2" "${who[*]:-nobody}")" "${*:3}"
}

# Asks four times; whoever answers first must answer always.
ask_same() { # node|NAMESPACE URL
  local ok=no who
  ask_times "$1" "$2" 4
  [[ -z ${who[*]} || ${who[*]} != "${who[0]} ${who[0]} ${who[0]} ${who[0]}" ]] || ok=yes
  verdict "$ok" "$(printf '%-8s %-28s %s' "$1" "$2" "${who[*]:-nobody}")" 'four times the same'
}
