"""
Encodes speech as a compressed file, with soundfile (extra ``files``) or PyAV (extra ``media``).

Thread safety: any thread may call the function at any time.
"""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from inworld_sync.audio.resample import Resampler
from inworld_sync.errors import AudioError
from inworld_sync.models.tts import AudioEncoding

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    _Samples: TypeAlias = npt.NDArray[np.int16]

__all__ = ["encode_file"]

# The format and the subtype of soundfile, and the container and the codec of PyAV.
_SOUNDFILE: Final = {
    AudioEncoding.MP3: ("MP3", "MPEG_LAYER_III"),
    AudioEncoding.OGG_OPUS: ("OGG", "OPUS"),
    AudioEncoding.FLAC: ("FLAC", "PCM_16"),
}
_AV: Final = {
    AudioEncoding.MP3: ("mp3", "libmp3lame"),
    AudioEncoding.OGG_OPUS: ("ogg", "libopus"),
    AudioEncoding.FLAC: ("flac", "flac"),
}
# The sample rates of the encoders. FLAC has all rates that speech may have.
_RATES_HZ: Final = {
    AudioEncoding.MP3: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    AudioEncoding.OGG_OPUS: (8000, 12000, 16000, 24000, 48000),
}
# libsndfile overflows its stack if much Opus audio is written in one call.
_BLOCK_SAMPLES: Final = 4800


def encode_file(pcm: bytes | memoryview, sample_rate_hz: int, encoding: AudioEncoding) -> bytes:
    """
    Return 16-bit mono PCM as a file.

    A FLAC file has exactly the samples of *pcm*. If MP3 or Opus does not have the sample rate, the
    audio is converted to the next higher rate.

    Args:
        pcm: Whole samples.
        sample_rate_hz: The sample rate of *pcm*.
        encoding: MP3, OGG_OPUS or FLAC.

    Raises:
        AudioError: *pcm* is empty, neither library is installed, or the library cannot encode the
            samples.
    """
    import numpy as np

    if not len(pcm):
        raise AudioError(f"audio is needed for an {encoding.value} file, got no samples")
    rates_hz = _RATES_HZ.get(encoding, (sample_rate_hz,))
    rate_hz = next((rate for rate in rates_hz if rate >= sample_rate_hz), rates_hz[-1])
    resampler = Resampler(sample_rate_hz, rate_hz)
    samples = np.frombuffer(resampler.feed(pcm) + resampler.finish(), "<i2")
    failures = []
    for library, encode in (("soundfile", _by_soundfile), ("av", _by_av)):
        try:
            module = importlib.import_module(library)
        except (ImportError, OSError):  # soundfile raises OSError without libsndfile
            continue
        try:
            return encode(module, samples, rate_hz, encoding)
        except (RuntimeError, ValueError, OSError) as error:  # the errors of both libraries
            failures.append(f"{library}: {error}")
    if failures:
        raise AudioError(f"the audio cannot be encoded as {encoding.value} ({'; '.join(failures)})")
    raise AudioError(
        f"soundfile or PyAV is needed to encode {encoding.value}: pip install "
        "'inworld-sync[files]' or pip install 'inworld-sync[media]'; .wav needs neither"
    )


def _by_soundfile(
    soundfile: Any, samples: _Samples, rate_hz: int, encoding: AudioEncoding
) -> bytes:
    kind, subtype = _SOUNDFILE[encoding]
    content = io.BytesIO()
    with soundfile.SoundFile(
        content, "w", rate_hz, channels=1, format=kind, subtype=subtype
    ) as file:
        for at in range(0, len(samples), _BLOCK_SAMPLES):
            file.write(samples[at : at + _BLOCK_SAMPLES])
    return content.getvalue()


def _by_av(av: Any, samples: _Samples, rate_hz: int, encoding: AudioEncoding) -> bytes:
    kind, codec = _AV[encoding]
    content = io.BytesIO()
    with av.open(content, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        for at in range(0, len(samples), _BLOCK_SAMPLES):
            block = samples[at : at + _BLOCK_SAMPLES].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return content.getvalue()
