r"""
Encodes and decodes mu-law and A-law, the 8-bit encodings of telephony (ITU-T G.711).

Encoding produces the same bits as the reference code of ITU-T G.191. A sample on a decision value
belongs to the interval above this value, for positive and negative samples. The audioop module of
Python before 3.13 has negative boundaries of mu-law that are nearer to zero by four. For A-law and
for all decoding, audioop returns the same values as this module.

Linear samples are 16-bit little-endian. Every function accepts any object with a contiguous buffer,
and any thread may call every function at any time. The functions whose names end in ``_into`` write
to the start of *out* and return the number of bytes written. *out* is a writable buffer that must
not overlap *data*.

>>> decode_ulaw(b"\xff\x00").hex(" ", 2)
'0000 8482'
>>> encode_ulaw(b"\x00\x00\x84\x82").hex()
'ff00'
"""

from __future__ import annotations

from inworld_sync._native import lib
from inworld_sync.audio._memory import sample_functions

__all__ = [
    "decode_alaw",
    "decode_alaw_into",
    "decode_ulaw",
    "decode_ulaw_into",
    "encode_alaw",
    "encode_alaw_into",
    "encode_ulaw",
    "encode_ulaw_into",
]

decode_ulaw, decode_ulaw_into = sample_functions(
    __name__,
    "decode_ulaw",
    lib.iw_g711_decode_ulaw,
    "mu-law",
    "s16",
    """Decode mu-law to 16-bit samples in [-32124, 32124], twice the bytes of *data*.""",
)
decode_alaw, decode_alaw_into = sample_functions(
    __name__,
    "decode_alaw",
    lib.iw_g711_decode_alaw,
    "A-law",
    "s16",
    """Decode A-law to 16-bit samples in [-32256, 32256] but never 0, twice the bytes of *data*.""",
)
encode_ulaw, encode_ulaw_into = sample_functions(
    __name__,
    "encode_ulaw",
    lib.iw_g711_encode_ulaw,
    "s16",
    "mu-law",
    """Encode 16-bit samples as mu-law, half the bytes of *data*; clip magnitudes above 32635.""",
)
encode_alaw, encode_alaw_into = sample_functions(
    __name__,
    "encode_alaw",
    lib.iw_g711_encode_alaw,
    "s16",
    "A-law",
    """Encode 16-bit samples as A-law, half the bytes of *data*.""",
)
