# The types of both compiled modules, which hold the same functions. No module of this name exists
# at run time.

from collections.abc import Callable
from typing import Any, Final, TypeAlias, final

from typing_extensions import Buffer

@final
class CData:  # a pointer, an array or a struct
    def __bool__(self) -> bool: ...
    def __getattr__(self, name: str) -> Any: ...
    def __getitem__(self, index: int) -> int: ...
    def __int__(self) -> int: ...
    def __len__(self) -> int: ...

@final
class CType: ...

@final
class CBuffer:  # what ffi.buffer gives
    def __getitem__(self, index: slice) -> bytes: ...
    def __len__(self) -> int: ...

# A pointer to const bytes takes bytes as they are, beside what from_buffer gave.
_In: TypeAlias = bytes | CData

@final
class FFI:
    NULL: Final[CData]
    def addressof(self, library: Lib, function: str, /) -> CData: ...
    def buffer(self, cdata: CData, size: int = ..., /) -> CBuffer: ...
    def cast(self, cdecl: str | CType, value: CData | int, /) -> CData: ...
    def from_buffer(
        self, cdecl: str | CType, data: Buffer, require_writable: bool = ..., /
    ) -> CData: ...
    def gc(self, cdata: CData, destructor: Callable[[CData], None], /) -> CData: ...
    def new(self, cdecl: str | CType, init: object = ..., /) -> CData: ...
    def new_allocator(
        self, *, should_clear_after_alloc: bool = ...
    ) -> Callable[[str | CType, int], CData]: ...
    def release(self, cdata: CData, /) -> None: ...
    def string(self, cdata: CData, /) -> bytes: ...
    def unpack(self, cdata: CData, length: int, /) -> bytes: ...  # of char[]
    def typeof(self, cdecl: str, /) -> CType: ...

