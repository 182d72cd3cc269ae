#!/usr/bin/env bash
# Runs the tests on a CPython without the GIL, such as python3.14t.
#
#   tests/free_threaded.sh PYTHON [FOLDER [ARGUMENTS OF PYTEST]]
#
# FOLDER gets a virtual environment, which the next run uses again. Without it, the environment is
# temporary. A package without a wheel for this Python is left out, with a message, so the tests that
# need it fail.
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
cd "$(dirname "$0")/.."

if ! "$python" -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))'; then
    echo "expected a Python without the GIL, got $python" >&2
    exit 2
fi
[[ -x $folder/bin/python ]] || "$python" -m venv "$folder"

# The requirements of the extra "test", without the packages above.
# shellcheck disable=SC2086
"$folder/bin/python" - pyproject.toml $WITHOUT >"$folder/requirements.txt" <<'PROGRAM'
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
while read -r requirement; do
    "$folder/bin/pip" install -q --only-binary :all: "$requirement" 2>/dev/null ||
        echo "left out, since it has no wheel: $requirement" >&2
done <"$folder/requirements.txt"
"$folder/bin/pip" install -q .

# Without this variable, a module that does not support free threading turns the GIL on.
export PYTHON_GIL=0

"$folder/bin/pytest" "$@"
