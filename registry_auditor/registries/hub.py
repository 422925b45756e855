"""Models of the Hugging Face Hub, or of an endpoint that speaks its language (`HF_ENDPOINT`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError
from registry_auditor.weights import Snapshot, open_snapshot

WANTED = ["*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.gguf"]
DESCRIBED = ["*.json", "*.txt", "tokenizer.model", "README.md"]


def resolve(name: str, revision: str | None) -> ModelRef:
    """`name` at the commit that `revision` (a branch, tag or commit; the default branch if None) points to now.

    Without a network, the commit that the local cache knows for it. Raises RegistryError if neither has it.
    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return ModelRef("hf", name, HfApi().model_info(name, revision=revision).sha)
    except (HfHubHTTPError, HFValidationError) as error:
        raise RegistryError(f"hf:{name}: {_first_line(error)}; check the name, the revision and HF_TOKEN") from error
    except (HTTPError, OSError) as unreachable:
        try:
            cached = snapshot_download(name, revision=revision, local_files_only=True)
        except (LocalEntryNotFoundError, OSError):
            raise RegistryError(
                f"hf:{name}: the Hub cannot be reached and the model is not in the local cache "
                f"({_first_line(unreachable)}); download it, or pass a folder"
            ) from unreachable
        return ModelRef("hf", name, Path(cached).name)


@contextmanager
def open_model(ref: ModelRef) -> Iterator[Snapshot]:
    """The weights of `ref`, downloaded into the local cache unless they are there.

    Raises RegistryError if they cannot be fetched, WeightsError if they are broken or hostile.
    """
    with open_snapshot(folder(ref)) as snapshot:
        yield snapshot


def folder(ref: ModelRef) -> Path:
    """Where the files of `ref` lie on this machine. Raises RegistryError if they cannot be fetched."""
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(ref.name, revision=ref.revision, allow_patterns=[*WANTED, *DESCRIBED]))
    except (HTTPError, OSError) as error:
        raise RegistryError(f"{ref}: cannot be downloaded ({_first_line(error)}); check HF_TOKEN and disk") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
