#!/usr/bin/env bash
# scripts/gpu-check.sh [STAGE[:SECONDS]…]: on a machine with a GPU, in a checkout with build/gpu-check.tar.xz from scripts/gpu-pack: checks
# and measures the CUDA backend. Stages: build, smoke, test (files of TESTS, by default all), sanitize, bench-operations, bench-networks
# (workloads of ONLY, by default all); bench stands for the last two, and nothing for all stages. A stage ends within SECONDS (default
# 560), and all of them together within LIMIT seconds, where that is given. Each writes what it has found as it goes to $OUT (default
# build/gpu-results): summary.txt, log.txt, and STAGE.json. A stage that fails does not keep the others from running; without a
# usable GPU each says so. What was measured is copied to bench/results/.
# With EMULATE=1 the emulator's library (build-cuda-emulate/) takes the GPU's place, and PyTorch on the CPU ($PYTHON) its peer's: a
# rehearsal of small sizes, whose figures mean nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=${OUT:-$root/build/gpu-results}
room=$root/build/gpu
pack=build/gpu-check.tar.xz
export PYTHON=${PYTHON:-python3}
mkdir -p "$out"
: >"$out/log.txt"
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(build smoke test sanitize bench)
read -ra stages <<<"${stages[*]/%bench/bench-operations bench-networks}"

# adopt FOLDER: what was unpacked takes the place of nothing, or of what was unpacked before. Copies: what is behind a link would
# look for its package beside the link's target.
adopt() {
  if [ -e "$1" ] && [ ! -e "$1/.unpacked" ]; then return; fi
  rm -rf "$1"
  mkdir -p "$(dirname "$1")"
  cp -r "$room/$1" "$1"
  touch "$1/.unpacked"
}

