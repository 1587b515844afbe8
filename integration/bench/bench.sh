#!/usr/bin/env bash
# bench.sh: what a user of a file system sees. Prints one JSON line per figure.
#
#   bench.sh [options] DIR LABEL
#     --remount CMD   unmounts and mounts DIR's file system again, for cold reads (else only kernel caches are dropped)
#     --pids CMD      prints the ids of the system's processes (for CPU seconds and peak memory)
#     --disk CMD      prints the bytes that the system's stores take on disk
#     --only LIST     sections, of seq,rand,small,meta,tree
#     --cap SECONDS   upper bound of one metadata phase (default 6)
#
# Needs root (drop_caches), fio, git, go, jq. Works in DIR/bench.$$ and removes that at the end.
set -u
here=$(cd "$(dirname "$0")" && pwd)
remount= pidcmd= diskcmd= only=seq,rand,small,meta,tree cap=6
while [ $# -gt 2 ]; do
  case $1 in
    --remount) remount=$2; shift 2;;
    --pids) pidcmd=$2; shift 2;;
    --disk) diskcmd=$2; shift 2;;
    --only) only=$2; shift 2;;
    --cap) cap=$2; shift 2;;
    *) echo "unknown option $1" >&2; exit 2;;
  esac
done
case $cap in *[!0-9]*|"") echo "--cap takes whole seconds" >&2; exit 2;; esac
[ $# -eq 2 ] || { sed -n 2,11p "$0" >&2; exit 2; }
mnt=$1 label=$2
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
probe=$tmp/fsprobe
(cd "$here" && CGO_ENABLED=0 go build -o "$probe" ./fsprobe) || exit 1
goroot=$(go env GOROOT)
w=$mnt/bench.$$
mkdir -p "$w" || exit 1

out() { printf '{"label":"%s","name":"%s","value":%s,"unit":"%s"}\n' "$label" "$1" "$2" "$3"; }
relay() { # reads "name value unit" lines, adds a prefix/suffix to the name
  while read -r n v u; do out "$1$n$2" "$v" "$u"; done; }
now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.3f", $1-$2}'; }
timed() { # name cmd...
  local n=$1 t; shift; t=$(now)
  "$@" || { echo "bench: $n failed (rc $?)" >&2; out "${n}_failed" 1 flag; }
  out "$n" "$(since "$t")" s; }
snap() { # per-pid CPU seconds and peak RSS, latest value per pid
  [ -n "$pidcmd" ] || return 0
  local p hz; hz=$(getconf CLK_TCK)
  for p in $(bash -c "$pidcmd"); do
    [ -r /proc/$p/stat ] || continue
    awk -v hz="$hz" '{sub(/^.*\) /,""); print ($12+$13)/hz}' /proc/$p/stat > "$tmp/cpu.$p"
    [ -e "$tmp/cpu0.$p" ] || { if [ "${1:-}" = first ]; then cp "$tmp/cpu.$p" "$tmp/cpu0.$p"; else echo 0 > "$tmp/cpu0.$p"; fi; }
    awk '/^VmHWM/{print $2/1024}' /proc/$p/status
    [ "${1:-}" = first ] && echo 5 > /proc/$p/clear_refs 2>/dev/null
  done > "$tmp/rss.now"
  awk '{s+=$1}END{printf "%.1f\n", s}' "$tmp/rss.now" >> "$tmp/rss.all"; }   # the peak is the largest sum seen
cpusum() { cat "$tmp"/cpu.* 2>/dev/null | awk '{s+=$1}END{printf "%.2f", s}'; }
cold() { # drop every cache we can
  snap; sync; echo 3 > /proc/sys/vm/drop_caches 2>/dev/null
  if [ -n "$remount" ]; then (cd / && bash -c "$remount") >/dev/null 2>&1 || echo "bench: remount failed" >&2; snap; fi
  echo 3 > /proc/sys/vm/drop_caches 2>/dev/null; }
sect_begin() { snap; c0=$(cpusum); }
sect_end() { snap; [ -n "$pidcmd" ] && out "cpu_$1" "$(echo "$(cpusum) $c0" | awk '{printf "%.2f",$1-$2}')" s; }
want() { case ",$only," in *",$1,"*) return 0;; esac; return 1; }
fio_() { # name, fio args... ; prints iops and p99 latency
  local n=$1; shift
  fio --name=j --ioengine=psync --group_reporting --output-format=json --randrepeat=1 --fallocate=none \
    --eta=never "$@" > "$tmp/fio.json" 2> "$tmp/fio.err" || { echo "bench: fio $n failed: $(head -c 300 "$tmp/fio.err")" >&2; out "${n}_failed" 1 flag; return; }
  # iops is computed as completed ios over job runtime, which includes a final fsync
  sed -n '/^{/,$p' "$tmp/fio.json" | jq -r '.jobs[0] | (if .read.total_ios>0 then .read else .write end) |
    "iops \(.total_ios*1000/(if .runtime>0 then .runtime else 1 end)|floor) op/s\nlat_p99 \(((.clat_ns.percentile["99.000000"] // 0)/1000)|floor) us"' | relay "${n}_" ""
}

hostcpu() { awk -v hz="$(getconf CLK_TCK)" '/^cpu /{print ($2+$3+$4+$7+$8)/hz}' /proc/stat; }
snap first
t_all=$(now) h_all=$(hostcpu)

if want seq; then
  sect_begin
  "$probe" seqwrite "$w/seq" 1024 | relay "" _1m
  [ -n "$diskcmd" ] && { sync; out disk_bytes_after_1g "$(bash -c "$diskcmd")" bytes; }
  cold
  "$probe" seqread "$w/seq" | relay "" _cold
  "$probe" seqread "$w/seq" | relay "" _warm
  rm -f "$w/seq"
  sect_end seq
