"""Reads the nodes of an ONNX graph by protobuf alone, which onnxruntime brings.

The package onnx is 33 MB, for making graphs and checking them; a server only reads what trees say.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

# The part of onnx.proto that is read: message, then field: (number, type, whether repeated).
# Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_FIELDS = {
    "Attribute": {
        "name": (1, "string", False),
        "f": (2, "float", False),
        "i": (3, "int64", False),
        "s": (4, "bytes", False),
        "floats": (7, "float", True),
        "ints": (8, "int64", True),
        "strings": (9, "bytes", True),
        "type": (20, "int64", False),
    },
    "Node": {
        "input": (1, "string", True),
        "output": (2, "string", True),
        "op_type": (4, "string", False),
        "attribute": (5, "Attribute", True),
    },
    "Graph": {"node": (1, "Node", True)},
    "Model": {"graph": (7, "Graph", False)},
}
# Which field holds an attribute's value, by its type; tensors and graphs are none of trees'.
_VALUES = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}


class UnreadableGraph(Exception):
    """A file is no ONNX model."""


class Node(NamedTuple):
    """An operation of a graph; an attribute of a kind that is not read here is None."""

    operation: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


def read_nodes(path: Path) -> list[Node]:
    """Give a graph's nodes, in the order of their evaluation.

    Raises:
        UnreadableGraph: The file is no ONNX model.
    """
    try:
        model: Any = _model_class().FromString(path.read_bytes())
    except DecodeError as error:
        raise UnreadableGraph(f"{path} is not an ONNX model: {error}") from error
    return [
        Node(
            node.op_type,
            list(node.input),
            list(node.output),
            {attribute.name: _value(attribute) for attribute in node.attribute},
        )
        for node in model.graph.node
    ]


def _value(attribute: Any) -> Any:
    field = _VALUES.get(attribute.type)
    return None if field is None else getattr(attribute, field)


@cache
def _model_class() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="onnx_part.proto", package="part")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            described = descriptor_pb2.FieldDescriptorProto
            added = message.field.add(name=field, number=number)
            added.label = described.LABEL_REPEATED if repeated else described.LABEL_OPTIONAL
            if kind in _FIELDS:
                added.type, added.type_name = described.TYPE_MESSAGE, f".part.{kind}"
            else:
                added.type = getattr(described, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("part.Model"))
