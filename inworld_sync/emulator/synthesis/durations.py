"""
Adds an inner tensor of an ONNX model to the outputs of the model. Then the duration of each phoneme
can be read.

The acoustic model predicts durations for every phoneme and sums them inside the graph, but its
only output is the spectrum. One more entry in the graph's list of outputs makes the sums readable.
This module adds the entry to the protobuf bytes, without a library for ONNX.

Source: the message layouts of ModelProto, GraphProto, NodeProto and ValueInfoProto in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["expose_output"]

# The numbers of fields.
_MODEL_GRAPH = 7
_GRAPH_NODE = 1
_GRAPH_OUTPUT = 12
_NODE_OUTPUT = 2
_NODE_OP_TYPE = 4
# Wire types.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def expose_output(model: bytes, op_type: str) -> tuple[bytes, str]:
    """
    Return the model with one more output, and the name of this output. The output has the result of
    the last *op_type* node.

    Raises:
        LookupError: The model has no such node.
        ValueError: The bytes are not a model.
    """
    graph_start, graph_begin, graph_end = _find(model, _MODEL_GRAPH)
    graph = model[graph_begin:graph_end]
    name = _last_output_of(graph, op_type)
    grown = graph + _field(_GRAPH_OUTPUT, _int64_matrix(name))
    return model[:graph_start] + _field(_MODEL_GRAPH, grown) + model[graph_end:], name


def _last_output_of(graph: bytes, op_type: str) -> str:
    found = None
    for number, _, begin, end in _fields(graph):
        if number != _GRAPH_NODE:
            continue
        node = graph[begin:end]
        texts: dict[int, bytes] = {}
        for inner, _, first, last in _fields(node):
            if inner in (_NODE_OUTPUT, _NODE_OP_TYPE):
                texts.setdefault(inner, node[first:last])
        if texts.get(_NODE_OP_TYPE) == op_type.encode():
            found = texts[_NODE_OUTPUT].decode()
    if found is None:
        raise LookupError(f"the model has no {op_type} node")
    return found


def _find(message: bytes, wanted: int) -> tuple[int, int, int]:
    for number, start, begin, end in _fields(message):
        if number == wanted:
            return start, begin, end
    raise ValueError(f"no field {wanted} in {len(message)} bytes: not an ONNX model")


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield the number and the start of each field, and the start and end of its content."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _varint(message, at)
            end = at + length
        elif kind == _VARINT:
            _, end = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            end = at + (4 if kind == _FIXED32 else 8)
        else:
            raise ValueError(f"wire type {kind} at byte {start}: not an ONNX model")
        yield tag >> 3, start, at, end
        at = end


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _field(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content


def _int64_matrix(name: str) -> bytes:
    """Describe a tensor of int64 with two dimensions of any size."""
    shape = _field(2, _field(1, b"") + _field(1, b""))
    tensor = _field(1, b"\x08\x07" + shape)
    return _field(1, name.encode()) + _field(2, tensor)
