#!/usr/bin/env bash
# scripts/gpu-check.sh [STEP…]: on a machine with a GPU, in a checkout with build/gpu-check.tar.xz from scripts/gpu-pack: checks
# and measures the CUDA backend. Steps: build registry parity sanitizer bench; all by default. Results go to $OUT (default
# build/gpu-results), one JSON file or log for each step; a step that fails does not keep the others from running.
# With EMULATE=1 the emulator's library (build-cuda-emulate/) takes the GPU's place: a rehearsal.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=${OUT:-$root/build/gpu-results}
room=$root/build/gpu
mkdir -p "$out"
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(build registry parity sanitizer bench)

if [ ! -x "$room/node" ]; then
  mkdir -p "$room"
  tar -C "$room" -xJf build/gpu-check.tar.xz || exit 1
fi
node=$room/node
[ -e node_modules ] || ln -s "$room/node_modules" node_modules
# Copies: what is behind a link would look for its package beside the link's target.
[ -e dist ] || cp -r "$room/dist" dist
[ -e build/Release ] || cp -r "$room/build/Release" build/Release
[ -e src/ops.generated.ts ] || cp "$room"/*.generated.ts src/

wheels=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)
libraries=$(find "$wheels"/nvidia -maxdepth 2 -name lib -type d 2>/dev/null | paste -sd:)
export LD_LIBRARY_PATH=$room/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} ANNEAL_CUDA_LIBRARIES=$libraries
export ANNEAL_CUDA_PATH=$root/build-cuda/libanneal_cuda.so
[ -f "$ANNEAL_CUDA_PATH" ] || ANNEAL_CUDA_PATH=$root/build/Release/libanneal_cuda.so
[ "${EMULATE:-}" != 1 ] || ANNEAL_CUDA_PATH=$root/build-cuda-emulate/libanneal_cuda.so

build() {
  if [ "${EMULATE:-}" = 1 ]; then return; fi
  if [ -f "$ANNEAL_CUDA_PATH" ] && [ "${REBUILD:-}" != 1 ]; then return; fi
  cmake -S cuda -B build-cuda -G Ninja -DANNEAL_CUDA_ARCHITECTURES="${ARCHITECTURES:-90a-real}" \
    -DANNEAL_CORE="$root/build" -DANNEAL_CUDA_WHEELS="$wheels" && cmake --build build-cuda
}
vitest() {
  local name=$1
  shift
  ANNEAL_TEST_DEVICE=cuda timeout "${LIMIT:-500}" "$node" node_modules/vitest/vitest.mjs run --reporter=json \
    --outputFile="$out/$name.json" --testTimeout=120000 "$@"
}
registry() { vitest registry test/registry.test.ts test/core/device.test.ts; }
parity() { vitest parity test/ops test/parity test/optim test/nn test/compile; }
sanitizer() {
  if [ "${EMULATE:-}" = 1 ]; then "$node" bench/cuda/smoke.cjs; return; fi
  compute-sanitizer --tool memcheck --error-exitcode 1 "$node" bench/cuda/smoke.cjs &&
    compute-sanitizer --tool racecheck --error-exitcode 1 "$node" bench/cuda/smoke.cjs
}
bench() {
  "$node" bench/cuda/run.cjs >"$out/bench-anneal.json" || return 1
  if [ "${EMULATE:-}" != 1 ]; then python3 bench/cuda/torch_run.py >"$out/bench-torch.json"; fi
}

{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
  nvcc --version 2>/dev/null | tail -1
  "$node" dist/cli.js doctor
} >"$out/machine.txt" 2>&1
cat "$out/machine.txt"
failed=0
for step in "${steps[@]}"; do
  begin=$SECONDS
  if "$step" >"$out/$step.log" 2>&1; then state=passed; else
    state=FAILED
    failed=1
    tail -n 15 "$out/$step.log"
  fi
  printf '%s %s in %d s\n' "$step" "$state" "$((SECONDS - begin))" | tee -a "$out/steps.txt"
done
exit "$failed"
