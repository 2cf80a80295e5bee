"""Memory and time of reading a large set of radiographs twice, in random order, as a training does.

Example: python eval/radiograph_memory.py data/cxr-nih/images /tmp/set --count 112120
The files of the first folder are linked again and again until there are as many as asked for.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import torch

from nerp.data.radiographs import RadiographDataset


def linked(source: Path, folder: Path, count: int) -> list[Path]:
    """So many names, in folders of 10 000, for the files of a folder."""
    files = sorted(path for path in source.iterdir() if path.is_file())
    paths = [folder / f"{number // 10_000:03d}" / f"{number:06d}{files[0].suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.symlink_to(files[number % len(files)].resolve())
    return paths


def main() -> None:
    """Read every image in each of two rounds and print the peak of what is resident."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=112_120)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--kept", type=int, default=2048)
    given = parser.parse_args()
    paths = linked(given.source, given.folder / "images", given.count)
    cache = given.folder / "cache"
    images = RadiographDataset(paths, (given.side, given.side), n_kept=given.kept, cache_folder=cache)
    torch.set_num_threads(1)
    for epoch in (1, 2):
        start = time.perf_counter()
        for index in torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch)).tolist():
            images[index]
        took = time.perf_counter() - start
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        on_disk = sum(os.stat(path).st_blocks * 512 for path in cache.iterdir()) / 2**30
        print(
            f"round {epoch}: {len(images)} images in {took:.0f} s, peak {resident:.2f} GiB, {on_disk:.1f} GiB on disk"
        )


if __name__ == "__main__":
    main()
