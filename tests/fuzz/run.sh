#!/usr/bin/env bash
# run.sh NAME PROGRAM FOLDER: fuzzes for TESSERA_FUZZ_SECONDS (60 by default) with at most 1 GB of memory and 10 s an input.
# What was learnt stays in FOLDER/corpus/NAME, a failing input in FOLDER/NAME-*. Fails on any finding, and when no input was run.
set -uo pipefail
name="$1" program="$2" folder="$3"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
corpus="$folder/corpus/$name"
mkdir -p "$corpus"
folders=("$corpus")
[[ -d "$here/seeds/$name" ]] && folders+=("$here/seeds/$name")
dictionary=()
[[ -f "$here/seeds/$name.dict" ]] && dictionary=("-dict=$here/seeds/$name.dict")
log="$folder/$name.log"
"$program" -max_total_time="${TESSERA_FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$folder/$name-" \
  "${dictionary[@]}" "${folders[@]}" >"$log" 2>&1
status=$?
runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
if [[ $status -ne 0 ]]; then tail -n 60 "$log"; fi
echo "$name: ${runs:-0} inputs in ${TESSERA_FUZZ_SECONDS:-60} s, status $status"
[[ $status -eq 0 && ${runs:-0} -gt 0 ]]
