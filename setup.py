"""What pyproject.toml cannot say: the compiled module and the tag of their wheel."""

import platform
import sysconfig

from setuptools import setup

# One wheel for each platform serves every CPython from 3.10 on.
# A build without the GIL has no limited API below 3.15, so it gets a wheel of its own.
_has_limited_api = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

setup(
    cffi_modules=["csrc/build_ffi.py:core"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if _has_limited_api else {},
)
