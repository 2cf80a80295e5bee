"""A process that makes the shards whose numbers it is told, until nobody tells it any.

Run as `python -m nerp.factory.worker PLAN OUT`. It reads a number a line and answers a line of JSON each. It ends when
its maker does, however that ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from nerp.errors import NerpError

WATCH_S = 0.5


def main(plan_file: str, out: str) -> None:
    """Make shards.

    Args:
        plan_file: settings of the plan, as YAML.
        out:       the set's folder.
    """
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with os.fdopen(os.dup(1), "w") as told:
        os.dup2(2, 1)  # whatever else prints does so beside the answers
        told.write('{"ready": true}\n')
        told.flush()
        for line in sys.stdin:
            told.write(json.dumps(_answer(Path(plan_file), Path(out), int(line))) + "\n")
            told.flush()


def _answer(plan_file: Path, out: Path, number: int) -> dict[str, object]:
    from nerp.factory.shard import maker_of

    try:
        made, failed = maker_of(plan_file, out).make(number)
    except (OSError, NerpError) as error:
        return {"shard": number, "fatal": str(error)}
    return {"shard": number, "made": made, "failed": failed}


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