@final
class Lib:
    IW_ABI_VERSION: Final[int]

    IW_OK: Final[int]
    IW_BAD_ARGUMENT: Final[int]
    IW_NO_MEMORY: Final[int]
    IW_NO_ROOM: Final[int]
    IW_UNSUPPORTED: Final[int]
    IW_STALE: Final[int]
    IW_BAD_LENGTH: Final[int]
    IW_BAD_CHARACTER: Final[int]
    IW_BAD_PADDING: Final[int]
    IW_BAD_BITS: Final[int]
    IW_NO_RIFF: Final[int]
    IW_NO_DATA: Final[int]
    IW_NOT_PLAIN: Final[int]
    def iw_status_text(self, status: int, /) -> CData: ...

    IW_LEVEL_SCALAR: Final[int]
    IW_LEVEL_AVX2: Final[int]
    IW_LEVEL_AVX512: Final[int]
    IW_LEVEL_NEON: Final[int]
    IW_LEVEL_COUNT: Final[int]
    def iw_level_name(self, level: int, /) -> CData: ...
    def iw_level_supported(self, level: int, /) -> int: ...
    def iw_level_best(self) -> int: ...
    def iw_level_active(self) -> int: ...
    def iw_level_force(self, level: int, /) -> int: ...
    def iw_base64_decode(self, dst: CData, dst_bytes: int, src: _In, src_bytes: int, /) -> int: ...
    def iw_base64_fault(self, position: CData, src: _In, src_bytes: int, /) -> int: ...
    def iw_base64_encode(self, dst: CData, dst_bytes: int, src: _In, src_bytes: int, /) -> int: ...
    def iw_g711_decode_ulaw(self, dst: CData, src: _In, samples: int, /) -> None: ...
    def iw_g711_decode_alaw(self, dst: CData, src: _In, samples: int, /) -> None: ...
    def iw_g711_encode_ulaw(self, dst: CData, src: _In, samples: int, /) -> None: ...
    def iw_g711_encode_alaw(self, dst: CData, src: _In, samples: int, /) -> None: ...
    def iw_pcm_f32_from_s16(self, dst: CData, src: _In, samples: int, /) -> None: ...
    def iw_pcm_s16_from_f32(self, dst: CData, src: _In, samples: int, /) -> None: ...
    def iw_pcm_swap_s16(self, dst: CData, src: _In, samples: int, /) -> None: ...
    def iw_pcm_gain_s16(self, dst: CData, src: _In, samples: int, gain: float, /) -> None: ...
    def iw_pcm_mix_s16(self, dst: CData, a: _In, b: _In, samples: int, /) -> None: ...
    def iw_pcm_peak_s16(self, src: _In, samples: int, /) -> int: ...
    def iw_pcm_energy_s16(self, src: _In, samples: int, /) -> int: ...
    def iw_ws_mask(
        self, dst: CData, src: _In, size_bytes: int, key: _In, offset_bytes: int, /
    ) -> None: ...
    def iw_wav_find(self, found: CData, src: _In, src_bytes: int, /) -> int: ...

    IW_PLAYOUT_BURST: Final[int]
    IW_PLAYOUT_LIVE: Final[int]
    IW_PLAYOUT_S16: Final[int]
    IW_PLAYOUT_F32: Final[int]
    IW_PLAYOUT_EMPTY: Final[int]
    IW_PLAYOUT_PREBUFFERING: Final[int]
    IW_PLAYOUT_PLAYING: Final[int]
    IW_PLAYOUT_STALLED: Final[int]
    IW_PLAYOUT_DRAINED: Final[int]
    IW_PLAYOUT_ITEMS: Final[int]
    IW_PLAYOUT_MARKS: Final[int]
    IW_PLAYOUT_PARTS: Final[int]
    IW_PLAYOUT_END_OF_ITEM: Final[int]
    IW_PLAYOUT_PLAYED: Final[int]
    IW_PLAYOUT_CONCEALED: Final[int]
    IW_PLAYOUT_HELD: Final[int]
    IW_PLAYOUT_IDLE: Final[int]
    IW_PLAYOUT_FADED: Final[int]
    IW_PLAYOUT_ITEM_STARTED: Final[int]
    IW_PLAYOUT_ITEM_DONE: Final[int]
    IW_PLAYOUT_ITEM_CLEARED: Final[int]
    IW_PLAYOUT_MARK: Final[int]
    IW_PLAYOUT_MARK_CANCELLED: Final[int]
    IW_PLAYOUT_STALL: Final[int]
    IW_PLAYOUT_RESUME: Final[int]
    IW_PLAYOUT_DRAIN: Final[int]
    IW_PLAYOUT_SKIP: Final[int]
    def iw_playout_create(self, playout: CData, config: CData, /) -> int: ...
    def iw_playout_destroy(self, playout: CData, /) -> None: ...
    def iw_playout_push(
        self,
        playout: CData,
        samples: _In,
        frames: int,
        item: int,
        flags: int,
        now_ns: int,
        /,
    ) -> int: ...
    def iw_playout_push_at(
        self,
        playout: CData,
        samples: _In,
        frames: int,
        item: int,
        timestamp: int,
        flags: int,
        now_ns: int,
        /,
    ) -> int: ...
    def iw_playout_push_sequence(
        self,
        playout: CData,
        samples: _In,
        frames: int,
        item: int,
        sequence: int,
        flags: int,
        now_ns: int,
        /,
    ) -> int: ...
    def iw_playout_reserve(
        self, playout: CData, space: CData, frames: int, item: int, /
    ) -> int: ...
    def iw_playout_commit(self, playout: CData, frames: int, flags: int, now_ns: int, /) -> int: ...
    def iw_playout_pull(self, playout: CData, out: CData, frames: int, now_ns: int, /) -> int: ...
    def iw_playout_parts(self, playout: CData, parts: CData, capacity: int, /) -> int: ...
    def iw_playout_clear(
        self, playout: CData, cleared: CData, capacity: int, latency_frames: int, /
    ) -> int: ...
    def iw_playout_position(self, playout: CData, item: int, latency_frames: int, /) -> int: ...
    def iw_playout_mark(
        self, playout: CData, item: int, offset_frames: int, tag: int, /
    ) -> int: ...
    def iw_playout_poll(
        self, playout: CData, events: CData, capacity: int, latency_frames: int, /
    ) -> int: ...
    def iw_playout_pause(self, playout: CData, paused: int, /) -> None: ...
    def iw_playout_stats(self, playout: CData, stats: CData, /) -> None: ...
    def iw_playout_clock_ns(self) -> int: ...
    def iw_gate_create(self, gate: CData, /) -> int: ...
    def iw_gate_destroy(self, gate: CData, /) -> None: ...
    def iw_microphone_create(
        self,
        microphone: CData,
        capacity_samples: int,
        channels: int,
        gate: CData,
        hangover_ns: int,
        /,
    ) -> int: ...
    def iw_microphone_destroy(self, microphone: CData, /) -> None: ...
    def iw_microphone_callback(
        self,
        source: _In,
        output: CData,
        frames: int,
        time: CData,
        flags: int,
        user: CData,
        /,
    ) -> int: ...
    def iw_microphone_finished(self, user: CData, /) -> None: ...
    def iw_microphone_read(self, microphone: CData, out: CData, samples: int, /) -> int: ...
    def iw_microphone_mute(self, microphone: CData, muted: int, /) -> None: ...
    def iw_microphone_stats(self, microphone: CData, stats: CData, /) -> None: ...
    def iw_speaker_create(
        self, speaker: CData, playout: CData, gate: CData, config: CData, /
    ) -> int: ...
    def iw_speaker_destroy(self, speaker: CData, /) -> None: ...
    def iw_speaker_play(
        self, speaker: CData, out: CData, frames: int, latency_ns: int, now_ns: int, /
    ) -> None: ...
    def iw_speaker_callback(
        self,
        source: CData,
        output: CData,
        frames: int,
        time: CData,
        flags: int,
        user: CData,
        /,
    ) -> int: ...
    def iw_speaker_finished(self, user: CData, /) -> None: ...
    def iw_speaker_heard(self, speaker: CData, now_ns: int, /) -> int: ...
    def iw_speaker_stats(self, speaker: CData, stats: CData, /) -> None: ...

    IW_SPLIT_MAX_PATHS: Final[int]
    IW_SPLIT_MAX_DEPTH: Final[int]
    IW_SPLIT_MAX_TEXT: Final[int]
    IW_SPLIT_ABSENT: Final[int]
    IW_SPLIT_TEXT: Final[int]
    IW_SPLIT_LITERAL: Final[int]
    IW_SPLIT_OTHER: Final[int]
    IW_SPLIT_BYTES: Final[int]
    IW_SPLIT_F32: Final[int]
    def iw_split_plan_create(self, paths: bytes, path_count: int, /) -> CData: ...
    def iw_split_plan_destroy(self, plan: CData, /) -> None: ...
    def iw_split_message(
        self,
        dst: CData,
        dst_bytes: int,
        result: CData,
        plan: CData,
        src: _In,
        src_bytes: int,
        form: int,
        /,
    ) -> int: ...

    IW_FRAME_BYTES: Final[int]
    IW_FRAME_S16_FROM_F32: Final[int]
    IW_FRAME_ULAW_FROM_S16: Final[int]
    IW_FRAME_ALAW_FROM_S16: Final[int]
    IW_FRAME_HEADER_BYTES: Final[int]
    def iw_frame_text(
        self,
        dst: CData,
        dst_bytes: int,
        head: bytes,
        head_bytes: int,
        audio: _In,
        audio_bytes: int,
        form: int,
        tail: bytes,
        tail_bytes: int,
        mask: bytes,
        /,
    ) -> int: ...