unpack() {
  if [ ! -f "$pack" ] || [ "$room/.unpacked" -nt "$pack" ]; then return; fi
  rm -rf "$room"
  mkdir -p "$room"
  # Not every image has xz; Python can do without.
  tar -C "$room" -xJf "$pack" 2>/dev/null || "$PYTHON" -m tarfile -e "$pack" "$room" || return 1
  adopt dist
  adopt build/Release
  [ -e src/ops.generated.ts ] && [ ! -e dist/.unpacked ] || cp "$room"/*.generated.ts src/
  [ -e node_modules ] || ln -s "$room/node_modules" node_modules
  touch "$room/.unpacked"
}
unpack || {
  echo "gpu-check: $pack cannot be unpacked here"
  exit 1
}
node=$room/node
[ -x "$node" ] || node=$(command -v node) || {
  echo "gpu-check: neither $pack nor Node.js is here: make that file by scripts/gpu-pack where Anneal is built"
  exit 1
}
mkdir -p "$room"

# NVIDIA's libraries and headers as Python packages have them.
wheels=$("$PYTHON" -c 'import pathlib, sys
print(next((p for p in sys.path if p and pathlib.Path(p, "nvidia").is_dir()), ""))' 2>/dev/null)
libraries=$([ -z "$wheels" ] || find "$wheels/nvidia" -maxdepth 2 -name lib -type d | sort | paste -sd:)
export ANNEAL_CUDA_PATH=$root/build-cuda/libanneal_cuda.so
[ -f "$ANNEAL_CUDA_PATH" ] || ANNEAL_CUDA_PATH=$root/build/Release/libanneal_cuda.so
if [ "${EMULATE:-}" = 1 ]; then
  ANNEAL_CUDA_PATH=$root/build-cuda-emulate/libanneal_cuda.so
  export BENCH_REHEARSAL=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi
PATH=$(dirname "$node"):$PATH:${CUDA_HOME:-/usr/local/cuda}/bin

# left: seconds until the stage must have ended.
left() { echo $((end - SECONDS > 1 ? end - SECONDS : 1)); }

# within SECONDS COMMAND…: ends it, and what it has started, then.
within() { timeout --kill-after=5 "$@"; }

build() {
  if [ "${EMULATE:-}" = 1 ]; then return; fi
  if [ -f "$ANNEAL_CUDA_PATH" ] && [ "${REBUILD:-}" != 1 ]; then return; fi
  cmake -S cuda -B build-cuda -G Ninja -DANNEAL_CUDA_ARCHITECTURES="${ARCHITECTURES:-90a-real}" \
    -DANNEAL_CORE="$root/build" -DANNEAL_CUDA_WHEELS="$wheels" && within "$(left)" cmake --build build-cuda --target anneal_cuda || return 1
  ANNEAL_CUDA_PATH=$root/build-cuda/libanneal_cuda.so
}

# Seconds: whether anything works, kind of kernel by kind of kernel.
smoke() { within "$(left)" "$node" bench/cuda/smoke.cjs --json "$out/smoke.json"; }

tests() {
  local options=(--seconds="$(($(left) - 8))" --out "$out/test.json" --folder "$room/tests")
  [ "${EMULATE:-}" != 1 ] || options+=(--stall 600 --jobs 2)
  # shellcheck disable=SC2086
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} ANNEAL_TEST_DEVICE=cuda within "$(left)" "$node" scripts/gpu-tests.mjs "${options[@]}" ${TESTS:-}
}

sanitize() {
  if [ "${EMULATE:-}" = 1 ]; then
    within "$(left)" "$node" bench/cuda/smoke.cjs --json "$out/sanitize.json"
    return
  fi
  within "$(left)" "$node" scripts/gpu-sanitize.mjs --seconds="$(($(left) - 8))" --out "$out/sanitize.json"
}

# keep WHAT: the results of a real run are kept beside those of other machines.
keep() {
  local gpu
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 | tr 'A-Z ' 'a-z-')
  if [ "${EMULATE:-}" != 1 ] && [ -n "$gpu" ]; then cp "$out/bench-$1.json" "bench/results/$gpu-$1.json"; fi
}

bench-operations() {
  local repeats=5
  [ "${EMULATE:-}" != 1 ] || repeats=1
  within "$(left)" "$node" bench/ops/run.mjs --device cuda --threads 4 --repeats $repeats --only "${ONLY:-}" \
    --json "$out/bench-operations.json"
  local status=$?
  keep operations
  return $status
}

bench-networks() {
  local options=(--set cuda --repeats 6 --patience 200)
  [ "${EMULATE:-}" != 1 ] || options=(--set rehearsal --repeats 1)
  [ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
  within "$(left)" "$node" bench/run.mjs "${options[@]}" --peers compiled,torch,torchCompile \
    --json "$out/bench-networks.json"
  local status=$?
  keep networks
  return $status
}

# unusable: why no GPU can be used, if so.
unusable() {
  local said status
  said=$(within 60 "$node" -e "try { require('./dist').setDevice('cuda') } catch (error) { console.log(error.message); process.exit(1) }" 2>&1)
  status=$?
  case $status in
    0) ;; # whatever the driver or Node may have said
    1) printf '%s\n' "$said" ;;
    124 | 137) echo 'opening the GPU took more than 60 seconds' ;;
    *) echo "opening the GPU ended with status $status: $said" ;;
  esac
}

# note STAGE PROBLEM: in place of its results.
note() { "$node" -p 'JSON.stringify({ problem: process.argv[1] })' "$2" >"$out/$1.json"; }

# run STAGE: says on one line how it went, and before that what matters of what it said.
run() {
  local stage=$1 begin=$SECONDS status state from
  [ -z "$reason" ] || [ "$stage" = build ] || {
    note "$stage" "$reason"
    printf '%s FAILED: %s\n' "$stage" "$reason" | tee -a "$out/summary.txt"
    return 1
  }
  rm -f "$out/$stage.json"
  from=$(($(stat -c %s "$out/log.txt") + 1))
  if [ "$stage" = test ]; then tests; else "$stage"; fi >>"$out/log.txt" 2>&1
  status=$?
  case $status in
    0) state=passed ;;
    124 | 137 | 143) state='FAILED: time ran out' ;;
    *) state="FAILED with status $status" ;;
  esac
  [ "$stage" = build ] || [ -s "$out/$stage.json" ] || note "$stage" "$state before there were results"
  tail -c "+$from" "$out/log.txt" | tr '\r' '\n' | tail -n 60 | tail -c 6000
  printf '%s %s in %d s\n' "$stage" "$state" "$((SECONDS - begin))" | tee -a "$out/summary.txt"
  return $status
}

{
  nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used --format=csv,noheader 2>/dev/null
  nvcc --version 2>/dev/null | tail -1
  within 60 "$PYTHON" -c 'import torch; print("PyTorch", torch.__version__, torch.version.cuda, torch.backends.cudnn.version())' 2>&1 | tail -1
  within 60 "$node" dist/cli.js doctor # finds NVIDIA's libraries by itself, or not
  if [ -n "$libraries" ]; then
    export ANNEAL_CUDA_LIBRARIES=$libraries
    echo "With ANNEAL_CUDA_LIBRARIES=$libraries:"
    within 60 "$node" dist/cli.js doctor | sed -n '/^CUDA/,/^$/p'
  fi
} >"$out/summary.txt" 2>&1
cat "$out/summary.txt"
failed=0
reason=
opened=
for name in "${stages[@]}"; do
  stage=${name%%:*}
  seconds=560
  [ "$stage" = "$name" ] || seconds=${name#*:}
  end=$((SECONDS + seconds))
  if [ -n "${LIMIT:-}" ] && [ "$end" -gt "$LIMIT" ]; then end=$LIMIT; fi
  if [ "$stage" != build ] && [ -z "$opened" ]; then
    reason=$(unusable)
    opened=1
  fi
  run "$stage" || failed=1
done
grep -E '^[a-z-]+ (passed|FAILED)' "$out/summary.txt"
exit "$failed"
