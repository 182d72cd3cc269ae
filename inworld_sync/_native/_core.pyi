# The types of both compiled modules, which hold the same functions. No module of this name exists
# at run time.

from typing import Final, TypeAlias, final

from typing_extensions import Buffer

@final
class CData:  # a pointer, an array or a struct
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...

# A pointer argument takes bytes where it is const, else what from_buffer gave.
_In: TypeAlias = bytes | CData
_Out: TypeAlias = CData

@final
class FFI:
    NULL: Final[CData]
    def buffer(self, cdata: CData, size: int = ...) -> memoryview: ...
    def cast(self, cdecl: str, value: CData | int) -> CData: ...
    def from_buffer(self, cdecl: str, data: Buffer, require_writable: bool = ...) -> CData: ...
    def new(self, cdecl: str, init: object = ...) -> CData: ...
    def string(self, cdata: CData) -> bytes: ...

@final
class Lib:
    IW_ABI_VERSION: Final[int]

    IW_OK: Final[int]
    IW_BAD_ARGUMENT: Final[int]
    IW_NO_MEMORY: Final[int]
    IW_NO_ROOM: Final[int]
    IW_UNSUPPORTED: Final[int]
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
