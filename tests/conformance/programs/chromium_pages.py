"""
Checks of this project's own pages in Chromium. The pages have another origin than the emulator.

Each check gets a new browser. The microphone of the browser is a recording, which begins when a
page opens the microphone.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import tempfile
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checks import CHECK_SECONDS, Check, Server, run
from selenium import webdriver

PAGES = Path(__file__).with_name("pages")
SCRIPT = """
const [name, server, done] = arguments;
const check = window.checks[name];
check(server).then((text) => done({ text }), (error) => done({ error: String(error) }));
"""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {".html": "text/html", ".js": "text/javascript"}  # noqa: RUF012

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def microphone_file(recording: str, folder: str) -> Path:
    """Add silence around a recording, because the browser may lose the start of the file."""
    path = Path(folder) / "microphone.wav"
    with wave.open(recording) as source, wave.open(str(path), "w") as target:
        target.setparams(source.getparams())
        silence = bytes(2 * source.getframerate())
        target.writeframes(silence + source.readframes(source.getnframes()) + 2 * silence)
    return path


def in_browser(server: Server, check: str, recording: str) -> str:
    """Run a check of the pages in a new browser."""
    handler = functools.partial(QuietHandler, directory=str(PAGES))
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in FLAGS:
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={folder}/profile")
        microphone = microphone_file(recording, folder)
        options.add_argument(f"--use-file-for-fake-audio-capture={microphone}%noloop")
        driver_program = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options, driver_program)
        try:
            driver.set_script_timeout(CHECK_SECONDS)
            driver.get(f"http://127.0.0.1:{site.server_port}/")
            wanted = {"url": server.url, "ws_url": server.ws_url, "api_key": server.api_key}
            found = driver.execute_async_script(SCRIPT, check, wanted)
        finally:
            driver.quit()
            site.shutdown()
    if "error" in found:
        raise AssertionError(found["error"])
    return str(found["text"])


def page_check(name: str) -> Callable[[Server], str]:
    def check(server: Server) -> str:
        # Only the check of the transcription uses the sentence.
        recording = server.sentence if name == "transcription" else server.question
        return in_browser(server, name, recording)

    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    check.__name__ = words
    return check


CHECKS: list[Check] = [
    (feature, page_check(name))
    for feature, name in (
        ("voices", "voices"),
        ("speech", "fetchedSpeech"),
        ("stream", "streamedSpeech"),
        ("websocket", "socketWithToken"),
        ("websocket", "socketWithQuery"),
        ("encodings", "encodings"),
        ("transcription", "transcription"),
        ("written turn", "writtenTurn"),
        ("spoken turn", "spokenTurn"),
        ("spoken turn", "spokenTurnOfInworld"),
        ("refusals", "keyInQuery"),
        ("refusals", "badKey"),
    )
]

if __name__ == "__main__":
    run(CHECKS)
