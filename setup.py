"""Defines what pyproject.toml cannot express: the compiled module and the tag of the wheel."""

import platform
import sysconfig

from setuptools import setup

# One wheel per platform works with every CPython from 3.10 on. A CPython without the GIL has no
# limited API before 3.15, so such a CPython needs a separate wheel.
_has_limited_api = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

setup(
    cffi_modules=["csrc/build_ffi.py:core"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if _has_limited_api else {},
)
