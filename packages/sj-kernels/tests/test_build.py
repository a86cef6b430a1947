"""The build's settings reach the compiler as they were given."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]


@pytest.mark.slow
def test_several_architectures(tmp_path):
    """A list of CUDA architectures, as the default is one, is one word of a command."""
    nanobind, cmake = map(pytest.importorskip, ("nanobind", "cmake"))
    if shutil.which("make") is None:
        pytest.skip("needs make")
    if shutil.which("nvcc") is None and not Path("/usr/local/cuda/bin/nvcc").exists():
        pytest.skip("needs nvcc")
    if not (PACKAGE / "CMakeLists.txt").exists():
        pytest.skip("needs the sources")
    subprocess.run(
        [
            Path(cmake.CMAKE_BIN_DIR) / "cmake", "-S", PACKAGE, "-B", tmp_path,
            "-G", "Unix Makefiles", "-DSJ_CUDA=ON",
            "-DCMAKE_CUDA_ARCHITECTURES=80-real;90", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
            "-DSKBUILD_PROJECT_VERSION=0.0.0", f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dnanobind_DIR={nanobind.cmake_dir()}",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    commands = json.loads((tmp_path / "compile_commands.json").read_text())
    (info,) = (c["command"] for c in commands if c["file"].endswith("bindings/info.cpp"))
    defined = [word for word in shlex.split(info) if "SJ_CUDA_ARCHITECTURES" in word]
    assert defined == ['-DSJ_CUDA_ARCHITECTURES="80-real,90"']
