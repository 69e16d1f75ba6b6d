"""What an unknown file looks like, for messages: only kinds are named, never its bytes."""

from __future__ import annotations

_KINDS = {
    b"version https://git-lfs": "a git-lfs pointer (run git lfs pull)",
    b"<": "a web page or XML",
    b"NRRD": "an NRRD file",
    b"ObjectType": "a MetaImage",
    b"NDims": "a MetaImage",
    b"#Insight Transform": "an ITK transform",
    b"\x93NUMPY": "a NumPy file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\0": "a TIFF file",
    b"MM\0*": "a TIFF file",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip stream",
    b"\x89HDF": "an HDF5 file",
    b"\x80": "a pickle",
    b"(d": "a pickle",
    b"(l": "a pickle",
}


def looks_like(head: bytes) -> str:
    """The kind of file that begins with these bytes.

    The bytes themselves are not shown: those of an unknown file may be anything, names of patients included.
    """
    if not head:
        return "an empty file"
    for mark, kind in _KINDS.items():
        if head.startswith(mark) or (mark.isascii() and head.lstrip().startswith(mark)):
            return kind
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return "text" if head[:256].isascii() and b"\0" not in head[:256] else "other bytes"
