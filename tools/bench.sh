#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# bench.sh [--short] [NAME...]: run the measurements, each with its figures in out/bench/NAME.json.
#
# Without a name, all: locks intr disk net domains. --short takes one round of a second each, some minutes in all: such
# figures are good for a look. `make bench` builds what they need and makes the page of the figures.
# One that fails does not keep the others from running.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=aarch64-unknown-none-softfloat guest=aarch64-unknown-linux-musl
out=out/bench
timed=() domains=()
if [ "${1:-}" = --short ]; then
  timed=(--seconds 1 --rounds 1)
  domains=(--seconds 2 --rounds 1)
  shift
fi
[ $# -gt 0 ] || set -- locks intr domains disk net
for name; do
  case $name in
    locks | intr | domains | disk | net) ;;
    *)
      echo "bench: no measurement \"$name\"; there are: locks intr domains disk net" >&2
      exit 1
      ;;
  esac
done
mkdir -p $out
failed=
for name; do
  echo "bench   $name ..."
  rm -f "$out/$name.json"
  json=(--json "$out/$name.json")
  case $name in
    locks)
      cargo build -q --release -p kernel --bin probes --features probes --target $target &&
        target/debug/session --icount "bench cv" >out/bench-cv.txt &&
        target/debug/bench_locks --console out/bench-cv.txt "${json[@]}" target/$target/release/probes
      ;;
    intr) target/debug/irqtrace "${json[@]}" ;;
    domains) target/debug/bench_domains "${domains[@]}" "${json[@]}" ;;
    disk)
      tools/setup.sh judge && cargo build -q --release -p linux-disk --target $guest &&
        target/debug/bench_disk "${timed[@]}" "${json[@]}"
      ;;
    net)
      tools/setup.sh judge && cargo build -q --release -p linux-net --target $guest &&
        target/debug/bench_net "${timed[@]}" "${json[@]}"
      ;;
  esac >"$out/$name.txt" 2>&1 || {
    failed="$failed $name"
    tail -n 5 "$out/$name.txt" >&2
  }
done
[ -z "$failed" ] || {
  echo "bench: failed:$failed; what they said is in $out/" >&2
  exit 1
}
