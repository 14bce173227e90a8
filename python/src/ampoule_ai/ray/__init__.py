"""Cohorts on a Ray cluster: thousands of cases, each done once, whatever happens to workers and machines.

``run_cohort`` runs a model over all cases of a manifest, folder or BIDS data set on the workers of a cluster, and writes what
``ampoule run`` writes: the same files, records and tables. A run that was stopped goes on where it was; the command line and this
function may take turns, and share a folder at the same time.

Needs ``pip install ampoule-ai[ray]``.
"""

from ._cohort import Cohort, run_cohort

__all__ = ["Cohort", "run_cohort"]
