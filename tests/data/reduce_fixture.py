#!/usr/bin/env python3
"""Makes a fixture small enough to keep beside the tests; the metadata stays.

usage: reduce_fixture.py FULL.safetensors fixtures/NAME.safetensors

- vit_b_synth: the full `embedding` [1, 256, 64, 64] becomes `embedding_strided`, every fourth row
  and column of it.
- promise_tiny_*: without the results in training mode, which the train_step_* hold too.
- train_step_*: without float32 gradients beside their float64 twins, norms of gradients,
  probabilities beside logits, and, at the rate of 1e-3 where three steps are chaotic, what the
  third step gave.
"""
import json
import pathlib
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


def reduce_embedding(tensors, metadata):
    dtype, shape, data = tensors.pop("embedding")
    assert dtype == "F32", dtype
    tensors["embedding_strided"] = (dtype, *strided(shape, data))
    config = json.loads(metadata["config"])
    config["emb_stride"] = STRIDE
    metadata["config"] = json.dumps(config)


def reduce_promise(tensors, _):
    drop(tensors, lambda name: name.startswith("train."))


def reduce_step(tensors, metadata):
    chaotic = json.loads(metadata["config"])["lr"] > 1e-4
    beside_twins = ("prob", "grad_prob", "grad_logits0", "grad_points", "grad_tokens", "grad_apm_logits")
    drop(tensors, lambda name: name.startswith(("grad.", "gradnorm.")) or name in beside_twins
         or "num_batches_tracked" in name or (chaotic and name.startswith("step3.")))


def drop(tensors, unwanted):
    for name in [name for name in tensors if unwanted(name)]:
        del tensors[name]


RULES = {"vit_b_synth": reduce_embedding, "promise_tiny_": reduce_promise, "train_step_": reduce_step}


def main(source, target):
    tensors, metadata = read(source)
    name = pathlib.Path(source).stem
    next(rule for prefix, rule in RULES.items() if name.startswith(prefix))(tensors, metadata)
    write(target, tensors, metadata)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
