"""Which code of SNOMED CT stands for which organ or finding, by the names that label maps commonly use.

Source: DICOM PS3.16, context groups 7150 (categories), 7159 and 7166 (anatomy, findings) and 244 (sides).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from medframe.base.errors import BadArgument

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Code:
    """A coded term.

    Args:
        value: such as "10200004"; at most 16 characters.
        scheme: the coding scheme: "SCT" for SNOMED CT, "DCM" for DICOM's own, "99..." for one of yours.
        meaning: for people; at most 64 characters.

    Raises:
        BadArgument: a part is empty, too long, or holds a backslash.
    """

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        for part, most in (("value", 16), ("scheme", 16), ("meaning", 64)):
            text = getattr(self, part)
            if not isinstance(text, str) or not 0 < len(text.strip()) <= most or "\\" in text or not text.isprintable():
                due = f"1 to {most} printable characters without a backslash"
                raise BadArgument("a code has an invalid part", where=part, found=repr(text), due=due)


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


ANATOMY = _sct("91723000", "Anatomical Structure")
TISSUE = _sct("85756007", "Tissue")
ABNORMAL = _sct("49755003", "Morphologically Abnormal Structure")
SIDES: dict[Side, Code] = {"left": _sct("7771000", "Left"), "right": _sct("24028007", "Right")}

_ANATOMY = {
    "liver": "10200004", "spleen": "78961009", "pancreas": "15776009", "kidney": "64033007",
    "adrenal gland": "23451007", "gallbladder": "28231008", "stomach": "69695003", "duodenum": "38848004",
    "small intestine": "30315005", "large intestine": "14742008", "colon": "71854001", "rectum": "34402009",
    "appendix": "66754008", "esophagus": "32849002", "urinary bladder": "89837001", "prostate": "41216001",
    "seminal vesicle": "64739004", "uterus": "35039007", "ovary": "15497006", "testis": "40689003",
    "breast": "76752008", "thyroid gland": "69748006", "thymus": "9875009", "parotid gland": "45289007",
    "submandibular gland": "54019009", "tongue": "21974007", "larynx": "4596009", "pharynx": "54066008",
    "lung": "39607008", "trachea": "44567001", "bronchus": "955009", "heart": "80891009",
    "left ventricle": "87878005", "right ventricle": "53085002", "left atrium": "82471001",
    "right atrium": "73829009", "left ventricle myocardium": "49848007", "pericardium": "76848001",
    "aorta": "15825003", "pulmonary artery": "81040000", "pulmonary vein": "122972007",
    "inferior vena cava": "64131007", "superior vena cava": "48345005", "portal vein": "32764006",
    "brain": "12738006", "cerebellum": "113305005", "brain stem": "119238007", "hippocampus": "5366008",
    "thalamus": "42695009", "caudate nucleus": "11000004", "putamen": "89278009", "globus pallidus": "14738005",
    "amygdala": "4958002", "corpus callosum": "88442005", "lateral ventricle": "66720007",
    "white matter": "389080008", "gray matter": "389081007", "cerebrospinal fluid": "65216001",
    "spinal cord": "2748008", "optic nerve": "18234004", "optic chiasm": "244453006", "pituitary": "56329008",
    "eye": "81745001", "mandible": "91609006", "skull": "89546000", "spine": "421060004", "vertebra": "51282000",
    "rib": "113197003", "sternum": "56873002", "clavicle": "51299004", "scapula": "79601000",
    "humerus": "85050009", "femur": "71341001", "hip": "29836001", "pelvis": "816092008", "sacrum": "54735007",
    "tibia": "12611008", "patella": "64234005", "bone": "272673000", "tooth": "38199008",
    "skeletal muscle": "127954009", "skin": "39937001", "lymph node": "59441001",
}  # fmt: skip
_TISSUES = {"fat": "55603005", "cartilage": "309312004", "muscle": "71616004"}
_ABNORMAL = {
    "neoplasm": "108369006", "primary neoplasm": "372087000", "lesion": "52988006", "mass": "4147007",
    "nodule": "27925004", "cyst": "367643001", "edema": "79654002", "necrosis": "6574001",
    "hemorrhage": "50960005",
}  # fmt: skip
_SAME = {
    "adrenal": "adrenal gland", "gall bladder": "gallbladder", "bladder": "urinary bladder",
    "small bowel": "small intestine", "large bowel": "large intestine", "oesophagus": "esophagus",
    "thyroid": "thyroid gland", "parotid": "parotid gland", "brainstem": "brain stem", "windpipe": "trachea",
    "heart ventricle left": "left ventricle", "heart ventricle right": "right ventricle",
    "heart atrium left": "left atrium", "heart atrium right": "right atrium", "postcava": "inferior vena cava",
    "ivc": "inferior vena cava", "svc": "superior vena cava", "caudate": "caudate nucleus",
    "pallidum": "globus pallidus", "grey matter": "gray matter", "csf": "cerebrospinal fluid",
    "pituitary gland": "pituitary", "vertebrae": "vertebra", "ribs": "rib", "tumor": "neoplasm",
    "tumour": "neoplasm", "oedema": "edema", "haemorrhage": "hemorrhage", "lungs": "lung", "kidneys": "kidney",
}  # fmt: skip
_SIDE: dict[str, Side] = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}


def known_names() -> tuple[str, ...]:
    """The names of the table, without sides."""
    return tuple(sorted({*_ANATOMY, *_TISSUES, *_ABNORMAL, *_SAME}))


def code_of(name: str) -> tuple[Code, Code, Side | None] | None:
    """What a name stands for: its code, its category and its side; None where the table does not know it.

    Case, underscores and the place of the side do not matter: "kidney_left", "Left Kidney" and "Kidney_L" are one.

    Example:
        >>> code_of("Kidney_L")[0].meaning
        'Kidney'
    """
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()).split()
    found = _entry(" ".join(words))
    if found is not None:
        return (*found, None)
    for k in (0, len(words) - 1):
        if len(words) > 1 and words[k] in _SIDE:
            found = _entry(" ".join(words[:k] + words[k + 1 :]))
            if found is not None:
                return (*found, _SIDE[words[k]])
    return None


def _entry(plain: str) -> tuple[Code, Code] | None:
    key = _SAME.get(plain, plain)
    for table, category in ((_ANATOMY, ANATOMY), (_TISSUES, TISSUE), (_ABNORMAL, ABNORMAL)):
        if key in table:
            return _sct(table[key], key.capitalize()), category
    return None
