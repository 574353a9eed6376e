"""Runs of the tiny workflow that tests disturb, and what has to be equal afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tiny_project import CONFIGURATION, DATASET

SCENARIO = "described"
#: Uses the rules that describe a series and draw the plots of one scenario.
SCENARIO_ROW = (
    f"{SCENARIO}\tboth\tdecimals\t2\t20\tspace\tstated\trationale\tuniform\tauto\tline_downsampled\t1024\tnumbers\t"
    "template\tanswer\tnone\n"
)
RUN = f"runs/tiny/{DATASET}/pooled/{SCENARIO}/seed-0"
CONVERSATIONS = f"conversations/tiny/{DATASET}/pooled/{SCENARIO}"
TABLES = f"tables/by_dataset/tiny/{DATASET}/pooled"
#: Plots that no scenario here shows are asked for as well, so that their rule is there to be disturbed.
TARGETS = ("all", "paper", "baselines", "export", f"results/plots/{DATASET}/line")
#: A method of series and one of plots: each has a rule of its own.
BASELINES = ("majority", "logistic_tower")
BASELINE, PROBE = (f"{place}/{DATASET}/pooled" for place in ("baselines", "probes/tiny"))
CASES = f"figures/by_dataset/{DATASET}/pooled"

#: A file whose new time makes a rule run again; what comes after it follows.
CAUSES = {
    "download_dataset": f"own/{DATASET}/{DATASET}_TRAIN.tsv",
    "preprocess_dataset": f"results/datasets/{DATASET}/archive.npz",
    "split_dataset": f"results/datasets/{DATASET}/series.npz",
    "describe_series": f"results/datasets/{DATASET}/series.npz",
    "render_plots": f"results/datasets/{DATASET}/series.npz",
    "encode_plots": f"results/plots/{DATASET}/line/.snakemake_timestamp",
    "build_conversations": f"results/datasets/{DATASET}/pooled/split.npz",
    "render_scenario_plots": f"results/{CONVERSATIONS}/representation.json",
    "write_ledger": f"results/{CONVERSATIONS}/budget.json",
    "finetune_model": f"results/{CONVERSATIONS}/train.json",
    "evaluate_model": f"results/{CONVERSATIONS}/test.json",
    "summarise_dataset": f"results/{RUN}/metrics.json",
    "write_tables": f"results/{TABLES}/comparisons.csv",
    "write_paper_table": "results/tables/runs.csv",
    "draw_figures": f"results/{TABLES}/training.csv",
    "fit_baseline": f"results/datasets/{DATASET}/pooled/split.npz",
    "fit_probe": f"results/datasets/{DATASET}/pooled/split.npz",
    "write_baselines_table": f"results/{BASELINE}/majority/record.json",
    "export_results": f"results/{BASELINE}/majority/predictions.csv",
    "draw_cases": f"results/{RUN}/predictions.csv",
    "digest_model": f"results/{RUN}/run_record.json",
    "write_provenance": "results/provenance/models/tiny.json",
}

#: What each rule writes, below the results folder; a folder stands for all its files.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "download_dataset": (f"datasets/{DATASET}/archive.npz", f"datasets/{DATASET}/source.json"),
    "preprocess_dataset": (f"datasets/{DATASET}/series.npz", f"datasets/{DATASET}/facts.json"),
    "split_dataset": (f"datasets/{DATASET}/pooled/split.npz", f"datasets/{DATASET}/pooled/facts.json"),
    "describe_series": (f"descriptions/{DATASET}/template/rationale.json",),
    "render_plots": (f"plots/{DATASET}/line",),
    "encode_plots": (f"features/tiny/{DATASET}/line.npy",),
    "render_scenario_plots": (f"{CONVERSATIONS}/plots",),
    "build_conversations": tuple(
        f"{CONVERSATIONS}/{name}.json"
        for name in ("train", "validation", "test", "representation", "budget", "dataset_info")
    ),
    "write_ledger": tuple(f"tables/ledger.{kind}" for kind in ("csv", "md", "html")),
    "finetune_model": (f"{RUN}/adapter", f"{RUN}/parameters.json", f"{RUN}/training_log.csv"),
    # Not explanations.json, nor its page, which hold times.
    "evaluate_model": tuple(f"{RUN}/{name}" for name in ("predictions.csv", "metrics.json", "controls.csv")),
    # Not runs.csv and methods.csv, which hold times.
    "summarise_dataset": tuple(
        f"{TABLES}/{name}.csv" for name in ("confusion", "training", "reliability", "comparisons", "controls")
    ),
    "write_tables": (
        *(f"tables/accuracy.{kind}" for kind in ("csv", "md", "tex", "html")),
        *(f"tables/{name}.{kind}" for name in ("comparisons", "controls") for kind in ("csv", "md", "html")),
        *(
            f"tables/{name}"
            for name in ("evidence.csv", "evidence.md", "evidence.html", "evidence_inputs.csv")
        ),
    ),
    "write_paper_table": ("tables/paper.csv", "tables/paper.md", "tables/paper.tex"),
    # Not accuracy_by_cost, which has times.
    "draw_figures": tuple(
        f"figures/{name}.png"
        for name in (
            *("accuracy_heatmap", "training_curves", "confusion_matrices", "controls"),
            *("modality_ablation", "accuracy_by_context", "calibration"),
        )
    ),
    "fit_baseline": (f"{BASELINE}/majority/predictions.csv", f"{BASELINE}/majority/metrics.json"),
    "fit_probe": (f"{PROBE}/logistic_tower/predictions.csv", f"{PROBE}/logistic_tower/metrics.json"),
    "draw_cases": tuple(
        f"{CASES}/{name}"
        for name in ("prototypes.png", "gallery.png", "downsampling.png", "wrong_cases.html")
    ),
    "digest_model": ("provenance/models/tiny.json",),
}
#: The same of rules whose files hold times or dates: that they are there again is all that can be asked of them.
TIMED: dict[str, tuple[str, ...]] = {
    "write_baselines_table": tuple(f"tables/baselines.{kind}" for kind in ("csv", "md", "tex", "html")),
    "export_results": ("export",),
    "write_provenance": (
        *("provenance/provenance.json", "provenance/provenance.html"),
        *(f"methods/{name}" for name in ("methods.md", "methods.html", "references.bib", "headline.html")),
    ),
}


def outcome(
    project: Path, results: str = "results", rules: Mapping[str, Sequence[str]] | None = None
) -> dict[str, bytes]:
    """Give the content of every file that two undisturbed runs have in common: all but times and costs.

    `rules` names what each rule writes, below the results folder; by default all of the tiny workflow.
    """
    root = project / results
    content = {}
    for rule, places in (OUTPUTS | TIMED if rules is None else rules).items():
        for path in (root / place for place in places):
            assert path.exists(), f"{path} is missing"
            if rule not in TIMED:
                for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                    if file.is_file() and file.name != ".snakemake_timestamp":
                        content[file.relative_to(root).as_posix()] = file.read_bytes()
    return content


def command(*arguments: str) -> list[str]:
    """Return a call of Snakemake with targets and options.

    Without checksums, with which a file that has a new time and the same content would be no cause to run.
    """
    options = ("--cores", "2", "--configfile", CONFIGURATION, "--max-checksum-file-size", "0")
    return [sys.executable, "-m", "snakemake", *arguments, *options]


def run(project: Path, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the workflow, the targets first among the arguments."""
    return subprocess.run(
        command(*arguments), cwd=project, capture_output=True, text=True, timeout=timeout, check=False
    )


