"""Handlers of one call of Snakemake: lock of the results folder, termination, the summary at the end."""

import shutil
import signal
import subprocess
import threading

from vlmtsc.files import hold_folder, release_folder
from vlmtsc.planning import results_summary, run_states

LOCKS = []


def end_on_signals():
    """Let SIGTERM, and SIGHUP of a closed terminal, end Snakemake at any moment after its running jobs.

    The handler of Snakemake 9.27.1 acquires a lock that the interrupted code may hold (while it selects jobs): a
    deadlock. In a separate thread it can wait for that lock.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda *received: threading.Thread(target=handler, args=received).start())


def lock_results():
    """Lock the results folder: Snakemake's lock is in the working directory, and workflows may start elsewhere."""
    LOCKS.append(configured(hold_folder, Path(RESULTS)))


def unlock_results():
    """Unlock the results folder."""
    while LOCKS:
        release_folder(LOCKS.pop())


def requested(*names):
    """Return those of these rules that have jobs in this call of Snakemake."""
    planned = {job.rule.name for job in workflow.dag.jobs}
    return [name for name in names if name in planned]


# Rules that `collect_paper` does not start, in their order.
COSTLY = ("finetune_model", "evaluate_model", "fit_baseline", "fit_probe", "ask_hosted_model")


def refuse_training():
    """End a call of `collect_paper` that would have to train or evaluate first."""
    if not requested("collect_paper"):
        return
    lacking = {}
    # Of each run, the first step that is missing is named.
    planned = [job for job in workflow.dag.needrun_jobs() if job.rule.name in COSTLY]
    for job in sorted(planned, key=lambda job: COSTLY.index(job.rule.name)):
        why = "missing" if workflow.dag.reason(job).missing_output else "out of date"
        names = [f"seed-{value}" if name == "seed" else value for name, value in job.wildcards_dict.items()]
        run = "/".join(names)
        lacking.setdefault(run, f"{job.rule.name}: {why}")
    if not lacking:
        return
    named = "; ".join(f"{run} ({why})" for run, why in sorted(lacking.items())[:5])
    more = f"; and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    words = ["all" if word in ("collect_paper", f"{RESULTS}/paper") else word for word in sys.argv[1:]]
    raise WorkflowError(
        f"collect_paper trains nothing, but {len(lacking)} of its runs and baselines lack results: {named}{more}. "
        f"To compute them: {shlex.join(['snakemake', *words])}. To use results of older code or settings as they are: "
        "--rerun-triggers mtime"
    )


def show_results():
    """Print the tables of the requested targets, and where all results are."""
    targets = requested("ledger", "controls", "baselines", "comparisons", "evidence", "all", "paper")
    if "all" in targets:
        shutil.rmtree(INCOMPLETE, ignore_errors=True)
    if targets:
        tables = ["accuracy" if name == "all" else name for name in targets]
        print(configured(results_summary, Path(RESULTS), tables))


def show_incomplete_results():
    """Write tables of existing results, and print them."""
    try:
        write_incomplete_results(requested("write_ledger", "write_tables", "write_paper_table"))
    except OSError as error:  # such as a full disk, which may be why jobs failed
        print(f"{INCOMPLETE}: no tables of existing results ({error.strerror})", file=sys.stderr)


def write_incomplete_results(asked):
    """Write and print these rules' tables from existing results."""

    def write(name, options, table):
        script = [file_of(name)] if name == "write_ledger" else [file_of("write_tables"), name]
        command = [sys.executable, *script, *shlex.split(options), f"--output={INCOMPLETE}"]
        written = subprocess.run(command, check=False).returncode == 0
        if written and table:
            print((INCOMPLETE / table).read_text(encoding="utf-8"))
        return written

    if "write_ledger" in asked and any(
        Path(PATHS.conversations(run), "budget.json").exists() for run in RUNS
    ):
        write("write_ledger", write_ledger_options(), "")
    if "write_tables" not in asked:
        return
    INCOMPLETE.mkdir(parents=True, exist_ok=True)
    states = INCOMPLETE / "states.json"
    failed = run_states(workflow.dag, workflow.scheduler.failed, RUNS)
    states.write_text(json.dumps(failed, indent=1), encoding="utf-8")
    if not write("write_tables", f"{write_tables_options()} {option('states', states)}", "accuracy.md"):
        return
    if "write_paper_table" in asked:
        options = [option("runs", INCOMPLETE / "runs.csv"), option("published", PUBLISHED)]
        options.append(run_options("models", "datasets", "scenarios", whole=True))
        write("write_paper_table", " ".join(options), "paper.md")
    print(f"Tables of existing results: {INCOMPLETE}")


onstart:
    end_on_signals()
    refuse_training()
    lock_results()


onsuccess:
    show_results()
    unlock_results()


onerror:
    print(
        "Some jobs failed; their logs are above. Jobs that do not depend on them are done.",
        "The same command continues from here.",
        sep="\n",
        file=sys.stderr,
    )
    show_incomplete_results()
    unlock_results()
