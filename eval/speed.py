"""How fast the projections are here: seconds, ratios, the roofline, threads, memory, distance from double precision.

python eval/speed.py                                         ours against plain PyTorch, 1 minute
python eval/speed.py --peers --memory --out speed.json       all that is installed: ITK, RTK, diffdrr, nanodrr, flashdrr
python eval/speed.py --device cuda                           the Triton kernels on a GPU
python eval/speed.py --ct ct.nii.gz --labels labels.nii.gz   physical radiographs of this CT, not of a phantom
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from benchmark import accuracy, chain, microbenchmarks, roofline, summary, timing
from benchmark.cases import cases, plain_cases
from benchmark.peers import peers


def main() -> int:
    """Measure what the options ask for, print it as a table, and write it where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="also measure the peers that are installed")
    parser.add_argument("--threads", type=int, default=2, help="compare so many threads with one; 1 skips it")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each case")
    parser.add_argument("--memory", action="store_true", help="also measure memory, each in a fresh process")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; peers and the roofline are for the cpu only")
    parser.add_argument("--ct", type=Path, help="of the physical radiographs; a phantom by default")
    parser.add_argument("--labels", type=Path, help="of the structures of that CT whose densities vary")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    given = parser.parse_args()
    subject = chain.subject(given.ct, given.labels)
    torch.set_num_threads(1)
    on_cpu = given.device == "cpu"
    others, missing = peers() if given.peers and on_cpu else ({}, {})
    runs = {**cases(device=given.device), **plain_cases(device=given.device), **others}
    seconds = timing.measure(runs, given.repeats, clock=time.process_time if on_cpu else timing.gpu_clock)
    medians = {name: times["median"] for name, times in seconds.items()}
    result = {"machine": timing.machine(), "seconds": seconds, "ratios": summary.ratios(medians), "missing": missing}
    result["pictures"] = accuracy.picture_differences(runs)
    result["agreement"] = accuracy.agreement(device=given.device)
    if on_cpu:
        result["radiographs"] = chain.measure(*subject, threads=given.threads)
        result["roofline"] = roofline.roofline(medians)
        if reason := microbenchmarks.missing():
            missing["roofline"] = reason
    if on_cpu and given.threads > 1:
        result["scaling"] = timing.scaling(given.threads, repeats=given.repeats)
    if on_cpu and given.memory:
        result["extra_mb"] = timing.memory()
    print(summary.table(result))
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
