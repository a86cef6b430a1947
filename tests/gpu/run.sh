#!/usr/bin/env bash
# Everything to run on a machine with a CUDA GPU, in about ten minutes, on top of an installed torch,
# nanobind, scikit-build-core, cmake, ninja, nvcc, pytest and hypothesis; no package index is reached.
#
#   tests/gpu/run.sh [OUT]     results go to OUT (default: gpu-results)
#
# Never changes a clock, a power limit or a mode of the card. Prints a short table last.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-gpu-results}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root" || exit 1
python=${PYTHON:-python3}
summary=""

# stage NAME COMMAND...: run it, keep its output, note how it ended.
stage() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    if "$@" >"$out/$name.log" 2>&1; then result=passed; else result="failed ($?)"; fi
    tail -n 3 "$out/$name.log"
    summary+=$(printf '%-12s %-12s %4d s' "$name" "$result" $((SECONDS - start)))$'\n'
}

install() {
    local arch
    arch=$($python -c "import torch; print('%d%d' % torch.cuda.get_device_capability())") || return 1
    $python -m pip install --no-build-isolation --no-deps ./packages/sj-kernels \
        -C cmake.define.SJ_CUDA=ON -C cmake.define.CMAKE_CUDA_ARCHITECTURES="$arch" || return 1
    for package in sj-core sj-rnn sj-convert sj-train; do
        $python -m pip install --no-build-isolation --no-deps "./packages/$package" || return 1
    done
}

# The tools slow kernels down 10 to 100 times: a part of the tests that reaches every kernel.
sanitizer() {
    compute-sanitizer --tool "$1" --error-exitcode 1 $python -m pytest -q -x -m cuda \
        packages/sj-kernels/tests/test_cuda.py -k "equal_to_cpu and float32 or surrogates or graph"
}

profile() {
    ncu --set basic --kernel-name regex:"forward_kernel|backward_kernel" --launch-count 12 \
        $python tests/benchmarks/bench_gpu.py
}

stage install install
stage pytest $python -m pytest -q -m cuda packages tests
if command -v compute-sanitizer >/dev/null; then
    stage memcheck sanitizer memcheck
    stage racecheck sanitizer racecheck
else
    summary+="memcheck     no compute-sanitizer here"$'\n'
fi
stage bench $python tests/benchmarks/bench_gpu.py --json "$out/gpu.json"
if command -v ncu >/dev/null; then stage ncu profile; fi

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
$python -c "import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda)"
cat "$out/bench.log"
printf '%s' "$summary"
