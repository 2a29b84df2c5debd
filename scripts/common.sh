# Shared by scripts/test, scripts/demo and .ci/run: steps with a header and their time, and the release build.
# shellcheck shell=bash
jobs="$(nproc)"
export NINJA_STATUS="[%f/%t %es] "

# step TITLE COMMAND...: a header, the command, its time; the command's exit status.
step() {
  local title="$1" start="$SECONDS" status=0
  shift
  printf '\n== %s\n' "$title"
  "$@" </dev/null || status=$?
  if [[ $status -eq 0 ]]; then
    printf -- '-- %s: done in %d s\n' "$title" $((SECONDS - start))
  else
    printf -- '-- %s: FAILED with status %d after %d s\n' "$title" "$status" $((SECONDS - start))
  fi
  return "$status"
}

# configure PRESET OPTION...: quiet when all is well.
configure() {
  local preset="$1" log
  shift
  log="$(mktemp)"
  if cmake --preset "$preset" "$@" >"$log" 2>&1; then
    tail -n 1 "$log"
  else
    cat "$log"
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# Warnings are errors with the compilers that the project is kept clean for, and in CI; a newer compiler's new warnings stop nobody.
werror() {
  if [[ -n "${CI:-}" || "$(c++ -dumpversion 2>/dev/null | cut -d. -f1)" == 12 ]]; then echo ON; else echo OFF; fi
}
configure_release() { configure release "-DTESSERA_WERROR=$(werror)"; }

build() {
  local preset="$1"
  shift
  cmake --build "build/$preset" -j "$jobs" -- "$@"
}

# run_tests PRESET CTEST-OPTION...: every test; the results in build/PRESET/junit.xml, the full log beside it.
run_tests() {
  local preset="$1" show=(--quiet) status=0
  shift
  if [[ -t 1 ]]; then show=(--progress); fi
  rm -f "build/$preset/junit.xml"
  ctest --preset "$preset" -j "$jobs" "${show[@]}" --output-log "build/$preset/ctest.log" --output-junit "$PWD/build/$preset/junit.xml" "$@" || status=$?
  python3 tools/test_summary.py --failed "build/$preset/junit.xml" || true
  return "$status"
}
