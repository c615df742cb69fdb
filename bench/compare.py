#!/usr/bin/env python3
"""Times promiseg and other engines on the same work, in turns, and prints the ratios.

  bench/compare.py --peer "PYTHON PEERS.PY" [--cases vit_b_encoder,decoder] [--rounds 3] [--json FILE]

PEERS.PY is any program that, called with CASE ENGINE, prints one line of JSON last: {"case", "engine",
"median_s", "peak_mib"}. Engines are named NAME-f32 or NAME-bf16; --engines says which. Without --peer only
promiseg is timed. Two threads, as the names of the cases stand for. A ratio below one means that promiseg is faster.
Machines change from hour to hour: only figures of one call of this program may be compared.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

INFERENCE = ["vit_b_encoder", "litemedsam_encoder", "decoder", "apm_resnet34"]
TRAINING = ["ips_step", "apm_ips_step"]
PRECISIONS = {"f32": "fp32", "bf16": "bf16"}


def run_with_peak(command):
    """Runs a command; its output and the peak of its memory in MiB."""
    with tempfile.TemporaryFile("w+") as complaints:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        except OSError as error:
            sys.exit(f"compare: cannot run {shlex.join(command)}: {error.strerror}")
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            complaints.seek(0)
            sys.exit(f"compare: failed: {shlex.join(command)}\n{complaints.read()}")
    return out, usage.ru_maxrss / 1024


def time_promiseg(bench, case, precision):
    name = f"model/{case}/{precision}"
    out, peak = run_with_peak([bench, "--threads", "2", "--no-probe", f"--benchmark_filter=^{name}$",
                               "--benchmark_format=json"])
    results = json.loads(out)["benchmarks"] if out.strip() else []
    if not results:
        sys.exit(f"compare: {bench} has no benchmark {name}")
    return results[0]["real_time"] / 1000, peak


def time_peer(peer, case, engine):
    out, peak = run_with_peak(peer + [case, engine])
    line = json.loads(out.strip().splitlines()[-1])
    return line["median_s"], line.get("peak_mib", peak)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/release/bin/promiseg_bench")
    parser.add_argument("--peer", help="the command that times the others")
    parser.add_argument("--engines", default="openvino-f32,openvino-bf16",
                        help="of the peer, for inference; training is compared with torch-f32")
    parser.add_argument("--cases", default=",".join(INFERENCE),
                        help="some of " + ", ".join(INFERENCE + TRAINING))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="also write all figures here")
    arguments = parser.parse_args()
    cases = arguments.cases.split(",")
    unknown = [case for case in cases if case not in INFERENCE + TRAINING]
    if unknown:
        parser.error(f"unknown case {unknown[0]}: expected some of {', '.join(INFERENCE + TRAINING)}")
    for engine in arguments.engines.split(","):
        if engine.rpartition("-")[2] not in PRECISIONS:
            parser.error(f"unknown engine {engine}: expected NAME-f32 or NAME-bf16")
    peer = shlex.split(arguments.peer) if arguments.peer else None

    rows = []
    print(f"{'case':20} {'precision':9} {'promiseg s':>10} {'MiB':>6}  {'engine':15} {'s':>8} {'MiB':>6} {'ratio':>6}")
    for case in cases:
        engines = arguments.engines.split(",") if case in INFERENCE else ["torch-f32"]
        for engine in engines:
            precision = PRECISIONS[engine.rsplit("-", 1)[1]]
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                ours.append(time_promiseg(arguments.bench, case, precision))
                if peer:
                    theirs.append(time_peer(peer, case, engine))
            row = {"case": case, "precision": precision,
                   "promiseg_s": statistics.median(t for t, _ in ours),
                   "promiseg_mib": max(m for _, m in ours)}
            text = f"{case:20} {precision:9} {row['promiseg_s']:10.4f} {row['promiseg_mib']:6.0f}"
            if peer:
                row |= {"engine": engine, "engine_s": statistics.median(t for t, _ in theirs),
                        "engine_mib": max(m for _, m in theirs)}
                row["ratio"] = row["promiseg_s"] / row["engine_s"]
                text += f"  {engine:15} {row['engine_s']:8.4f} {row['engine_mib']:6.0f} {row['ratio']:6.2f}"
            print(text, flush=True)
            rows.append(row)
    if arguments.json:
        with open(arguments.json + ".part", "w") as file:
            json.dump(rows, file, indent=2)
        os.replace(arguments.json + ".part", arguments.json)


if __name__ == "__main__":
    main()