fi

if want rand; then
  sect_begin
  "$probe" seqwrite "$w/rnd" 256 >/dev/null
  cold
  fio_ randread4k_j1 --filename="$w/rnd" --rw=randread --bs=4k --size=256M --runtime=3
  cold
  fio_ randread4k_j8 --filename="$w/rnd" --rw=randread --bs=4k --size=32M --offset_increment=32M --numjobs=8 --runtime=3
  fio_ randwrite4k_j1 --filename="$w/rnd" --rw=randwrite --bs=4k --size=256M --runtime=3 --end_fsync=1
  fio_ randwrite4k_j8 --filename="$w/rnd" --rw=randwrite --bs=4k --size=32M --offset_increment=32M --numjobs=8 --runtime=3 --end_fsync=1
  fio_ randwrite4k_fsync_j1 --filename="$w/rnd" --rw=randwrite --bs=4k --size=256M --runtime=3 --fsync=1
  fio_ randwrite4k_fsync_j8 --filename="$w/rnd" --rw=randwrite --bs=4k --size=32M --offset_increment=32M --numjobs=8 --runtime=3 --fsync=1
  rm -f "$w/rnd"
  sect_end rand
fi

if want small; then
  sect_begin
  "$probe" seqsmall "$w/small" 256 512 10 | relay "" _512
  "$probe" seqwrite "$w/s2" 64 >/dev/null
  cold
  fio_ randread512_j1 --filename="$w/s2" --rw=randread --bs=512 --size=64M --runtime=3
  fio_ randwrite512_j1 --filename="$w/s2" --rw=randwrite --bs=512 --size=64M --runtime=3 --end_fsync=1
  rm -f "$w/small" "$w/s2"
  sect_end small
fi

if want meta; then
  sect_begin
  for t in 1 8; do
    "$probe" meta "$w/m0_$t" 10000 $t 0 "$cap" | relay "" ""
    "$probe" meta "$w/m4_$t" 10000 $t 4096 "$cap" | relay "" ""
  done
  "$probe" dirs "$w/dirs" 2000 "$cap" | relay "" ""
  "$probe" hot "$w/hot" 1000 3 | relay "" ""
  sect_end meta
fi

if want tree; then
  sect_begin
  cp -a "$goroot/src" "$tmp/srcwarm" && rm -rf "$tmp/srcwarm"   # source into page cache
  timed cp_tree cp -a "$goroot/src" "$w/src"
  timed find_warm bash -c "find '$w/src' | wc -l > '$tmp/find'"
  n=$(cat "$tmp/find"); m=$(find "$goroot/src" | wc -l)
  [ "$n" = "$m" ] || { echo "bench: find saw $n of $m" >&2; out find_mismatch $((m-n)) count; }
  cold
  timed grep_cold bash -c "grep -r 'func.*Marshal' '$w/src' | wc -l > /dev/null"
  timed tar_warm bash -c "tar c -C '$w' src | wc -c > /dev/null"
  mkdir "$w/git" && cp -a "$goroot/src/net" "$goroot/src/crypto" "$goroot/src/go" "$w/git/"
  timed git_init_add_commit bash -c "cd '$w/git' && git init -q . && git add . && git -c user.name=b -c user.email=b@b -c gc.auto=0 commit -q -m x"
  timed git_status bash -c "cd '$w/git' && git status --porcelain | wc -l >/dev/null"
  timed rm_tree rm -rf "$w/src"
  # a module of 30 small packages; the build cache is on the file system under test too
  mkdir -p "$w/mod"; printf 'module m\n\ngo 1.21\n' > "$w/mod/go.mod"
  for i in $(seq 1 30); do
    mkdir -p "$w/mod/p$i"
    for k in 1 2 3; do printf 'package p%d\n\nimport ("errors"; "strconv"; "strings")\n\nfunc F%d(n int) (string, error) { if n < 0 { return "", errors.New("neg") }; return strings.Repeat(strconv.Itoa(n), %d), nil }\n' $i $k $k > "$w/mod/p$i/f$k.go"; done
  done
  timed go_build bash -c "cd '$w/mod' && HOME='$tmp' GOFLAGS=-buildvcs=false GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 GOCACHE='$w/gocache' go build ./..."
  rm -rf "$w/git" "$w/mod"; chmod -R u+w "$w/gocache" 2>/dev/null; rm -rf "$w/gocache"
  sect_end tree
fi

snap
if [ -n "$pidcmd" ]; then
  out rss_peak_sum "$(sort -n "$tmp/rss.all" | tail -1)" MiB
  out cpu_total "$(for f in "$tmp"/cpu.*; do p=${f##*.}; echo "$(cat "$f") $(cat "$tmp/cpu0.$p" 2>/dev/null || echo 0)"; done | awk '{s+=$1-$2}END{printf "%.2f", s}')" s
fi
rm -rf "$w"
# CPU seconds the whole machine burnt beyond this script's own children and the system's processes:
# writeback threads of the kernel, and anybody else on a shared machine (a noise gauge)
sys=0; [ -n "$pidcmd" ] && sys=$(for f in "$tmp"/cpu.*; do p=${f##*.}; echo "$(cat "$f") $(cat "$tmp/cpu0.$p" 2>/dev/null || echo 0)"; done | awk '{s+=$1-$2}END{print s}')
mine=$(times | tail -1 | tr 'ms' '  ' | awk '{print $1*60+$2+$3*60+$4}')
out cpu_elsewhere "$(echo "$(hostcpu) $h_all $mine $sys" | awk '{printf "%.1f", $1-$2-$3-$4}')" s
out bench_wall "$(since "$t_all")" s
