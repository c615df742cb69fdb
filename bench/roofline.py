#!/usr/bin/env python3
"""Draws a roofline from the JSON of promiseg_bench: for every kernel its speed over its arithmetic intensity, and
the two bounds that the same run measured, arithmetic and memory.

  promiseg_bench --benchmark_filter=kernel/ --benchmark_format=json > kernels.json
  bench/roofline.py kernels.json -o roofline.svg [--label WORD]...

Every kernel with FLOPs is a dot; the float32 ones whose name holds one of the WORDs are named. Data that stay in a
cache are moved faster than the memory's bound says.
"""
import argparse
import json
import math
import os
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 50, 60
COLOURS = {"fp32": "#1f6fb2", "bf16": "#c2571a"}


def read(path):
    with open(path) as file:
        data = json.load(file)
    context = data["context"]
    dots = []
    for result in data["benchmarks"]:
        flops, bytes_ = result.get("GFLOP/s", 0), result.get("GB/s", 0)
        if flops > 0 and bytes_ > 0 and not result.get("error_occurred"):
            name = result["name"].removeprefix("kernel/")
            precision = "bf16" if name.endswith("/bf16") else "fp32"
            dots.append((name.removesuffix("/bf16"), precision, flops / bytes_, flops))
    peaks = {p: float(context[f"promiseg_peak_{p}_gflops"]) for p in COLOURS}
    return dots, peaks, float(context["promiseg_copy_gbs"]), context


def draw(dots, peaks, bandwidth, context, labels):
    low_x, high_x = 0.1, max(2 * max(d[2] for d in dots), 100)
    low_y, high_y = 1, 1.5 * max(peaks.values())

    def place_x(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low_x) / math.log(high_x / low_x)

    def place_y(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(max(value, low_y) / low_y) / math.log(high_y / low_y)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="16">Kernels and what bounds them: '
           f'{escape(context["promiseg_instruction_set"])}, {context["promiseg_threads"]} threads</text>']
    for power in range(math.ceil(math.log10(low_x)), math.floor(math.log10(high_x)) + 1):
        x = place_x(10.0 ** power)
        out.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                   f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{10.0 ** power:g}</text>')
    for power in range(0, math.floor(math.log10(high_y)) + 1):
        y = place_y(10.0 ** power)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** power:g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 14}" text-anchor="middle">FLOP per byte that has to be moved</text>')
    out.append(f'<text x="18" y="{HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 18 {HEIGHT / 2:.0f})">GFLOP/s</text>')
    for precision, peak in peaks.items():
        ridge = peak / bandwidth
        out.append(f'<path d="M{place_x(low_x):.1f} {place_y(low_x * bandwidth):.1f}L{place_x(ridge):.1f} {place_y(peak):.1f}'
                   f'H{WIDTH - RIGHT}" fill="none" stroke="{COLOURS[precision]}" stroke-width="2"/>'
                   f'<text x="{place_x(ridge):.1f}" y="{place_y(peak) - 6:.1f}" fill="{COLOURS[precision]}">'
                   f'{precision}: {peak:.0f} GFLOP/s; memory {bandwidth:.0f} GB/s</text>')
    for name, precision, intensity, speed in dots:
        x, y = place_x(intensity), place_y(speed)
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[precision]}" fill-opacity="0.6">'
                   f'<title>{escape(name)} {precision}: {speed:.1f} GFLOP/s</title></circle>')
        if precision == "fp32" and any(label in name for label in labels):
            out.append(f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" font-size="10">{escape(name.split("/")[1])}</text>')
    out.append("</svg>\n")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="what promiseg_bench wrote")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--label", action="append", default=[])
    arguments = parser.parse_args()
    picture = draw(*read(arguments.results), arguments.label)
    with open(arguments.output + ".part", "w") as file:
        file.write(picture)
    os.replace(arguments.output + ".part", arguments.output)


if __name__ == "__main__":
    main()
