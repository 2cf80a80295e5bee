"""How fast projections are: against plain PyTorch, against other projectors, and against this machine's limits.

* `workload`: what is projected, and our projections of it
* `peers`:    other projectors on the same workload, where they are installed
* `timing`:   all of them by turns; threads; memory
* `accuracy`: distance from double precision, and whether all contestants draw the same image
* `limits`:   the least time that the machine's measured rates allow
* `summary`:  everything as one table
"""
