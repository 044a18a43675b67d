"""One run in a process of its own: `python -m tests.faults.one_run PLAN.json`, for `campaign`.

The plan names scenario, seed, folder, template and where the result goes; the result is JSON:
verdict (`passed`, `failed` or `not run`), problem, seconds by part of the run, statistics.
"""

import json
import signal
import sys
import traceback
from pathlib import Path

from tests.faults.run import Broken, NotRun, Run
from tests.faults.scenarios import SCENARIOS

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


def result_of(plan):
    """Do what a plan says; return the result."""
    scenario = SCENARIOS[plan["scenario"]]
    run = Run(
        plan["folder"],
        scenario=scenario.name,
        seed=plan["seed"],
        full_disks=scenario.full_disks,
        template=plan["template"],
    )
    verdict, problem = PASSED, ""
    try:
        with run:
            scenario.harm(run)
            run.settle()
    except NotRun:
        verdict, problem = NOT_RUN, traceback.format_exc()
    except Broken:
        verdict, problem = FAILED, traceback.format_exc()
    except Exception as error:  # noqa: BLE001  (whatever it is, the run has failed)
        verdict, problem = FAILED, f"{traceback.format_exc()}\n{run.broken([repr(error)])}"
    return {
        "verdict": verdict,
        "problem": problem,
        "parts": run.seconds,
        "statistics": run.statistics,
    }


def _end(number, _frame):
    """End in good order: what was mounted or started is taken down."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    chosen = json.loads(Path(sys.argv[1]).read_text())
    Path(chosen["result"]).write_text(json.dumps(result_of(chosen)))
