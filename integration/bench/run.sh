#!/usr/bin/env bash
# run.sh: the same measurements on a plain directory, on a plain FUSE file system over such a directory, and on a
# three-peer dfs, one after the other on the same disk; then a table with the ratios.
#
#   make bench [ONLY=seq,meta] [BENCH_DIR=/var/tmp] [CAP=6]
#
# Needs root, fio, jq, git, go and /dev/fuse. Everything is in one directory below BENCH_DIR and removed at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
only=${ONLY:-seq,rand,small,meta,tree} cap=${CAP:-6}
for tool in fio jq git go; do
  command -v "$tool" >/dev/null || { echo "bench: $tool is missing" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "bench: needs root, to drop the kernel's caches" >&2; exit 1; }
[ -w /dev/fuse ] || { echo "bench: /dev/fuse cannot be opened" >&2; exit 1; }

work=$(mktemp -d "${BENCH_DIR:-/var/tmp}/dfs-bench.XXXXXX")
loopback= dev=
finish() {
  [ -z "$dev" ] || { kill -INT "$dev" && wait "$dev"; } 2>/dev/null || true
  umount -l "$work/loopback" 2>/dev/null || true
  [ -z "$loopback" ] || { kill "$loopback" && wait "$loopback"; } 2>/dev/null || true
  for m in "$work"/run/*/mnt; do ! mountpoint -q "$m" || umount -l "$m"; done
  rm -rf "$work"
}
trap finish EXIT

until_mounted() { # DIR PID
  for _ in $(seq 300); do
    mountpoint -q "$1" && return
    kill -0 "$2" 2>/dev/null || break
    sleep 0.2
  done
  echo "bench: $1 was not mounted" >&2
  exit 1
}
measure() { "$here/bench.sh" --only "$only" --cap "$cap" "$@" >> "$work/figures"; }

mkdir "$work/plain" "$work/behind" "$work/loopback"
fs=$(stat -f -c %T "$work")
echo "1 of 3: $fs (a plain directory)" >&2
measure "$work/plain" plain

echo "2 of 3: loopback (FUSE over a plain directory)" >&2
(cd "$top" && CGO_ENABLED=0 go build -o "$work/loopback.bin" github.com/hanwen/go-fuse/v2/example/loopback)
"$work/loopback.bin" -q "$work/loopback" "$work/behind" >"$work/loopback.log" 2>&1 &
loopback=$!
until_mounted "$work/loopback" "$loopback"
measure --pids "echo $loopback" "$work/loopback" loopback

echo "3 of 3: dfs (three peers on this machine)" >&2
"$top/bin/dfsd" dev --peers 3 --dir "$work/run" >"$work/dev.log" 2>&1 &
dev=$!
until_mounted "$work/run/1/mnt" "$dev"
"$top/bin/dfsctl" wait healthy --data "$work/run/1/data" --timeout 60s >/dev/null || { cat "$work/dev.log" >&2; exit 1; }
measure --pids "cat $work/run/*/data/*.lock" --disk "du -s -B1 $work/run/*/data | awk '{s+=\$1} END {print s}'" "$work/run/1/mnt" dfs

jq -r '[.label, .name, .value, .unit] | @tsv' "$work/figures" | awk -F '\t' -v fs="$fs" '
  !($2 in unit) { order[++n] = $2; unit[$2] = $4 }
  { value[$2, $1] = $3 }
  function cell(v) { return v == "" ? "-" : v }
  # How many times as good dfs is: rates count upwards, times and sizes downwards.
  function ratio(name, other,   a, b) {
    a = value[name, "dfs"]; b = value[name, other]
    if (a == "" || b == "" || a + 0 == 0 || b + 0 == 0) return "-"
    return sprintf("%.2f", unit[name] ~ /\/s$/ ? a / b : b / a)
  }
  END {
    printf "%-32s %-8s %12s %12s %12s %10s %12s\n", "figure", "unit", fs, "loopback", "dfs", "dfs:plain", "dfs:loopback"
    for (i = 1; i <= n; i++) {
      f = order[i]
      printf "%-32s %-8s %12s %12s %12s %10s %12s\n", f, unit[f], cell(value[f, "plain"]), cell(value[f, "loopback"]), cell(value[f, "dfs"]), ratio(f, "plain"), ratio(f, "loopback")
    }
    print "Ratios: above 1 dfs is better. Three peers share this machine'"'"'s processors and its disk."
  }'
