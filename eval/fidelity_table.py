"""How close DRR, physical and learned radiographs are to real ones, the paper's Table 2.

python eval/fidelity_table.py -o runs/fidelity               # on two CPU cores; NERP_DATA names the data
python eval/fidelity_table.py -o runs/fidelity --scale full  # on a GPU
"""

import sys

from nerp.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", "fidelity_table", *sys.argv[1:]]))
