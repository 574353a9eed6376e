"""Patches of Snakemake that make plans of many thousand jobs cheap: answers that cannot change are kept, and of each job
nothing is written that `--quiet rules` hides. They decide nothing on what a job is, needs or runs. Functions, and the few lines
at the end that put them in place; docs/scale.md says what they are worth.
"""

import atexit
import gc
import inspect
from functools import lru_cache

from snakemake import __version__ as snakemake_version
from snakemake.settings.types import Quietness

# The version whose inner functions were looked at. Another plans as it does by itself.
PATCHED_VERSION = "9.27.1"


def without_hidden_messages(tell):
    """What tells of a job, less what a dry run that is quiet about rules does not show. A rule's first command is made all
    the same, so that a fault in it is found. Parameters are made for every job, before anything is told of it.
    """
    made = set()

    def log_info(job, *arguments, **options):
        settings = job.dag.workflow.output_settings
        quiet = Quietness.RULES in (settings.quiet or ())
        if not job.dag.workflow.dryrun or not quiet or settings.log_handler_settings:
            tell(job, *arguments, **options)
        elif job.rule.name not in made:
            made.add(job.rule.name)
            job.shellcmd  # made, not shown

    return log_info


def patch_planning():
    """Have two of Snakemake's methods do less, and keep the parameters of a third."""
    from snakemake.common import overwrite_function_params
    from snakemake.jobs import Job
    from snakemake.output_index import OutputIndex
    from snakemake.resources import Resource

    Job.log_info = without_hidden_messages(Job.log_info)
    # Asked twice for each resource of each job: whatever is given, `*args` and `**kwargs`.
    overwrite_function_params(Resource.evaluate, inspect.signature(Resource("", 0).evaluate).parameters)
    # Which rules make a file: asked by each job that reads it, by those of one dataset soon after each other.
    OutputIndex.match_producers = lru_cache(20_000)(OutputIndex.match_producers)


if snakemake_version == PATCHED_VERSION:
    patch_planning()
# At the end the process gives its memory back as a whole, without looking for garbage in it.
atexit.register(gc.freeze)
