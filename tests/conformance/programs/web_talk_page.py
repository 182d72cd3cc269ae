"""
Drives the page ``examples/web_talk.html`` in Chromium.

The program speaks to the page, listens to replies, interrupts replies and restarts the server. A
script in the page stores the events of the conversation, and counts the samples that the page
plays.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chromium_pages import FLAGS
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

STEP_SECONDS = 60.0
STOP_SECONDS = 10.0
# This script runs before the scripts of the page. The microphone plays a recording without echo.
# Echo cancellation would remove words that are spoken during a reply, so the script turns the echo
# cancellation off.
RECORDER = """
window.events = [];
const dispatch = EventTarget.prototype.dispatchEvent;
EventTarget.prototype.dispatchEvent = function (event) {
  const sounding = heard.sounding / (heard.rate || 1);
  if (event instanceof CustomEvent) events.push({ type: event.type, sounding, ...event.detail });
  return dispatch.call(this, event);
};
addEventListener("unhandledrejection", ({ reason }) => console.error(String(reason)));
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
navigator.mediaDevices.getUserMedia = async () => {
  const stream = await open({ audio: plain });
  window.microphoneAt = performance.now();
  return stream;
};
window.heard = { rate: 0, samples: 0, sounding: 0, last: 0, peak: 0 };
const counter = `
registerProcessor("counter", class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) {
      let [sounding, peak] = [0, 0];
      for (const sample of samples) {
        sounding += Math.abs(sample) > 0.01;
        peak = Math.max(peak, Math.abs(sample));
      }
      this.port.postMessage([samples.length, sounding, peak]);
    }
    return true;
  }
});`;
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode && this.numberOfInputs === 0) count(this);
  return connect.call(this, target, ...rest);
};
async function count(player) {
  const { context } = player;
  const source = URL.createObjectURL(new Blob([counter], { type: "text/javascript" }));
  await context.audioWorklet.addModule(source);
  const node = new AudioWorkletNode(context, "counter");
  heard.rate = context.sampleRate;
  node.port.onmessage = ({ data: [samples, sounding, peak] }) => {
    heard.samples += samples;
    heard.sounding += sounding;
    heard.peak = Math.max(heard.peak, peak);
    if (sounding) heard.last = performance.now();
  };
  connect.call(player, node);
}
"""
# With this script, the browser refuses the sample rate of the relay, so the page resamples in both
# directions.
OTHER_RATE = """
const Usual = AudioContext;
window.AudioContext = class extends Usual {
  constructor(options) {
    if (options?.sampleRate) throw new DOMException("another rate", "NotSupportedError");
    super(options);
  }
};
"""


class Site:
    """The server of the example, which can be restarted on the same port."""

    def __init__(self, command: list[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.command = [part.replace("PORT", str(self.port)) for part in command]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "INWORLD_SYNC_LOCAL": "1"}
        self.process = subprocess.Popen(self.command, env=environment)
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError("the server of the example does not start") from None
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop the server, so that the browser loses its connection."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_SECONDS)


class Page:
    """The page in a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def value(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.value(
            f"events.filter(({{ type }}) => type === '{kind}')"
        )
        return found

    def until(self, what: str, holds: Callable[[], object]) -> None:
        """
        Wait until *holds* returns true. After the deadline, raise an error with the page's text.
        """
        deadline = time.monotonic() + STEP_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                kinds = self.value("events.map(({ type, state }) => state ?? type)")
                shown = self.value("document.body.innerText")
                raise AssertionError(f"{what}: not within {STEP_SECONDS:g} s; {shown}; {kinds}")
            time.sleep(0.1)

    def until_state(self, state: str) -> None:
        self.until(
            f"the state {state}",
            lambda: self.value("document.getElementById('state').dataset.state") == state,
        )

    def sounding(self) -> float:
        """Return how many seconds of sound were played."""
        return float(self.value("heard.rate && heard.sounding / heard.rate"))

    def is_quiet(self) -> bool:
        """Return whether the page has played only silence in the last second."""
        return bool(self.value("performance.now() - heard.last > 1000"))

    def said(self) -> list[str]:
        return [
            re.sub(r"\W+", " ", each["text"].lower()).strip()
            for each in self.of_kind("user")
            if each["final"]
        ]

    def words(self) -> list[str]:
        return [re.sub(r"\W+", "", each["text"].lower()) for each in self.of_kind("word")]

    def click(self, name: str) -> None:
        self.driver.find_element("id", name).click()

    def type(self, text: str) -> None:
        self.driver.find_element("id", "typed").send_keys(text)
        self.click("send")

    def serious(self) -> list[dict[str, Any]]:
        """Return the errors and warnings that the console has shown since the last call."""
        messages = self.driver.get_log("browser")
        return [each for each in messages if each["level"] in ("SEVERE", "WARNING")]


def require_prompt_silence(seconds: float, step: str) -> None:
    """
    Check that the page played less than 0.5 s of sound after an interruption.

    The server sends audio up to two seconds before the page plays it. So a page that does not drop
    the audio of an interrupted reply plays much more than 0.5 s.
    """
    assert seconds < 0.5, f"{step}: {seconds:.1f} s of sound after the interruption"


def report(step: str, detail: object) -> None:
    sys.stdout.write(f"ok    {step}: {detail}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def browser(microphone: str, *scripts: str) -> Iterator[Page]:
    """
    Open a browser whose microphone is a recording. The recording begins when a page opens the
    microphone.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in FLAGS:
            options.add_argument(flag)
        # Without this flag, WebRTC does not connect on a machine that has no network.
        options.add_argument("--allow-loopback-in-peer-connection")
        options.add_argument("--window-size=900,820")
        options.add_argument(f"--user-data-dir={folder}/profile")
        options.add_argument(f"--use-file-for-fake-audio-capture={microphone}%noloop")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(STEP_SECONDS)
            for script in scripts:
                command = "Page.addScriptToEvaluateOnNewDocument"
                driver.execute_cdp_cmd(command, {"source": script})
            yield Page(driver)
        finally:
            driver.quit()


def hear_good_morning(page: Page, step: str) -> None:
    """Type a message. The page must show and play the whole reply."""
    before, finished = page.sounding(), len(page.of_kind("finished"))
    page.type("Say good morning.")
    page.until(f"{step}: the answer", lambda: len(page.of_kind("finished")) > finished)
    assert page.words()[-2:] == ["good", "morning"], page.words()
    seconds = page.sounding() - before
    assert 0.3 < seconds < 3, seconds
    report(step, f"good morning, {seconds:.1f} s of sound")


def check_open_microphone(page: Page, site: Site, pictures: Path | None) -> None:
    page.driver.get(site.url)
    page.click("start")
    page.until_state("listening")
    report("connects", "with an open microphone")

    page.until("speaks", page.said)
    report("speaks", page.said()[0])
    assert re.fullmatch(r"count to (ninety|90)", page.said()[0]), page.said()
    page.until("hears", lambda: page.sounding() > 2)
    report("hears", f"{page.sounding():.1f} s of sound in {page.value('heard.samples')} samples")
    page.until("words", lambda: "five" in page.words() or "5" in page.words())
    # A word is reported when it is heard. The reply takes more than a minute, so the last word of
    # the reply cannot have been reported yet.
    assert not {"ninety", "90"} & {*page.words()}, page.words()
    shown = page.value("document.querySelector('#log .assistant mark').textContent")
    assert shown, "no word is marked"
    report("words light up", shown)

    page.until("interrupts by speech", lambda: page.of_kind("interrupted"))
    page.until("second turn", lambda: len(page.said()) > 1)
    assert page.said()[1] == "say good morning", page.said()
    heard_ms = page.of_kind("interrupted")[0]["ms"]
    assert 1000 < heard_ms < 30000, heard_ms
    report("interrupts by speech", f"after {heard_ms:.0f} ms: {page.said()[1]}")
    page.until("second reply", lambda: page.of_kind("finished"))
    interrupted = page.of_kind("interrupted")[0]["sounding"]
    next_item = next(each for each in page.of_kind("item") if each["sounding"] >= interrupted)
    require_prompt_silence(next_item["sounding"] - interrupted, "interrupts by speech")
    page.until("silence after the reply", page.is_quiet)
    if pictures is not None:
        words, finished = len(page.words()), len(page.of_kind("finished"))
        page.type("When do you open on Monday?")
        page.until("an answer", lambda: len(page.words()) > words + 2)
        page.driver.save_screenshot(str(pictures / "web_talk.png"))
        page.until("its end", lambda: len(page.of_kind("finished")) > finished)

    before = page.sounding()
    page.type("Count to ninety.")
    page.until("third reply", lambda: page.sounding() > before + 1)
    page.click("stop")
    page.until("interrupts by the button", lambda: len(page.of_kind("interrupted")) > 1)
    page.until("silence after the button", page.is_quiet)
    interrupted = page.of_kind("interrupted")[1]
    require_prompt_silence(page.sounding() - interrupted["sounding"], "interrupts by the button")
    report("interrupts by the button", f"{interrupted['ms']:.0f} ms were heard")
    serious = page.serious()
    assert not serious, serious

    site.stop()
    page.until_state("reconnecting")
    site.start()
    page.until_state("listening")
    # While the server is down, the browser logs an error for each attempt to connect.
    serious = [each for each in page.serious() if "/talk" not in each["message"]]
    assert not serious, serious
    hear_good_morning(page, "reconnects after a restart")

    page.driver.refresh()
    page.click("start")
    page.until_state("listening")
    hear_good_morning(page, "works after a reload")
    page.click("end")
    page.until_state("closed")
    assert page.of_kind("close")[-1]["code"] == 1000
    serious = page.serious()
    assert not serious, serious
    report("ends", "without an error in the console")


def check_push_to_talk(page: Page, site: Site, until_ms: float, pictures: Path | None) -> None:
    page.driver.get(site.url)
    page.driver.find_element("css selector", "input[value=push]").click()
    page.click("start")
    page.until_state("listening")
    rate = page.value("heard.rate")
    assert rate != 24000, rate
    button = page.driver.find_element("id", "push")
    ActionChains(page.driver).click_and_hold(button).perform()
    assert button.get_attribute("aria-pressed") == "true"
    page.until(
        "the recording", lambda: page.value(f"performance.now() - microphoneAt > {until_ms}")
    )
    assert not page.said(), "the turn ended before the button was released"
    ActionChains(page.driver).release().perform()
    page.until("push-to-talk", page.said)
    assert page.said()[0] == "say good morning", page.said()
    page.until("the answer", lambda: page.of_kind("finished"))
    assert page.words()[-2:] == ["good", "morning"], page.words()
    report("push-to-talk", f"{page.said()[0]}; resampled to {rate} Hz")

    before = page.sounding()
    page.type("Count to ninety.")
    page.until("a long reply", lambda: page.sounding() > before + 1)
    ActionChains(page.driver).click_and_hold(button).perform()
    page.until("interrupts by the button", lambda: page.of_kind("interrupted"))
    page.until("silence", page.is_quiet)
    interrupted = page.of_kind("interrupted")[0]
    require_prompt_silence(page.sounding() - interrupted["sounding"], "pressing interrupts")
    if pictures is not None:
        page.driver.save_screenshot(str(pictures / "web_talk_push.png"))
    ActionChains(page.driver).release().perform()
    report("pressing interrupts", f"{interrupted['ms']:.0f} ms were heard")
    serious = page.serious()
    assert not serious, serious


def check_webrtc(page: Page, site: Site) -> None:
    page.driver.get(f"{site.url}?transport=webrtc")
    page.click("start")
    page.until_state("listening")
    page.until("speaks over WebRTC", page.said)
    assert re.fullmatch(r"count to (ninety|90)", page.said()[0]), page.said()
    page.until_state("speaking")
    page.until("interrupts by speech", lambda: page.of_kind("interrupted"))
    page.until("the answer", lambda: page.of_kind("finished"))
    texts = [each["text"].lower() for each in page.of_kind("text")]
    assert any("good morning" in text for text in texts), texts[-3:]
    page.click("end")
    page.until_state("closed")
    serious = page.serious()
    assert not serious, serious
    report("WebRTC", f"{page.said()[:2]}, interrupted and heard to the end")


def main() -> int:
    wanted = json.loads(sys.argv[1])
    pictures = Path(wanted["pictures"]) if wanted["pictures"] else None
    site = Site(wanted["command"])
    try:
        site.start()
        with browser(wanted["open"], RECORDER) as page:
            check_open_microphone(page, site, pictures)
        with browser(wanted["push"], RECORDER, OTHER_RATE) as page:
            check_push_to_talk(page, site, wanted["push_ms"], pictures)
        with browser(wanted["open"], RECORDER) as page:
            check_webrtc(page, site)
    except AssertionError as error:
        sys.stdout.write(f"FAIL  {error}\n")
        return 1
    finally:
        site.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
