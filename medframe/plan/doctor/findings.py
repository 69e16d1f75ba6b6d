"""What the doctor says: findings, worst first, in plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from medframe.base import errors
from medframe.base.errors import BadDataset, MedframeError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth a look.

    Args:
        severity: "error" cannot be trained on, "warning" is most likely a mistake, "note" is good to know.
        field: what it is about, such as "lattice", "spacing" or "label values".
        what: one sentence.
        case: the case's id; empty where the whole dataset is meant.
        file: name relative to the dataset's folder.
        found: what is there.
        due: what was expected.
        mend: what to do about it.
        error: the class of medframe's errors that reading or training would raise.
    """

    severity: Severity
    field: str
    what: str
    case: str = ""
    file: str = ""
    found: str = ""
    due: str = ""
    mend: str = ""
    error: str = "BadDataset"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def to_error(self) -> MedframeError:
        """The error that says the same."""
        kind = getattr(errors, self.error, BadDataset)
        where = self.file or (f"case {self.case}" if self.case else None)
        made: MedframeError = kind(
            self.what, where=where, found=self.found or None, due=self.due or None, mend=self.mend or None
        )
        return made

    @classmethod
    def of_error(cls, error: MedframeError, *, field: str, case: str = "", file: str = "") -> Finding:
        """An error that reading raised, as a finding."""
        return cls(
            "error",
            field,
            error.what,
            case=case,
            file=file,
            found=error.found or "",
            due=error.due or "",
            mend=error.mend or "",
            error=type(error).__name__,
        )


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors, then warnings, then notes; within them by kind and case, so the order never depends on timing."""

    def order(f: Finding) -> tuple[int, str, str, str, str, str]:
        return SEVERITIES.index(f.severity), f.field, f.what, f.case, f.file, f.found

    return tuple(sorted(findings, key=order))
