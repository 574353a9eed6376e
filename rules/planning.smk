"""What makes plans of many thousand jobs cheap: answers of Snakemake that cannot change are kept, and what nobody sees is
not written. Nothing here decides what a job is, needs or runs. Functions only; docs/scale.md says what they are worth.
"""

import atexit
import inspect
from functools import lru_cache

from snakemake import __version__ as snakemake_version
from snakemake.settings.types import Quietness

# The version whose inner functions were looked at. Another plans as it does by itself.
LOOKED_AT = "9.27.1"


def for_many_jobs(function):
    """Keep the signature of a function that Snakemake calls for each of thousands of jobs. It looks the signature up at
    each call, which costs several times what our functions do."""
    function.__signature__ = inspect.signature(function)
    return function


def told_if_heard(tell):
    """What tells of a job, less what nobody sees: in a dry run that is quiet about rules. A rule's first command is made all
    the same, so that a fault in it is found. Parameters are made for every job, before anything is told of it."""
    made = set()

    def log_info(job, *arguments, **options):
        settings = job.dag.workflow.output_settings
        quiet = {Quietness.ALL, Quietness.RULES} & {*(settings.quiet or ())}
        if not job.dag.workflow.dryrun or not quiet or settings.log_handler_settings:
            tell(job, *arguments, **options)
        elif job.rule.name not in made:
            made.add(job.rule.name)
            job.shellcmd  # made, not shown

    return log_info


def plan_cheaply():
    """Replace three of Snakemake's functions by the same, with less to do."""
    from snakemake.common import overwrite_function_params
    from snakemake.jobs import Job
    from snakemake.output_index import OutputIndex
    from snakemake.resources import Resource

    Job.log_info = told_if_heard(Job.log_info)
    # Asked twice for each resource of each job: whatever is given, `*args` and `**kwargs`.
    overwrite_function_params(Resource.evaluate, inspect.signature(Resource("", 0).evaluate).parameters)
    # Which rules make a file: asked by each job that reads it, by those of one dataset soon after each other.
    OutputIndex.match_producers = lru_cache(20_000)(OutputIndex.match_producers)


if snakemake_version == LOOKED_AT:
    plan_cheaply()
# At the end the process gives its memory back as a whole, without looking for garbage in it.
atexit.register(gc.freeze)
