"""The data doctor: what is wrong with a dataset, found before a network learns it."""

from medframe.plan.doctor.check import Checkup, check, check_cohort
from medframe.plan.doctor.findings import Finding

__all__ = ["Checkup", "Finding", "check", "check_cohort"]
