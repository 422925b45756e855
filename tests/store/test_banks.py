import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import safetensors

from registry_auditor.domain import Direction, Job, Run
from registry_auditor.errors import NotFound, StoreError, UsageError
from registry_auditor.store import Store
from registry_auditor.store.banks import BankFolder, group

DirectionMaker = Callable[..., tuple[Direction, ...]]


def test_equal_directions_give_equal_bytes(directions: DirectionMaker) -> None:
    (bank,) = group(directions(), basis="base")
    (again,) = group(directions(), basis="base")
    assert bank.sha256 == again.sha256
    changed = [
        group(directions(), basis="other"),
        group(directions()[:2], basis="base"),
        group(reversed(directions()), basis="base"),
        group(directions(seed=1), basis="base"),
        group([replace(d, residual=1e-5) for d in directions()], basis="base"),
    ]
    assert bank.sha256 not in {other.sha256 for (other,) in changed}


def test_the_bytes_of_a_bank_never_change_between_releases(directions: DirectionMaker) -> None:
    planted = [
        replace(d, vector=np.eye(3, 8, dtype=np.float32)[d.rank], strength=3.0 - d.rank, residual=0.5**20)
        for d in directions()
    ]
    (bank,) = group(planted, basis="base-digest")
    assert bank.sha256 == "c0412f2c76c9905797129c5ec49fee4c85d16b08081c766653503c51ddd19b78"


def test_the_safetensors_library_reads_a_bank(tmp_path: Path, directions: DirectionMaker) -> None:
    folder = BankFolder.open(str(tmp_path))
    (bank,) = group(directions(5), basis="base-digest")
    folder.write(bank)
    file = tmp_path / bank.sha256[:2] / f"{bank.sha256}.safetensors"
    assert file.stat().st_size == bank.size_bytes
    assert hashlib.sha256(file.read_bytes()).hexdigest() == bank.sha256
    with safetensors.safe_open(file, "np") as tensors:
        assert set(tensors.keys()) == {"vectors", "strength", "residual"}
        assert np.array_equal(tensors.get_tensor("vectors"), np.stack([d.vector for d in directions(5)]))
        assert tensors.get_tensor("strength").tolist() == [5, 4, 3, 2, 1]
        assert tensors.get_tensor("residual").tolist() == [np.float32(1e-6)] * 5
        metadata = tensors.metadata()
    assert (metadata["format"], metadata["basis"]) == ("registry-auditor/bank-1", "base-digest")
    site = ["model.layers.3.mlp.down_proj.weight", 3, "mlp.down", "writes"]
    assert json.loads(metadata["sites"]) == [[*site, rank] for rank in range(5)]


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4"])
def test_vectors_of_any_float_type_and_layout_are_kept_as_float32(
    tmp_path: Path, directions: DirectionMaker, dtype: str
) -> None:
    folder = BankFolder.open(str(tmp_path))
    strided = [replace(d, vector=np.repeat(d.vector, 2).astype(dtype)[::2]) for d in directions()]
    (bank,) = group(strided, basis="")
    folder.write(bank)
    vectors = folder.vectors(bank.sha256)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [d.vector for d in directions()], atol=1e-3)


def test_the_names_of_hostile_tensors_are_kept(tmp_path: Path, directions: DirectionMaker) -> None:
    folder = BankFolder.open(str(tmp_path))
    hostile = [replace(d, site=replace(d.site, tensor='"}\n\0\ud800')) for d in directions()]
    (bank,) = group(hostile, basis='"}')
    folder.write(bank)
    assert folder.vectors(bank.sha256).shape == (3, 8)


def test_a_bank_is_written_once_and_leaves_nothing_else(tmp_path: Path, directions: DirectionMaker) -> None:
    folder = BankFolder.open(str(tmp_path))
    (bank,) = group(directions(), basis="")
    folder.write(bank)
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    written = file.stat().st_mtime_ns
    folder.write(bank)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    assert file.stat().st_mtime_ns == written


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, directions: DirectionMaker) -> None:
    folder = BankFolder.open(str(tmp_path))
    (bank,) = group(directions(), basis="")
    spoilt = replace(bank, directions=(*bank.directions, replace(bank.directions[0], vector=None)))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        folder.write(spoilt)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_bank_that_was_tampered_with_is_refused_and_mended_by_writing_it_again(
    tmp_path: Path, directions: DirectionMaker
) -> None:
    folder = BankFolder.open(str(tmp_path))
    (bank,) = group(directions(), basis="")
    folder.write(bank)
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for read in (folder.read, folder.vectors):
        with pytest.raises(StoreError, match="holds other bytes than were written"):
            read(bank.sha256)
    folder.write(bank)
    assert len(folder.read(bank.sha256)) == bank.size_bytes


def test_a_missing_bank_is_named_with_the_place_where_it_was_sought(store: Store, banks: str) -> None:
    with pytest.raises(StoreError, match=f"bank {'0' * 64}: there is no such file in {banks}"):
        store.banks.read("0" * 64)


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63, ""])
def test_what_is_no_digest_is_never_a_path(store: Store, name: str) -> None:
    with pytest.raises(NotFound):
        store.banks.read(name)


def test_banks_live_in_an_object_store_as_well(
    url: str, job: Callable[..., Job], run: Callable[..., Run], directions: DirectionMaker, tmp_path: Path
) -> None:
    place = f"memory://{tmp_path.name}/banks"
    with Store.open(url, banks=place) as store:
        audit = store.submit(job())
        store.save(audit.id, run(directions=directions()))
        sha256 = store.runs(audit.id)[0].banks[0].sha256
        assert np.array_equal(store.banks.vectors(sha256), np.stack([d.vector for d in directions()]))
    files = fsspec.filesystem("memory").find(f"/{tmp_path.name}")
    assert files == [f"/{tmp_path.name}/banks/{sha256[:2]}/{sha256}.safetensors"]


def test_banks_lie_beside_an_sqlite_file_unless_told(
    tmp_path: Path, job: Callable[..., Job], run: Callable[..., Run], directions: DirectionMaker
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/audits.db", create=True) as store:
        store.save(store.submit(job()).id, run(directions=directions()))
    assert len(list((tmp_path / "banks").rglob("*.safetensors"))) == 1


def test_a_server_database_needs_a_place_for_banks() -> None:
    with pytest.raises(UsageError, match="--banks"):
        Store.open("postgresql://user:secret@host/db")


def test_an_unknown_protocol_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="carrier-pigeon"):
        Store.open(url, banks="carrier-pigeon://x")


def test_a_place_that_cannot_be_written_is_named(
    url: str, tmp_path: Path, job: Callable[..., Job], run: Callable[..., Run], directions: DirectionMaker
) -> None:
    (tmp_path / "file").write_text("")
    with Store.open(url, banks=str(tmp_path / "file")) as store:
        audit = store.submit(job())
        with pytest.raises(StoreError, match="check its permissions and free space"):
            store.save(audit.id, run(directions=directions()))
        assert store.runs(audit.id) == []


def test_an_error_about_bank_files_does_not_tell_the_password_of_their_url() -> None:
    with pytest.raises(UsageError) as caught:
        BankFolder.open("nowhere://user:hunter2@host/banks")
    assert "hunter2" not in str(caught.value)
    assert "user:***@host" in str(caught.value)
