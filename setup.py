"""The computed part of the build: folders mapped below one import package, and the native CPU kernels.

The kernels are compiled once for each instruction set (a level) with its own flags, as static libraries that one
torch-free extension links. Without a C++ compiler the package installs without the extension and says so when it
computes. Levels are independent of each other, so they compile side by side.
"""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from glob import glob

from setuptools import Extension, find_packages, setup
from setuptools.command.build_clib import build_clib

LAYERS = ("kernels", "runtime", "api")
NATIVE = "kernels/cpu/native"
CXX = ["-O3", "-std=c++17", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi", "-g0"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"]
NEON = {"neon": [], "neon_dotprod": ["-march=armv8.2-a+dotprod"], "neon_i8mm": ["-march=armv8.2-a+dotprod+i8mm"]}
PORTABLE = ["-O1"]  # for whoever has nothing better, and built in a quarter of the time of -O3
LEVELS = {"portable": PORTABLE} | {
    "x86_64": {
        "avx2": ["-mavx2", "-mfma", "-mf16c"],
        "avx512": AVX512,
        "avx512_vnni": [*AVX512, "-mavx512vnni"],
        "avx512_bf16": [*AVX512, "-mavx512vnni", "-mavx512bf16"],
    },
    "aarch64": NEON,
    "arm64": NEON,
}.get(platform.machine(), {})


class BuildLevels(build_clib):
    """Compiles the libraries in parallel. Where that fails, so does the link, and the extension is optional."""

    def build_libraries(self, libraries):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = [pool.submit(build_clib.build_libraries, self, [library]) for library in libraries]
        for (name, _), result in zip(libraries, results, strict=True):
            if error := result.exception():
                print(f"warning: {name} was not built ({error}); without the native kernels Gristmill is slow")


package_dir = {"gristmill": "package", **{f"gristmill.{layer}": layer for layer in LAYERS}}
packages = [*package_dir, *(f"gristmill.{layer}.{sub}" for layer in LAYERS for sub in find_packages(layer))]
headers = glob(f"{NATIVE}/**/*.h", recursive=True)

setup(
    packages=packages,
    package_dir=package_dir,
    cmdclass={"build_clib": BuildLevels},
    libraries=[
        (
            f"gristmill_{name}",
            {"sources": [f"{NATIVE}/levels/{name}.cpp"], "cflags": CXX + flags, "obj_deps": {"": headers}},
        )
        for name, flags in LEVELS.items()
    ],
    ext_modules=[
        Extension(
            "gristmill.kernels.cpu._cpu",
            sorted(glob(f"{NATIVE}/*.cpp")),
            language="c++",
            depends=[*headers, *glob(f"{NATIVE}/levels/*.cpp")],
            extra_compile_args=CXX,
            extra_link_args=["-static-libstdc++", "-static-libgcc"] if platform.system() == "Linux" else [],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
