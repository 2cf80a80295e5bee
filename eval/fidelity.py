"""FID, KID and Inception score of a folder of images against a folder of real ones, as JSON.

python eval/fidelity.py PAIRS/images REAL/images --extractor efficientnet-lite0
"""

import sys

from nerp.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", "fidelity", "--json", *sys.argv[1:]]))
