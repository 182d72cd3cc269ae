from inworld_sync._native._core import FFI, Lib

ffi: FFI
lib: Lib
