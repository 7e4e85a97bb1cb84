"""What torchrun starts: `launched.py FOLDER kill|raise|train`; one rank dies at step 7 of the first start."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from experiments.training import distributed
from experiments.training.distributed import leave
from tests.experiments.training.together import training


def main(folder: str, wish: str) -> None:
    with distributed.joined("cpu") as here:
        run = training(here)
        advance = run._advance
        first_start = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

        def advance_or_die(batches: Any) -> Any:
            if run.step == 7 and here.rank == 1 and first_start:
                if wish == "kill":
                    Path(folder, "killed").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                if wish == "raise":
                    raise ValueError("the disk is on fire")
            return advance(batches)

        run._advance = advance_or_die  # type: ignore[method-assign]
        run.run(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
