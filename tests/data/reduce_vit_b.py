#!/usr/bin/env python3
"""Makes fixtures/vit_b_synth.safetensors small enough to keep beside the tests.

usage: reduce_vit_b.py FULL.safetensors fixtures/vit_b_synth.safetensors

The full `embedding` [1, 256, 64, 64] becomes `embedding_strided`, every fourth row and column of
it; all other tensors and the metadata are kept.
"""
import json
import struct
import sys

STRIDE = 4
FLOAT_SIZE = 4


def read(path):
    """The tensors, as {name: (dtype, shape, bytes)}, and the metadata."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {
        name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }
    return tensors, metadata


def write(path, tensors, metadata):
    header = {"__metadata__": metadata}
    offset = 0
    for name, (dtype, shape, data) in tensors.items():
        offsets = [offset, offset + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def strided(shape, data):
    """[:, :, ::STRIDE, ::STRIDE] of a row-major float32 array."""
    images, channels, height, width = shape
    row_size = width * FLOAT_SIZE
    picked = bytearray()
    for plane in range(images * channels):
        for y in range(0, height, STRIDE):
            start = (plane * height + y) * row_size
            row = memoryview(data)[start : start + row_size].cast("I")
            picked += row[::STRIDE].tobytes()
    return [images, channels, len(range(0, height, STRIDE)), len(range(0, width, STRIDE))], bytes(picked)


def main(source, target):
    tensors, metadata = read(source)
    dtype, shape, data = tensors.pop("embedding")
    assert dtype == "F32", dtype
    tensors["embedding_strided"] = (dtype, *strided(shape, data))
    config = json.loads(metadata["config"])
    config["emb_stride"] = STRIDE
    metadata["config"] = json.dumps(config)
    write(target, tensors, metadata)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
