"""A few annotated radiographs with synthetic pairs beside them, the paper's Fig 5.

python eval/limited_annotations.py -o runs/limited              # choices, on dev; NERP_DATA names the data
python eval/limited_annotations.py -o runs/limited --part test  # once, at the end
"""

import sys

from nerp.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", "limited_annotations", *sys.argv[1:]]))
