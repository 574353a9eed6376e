"""What predictions of time are made of. Functions only."""


def recipe_of_runs(wildcards):
    """How the runs of one model are fine-tuned, but for their seeds."""
    settings = CONFIGURATION.finetune_settings(wildcards.model, "", 0)
    return {name: value for name, value in settings.items() if name != "seed"}


def modalities_of_runs(wildcards):
    """By scenario, what the model is given: plot, numbers or both."""
    table = CONFIGURATION.scenario_table
    return {scenario: table[scenario]["modality"] for scenario in scenarios_of(wildcards)}


def needs_of_runs(wildcards):
    """Threads and GPUs of a fine-tuning of one model."""
    needs = CONFIGURATION.model_resources(wildcards.model)
    return as_argument({name: needs[name] for name in ("threads", "gpu")})


def evaluation_of_runs():
    """Whether a temperature is fitted and whether controls follow."""
    asked = CONFIGURATION.options["evaluate"]
    return as_argument({name: asked[name] for name in ("temperature", "controls")})
