#!/usr/bin/env bash
# scripts/gpu-check.sh [STAGE…]: on a machine with a GPU, in a checkout with build/gpu-check.tar.xz from scripts/gpu-pack: checks
# and measures the CUDA backend. Stages: build, smoke, test (groups of TESTS, by default all), sanitize, bench-operations, bench-networks
# (workloads of ONLY, by default all); bench stands for the last two, and nothing for all stages. Each may be run by itself, ends
# within LIMIT seconds (default 560), and writes what it has found as it goes to $OUT (default build/gpu-results):
#   machine.txt, stages.txt, log.txt, tests.json, bench-operations.json, bench-networks.json
# A stage that fails does not keep the others from running. What was measured is copied to bench/results/.
# With EMULATE=1 the emulator's library (build-cuda-emulate/) takes the GPU's place, and PyTorch on the CPU ($PYTHON) its peer's: a
# rehearsal of small sizes, whose figures mean nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=${OUT:-$root/build/gpu-results}
room=$root/build/gpu
limit=${LIMIT:-560}
export PYTHON=${PYTHON:-python3}
mkdir -p "$out"
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(build smoke test sanitize bench)
stages=("${stages[@]/%bench/bench-operations bench-networks}")
read -ra stages <<<"${stages[*]}"

if [ -f build/gpu-check.tar.xz ] && [ ! -x "$room/node" ]; then
  mkdir -p "$room"
  # Not every image has xz; Python can do without.
  tar -C "$room" -xJf build/gpu-check.tar.xz || "$PYTHON" -m tarfile -e build/gpu-check.tar.xz "$room" || exit 1
fi
node=$room/node
[ -x "$node" ] || node=$(command -v node) || exit 1
[ -e node_modules ] || ln -s "$room/node_modules" node_modules
# Copies: what is behind a link would look for its package beside the link's target.
[ -e dist ] || cp -r "$room/dist" dist
[ -e build/Release ] || cp -r "$room/build/Release" build/Release
[ -e src/ops.generated.ts ] || cp "$room"/*.generated.ts src/

wheels=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)
libraries=$(find "$wheels"/nvidia -maxdepth 2 -name lib -type d 2>/dev/null | paste -sd:)
[ ! -d "$room/lib" ] || export LD_LIBRARY_PATH=$room/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export ANNEAL_CUDA_PATH=$root/build-cuda/libanneal_cuda.so
[ -f "$ANNEAL_CUDA_PATH" ] || ANNEAL_CUDA_PATH=$root/build/Release/libanneal_cuda.so
if [ "${EMULATE:-}" = 1 ]; then
  ANNEAL_CUDA_PATH=$root/build-cuda-emulate/libanneal_cuda.so
  export BENCH_REHEARSAL=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi
PATH=$(dirname "$node"):$PATH:${CUDA_HOME:-/usr/local/cuda}/bin

# left: seconds until the stage must have ended.
left() { echo $((begin + limit - SECONDS > 1 ? begin + limit - SECONDS : 1)); }

build() {
  if [ "${EMULATE:-}" = 1 ]; then return; fi
  if [ -f "$ANNEAL_CUDA_PATH" ] && [ "${REBUILD:-}" != 1 ]; then return; fi
  cmake -S cuda -B build-cuda -G Ninja -DANNEAL_CUDA_ARCHITECTURES="${ARCHITECTURES:-90a-real}" \
    -DANNEAL_CORE="$root/build" -DANNEAL_CUDA_WHEELS="$wheels" && timeout "$(left)" cmake --build build-cuda --target anneal_cuda || return 1
  ANNEAL_CUDA_PATH=$root/build-cuda/libanneal_cuda.so
}

# The registry first, without kernels compiled at run time: it would have one compiled for every case of every op. Then what
# is CUDA's own, and 100 steps of training against PyTorch's losses; what else computes with tensors follows.
groups=(registry.test.ts core/device.test.ts cuda/graphs.test.ts cuda/epilogues.test.ts cuda/runtime)
groups+=(parity ops nn optim compile train core metrics io)
tests() {
  local group name fusion failed=0
  mkdir -p "$room/tests" # what earlier calls found stays
  for group in ${TESTS:-"${groups[@]}"}; do
    name=$(basename "$group" .test.ts)
    fusion=${ANNEAL_CUDA_FUSION:-}
    [ "$name" != registry ] || fusion=0
    ANNEAL_CUDA_FUSION=$fusion OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} ANNEAL_TEST_DEVICE=cuda timeout "$(left)" "$node" node_modules/vitest/vitest.mjs run --reporter=default --reporter=json \
      --outputFile.json="$room/tests/$name.json" --testTimeout=120000 "test/$group" || failed=1
    "$node" scripts/gpu-tests.mjs "$room/tests" >"$out/tests.json"
  done
  return $failed
}

# Seconds: whether anything works, kind of kernel by kind of kernel.
smoke() { timeout "$(left)" "$node" bench/cuda/smoke.cjs; }

sanitize() {
  if [ "${EMULATE:-}" = 1 ]; then
    "$node" bench/cuda/smoke.cjs
    return
  fi
  local tool failed=0
  for tool in memcheck racecheck synccheck initcheck; do
    if timeout "$(left)" compute-sanitizer --tool "$tool" --error-exitcode 1 "$node" bench/cuda/smoke.cjs; then
      printf '  %s: nothing found\n' "$tool" >>"$out/stages.txt"
    else
      printf '  %s: FAILED with status %d\n' "$tool" "$?" >>"$out/stages.txt"
      failed=1
    fi
  done
  return $failed
}

# keep WHAT: the results of a real run are kept beside those of other machines.
keep() {
  if [ "${EMULATE:-}" = 1 ]; then return; fi
  local gpu
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1 | tr 'A-Z ' 'a-z-')
  cp "$out/bench-$1.json" "bench/results/$gpu-$1.json"
}

bench-operations() {
  local repeats=5
  [ "${EMULATE:-}" != 1 ] || repeats=1
  timeout "$(left)" "$node" bench/ops/run.mjs --device cuda --threads 4 --repeats $repeats --only "${ONLY:-}" \
    --json "$out/bench-operations.json"
  local status=$?
  keep operations
  return $status
}

bench-networks() {
  local options=(--set cuda --repeats 6)
  [ "${EMULATE:-}" != 1 ] || options=(--set rehearsal --repeats 1)
  [ -z "${ONLY:-}" ] || options+=(--only "$ONLY")
  timeout "$(left)" "$node" bench/run.mjs "${options[@]}" --peers compiled,torch,torchCompile \
    --json "$out/bench-networks.json"
  local status=$?
  keep networks
  return $status
}

{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
  nvcc --version 2>/dev/null | tail -1
  "$node" dist/cli.js doctor # finds NVIDIA's libraries by itself, or not
} >"$out/machine.txt" 2>&1
cat "$out/machine.txt"
[ -z "$libraries" ] || export ANNEAL_CUDA_LIBRARIES=$libraries
failed=0
for stage in "${stages[@]}"; do
  begin=$SECONDS
  command=$stage
  [ "$stage" != test ] || command=tests
  printf '== %s\n' "$stage" >>"$out/log.txt"
  "$command" >"$room.log" 2>&1
  status=$?
  cat "$room.log" >>"$out/log.txt"
  if [ $status = 0 ]; then state=passed; else
    state="FAILED with status $status"
    failed=1
    tail -n 25 "$room.log"
  fi
  printf '%s %s in %d s\n' "$stage" "$state" "$((SECONDS - begin))" | tee -a "$out/stages.txt"
done
exit "$failed"
