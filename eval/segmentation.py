"""Score a segmenter on images with human masks, trained on pairs here or before, as JSON.

python eval/segmentation.py --train PAIRS --test DIR -o runs/scores --minutes 5
python eval/segmentation.py --weights runs/scores/segmenter.safetensors --test DIR
"""

import sys

from nerp.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", "segmentation", "--json", *sys.argv[1:]]))
