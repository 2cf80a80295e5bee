"""A CT to a radiograph by ITK alone, as DRR-RATE made its own: itk_projector.py CT OUT.png; prints CPU seconds."""

import sys
import time

from itk_tool import itk_or_none, write_drr

if __name__ == "__main__":
    found = itk_or_none()
    found.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    begun = time.process_time()
    write_drr(found, *sys.argv[1:])
    print(time.process_time() - begun)
