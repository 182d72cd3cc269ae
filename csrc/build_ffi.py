"""
Build the C core as the module ``inworld_sync._native._core``.

setup.py hands this file to cffi, which executes it; it cannot import its neighbours.
Every ``*.c`` below this folder is compiled, so a new file needs no line here.

Environment:
    INWORLD_SYNC_SANITIZE: Sanitizers for the compiler and the linker, such as
        ``address,undefined`` or ``thread``.
"""

import os
import sys
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).parent
# In this order: the later ones use what the first one declares.
HEADERS = [
    CSRC / "include" / f"iw_{part}.h" for part in ("api", "playout", "mixer", "device", "message")
]
SOURCES = sorted(path.as_posix() for path in CSRC.glob("*/*.c"))
# What the build reads beside the sources. setuptools packs these names into the sdist, so they
# must hold this file too.
DEPENDS = sorted(
    path.as_posix() for path in [Path(__file__), CSRC / "README.md", *CSRC.glob("*/*.h")]
)

# A call keeps the GIL: giving it up costs more than the work of a message. cffi writes these macros
# around every call and has no option to leave them out. The core never reads errno, so a call need
# not save it either, which costs a tenth of a short call.
PREAMBLE = """
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS {
#define Py_END_ALLOW_THREADS }
#undef _cffi_restore_errno
#undef _cffi_save_errno
#define _cffi_restore_errno() ((void)0)
#define _cffi_save_errno() ((void)0)
"""


def declarations() -> str:
    """The parts of the headers that are plain enough for cffi, between their two marks."""
    parts = []
    for header in HEADERS:
        _, _, rest = header.read_text(encoding="utf-8").partition("/* cffi: begin */")
        middle, mark, _ = rest.partition("/* cffi: end */")
        if not mark:
            raise SystemExit(f"{header} has lost a mark, '/* cffi: begin */' or '/* cffi: end */'")
        parts.append(middle)
    return "".join(parts)


def flags() -> tuple[list[str], list[str]]:
    """Arguments for the compiler and for the linker."""
    sanitizers = os.environ.get("INWORLD_SYNC_SANITIZE", "")
    if sys.platform == "win32":
        if sanitizers:
            raise SystemExit("INWORLD_SYNC_SANITIZE needs gcc or clang, not MSVC")
        return ["/std:c11", "/O2"], []
    # A fused multiply-add rounds once where two instructions round twice, and every level must
    # give the same bits.
    compile_args = ["-std=c11", "-O3", "-fvisibility=hidden", "-ffp-contract=off"]
    if not sanitizers:
        return compile_args, []
    sanitize = [f"-fsanitize={sanitizers}"]
    compile_args += [*sanitize, "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]
    return compile_args, sanitize


def builder() -> FFI:
    """The compiled module."""
    ffi = FFI()
    ffi.cdef(declarations())
    compile_args, link_args = flags()
    ffi.set_source(
        "inworld_sync._native._core",
        PREAMBLE + "".join(f'\n#include "include/{header.name}"' for header in HEADERS) + "\n",
        sources=SOURCES,
        depends=DEPENDS,
        include_dirs=[CSRC.as_posix()],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    return ffi


core = builder()
