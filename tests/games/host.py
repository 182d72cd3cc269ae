"""
A game in C that starts and ends an embedded Python interpreter many times.

    python -m tests.games.host                  # 100 cycles, with AddressSanitizer
    python -m tests.games.host --cycles 10 --plain

In each cycle, the host starts Python, runs a line and a conversation frame by frame, copies their
audio, and ends Python. In every second cycle, the host does not close the line, the conversation
and the client before Python ends. The host and the core of the package are compiled with
AddressSanitizer. The command ends at the first error.

The command needs Linux and gcc, and prints the memory of the host after every ten cycles.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "native")]

import sanitize  # noqa: E402 - the module is in a folder of the tests

from inworld_sync.emulator import Emulator  # noqa: E402

from support.spelling import SpellingSynthesizer  # noqa: E402

_TIMEOUT_SECONDS = 3600.0
# This limit applies only with --plain, because AddressSanitizer keeps freed memory.
_MAX_GROWTH_MIB_PER_CYCLE = 1.0

HOST = r"""
#include <Python.h>
#include <unistd.h>

#define FRAMES_PER_READ 400

static int fail(const char *what) {
    PyErr_Print();
    fprintf(stderr, "failed: %s\n", what);
    return -1;
}

/* Call a function of the program. Return a new reference, or NULL. */
static PyObject *call(PyObject *module, const char *name) {
    return PyObject_CallMethod(module, name, NULL);
}

/* Run one game. Return how many samples of speech it has played, or -1. */
static long play(const char *program, int is_closed) {
    short block[FRAMES_PER_READ];
    long heard = 0;
    if (PyRun_SimpleString(program)) {
        return fail("the program");
    }
    PyObject *module = PyImport_AddModule("__main__");
    for (;;) {
        PyObject *audio = call(module, "frame");
        if (!audio) {
            return fail("frame");
        }
        if (audio == Py_None) {
            Py_DECREF(audio);
            break;
        }
        if (PyBytes_Size(audio) != sizeof block) {
            Py_DECREF(audio);
            return fail("the size of a frame");
        }
        memcpy(block, PyBytes_AsString(audio), sizeof block);
        Py_DECREF(audio);
        for (int at = 0; at < FRAMES_PER_READ; at++) {
            heard += block[at] != 0;
        }
        Py_BEGIN_ALLOW_THREADS
        usleep(2000);
        Py_END_ALLOW_THREADS
    }
    if (is_closed) {
        PyObject *done = call(module, "close");
        if (!done) {
            return fail("close");
        }
        Py_DECREF(done);
    }
    return heard;
}

static long resident_kib(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%*s %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv) {
    int cycles = atoi(argv[3]);
    for (int cycle = 1; cycle <= cycles; cycle++) {
        PyConfig config;
        PyConfig_InitPythonConfig(&config);
        config.parse_argv = 0;
        PyConfig_SetBytesString(&config, &config.program_name, argv[1]);
        PyConfig_SetBytesArgv(&config, argc - 4, argv + 4);
        PyStatus status = Py_InitializeFromConfig(&config);
        PyConfig_Clear(&config);
        if (PyStatus_Exception(status)) {
            Py_ExitStatusException(status);
        }
        long heard = play(argv[2], cycle % 2);
        if (Py_FinalizeEx() < 0 || heard < 0) {
            fprintf(stderr, "cycle %d failed\n", cycle);
            return 1;
        }
        printf("%d %ld %ld\n", cycle, heard, resident_kib());
        fflush(stdout);
    }
    return 0;
}
"""

# The host runs this program in each new interpreter.
PROGRAM = """
import sys
from inworld_sync import Inworld
from inworld_sync.games import Conversation, VoiceLine

iw = Inworld(base_url=sys.argv[1], api_key=sys.argv[2])
line = VoiceLine(iw, "Halt! Who goes there?", start=True)
npc = Conversation(iw)
npc.start()
npc.say("A friend.")
has_begun = False

