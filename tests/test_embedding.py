"""A C program ends its Python interpreter while sessions are open, and starts a new interpreter."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from inworld_sync.emulator import Emulator

from support.spelling import SpellingSynthesizer

# The host runs its program several times, each time in a new interpreter of the same process.
_HOST = r"""
#include <Python.h>

int main(int argc, char **argv) {
    for (int round = 0; round < 4; round++) {
        PyConfig config;
        PyConfig_InitPythonConfig(&config);
        config.parse_argv = 0;
        PyConfig_SetBytesString(&config, &config.program_name, argv[1]);
        PyConfig_SetBytesArgv(&config, argc - 3, argv + 3);
        PyStatus status = Py_InitializeFromConfig(&config);
        PyConfig_Clear(&config);
        if (PyStatus_Exception(status)) {
            Py_ExitStatusException(status);
        }
        int failed = PyRun_SimpleString(argv[2]);
        if (Py_FinalizeEx() < 0 || failed) {
            return 1;
        }
    }
    return 0;
}
"""

# The program closes none of its objects. When the program ends, threads still wait for events.
_PROGRAM = """
import sys, threading
from inworld_sync import AudioChunk, Inworld, NullSpeaker

iw = Inworld(base_url=sys.argv[1], api_key=sys.argv[2])
connection = iw.tts.connect()
context = connection.context()
context.on(AudioChunk, lambda event: None)
context.send("Hi.")
def endless():
    while True:
        yield "more and "
speech = iw.tts.stream(endless())
next(speech)
stream = iw.stt.stream()
stream.send(bytes(3200))
rt = iw.realtime.connect()
rt.play(NullSpeaker(24000))
rt.send_message("Hello.")
playback = iw.tts.speak("One. " * 500, speaker=NullSpeaker(24000))
for wait in (context.audio, stream.events, rt.events):
    threading.Thread(target=lambda: list(wait()), daemon=True).start()
iw.voices.list()
print("open", flush=True)
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Compile the host with the headers and the library of this Python."""
    library = sysconfig.get_config_var("LDLIBRARY")
    folder = sysconfig.get_config_var("LIBDIR")
    source, program = tmp_path / "host.c", tmp_path / "host"
    source.write_text(_HOST)
    compiler = shutil.which("cc")
    assert compiler, "this test needs a C compiler"
    subprocess.run(
        [
            *(compiler, str(source), "-o", str(program)),
            f"-I{sysconfig.get_path('include')}",
            *(f"-L{folder}", f"-l:{library}", f"-Wl,-rpath,{folder}", "-lm", "-ldl"),
        ],
        check=True,
    )
    return program


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the host is built with the options of Linux")
def test_the_interpreter_ends_and_starts_again(host: Path) -> None:
    """Each end of the interpreter closes the open sessions. The next interpreter works too."""
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        for _ in range(5):
            done = subprocess.run(
                [str(host), sys.executable, _PROGRAM, "host", server.url, server.api_key],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert (0, "open\n" * 4) == (done.returncode, done.stdout), done.stderr


_SUB_INTERPRETERS = """
import _xxsubinterpreters as interpreters, sys

for is_isolated in (False, True):
    interpreter = interpreters.create(isolated=is_isolated)
    program = f'''if True:
        from inworld_sync import Inworld
        iw = Inworld(base_url={sys.argv[1]!r}, api_key={sys.argv[2]!r})
        try:
            print(len(iw.tts.synthesize("Hi.").data), flush=True)
        finally:
            iw.close()
    '''
    try:
        interpreters.run_string(interpreter, program)
    except Exception as error:
        print(error)
    interpreters.destroy(interpreter)
"""


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python 3.13 has another interface to sub-interpreters"
)
def test_sub_interpreters() -> None:
    """A sub-interpreter can use the client; an isolated sub-interpreter gets a clear error."""
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _SUB_INTERPRETERS, server.url, server.api_key],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    shown, error = done.stdout.splitlines()

    assert (0, "24") == (done.returncode, shown)
    assert "isolated sub" in error
