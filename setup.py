"""Builds the native code, if there is a C compiler.

That is the evaluator of forests (registry/models/forest) and the reader of plain requests
(serving/gateway). Everything else about the project is in pyproject.toml.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

NATIVE = "registry/models/forest/native"
PLAIN = "serving/gateway/native"
# -ffp-contract=off: a fused multiply-add rounds once where LightGBM rounds twice. No -march: what
# the processor has is found at run time, so that a wheel runs wherever its platform does.
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]


class OptionalBuild(build_ext):  # type: ignore[misc]
    """A library that Python does not link with, and that may fail to build."""

    def build_extension(self, ext: Any) -> None:
        """Build, or say why not."""
        try:
            super().build_extension(ext)
        except (CCompilerError, ExecError, PlatformError, OSError) as error:
            say(str(error))

    def get_ext_filename(self, fullname: str) -> str:
        """No tag of a Python version: nothing in it is of Python."""
        return fullname.replace(".", os.sep) + ".so"

    def copy_extensions_to_source(self) -> None:
        """Into the checkout, for an editable installation; by a rename, as it may be in use."""
        for built in filter(os.path.exists, self.get_outputs()):
            target = os.path.relpath(built, self.build_lib)
            shutil.copy(built, f"{target}.{os.getpid()}")
            os.replace(f"{target}.{os.getpid()}", target)


def say(why: str) -> None:
    """The line that a build without native code leaves."""
    print(f"penstock: no native code, the libraries do its work, more slowly: {why}")


def extensions() -> list[Extension]:
    """Both; nothing where there is no compiler, so that the wheel is a pure one."""
    compilers = [os.environ.get("CC", "cc").split()[0], "gcc", "clang"]
    if not any(map(shutil.which, compilers)):
        say(f"no C compiler ({', '.join(dict.fromkeys(compilers))})")
        return []
    return [
        Extension(
            "registry.models.forest._native",
            sources=[f"{NATIVE}/forest.c", f"{NATIVE}/check.c"],
            depends=[f"{NATIVE}/{name}.h" for name in ("forest", "image", "kernels", "parts")],
            extra_compile_args=FLAGS,
            libraries=["m"],
        ),
        Extension(
            "serving.gateway._plain",
            sources=[f"{PLAIN}/{name}.c" for name in ("plain", "seats", "fast")],
            depends=[f"{PLAIN}/{name}.h" for name in ("plain", "fast")],
            extra_compile_args=FLAGS,
        ),
    ]


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