def frame():
    global has_begun
    for voice in (line, npc):
        voice.update(1 / 60)
        if voice.error is not None:
            raise voice.error
    # The conversation is heard after the line.
    voice = npc if line.is_over else line
    audio = voice.read_audio(400)
    voice.mouth.weights("arkit")
    has_begun = has_begun or npc.is_speaking
    if line.is_over and has_begun and not npc.is_speaking and not npc.queued_ms:
        return None
    return audio

def close():
    line.close()
    npc.close()
    iw.close()
"""


def compile_host(place: Path, *, is_plain: bool) -> Path:
    """Compile the host with the headers and the library of this Python."""
    library = sysconfig.get_config_var("LDLIBRARY")
    folder = sysconfig.get_config_var("LIBDIR")
    source, program = place / "host.c", place / "host"
    source.write_text(HOST)
    flags = [] if is_plain else ["-fsanitize=address", "-fno-omit-frame-pointer"]
    subprocess.run(
        [
            *("gcc", "-g", *flags, str(source), "-o", str(program)),
            f"-I{sysconfig.get_path('include')}",
            *(f"-L{folder}", f"-l:{library}", f"-Wl,-rpath,{folder}", "-lm", "-ldl"),
        ],
        check=True,
    )
    return program


def environment(place: Path, *, is_plain: bool) -> dict[str, str]:
    """Return the environment of the host."""
    if is_plain:
        return dict(os.environ)
    return {
        **os.environ,
        # This folder has the core that was compiled with AddressSanitizer.
        "PYTHONPATH": str(place),
        # malloc makes each object a separate block, so that accesses beyond a block are found.
        "PYTHONMALLOC": "malloc",
        # The interpreter does not free all memory at its end.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
    }


def run(cycles: int, *, is_plain: bool) -> None:
    """
    Run the host.

    Raises:
        SystemExit: A cycle has failed or has played too little speech, or, with *is_plain*, the
            memory grows too fast.
    """
    with tempfile.TemporaryDirectory(prefix="inworld-sync-host-") as name:
        place = Path(name)
        if not is_plain:
            sanitize.build(place, "address")
        program = compile_host(place, is_plain=is_plain)
        begun = time.monotonic()
        with Emulator(synthesizer=SpellingSynthesizer(samples=240)) as server:
            command = [
                *(str(program), sys.executable, PROGRAM, str(cycles)),
                *("game", server.url, server.api_key),
            ]
            with subprocess.Popen(
                command,
                env=environment(place, is_plain=is_plain),
                cwd=place,
                stdout=subprocess.PIPE,
                text=True,
            ) as host:
                timer = threading.Timer(_TIMEOUT_SECONDS, host.kill)
                timer.start()
                rows = list(_read_cycles(host, cycles))
                timer.cancel()
    if host.returncode or len(rows) != cycles:
        raise SystemExit(f"the host ended with status {host.returncode} after {len(rows)} cycles")
    if min(heard for _, heard, _ in rows) < 4000:
        raise SystemExit("a cycle has played less speech than the line has")
    growth_mib = (rows[-1][2] - rows[len(rows) // 2][2]) / 1024
    per_cycle_mib = growth_mib / max(len(rows) - len(rows) // 2, 1)
    _show(
        f"{cycles} cycles in {time.monotonic() - begun:.0f} s, without an error; the memory grows "
        f"by {per_cycle_mib:.2f} MiB a cycle"
    )
    if is_plain and per_cycle_mib > _MAX_GROWTH_MIB_PER_CYCLE:
        raise SystemExit(f"expected at most {_MAX_GROWTH_MIB_PER_CYCLE} MiB a cycle")


def _read_cycles(host: subprocess.Popen[str], cycles: int) -> Iterator[tuple[int, int, int]]:
    """
    Yield the number, the heard samples and the KiB of memory of each cycle. Print each tenth cycle.
    """
    assert host.stdout is not None
    for line in host.stdout:
        cycle, heard, kib = map(int, line.split())
        if cycle % 10 == 0 or cycle == cycles:
            _show(f"cycle {cycle:4}  {heard:6} samples heard  {kib / 1024:6.0f} MiB")
        yield cycle, heard, kib


def _show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--plain", action="store_true", help="without AddressSanitizer")
    arguments = parser.parse_args()
    run(arguments.cycles, is_plain=arguments.plain)


if __name__ == "__main__":
    main()
