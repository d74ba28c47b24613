"""Define small protobuf messages that no installed package provides."""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field: Final = descriptor_pb2.FieldDescriptorProto
_KINDS: Final = {
    "repeated bytes": (_Field.TYPE_BYTES, _Field.LABEL_REPEATED),
    "string": (_Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
    "int32": (_Field.TYPE_INT32, _Field.LABEL_OPTIONAL),
}


def message_class(name: str, **fields: str) -> Any:
    """Return a message class with these fields, numbered from 1 in order."""
    file = descriptor_pb2.FileDescriptorProto(name=f"assay/{name}.proto", package="assay", syntax="proto3")
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        type_, label = _KINDS[kind]
        message.field.add(name=field, number=number, type=type_, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"assay.{name}"))
