"""
Drives the page ``examples/browser_call.html`` in Chromium. The checks speak, listen and interrupt.

A script in the page counts the audio of the track that the page plays.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from chromium_pages import FLAGS
from selenium import webdriver

STEP_SECONDS = 60.0
# This script runs before the scripts of the page. The script stores the events of the session, and
# counts the samples of the speaker: all of them, and those that are not silent. The recording for
# the microphone has no echo, so the script turns off the echo cancellation, which would remove
# words that are spoken during a reply.
RECORDER = """
window.events = [];
addEventListener("realtime", ({ detail }) => events.push({ ...detail, at: performance.now() }));
addEventListener("unhandledrejection", ({ reason }) => console.error(String(reason)));
const devices = navigator.mediaDevices;
const open = devices.getUserMedia.bind(devices);
const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
devices.getUserMedia = () => open({ audio: plain });
window.heard = { samples: 0, sounding: 0, last: 0 };
const counter = `
registerProcessor("counter", class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) {
      let sounding = 0;
      for (const sample of samples) sounding += Math.abs(sample) > 0.01;
      this.port.postMessage([samples.length, sounding]);
    }
    return true;
  }
});`;
addEventListener("DOMContentLoaded", () => {
  document.getElementById("speaker").addEventListener("playing", async ({ target }) => {
    const context = new AudioContext({ sampleRate: 48000 });
    const source = URL.createObjectURL(new Blob([counter], { type: "text/javascript" }));
    await context.audioWorklet.addModule(source);
    const node = new AudioWorkletNode(context, "counter");
    node.port.onmessage = ({ data: [samples, sounding] }) => {
      heard.samples += samples;
      heard.sounding += sounding;
      if (sounding) heard.last = performance.now();
    };
    context.createMediaStreamSource(target.srcObject).connect(node);
  }, { once: true });
});
"""


class Page:
    """The page in a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def value(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.value("events")
        return found

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["type"] == kind]

    def until(self, what: str, holds: Callable[[], object]) -> None:
        """
        Wait until *holds* returns true.

        After ``STEP_SECONDS``, raise an error with the text of the page and the events.
        """
        deadline = time.monotonic() + STEP_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                kinds = [event["type"] for event in self.events()]
                raise AssertionError(
                    f"{what}: not within {STEP_SECONDS:g} s; {self.text()}; {kinds}"
                )
            time.sleep(0.1)

    def text(self) -> str:
        return str(self.value("document.body.innerText"))

    def sounding(self) -> float:
        """Return how many seconds of sound were heard."""
        return float(self.value("heard.sounding")) / 48000

    def said(self) -> list[str]:
        kind = "conversation.item.input_audio_transcription.completed"
        return [
            re.sub(r"\W+", " ", each["transcript"].lower()).strip() for each in self.of_kind(kind)
        ]

    def click(self, name: str) -> None:
        self.driver.find_element("id", name).click()


def report(step: str, detail: object) -> None:
    sys.stdout.write(f"ok    {step}: {detail}\n")
    sys.stdout.flush()


def is_quiet(page: Page) -> bool:
    """Return whether no sound was heard during the last second."""
    return bool(page.value("performance.now() - heard.last > 1000"))


def check(page: Page) -> None:
    page.click("start")
    page.until(
        "connects",
        lambda: page.value("document.getElementById('status').textContent") == "connected",
    )
    page.until("session.updated", lambda: page.of_kind("session.updated"))
    report("connects", "with a minted token")

    page.until("speaks", lambda: page.said())
    report("speaks", page.said()[0])
    assert re.fullmatch(r"count to (ninety|90)", page.said()[0]), page.said()

    page.until("hears", lambda: page.sounding() > 2)
    report("hears", f"{page.sounding():.1f} s of sound in {page.value('heard.samples')} samples")

    cleared = "output_audio_buffer.cleared"
    page.until("interrupts by speech", lambda: page.of_kind(cleared))
    page.until("second turn", lambda: len(page.said()) > 1)
    assert page.said()[1] == "say good morning", page.said()
    report("interrupts by speech", page.said()[1])

    page.until("second reply", lambda: page.of_kind("output_audio_buffer.stopped"))
    page.until("silence after the reply", lambda: is_quiet(page))
    replies = [each["transcript"] for each in page.of_kind("response.output_audio_transcript.done")]
    assert "good morning." in replies, replies
    report("hears the next reply", "good morning.")

    before = page.sounding()
    page.until("third reply", lambda: len(page.said()) > 2 and page.sounding() > before + 1)
    page.click("interrupt")
    page.until("interrupts by the button", lambda: len(page.of_kind(cleared)) > 1)
    page.until("silence after the button", lambda: is_quiet(page))
    report("interrupts by the button", f"{page.sounding() - before:.1f} s of sound before")

    samples = page.value("heard.samples")
    page.click("stop")
    assert page.value("document.getElementById('status').textContent") == "not connected"
    report("stops", f"{samples} samples were heard")


def main() -> int:
    wanted = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in FLAGS:
            options.add_argument(flag)
        # Without this flag, Chromium does not connect on a machine that has no network.
        options.add_argument("--allow-loopback-in-peer-connection")
        options.add_argument(f"--user-data-dir={folder}/profile")
        options.add_argument(f"--use-file-for-fake-audio-capture={wanted['microphone']}%noloop")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(STEP_SECONDS)
            source = {"source": RECORDER}
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
            driver.get(wanted["url"])
            page = Page(driver)
            try:
                check(page)
            except AssertionError as error:
                sys.stdout.write(f"FAIL  {error}\n")
                return 1
            finally:
                messages = driver.get_log("browser")
            serious = [each for each in messages if each["level"] in ("SEVERE", "WARNING")]
            if serious:
                sys.stdout.write(f"FAIL  the console has errors: {serious}\n")
                return 1
            report("console", "no error")
        finally:
            driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
