"""A batch runs as Celery tasks. Each item is done once. Any process can read the progress."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker

from inworld_sync import AuthError, CeleryBatch, ConfigError, DeadlineExceeded, Inworld
from inworld_sync.batch.remote_results import RemoteResults
from inworld_sync.emulator import Emulator

from support.numbered_texts import expected, jobs, spoken
from support.spelling import SpellingSynthesizer


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=SpellingSynthesizer()) as server:
        yield server


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("test", broker="memory://")
    app.conf.task_always_eager = True
    # A worker that sets up logging would remove the handlers of pytest.
    signals.setup_logging.connect(keep_logging)
    yield app
    signals.setup_logging.disconnect(keep_logging)


def keep_logging(**_: object) -> None:
    pass


@pytest.fixture
def batch(app: Celery, server: Emulator) -> Iterator[CeleryBatch]:
    batch = CeleryBatch(app, lambda: Inworld(api_key=server.api_key, base_url=server.url))
    yield batch
    batch.close()


@pytest.mark.slow
def test_a_worker(app: Celery, batch: CeleryBatch, tmp_path: Path) -> None:
    """A worker does the tasks of a caller. The caller reads the progress from the outputs."""
    app.conf.task_always_eager = False
    app.conf.broker_transport_options = {"polling_interval": 0.05}
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        run = batch.submit(jobs(25), str(tmp_path), group_size=10)
        progress = run.wait(60)

    assert (25, 25, 0, 0) == (progress.total, progress.done, progress.skipped, progress.failed)
    assert expected(25) == spoken(tmp_path)
    assert 25 == batch.watch(jobs(25), str(tmp_path)).progress().skipped


def test_a_second_delivery(batch: CeleryBatch, server: Emulator, tmp_path: Path) -> None:
    """If a task is delivered again, its completed items are not done again."""
    sent: list[dict[str, Any]] = []
    task = batch._task

    class Recorded:
        def apply_async(self, kwargs: dict[str, Any], **settings: Any) -> None:
            sent.append(json.loads(json.dumps(kwargs)))
            task.apply_async(kwargs=kwargs, **settings)

    batch._task = Recorded()
    batch.submit(jobs(4), str(tmp_path), group_size=2)
    assert [2, 2] == [len(each["rows"]) for each in sent]
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.wav")}
    for each in sent:
        task.apply(kwargs=each)

    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.wav")}
    sent.clear()
    batch.submit(jobs(5), str(tmp_path), group_size=2)
    assert [[5, "item 5", jobs(5)[4]]] == sent[0]["rows"]


def test_errors_of_items(batch: CeleryBatch, tmp_path: Path) -> None:
    """A failed item is reported with its error, and is tried again by the next submission."""
    items = jobs(3)
    items[1]["voice"] = "Nobody"
    run = batch.submit(items, str(tmp_path))
    assert (2, 1) == ((progress := run.wait(30)).done, progress.failed)
    [failure] = run.failures()
    assert ("n1", "NotFoundError") == (failure.id, failure.kind)
    del items[1]["voice"]
    run = batch.submit(items, str(tmp_path))
    assert (1, 2, 0) == ((done := run.wait(30)).done, done.skipped, done.failed)
    assert expected(3) == spoken(tmp_path)


def test_a_refused_credential(app: Celery, server: Emulator, tmp_path: Path) -> None:
    """If a whole task fails, each of its items is reported as failed."""
    batch = CeleryBatch(app, lambda: Inworld(api_key="d3Jvbmc6d3Jvbmc=", base_url=server.url))
    try:
        run = batch.submit(jobs(3), str(tmp_path))
        assert 3 == run.wait(30).failed
        assert {AuthError.__name__} == {failure.kind for failure in run.failures()}
    finally:
        batch.close()


def test_no_client(app: Celery, tmp_path: Path) -> None:
    """If a worker cannot make its client, each item is reported as failed."""

    def fail() -> Inworld:
        raise ValueError("no key on this worker")

    run = CeleryBatch(app, fail).submit(jobs(3), str(tmp_path))
    assert 3 == run.wait(30).failed
    assert {("ValueError", "no key on this worker")} == {
        (failure.kind, failure.message) for failure in run.failures()
    }


def test_a_change_that_is_undone(batch: CeleryBatch, tmp_path: Path) -> None:
    """If the text of an item is changed and changed back, the item is done again."""
    for text in ("Once.", "Ever.", "Once."):
        assert 1 == batch.submit([{"id": "a", "text": text}], str(tmp_path)).wait(30).done
        assert {"a": text} == spoken(tmp_path)


def test_a_relative_output(
    batch: CeleryBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative output is in the caller's folder, although the worker runs in another folder."""
    for name in ("caller", "worker"):
        (tmp_path / name).mkdir()
    task = batch._task

    class Worker:
        def apply_async(self, kwargs: dict[str, Any], **settings: Any) -> None:
            monkeypatch.chdir(tmp_path / "worker")
            task.apply_async(kwargs=kwargs, **settings)
            monkeypatch.chdir(tmp_path / "caller")

    batch._task = Worker()
    monkeypatch.chdir(tmp_path / "caller")
    assert 2 == batch.submit(jobs(2), "out").wait(30).done
    assert expected(2) == spoken(tmp_path / "caller" / "out")


def test_wait_has_a_timeout(app: Celery, batch: CeleryBatch, tmp_path: Path) -> None:
    """Without workers, wait() ends after its timeout."""
    app.conf.task_always_eager = False
    run = batch.submit(jobs(3), str(tmp_path))
    with pytest.raises(DeadlineExceeded, match="3 of 3 items are not done after"):
        run.wait(0.1)


def test_an_object_store(batch: CeleryBatch, tmp_path: Path) -> None:
    """Results may go to any file system of fsspec."""
    import fsspec

    batch.submit(jobs(2), "memory://speech/out", template="{id}/{index:03}.wav").wait(30)
    system = fsspec.filesystem("memory")
    try:
        assert ["/speech/out/n0/001.wav", "/speech/out/n1/002.wav"] == [
            path for path in system.find("/speech/out") if path.endswith(".wav")
        ]
    finally:
        system.rm("/speech", recursive=True)


def test_no_partial_output_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If copying an output fails, no file has the name of the output."""
    import shutil

    def fail(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("no space")

    with RemoteResults(str(tmp_path)) as results:
        monkeypatch.setattr(shutil, "copyfile", fail)
        source = tmp_path / "source"
        source.write_bytes(b"whole")
        with pytest.raises(OSError, match="no space"):
            results._put(source, str(tmp_path / "out.wav"))

    assert ["source"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": ""}, "output must be a folder or a URL"),
        ({"output": Path("out")}, "output must be a folder or a URL"),
        ({"group_size": 0}, "group_size must be"),
        ({"template": "../{id}.wav"}, "may lead outside the folder"),
    ],
)
def test_wrong_arguments(
    batch: CeleryBatch, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    """A wrong argument is refused before a task is sent."""
    with pytest.raises(ConfigError, match=message):
        batch.submit(jobs(1), **{"output": str(tmp_path), **arguments})


def test_a_client_instead_of_a_function(app: Celery) -> None:
    """A client instead of a function is refused, because the worker must make the client."""
    with pytest.raises(ConfigError, match="client must be a function"):
        CeleryBatch(app, object())  # type: ignore[arg-type]


def test_without_fsspec(batch: CeleryBatch, tmp_path: Path, monkeypatch) -> None:
    """If fsspec is missing, the error says how to install the extra."""
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'inworld-sync\[celery\]'"):
        batch.submit(jobs(1), os.fspath(tmp_path))
