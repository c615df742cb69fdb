#!/usr/bin/env python3
"""Writes the small checkpoints under tests/data/checkpoints. Needs PyTorch.

Every weight follows one formula, so tests can state the expected value of each element:
element i (row-major) of a tensor made by ramp(shape, seed) is ((7 * i + seed) % 23 - 11) / 8,
which every floating-point type of interest holds exactly.
"""
import collections
import io
import os
import pathlib
import shutil
import zipfile

import torch

OUT = pathlib.Path(__file__).resolve().parent / "checkpoints"


def ramp(shape, seed=0, dtype=torch.float32):
    count = 1
    for extent in shape:
        count *= extent
    values = [((7 * i + seed) % 23 - 11) / 8 for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape).to(dtype)


def integers(shape, dtype):
    count = 1
    for extent in shape:
        count *= extent
    return torch.arange(count).reshape(shape).to(dtype)


def plain():
    return collections.OrderedDict(
        [("conv.weight", ramp((2, 3, 2, 2), 1)), ("conv.bias", ramp((2,), 2)), ("scale", ramp((), 3))]
    )


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.norm = torch.nn.BatchNorm1d(2)
        with torch.no_grad():
            self.linear.weight.copy_(ramp((2, 3), 4))
            self.linear.bias.copy_(ramp((2,), 5))


def views():
    base = ramp((4, 6), 6)
    line = ramp((10,), 7)
    return {
        "base": base,
        "transposed": base.t(),
        "columns": base[:, 1:6:2],
        "row": base[2],
        "expanded": base[1:2, :3].expand(2, 3),
        "permuted": ramp((2, 3, 4), 8).permute(2, 0, 1),
        "tail": line[7:],
        "middle": line[2:6].reshape(2, 2),
        "nothing": line[:0].reshape(0, 5),
    }


class Command:
    """Unpickled by Python, this would create a file."""

    def __reduce__(self):
        return (os.system, ("touch promiseg_was_here",))


def members(path):
    with zipfile.ZipFile(path) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def rewrite(path, entries, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)

    def save(value, name, **options):
        torch.save(value, OUT / name, **options)

    save(plain(), "zip.pth")
    save(plain(), "legacy.pth", _use_new_zipfile_serialization=False)
    for protocol in (3, 4, 5):
        save(plain(), f"protocol{protocol}.pth", pickle_protocol=protocol)
    save(plain(), "legacy_protocol4.pth", pickle_protocol=4, _use_new_zipfile_serialization=False)

    types = {
        "f32": ramp((2, 3), 1),
        "f16": ramp((2, 3), 2, torch.float16),
        "bf16": ramp((2, 3), 3, torch.bfloat16),
        "f64": ramp((2, 3), 4, torch.float64),
        "i64": integers((5,), torch.int64),
        "i32": integers((5,), torch.int32),
        "i16": integers((5,), torch.int16),
        "i8": integers((5,), torch.int8),
        "u8": integers((5,), torch.uint8),
        "boolean": torch.tensor([True, False, True]),
    }
    save(types, "types.pth")
    save(types, "types_legacy.pth", _use_new_zipfile_serialization=False)
    save(views(), "views.pth")
    save(views(), "views_legacy.pth", _use_new_zipfile_serialization=False)

    shared = ramp((2, 3), 9)
    save({"encoder.embed": shared, "decoder.embed": shared}, "shared.pth")

    model = Linear()
    save(model.state_dict(), "module_metadata.pth")  # an OrderedDict with _metadata
    save({"weight": model.linear.weight, "bias": model.linear.bias}, "parameters.pth")

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.norm(model.linear(ramp((4, 3), 1))).square().sum().backward()
    optimizer.step()
    save(
        {
            "epoch": 12,
            "best_loss": 0.25,
            "loss": torch.tensor(0.25),
            "name": "träning",
            "history": [1.5, 1.25, None, True, (2**40, -3)],
            "shape": torch.Size([2, 3]),
            "device": torch.device("cpu"),
            "dtype": torch.float32,
            "model_state_dict": plain(),
            "optimizer": optimizer.state_dict(),
        },
        "training.pth",
    )
    save({"state_dict": plain(), "epoch": 3}, "wrapped_state_dict.pth")
    save({"model": {"state_dict": plain()}, "args": None}, "wrapped_twice.pth")
    save({"net": plain()}, "wrapped_net.pth")
    save({"module." + name: value for name, value in plain().items()}, "module_prefix.pth")
    save({"module.a": ramp((2,), 1), "b": ramp((2,), 2)}, "mixed_prefix.pth")

    save({"weight": ramp((2,), 1), "extra": Command()}, "hostile.pth")
    save({"weight": ramp((2,), 1), "extra": Command()}, "hostile_legacy.pth",
         _use_new_zipfile_serialization=False)
    save([ramp((2,), 1)], "list.pth")
    save({"epoch": 3}, "no_tensors.pth")
    save({"complex": torch.zeros(2, dtype=torch.complex64)}, "complex.pth")

    entries = members(OUT / "zip.pth")
    rewrite(OUT / "missing_storage.pth", [e for e in entries if not e[0].endswith("/data/1")])
    rewrite(
        OUT / "short_storage.pth",
        [(n, d[:20] if n.endswith("/data/0") else d) for n, d in entries],
    )
    rewrite(
        OUT / "big_endian.pth", [(n, b"big" if n.endswith("byteorder") else d) for n, d in entries]
    )
    rewrite(OUT / "deflated.pth", entries, zipfile.ZIP_DEFLATED)

    checkpoint = (OUT / "zip.pth").read_bytes()
    code = ("package/__init__.py", b"")
    deflated = zipfile.ZIP_DEFLATED
    rewrite(OUT / "wheel.whl", [code, ("package/asset/weights.pth", checkpoint)], deflated)
    rewrite(OUT / "wheel_two.whl", [("a.pth", checkpoint), ("b.pt", checkpoint)], deflated)
    rewrite(OUT / "wheel_none.whl", [code], deflated)

    scripted = torch.jit.script(torch.nn.Linear(2, 1))
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    rewrite(OUT / "torchscript.pt", [
        (n, d) for n, d in members(buffer) if "/code/" not in n and not n.endswith(".debug_pkl")
    ])


if __name__ == "__main__":
    main()
