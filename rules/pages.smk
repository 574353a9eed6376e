"""What the report's pages of text, and the paper's folder, are made of. Functions only."""

REFERENCES = Path(os.path.relpath(ROOT / "config" / "references.bib")).as_posix()
# A run of each model, after which its checkpoint is there. It is no input itself: one that was removed to save space would
# be made again, and everything be trained again.
FIRST_RUN = {}
for run in RUNS:
    FIRST_RUN.setdefault(run.model, run)


def resolved_configuration():
    """The whole configuration, and the rows that it names of the tables of models, scenarios and plots."""
    scenarios = dict.fromkeys(run.scenario for run in RUNS)
    plots = dict.fromkeys(filter(None, map(CONFIGURATION.shown_plot, scenarios)))
    rows = {
        "models": {name: CONFIGURATION.model_table[name] for name in FIRST_RUN},
        "scenarios": {name: CONFIGURATION.scenario_settings(name) for name in scenarios},
        "plots": {name: CONFIGURATION.plot_settings(name) for name in plots},
    }
    return {"options": CONFIGURATION.options, **rows}
