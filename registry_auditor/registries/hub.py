"""Models of the Hugging Face Hub, or of an endpoint that speaks its language (`HF_ENDPOINT`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim, claimed_base
from registry_auditor.registries.registry import Change
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


class HubRegistry:
    """The Hub; what lies in it is opened, and not listed."""

    def __init__(self, selector: str = "", *, cache: Cache) -> None:
        """Nothing is asked of the Hub yet."""
        self.selector = selector
        self.cache = cache

    @property
    def spec(self) -> str:
        """`hf:` and the selector."""
        return f"hf:{self.selector}"

    def changes(self, since: str | None = None) -> Iterator[Change]:
        """Raises RegistryError."""
        raise RegistryError(f"{self.spec}: the Hub is not watched; name its models one by one")

    def resolve(self, name: str, revision: str | None = None) -> ModelRef:
        """The commit that `revision` points to now."""
        return resolve(name, revision)

    def open(self, ref: ModelRef) -> AbstractContextManager[Snapshot]:
        """The downloaded weights."""
        return open_model(ref)

    def verify(self, ref: ModelRef) -> None:
        """A commit does not change."""

    def claim(self, ref: ModelRef) -> Claim | None:
        """The base that its files name."""
        return claimed_base(folder(ref))

    def find(self, claimed: str, *, of: ModelRef) -> ModelRef | None:
        """The model of that name."""
        return None
