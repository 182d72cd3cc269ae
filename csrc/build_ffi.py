"""
Build the C core as the module ``inworld_sync._native._core``.

setup.py passes the path of this file to cffi, and cffi executes the file. So this file cannot
import other files of this folder. Every ``*.c`` file in a subfolder is compiled, so a new file
needs no entry here.

Environment:
    INWORLD_SYNC_SANITIZE: Sanitizers for the compiler and the linker, such as
        ``address,undefined`` or ``thread``.
"""

import os
import sys
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).parent
# The order matters: the later headers use declarations of the first header.
HEADERS = [
    CSRC / "include" / f"iw_{part}.h" for part in ("api", "playout", "mixer", "device", "message")
]
SOURCES = sorted(path.as_posix() for path in CSRC.glob("*/*.c"))
# Other files that the sdist must contain. setuptools packs them because they are dependencies of
# the extension module.
DEPENDS = sorted(
    path.as_posix() for path in [Path(__file__), CSRC / "README.md", *CSRC.glob("*/*.h")]
)

# A call keeps the GIL, because releasing the GIL costs more time than the work for one message.
# cffi writes these macros around every call and has no option to omit them. The core never reads
# errno. Saving and restoring errno takes a tenth of the time of a short call, so these macros are
# empty too.
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
    """Return the text between the two marks of each header. cffi can parse this text."""
    parts = []
    for header in HEADERS:
        _, _, rest = header.read_text(encoding="utf-8").partition("/* cffi: begin */")
        middle, mark, _ = rest.partition("/* cffi: end */")
        if not mark:
            raise SystemExit(f"{header} needs the marks '/* cffi: begin */' and '/* cffi: end */'")
        parts.append(middle)
    return "".join(parts)


def flags() -> tuple[list[str], list[str]]:
    """Return the arguments for the compiler and for the linker."""
    sanitizers = os.environ.get("INWORLD_SYNC_SANITIZE", "")
    if sys.platform == "win32":
        if sanitizers:
            raise SystemExit("INWORLD_SYNC_SANITIZE needs gcc or clang, not MSVC")
        return ["/std:c11", "/O2"], []
    # A fused multiply-add rounds once, and two instructions round twice. Every level must produce
    # the same bits, so fused multiply-add is off.
    compile_args = ["-std=c11", "-O3", "-fvisibility=hidden", "-ffp-contract=off"]
    if not sanitizers:
        return compile_args, []
    sanitize = [f"-fsanitize={sanitizers}"]
    compile_args += [*sanitize, "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]
    return compile_args, sanitize


def builder() -> FFI:
    """Return the description of the compiled module for cffi."""
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
