#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# test.sh: run every test, and end with one line that sums them up.
#
# The host's first, then those in QEMU, then Linux on the device pack (`make judge` does more). One
# failing does not keep the others from running.
# `make test` builds the kernel and the card before.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p out
log=out/test.log
: >"$log"

broken=0
run() {
  printf '\n== %s\n' "$*"
  "$@" 2>&1 | tee -a "$log" || broken=1
}
run cargo test -q --no-fail-fast -p sync -p drivers -p bsp -p tools -p genet-model -p soc-model -p station --features sync/host
run cargo test -q --no-fail-fast --lib -p kernel -p qemu-tests
run cargo test --no-fail-fast -p qemu-tests --test qemu -- "$@"
if [ $# = 0 ]; then # all tests, not some by name
  run tools/setup.sh judge
  run target/debug/judge --short --only network
fi

echo
awk -v broken="$broken" '
  /^test result:/ { passed += $4; failed += $6 }
  /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 } # the judge
  END {
    if (broken && !failed) { failed = 1; print "a test program did not build or died: see above" }
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0
  }' "$log"
