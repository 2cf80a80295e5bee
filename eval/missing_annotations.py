"""Lungs learned without an annotated radiograph, the paper's Table 3, on real CTs and real radiographs.

python eval/missing_annotations.py -o runs/missing              # choices, on dev; NERP_DATA names the data
python eval/missing_annotations.py -o runs/missing --part test  # once, at the end
"""

import sys

from nerp.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", "missing_annotations", *sys.argv[1:]]))
