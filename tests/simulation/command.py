"""The command: many seeds, side by side; what fails is shrunk, kept and told."""

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.simulation import search
from tests.simulation.clock import real_monotonic
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.plan import draw, plan_of_json
from tests.simulation.run import carry_out
from tests.simulation.shrink import shrunk

ROOT = Path(__file__).resolve().parents[2]
REGRESSIONS = Path(__file__).with_name("regressions")
WARM_UP_SEED = 0
"""What is simulated before many others: it leaves behind what every run would make once."""
SHM = Path("/dev/shm")
SHOWN_MAX = 12
_encode = msgspec.json.Encoder(order="deterministic", enc_hook=str).encode


def arguments(given=None):
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plan", type=Path, help="a plan in JSON, instead of a seed")
    parser.add_argument("--trace", type=Path, help="write the history of the (last) run here")
    parser.add_argument("--keep", action="store_true", help="keep shrunk plans as regressions")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="plant a bug; it must be found")
    parser.add_argument("--mutants", action="store_true", help="search for every planted bug")
    parser.add_argument("--known", action="store_true", help="... in its known seed only")
    parser.add_argument("--only", default="", help="... these bugs, separated by commas")
    parser.add_argument("--report", type=Path, help="write a summary in JSON here")
    return parser.parse_args(given)


def simulate(plan, *, mutant=None):
    """Carry out one plan in a folder of its own; returns its Outcome."""
    where = SHM if SHM.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="skerry-sim-", dir=where) as folder:
        if mutant is None:
            return carry_out(plan, Path(folder))
        with planted(mutant):
            return carry_out(plan, Path(folder))


def digest_of(outcome):
    """Return a digest of everything that was recorded: the same seed gives the same."""
    return hashlib.sha256(_encode(outcome.events)).hexdigest()[:16]


def summary_of(outcome):
    """Return what one process tells the other of a run."""
    return {
        "seed": outcome.seed,
        "problem": outcome.problem,
        "violations": outcome.violations,
        "statistics": outcome.statistics,
        "counts": outcome.counts,
        "digest": digest_of(outcome),
    }


def _begin():
    """Get ready to simulate: the collector would look at a world again and again for nothing."""
    sys.unraisablehook = lambda _unraisable: None  # tasks of killed processes end where they stood
    gc.disable()
    gc.collect()
    gc.freeze()


def _worked(job):
    seed, mutant = job
    return summary_of(simulate(draw(seed), mutant=mutant))


def many(seeds, *, jobs, mutant=None):
    """Yield a summary for each seed, in no particular order.

    Each seed has a process of its own, a copy of this one once it is warm: to end a process takes a
    fraction of the time that freeing a dead world does.
    """
    simulate(draw(WARM_UP_SEED))
    _begin()
    work = [(seed, mutant) for seed in seeds]
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_worked, work)


def main(given=None):
    options = arguments(given)
    if options.mutants:
        return search.main(options)
    if options.plan is not None:
        return _one(plan_of_json(json.loads(options.plan.read_text())), options)
    if options.runs == 1:
        return _one(draw(options.seed), options)
    return _many(options)


def _one(plan, options):
    """Run one plan and show everything about it."""
    _begin()
    started = real_monotonic()
    outcome = simulate(plan, mutant=options.mutant)
    if options.trace is not None:
        lines = [json.dumps(event, sort_keys=True, default=str) for event in outcome.events]
        options.trace.write_text("\n".join(lines) + "\n")
    print(f"seed {plan.seed}: {', '.join(plan.families) or 'no faults'}")
    print(
        f"{len(outcome.events)} events, {outcome.virtual_ms / 1_000:.0f} virtual seconds, "
        f"{real_monotonic() - started:.2f} s, trace {digest_of(outcome)}"
    )
    if outcome.is_good:
        print("nothing is wrong")
        return 0
    _complain(outcome.problem, outcome.violations)
    if not options.no_shrink:
        _shrink(plan, outcome, options)
    return 1


def _many(options):
    started, done, failed = real_monotonic(), 0, []
    statistics, families, digests = Counter(), Counter(), {}
    fewest = None
    seeds = range(options.seed, options.seed + options.runs)
    for told in many(seeds, jobs=options.jobs, mutant=options.mutant):
        done += 1
        statistics.update(told["statistics"])
        families.update(draw(told["seed"]).families)
        digests[told["seed"]] = told["digest"]
        if told["statistics"]:
            made = told["statistics"]["mutations"]
            fewest = made if fewest is None else min(fewest, made)
        if told["problem"] or told["violations"]:
            failed.append(told)
            print(f"seed {told['seed']} fails")
            _complain(told["problem"], told["violations"])
        if done % 100 == 0:
            pace = done / (real_monotonic() - started) * 60
            print(f"{done} runs, {len(failed)} failed, {pace:.0f} a minute", flush=True)
    seconds = real_monotonic() - started
    print(f"{done} simulations in {seconds:.0f} s ({done / seconds * 60:.0f} a minute): ", end="")
    print(f"{len(failed)} failed" if failed else "nothing is wrong")
    if options.report is not None:
        found = {"statistics": dict(sorted(statistics.items())), "mutations_min": fewest}
        found |= {"families": dict(families.most_common()), "digests": digests}
        options.report.write_text(_report(options, failed, found, seconds))
    if failed and not options.no_shrink:
        worst = min(failed, key=lambda told: told["seed"])
        plan = draw(worst["seed"])
        _shrink(plan, simulate(plan, mutant=options.mutant), options)
    return int(bool(failed))


def _complain(problem, violations):
    for line in [*filter(None, [problem]), *violations[:SHOWN_MAX]]:
        print(f"  {line}")
    if len(violations) > SHOWN_MAX:
        print(f"  and {len(violations) - SHOWN_MAX} more")


def _shrink(plan, outcome, options):
    """Print the smallest scenario that fails like this one, and keep it where that was asked."""
    wanted = _kinds(outcome)

    def fails(smaller):
        return bool(_kinds(simulate(smaller, mutant=options.mutant)) & wanted)

    print("shrinking:", flush=True)
    small, tries = shrunk(plan, fails, tell=lambda text: print(f"  {text}", flush=True))
    print(f"{len(small.actions)} of {len(plan.actions)} actions fail alike ({tries} tries):")
    for action in small.actions:
        print(f"  {action.at_s:7.3f} s  {action.do} {action.to} {action.facts or ''}")
    folder = REGRESSIONS if options.keep else Path(tempfile.mkdtemp(prefix="skerry-sim-"))
    folder.mkdir(exist_ok=True)
    path = folder / f"seed-{plan.seed}.json"
    path.write_text(json.dumps(small.as_json(), indent=1) + "\n")
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    print(f"repeat it with: python -m tests.simulation --plan {shown}")
    if not options.keep:
        print(f"make it a test with: python -m tests.simulation --seed {plan.seed} --keep")


def _kinds(outcome):
    """Return which checks complain: what makes two failures the same one."""
    kinds = {violation.split()[0] for violation in outcome.violations}
    return kinds | ({outcome.problem.split(":")[0]} if outcome.problem else set())


def _report(options, failed, found, seconds):
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    content = {
        "date": datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "first_seed": options.seed,
        "runs": options.runs,
        "seconds": round(seconds),
        "per_minute": round(options.runs / seconds * 60),
        "failed": [told["seed"] for told in failed],
        **found,
    }
    return json.dumps(content, indent=1) + "\n"
