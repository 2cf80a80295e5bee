"""The arms of a comparison: one network, the same number of steps, on real images, on synthetic ones, or on both."""

from __future__ import annotations

from collections.abc import Callable

from nerp.errors import UsageError
from nerp.training.curriculum import Curriculum

ARMS = ("real", "synthetic", "mixed", "fine-tune")


def check_arm(arm: str, n_real: int, n_synthetic: int, *, what: str = "pairs") -> None:
    """Refuse an arm that is none, or that lacks what it learns from.

    Args:
        arm:         its name.
        n_real:      real pairs, or images, that there are.
        n_synthetic: synthetic ones.
        what:        they are, for messages.

    Raises:
        UsageError: no such arm, or nothing of the kind that it learns from.
    """
    if arm not in ARMS:
        raise UsageError(f"no arm is called {arm!r}; expected some of {', '.join(ARMS)}")
    lacking = [name for name, count in (("real", n_real), ("synthetic", n_synthetic)) if not count]
    needed = [name for name in lacking if uses(arm, name)]
    if needed:
        raise UsageError(f"arm {arm!r} needs {needed[0]} {what} and there are none; give --{needed[0]} FOLDER")


def uses(arm: str, kind: str) -> bool:
    """Whether an arm learns from real or from synthetic images.

    Args:
        arm:  one of `ARMS`.
        kind: `real` or `synthetic`.
    """
    return arm == kind or arm in ("mixed", "fine-tune")


def named_arms(text: str) -> list[str]:
    """`["real", "mixed"]` of `real,mixed`, each once.

    Raises:
        UsageError: none.
    """
    arms = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not arms:
        raise UsageError(f"no arms; expected some of {', '.join(ARMS)}")
    return arms


def arm_curriculum(arm: str, real: range, synthetic: range, *, batch_size: int, seed: int) -> Curriculum:
    """What an arm learns from, step by step.

    Args:
        arm:        one of `ARMS`.
        real:       indices of the real images.
        synthetic:  of the synthetic ones.
        batch_size: images a step.
        seed:       of the order.
    """
    parts = {
        "real": ((real,),),
        "synthetic": ((synthetic,),),
        "mixed": ((real, synthetic),),
        "fine-tune": ((synthetic,), (real,)),
    }
    return Curriculum(parts[arm], batch_size, seed)


def part_of(progress: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int, int], None]:
    """What tells the progress of one of several trainings as that of all of them.

    Args:
        progress: of all, called as progress(steps done, steps planned); none: nobody watches.
        before:   steps of the trainings before it.
        total:    steps of all.
    """

    def tick(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, total)

    return tick
