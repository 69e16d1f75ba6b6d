"""Splits for cross-validation that keep a patient's scans together and hardly move when cases are added."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from medframe.base.errors import BadArgument, BadDataset
from medframe.base.fingerprint import fingerprint
from medframe.data.records import Record, shortlist

_TRAIN, _HELD_OUT, _ASIDE = {"train", "training"}, {"val", "valid", "validation"}, {"test", "testing"}


def split(
    records: Sequence[Record], folds: int = 5, fold: int = 0, seed: int = 0
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Divide records into those to train on and those held out in one fold.

    Groups are put in order of a hash of (seed, group) and that order is cut into `folds` stretches of nearly equal
    numbers of cases. A group is never cut, and one more case shifts each cut by about one group, so almost all cases
    stay in the fold they were in.

    Where records carry a split of their own, that counts: "train", "val" and "test", or the numbers of folds. "test" is
    left out of both halves; with "train" and "test" alone, folds are made among "train".

    Args:
        records: the cases.
        folds: how many stretches.
        fold: which one is held out, from 0.
        seed: another seed is another order.

    Returns:
        (train, held_out), each in the order of `records`.

    Raises:
        BadArgument: `fold` is not below `folds`, or `folds` is below 2.
        BadDataset: fewer groups than folds, a split given for some records only, or a group in two of its parts.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise BadArgument("no such fold", found=f"fold {fold} of {folds}", due="0 <= fold < folds, at least 2 folds")
    part = _given(records)
    if part is None:
        part = _hashed(records, folds, seed)
    elif not any(p in _HELD_OUT or p.isdigit() for p in part.values()):
        train = [r for r in records if part[r.group] in _TRAIN]
        part = {**part, **_hashed(train, folds, seed)}
    out = {str(fold)} | _HELD_OUT
    held_out = tuple(r for r in records if part[r.group] in out)
    train_on = tuple(r for r in records if part[r.group] not in out | _ASIDE)
    if not held_out or not train_on:
        raise BadDataset(
            "one half of the split is empty",
            where=f"fold {fold}",
            found=f"{len(train_on)} cases to train on, {len(held_out)} held out",
            due="at least one each",
        )
    return train_on, held_out


def _hashed(records: Sequence[Record], folds: int, seed: int) -> dict[str, str]:
    sizes: dict[str, int] = defaultdict(int)
    for record in records:
        sizes[record.group] += 1
    if len(sizes) < folds:
        raise BadDataset(
            "there are fewer groups than folds",
            found=f"{len(sizes)} groups in {len(records)} cases",
            due=f"at least {folds}",
            mend="Ask for fewer folds, or add cases.",
        )
    order = sorted(sizes, key=lambda group: (fingerprint("split", seed, group), group))
    ends = np.cumsum([sizes[group] for group in order])  # cases up to and with each group
    cuts = [0]
    for k in range(1, folds):
        lo, hi = cuts[-1] + 1, len(order) - (folds - k)  # at least one group on either side
        cuts.append(lo + int(np.argmin(np.abs(ends[lo - 1 : hi] - len(records) * k / folds))))
    cuts.append(len(order))
    return {group: str(k) for k in range(folds) for group in order[cuts[k] : cuts[k + 1]]}


def _given(records: Sequence[Record]) -> Mapping[str, str] | None:
    named = {r.group: r.split.strip().lower() for r in records if r.split is not None}
    if not named:
        return None
    bare = [r.case for r in records if r.split is None]
    if bare:
        raise BadDataset(
            "some cases have no split", found=f"none for {shortlist(bare)}", due="one for every case or none"
        )
    words = set(named.values())
    numbers = {word for word in words if word.isdigit()}
    known = words <= (_TRAIN | _HELD_OUT | _ASIDE) if not numbers else words <= (numbers | _ASIDE)
    if not known:
        found = shortlist(sorted(words))
        raise BadDataset("unknown names of splits", found=found, due='"train", "val", "test", or the numbers of folds')
    torn = sorted({r.group for r in records if (r.split or "").strip().lower() != named[r.group]})
    if torn:
        raise BadDataset(
            "groups lie in more than one part of the split",
            found=shortlist(torn),
            due="each group (patient) in one part",
            mend="What was learnt from a patient must not be judged on the same patient.",
        )
    return named
