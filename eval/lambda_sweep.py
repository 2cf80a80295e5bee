"""How far learned radiographs may leave the DRRs: the paper's lambda from .05 to 10.

python eval/lambda_sweep.py -o runs/lambda               # on two CPU cores; NERP_DATA names the data
python eval/lambda_sweep.py -o runs/lambda --scale full  # on a GPU
"""

import sys

from nerp.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", "lambda_sweep", *sys.argv[1:]]))