def complete(project: Path, *targets: str) -> str:
    """Run until everything is there, as a user would: where the folder is locked, unlock it and try again."""
    done = run(project, *targets)
    if done.returncode and "cannot be locked" in done.stdout + done.stderr:
        assert "--unlock" in done.stdout + done.stderr
        unlocked = run(project, "--unlock")
        assert unlocked.returncode == 0, unlocked.stdout + unlocked.stderr
        done = run(project, *targets)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def processes_of(project: Path, script: str) -> list[int]:
    """List the processes that run a script of a rule in a project."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            inside = (entry / "cwd").samefile(project)
        except OSError:  # it has ended, or is another user's
            continue
        if inside and len(words) > 1 and words[1] == f"workflow_scripts/{script}.py".encode():
            found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what} for too long"
        time.sleep(0.02)


class Running:
    """A workflow that goes on while a test does something to it; output goes to a file of the project."""

    def __init__(self, project: Path, *arguments: str) -> None:
        self.project = project
        self.log = project / "running.txt"
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                command(*arguments),
                cwd=project,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell that runs the tests in the background has them ignore Ctrl-C, and what they start with them.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def until_in(self, script: str) -> list[int]:
        """Wait until a job runs the script of a rule, and return its processes."""
        wait_for(
            lambda: processes_of(self.project, script) or self.process.poll() is not None,
            f"a job of {script}",
        )
        return processes_of(self.project, script)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something has happened, and Snakemake has not ended before."""
        wait_for(lambda: condition() or self.process.poll() is not None, what)
        assert self.process.poll() is None, self.text

    def send(self, number: signal.Signals, victim: str, script: str) -> None:
        """Send a signal to the job of a rule, to Snakemake alone, or to all processes of the call."""
        jobs = processes_of(self.project, script)
        victims = {"job": jobs, "snakemake": [self.process.pid], "all": [*jobs, self.process.pid]}[victim]
        for process in victims:
            try:
                os.kill(process, number)
            except ProcessLookupError:  # it ended just before
                continue
        if victim == "all":
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return

    def end(self, script: str) -> int:
        """Wait until Snakemake has ended, and no job of it is left; return its exit status."""
        status = self.process.wait(timeout=900)
        wait_for(lambda: not processes_of(self.project, script), f"the end of {script}")
        return status

    def stop(self) -> None:
        """Kill whatever is left."""
        for script in (self.project / "workflow_scripts").glob("*.py"):
            self.send(signal.SIGKILL, "job", script.stem)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()

    @property
    def text(self) -> str:
        return self.log.read_text()


def duration(project: Path, rule: str) -> float:
    """Return how long the undisturbed job of a rule took, in seconds."""
    [path] = (project / "results/benchmarks" / rule).rglob("*.tsv")
    return float(re.split(r"\s+", path.read_text().splitlines()[1])[0])
