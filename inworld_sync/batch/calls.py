"""Implements ``iw.batch``. The first call imports the other modules of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.settings import combine_settings

if TYPE_CHECKING:
    from inworld_sync.batch.jobs import Jobs
    from inworld_sync.models.batch import BatchProgress, BatchSummary
    from inworld_sync.models.options import Options
    from inworld_sync.models.stt import TranscribeConfig
    from inworld_sync.models.tts import ContextConfig
    from inworld_sync.sessions.stt.service import Stt
    from inworld_sync.sessions.tts.service import Tts

__all__ = ["BatchCalls"]


class BatchCalls:
    """Adds the method ``batch`` to a client."""

    @property
    def options(self) -> Options:
        """The settings of this client."""
        raise NotImplementedError

    @property
    def tts(self) -> Tts:
        """The text-to-speech service."""
        raise NotImplementedError

    @property
    def stt(self) -> Stt:
        """The speech-to-text service."""
        raise NotImplementedError

    @with_keyword_hints
    def batch(
        self,
        jobs: Jobs,
        output: str | os.PathLike[str],
        *,
        template: str | None = None,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
        config: ContextConfig | None = None,
        transcribe_config: TranscribeConfig | None = None,
        concurrency: int = 20,
        retries: int = 3,
        timeout: float = 60.0,
        overwrite: bool = False,
        on_progress: Callable[[BatchProgress], object] | None = None,
    ) -> BatchSummary:
        """
        Speak many texts to files, or transcribe many recordings.

        All items are checked before anything is sent. The file ``journal.jsonl`` in the folder
        *output* records each item. After an interruption, even by ``kill -9`` or a loss of power,
        the same call does only the items that are not done. Items that failed are tried again. An
        item whose text, settings or output have changed is done again.

        Args:
            jobs: A ``.csv`` file with a header, a ``.jsonl`` file, or mappings. Each item has
                either ``text`` or ``audio``, the path of a recording. Each item may have an ``id``
                and the settings ``voice``, ``model``, ``language``, ``delivery_mode``,
                ``text_normalization``, ``temperature``, ``sample_rate_hz``, ``speaking_rate`` and
                ``bit_rate_bps``. A value with another name is used only if *template* has a field
                with this name.
            output: The folder of the outputs, which is created if it does not exist.
            template: The template for the names of the outputs; by default ``{id}.wav`` for texts
                and ``{id}.txt`` for recordings. Its fields are the names of an item's values;
                ``{index}``, the number of the item from 1 (``{index:05}`` adds zeros); and for
                recordings ``{stem}``, the file name without its suffix. A slash makes a folder. The
                suffix chooses the format: ``.wav``, ``.mp3``, ``.opus``, ``.flac`` or ``.pcm`` for
                texts; ``.txt``, ``.json``, ``.srt`` or ``.vtt`` for recordings.
            voice: The voice of texts without a voice of their own.
            model: The model of texts without a model of their own.
            language: The language of texts without a language of their own.
            config: All settings of texts in one object. The arguments *voice*, *model* and
                *language* replace its settings.
            transcribe_config: All settings of recordings in one object.
            concurrency: How many items are done at once, 1 to 1000.
            retries: The maximum number of retries of an item, 0 to 100. An item is tried again only
                after an error that may be temporary.
            timeout: Seconds to wait for a connection, and for each message of the service.
            overwrite: Whether an output may replace a file that is not from this batch.
            on_progress: A function that is called on the calling thread at the start, about four
                times per second, and at the end.

        Returns:
            The counts, and the items that failed.

        Raises:
            ConfigError: An argument or an item is wrong, an output exists that is not from this
                batch, or another process works on the same folder. Nothing was sent.
            AuthError: The service refuses the credential.
            OSError: A file of the batch cannot be read or written.

        Thread safety: several threads may run batches in different folders.
        """
        from inworld_sync.batch.runner import run_batch
        from inworld_sync.models.stt import TranscribeConfig
        from inworld_sync.sessions.tts.service import DEFAULTS

        speech = combine_settings(config, DEFAULTS, locals())
        # The arguments of the call, such as *model*, are for texts only.
        transcript = combine_settings(transcribe_config, TranscribeConfig(), {})
        return run_batch(
            jobs,
            output,
            template=template,
            speech=speech,
            transcript=transcript,
            options=self.options,
            tts=self.tts,
            stt=lambda: self.stt,
            concurrency=concurrency,
            retries=retries,
            timeout=timeout,
            overwrite=overwrite,
            on_progress=on_progress,
        )
