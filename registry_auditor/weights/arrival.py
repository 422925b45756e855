"""Whether an upload has arrived as a whole, as far as its files can tell."""

from __future__ import annotations

import zipfile
from pathlib import Path

from registry_auditor.errors import Unfinished, WeightsError
from registry_auditor.weights.files import weight_files
from registry_auditor.weights.folder import inside, printable, read_object
from registry_auditor.weights.header import read_header

PARTIAL_SUFFIXES = (".partial", ".part", ".tmp", ".incomplete", ".filepart", ".crdownload", ".download", ".aria2")
"""What browsers and transfer tools append to the name of a file that they are writing, or keep beside it."""
_DESCRIBED = ("config.json", "adapter_config.json")
_ZIP = b"PK\x03\x04"


def final_name(name: str) -> str:
    """What a file that is being written will be called."""
    return next((name.removesuffix(suffix) for suffix in PARTIAL_SUFFIXES if name.endswith(suffix)), name)


def what_is_missing(folder: Path) -> str | None:
    """Why the upload of `folder` cannot be complete; None if nothing speaks against it. Reads headers only.

    What waiting does not mend, such as a hostile index or a file that may not be read, does not count: whoever opens
    the folder is told.
    """
    try:
        partial = next((path.name for path in sorted(folder.iterdir()) if final_name(path.name) != path.name), None)
        if partial is not None:
            return f"{printable(partial)} is still there; remove it if nobody is writing it"
        for name in _DESCRIBED:
            read_object(folder, name)
        names = weight_files(folder)
        absent = [name for name in names if not (folder / name).exists()]
        if absent:
            return f"{printable(absent[0])} is missing" + (f", and {len(absent) - 1} more" if absent[1:] else "")
        for name in names:
            _check_end(inside(folder, name))
    except Unfinished as error:
        return str(error)
    except (WeightsError, OSError):
        return None
    return None


def _check_end(path: Path) -> None:
    with path.open("rb") as file:
        if path.suffix == ".safetensors":
            read_header(file, path, path.stat().st_size)
        elif not (start := file.read(len(_ZIP))) or (start == _ZIP and not zipfile.is_zipfile(path)):
            raise Unfinished(f"{path.name}: ends too early; download it again")
