"""How fast projections are: against plain PyTorch, against other projectors, and against this machine's roofline.

* `workload`: what is projected
* `cases`:    our projections of it, and the same in plain PyTorch
* `peers`:    other projectors on the same workload, where they are installed
* `timing`:   all of them by turns; threads; memory
* `accuracy`: distance from double precision, and whether all cases draw the same image
* `microbenchmarks`: how fast this machine does each kind of work, compiled when they are asked for
* `roofline`: the least time that these rates allow
* `summary`:  everything as one table

In all of it lengths are in mm, attenuations and opacities in 1/mm, times in seconds.
"""
