#!/usr/bin/env bash
# Everything to run on a machine with a CUDA GPU, in about ten minutes, on top of an installed torch,
# nanobind, scikit-build-core, cmake, ninja, nvcc, pytest and hypothesis; no package index is reached.
#
#   tests/gpu/run.sh [OUT]     results go to OUT (default: gpu-results)
#
# PYTHON names the interpreter. The packages are put into a folder of their own: the environment
# stays as it is. No stage may take longer than its limit, and none stops the next but the first two.
# Never changes a clock, a power limit or a mode of the card. Prints a short table last.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-gpu-results}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root" || exit 1
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
site=$work/site
mkdir -p "$site"
summary=""

# stage NAME LIMIT COMMAND...: run it, keep its output, note how it ended.
stage() {
    local name=$1 limit=$2 start=$SECONDS code=0 result=passed lines=3
    shift 2
    echo "== $name"
    run_within "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then
        result="over $limit s"
    elif [ "$code" -ne 0 ]; then
        result="failed ($code)"
    fi
    [ "$code" -eq 0 ] || lines=15
    tail -n "$lines" "$out/$name.log"
    summary+=$(printf '%-10s %-14s %4d s' "$name" "$result" $((SECONDS - start)))$'\n'
    return "$code"
}

# Functions are no programs that `timeout` could start: a shell with them is.
run_within() {
    local limit=$1
    shift
    export out root python work site
    export -f put architecture by_pip by_cmake sources tests sanitizer profile
    timeout --kill-after 10 "$limit" bash -c '"$@"' stage "$@"
}

# Of the card, as CMake writes it; SJ_CUDA_ARCHITECTURES names another, or stands in for a card.
architecture() {
    if [ -n "${SJ_CUDA_ARCHITECTURES:-}" ]; then
        echo "$SJ_CUDA_ARCHITECTURES"
    else
        $python -c "import torch; print('%d%d' % torch.cuda.get_device_capability())"
    fi
}

by_pip() {
    $python -m pip install --no-build-isolation --no-deps --no-index --target "$site" \
        ./packages/sj-kernels -C build-dir="$work/build" \
        -C cmake.define.SJ_CUDA=ON -C cmake.define.CMAKE_CUDA_ARCHITECTURES="$1"
}

# Where scikit-build-core is missing or too old for the package's settings.
by_cmake() {
    cmake -S packages/sj-kernels -B "$work/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DSKBUILD_PROJECT_VERSION=0.0.0 -DSJ_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$1" \
        -DPython_EXECUTABLE="$($python -c 'import sys; print(sys.executable)')" \
        -Dnanobind_DIR="$($python -m nanobind --cmake_dir)" &&
        cmake --build "$work/cmake" && cmake --install "$work/cmake" --prefix "$site" &&
        cp -r packages/sj-kernels/src/sj_kernels "$site"
}

# The packages of Python alone: by pip where their build tool is there, else as they stand.
sources() {
    local package
    for package in sj-core sj-rnn sj-convert sj-train; do
        if $python -c "import hatchling" 2>/dev/null; then
            $python -m pip install --no-build-isolation --no-deps --no-index --target "$site" \
                "./packages/$package" || return 1
        else
            cp -r "packages/$package/src/"* "$site" || return 1
        fi
    done
}

put() {
    local arch
    arch=$(architecture) || return 1
    by_pip "$arch" || by_cmake "$arch" || return 1
    sources
}

tests() {
    $python -m pytest -q -m cuda --continue-on-collection-errors -p no:cacheprovider -W default \
        --durations 10 packages tests
}

# The tools slow kernels down 10 to 100 times: a part of the tests that reaches every kernel. Each
# tensor has memory of its own here, or an access beyond its end would find torch's next tensor;
# a graph cannot be captured so.
sanitizer() {
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$1" --error-exitcode 1 \
        $python -m pytest -q -x -m cuda -p no:cacheprovider -W default \
        packages/sj-kernels/tests/test_cuda.py packages/sj-kernels/tests/test_cuda_calls.py -k "$2"
}

# Without --clock-control none the tool sets the clocks.
profile() {
    ncu --set basic --section MemoryWorkloadAnalysis --clock-control none --kernel-name-base function \
        --kernel-name regex:"forward_kernel|backward_kernel" \
        $python tests/benchmarks/bench_gpu.py --once
}

report() {
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
    $python -c "import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda)"
    [ -f "$out/bench.log" ] && cat "$out/bench.log"
    printf '%s' "$summary"
}

export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
stage install 300 put || { report; exit 1; }
stage device 60 "$python" tests/gpu/device.py || { report; exit 1; }
stage pytest 240 tests
peers=""
"$python" -c "import spikingjelly" 2>/dev/null && peers=--peers
# shellcheck disable=SC2086  # empty or one word
stage bench 150 "$python" tests/benchmarks/bench_gpu.py $peers --json "$out/gpu.json"
if command -v compute-sanitizer >/dev/null; then
    small="equal_to_cpu or surrogates or segments or cells or repeats or apart"
    stage memcheck 120 sanitizer memcheck "$small or (wide and float32) or (begin and float16)"
    stage racecheck 90 sanitizer racecheck "(equal_to_cpu and float32) or (segments and plif)"
else
    summary+="memcheck   no compute-sanitizer here"$'\n'
fi
if command -v ncu >/dev/null; then stage ncu 90 profile; fi
report
