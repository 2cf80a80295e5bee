"""Builds the compiled projection kernels where there is a C++ compiler; without one nerp installs and works, slower.

The kernels are plain C++ behind a C interface, loaded by ctypes: one build serves every PyTorch.
They are compiled once per instruction set and the processor's own is chosen when they are loaded.
"""

import json
import platform
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, CompileError

NATIVE = Path("nerp/projection/backends/native")
FLAGS = json.loads((NATIVE / "flags.json").read_text())
X86 = platform.machine() in ("x86_64", "AMD64")
INSTRUCTION_SETS = {name: options for name, options in FLAGS["instruction_sets"].items() if X86 or not options}
# False alarms of GCC 12's own AVX-512 header, one of which clang does not know.
QUIET = FLAGS["quiet"]


class BuildKernels(build_ext):
    """Compiles `kernels.cpp` once per instruction set, and everything else once."""

    def build_extension(self, ext):
        if self.compiler.compiler_type == "msvc":
            raise CompileError("the kernels use GCC's vector extensions; build them with g++ or clang++")
        macros = [("NERP_X86", None)] if X86 else []
        openmp = self._openmp()
        flags = FLAGS["all"] + openmp
        kernels = [source for source in ext.sources if source.endswith("kernels.cpp")]
        drivers = [source for source in ext.sources if source not in kernels]
        objects = self.compiler.compile(
            drivers, output_dir=self.build_temp, macros=macros, extra_postargs=flags, depends=ext.depends
        )
        for name, options in INSTRUCTION_SETS.items():
            objects += self.compiler.compile(
                kernels,
                output_dir=str(Path(self.build_temp) / name),
                macros=[*macros, ("NERP_ISA", name)],
                extra_postargs=flags + options + QUIET,
                depends=ext.depends,
            )
        target = self.get_ext_fullpath(ext.name)
        self.compiler.link_shared_object(objects, target, extra_postargs=openmp, target_lang="c++")

    def _openmp(self):
        """The flag for threads, where compiler and linker have them."""
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder) / "probe.cpp"
            probe.write_text("#include <omp.h>\nint main() { return omp_get_num_threads() - 1; }\n")
            try:
                objects = self.compiler.compile([str(probe)], output_dir=folder, extra_postargs=["-fopenmp"])
                self.compiler.link_executable(objects, str(probe.with_suffix("")), extra_postargs=["-fopenmp"])
            except CCompilerError as reason:
                self.warn(f"no OpenMP, the kernels will use one thread: {reason}")
                return []
        return ["-fopenmp"]


setup(
    ext_modules=[
        Extension(
            "nerp.projection.backends.cpu._kernels",
            sources=sorted(str(path) for path in NATIVE.glob("*.cpp")),
            depends=sorted(str(path) for pattern in ("*.h", "flags.json") for path in NATIVE.glob(pattern)),
            language="c++",
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernels},
)
