import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import registry_auditor
from registry_auditor.errors import SchemaMismatch, StoreError
from registry_auditor.store import SchemaState, Store, check, upgrade
from registry_auditor.store.engine import connect, parse
from registry_auditor.store.schema import MIGRATIONS, VERSION_TABLE, is_common, revisions
from registry_auditor.store.tables import Tables


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def execute(url: str, *statements: str) -> None:
    engine = connect(parse(url))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def test_goes_up_and_down_and_up_again(empty_url: str) -> None:
    head = revisions()[-1]
    assert upgrade(empty_url) == (None, head)
    engine = connect(parse(empty_url))
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == [VERSION_TABLE]
    engine.dispose()
    assert check(empty_url).state is SchemaState.EMPTY
    assert upgrade(empty_url) == (None, head)
    assert upgrade(empty_url) == (head, head)


def test_migrations_build_the_tables_that_the_code_uses(url: str) -> None:
    engine = connect(parse(url))
    with engine.connect() as connection:
        options = {"compare_type": True, "version_table": VERSION_TABLE, "include_name": is_common}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Tables.metadata) == []
    engine.dispose()


def test_no_deletion_cascades() -> None:
    keys = [key for table in Tables.metadata.tables.values() for key in table.foreign_keys]
    assert keys
    assert {key.ondelete for key in keys} == {None}


def test_knows_the_revisions_that_alembic_knows() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert [script.revision for script in scripts.walk_revisions()] == list(reversed(revisions()))
    assert scripts.get_heads() == [revisions()[-1]]


def test_open_makes_a_database_where_there_is_none(empty_url: str, banks: str) -> None:
    with Store.open(empty_url, banks=banks, create=True) as store:
        assert store.audits().items == ()
    with Store.open(empty_url, banks=banks):
        assert check(empty_url).state is SchemaState.CURRENT


def test_open_makes_the_folder_of_a_database(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/not/yet/audits.db", create=True):
        assert (tmp_path / "not/yet/audits.db").exists()


def test_an_sqlite_file_is_in_wal_mode(sqlite_url: str) -> None:
    engine = connect(parse(sqlite_url))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_the_store_is_imported_without_torch(process: Callable[..., object]) -> None:
    script = "import registry_auditor.store\nprint({'torch', 'transformers', 'alembic'} & set(sys.modules))"
    assert process(script).output() == "set()\n"


def test_open_for_reading_makes_nothing(empty_url: str, banks: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match="run: registry-auditor db upgrade --db"):
        Store.open(empty_url, banks=banks)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_make_the_same_database_wait_for_each_other(
    empty_url: str, at_once: Callable[..., list[str]]
) -> None:
    script = """
from registry_auditor.store import Store
pause()
with Store.open(sys.argv[1], banks=sys.argv[2], create=True) as store:
    print(len(store.audits().items))
"""
    assert at_once(script, empty_url, "memory://banks") == ["0\n"] * 2


def test_a_newer_database_is_refused_with_the_remedy(own_url: str, banks: str) -> None:
    execute(own_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    assert check(own_url).state is SchemaState.NEWER
    for use in (lambda: Store.open(own_url, banks=banks, create=True), lambda: upgrade(own_url)):
        with pytest.raises(SchemaMismatch, match=r"9999 is newer than the code's .*pip install --upgrade"):
            use()


def test_an_older_database_is_refused_with_the_command_that_mends_it(
    own_url: str, banks: str, tmp_path: Path, process: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = a_later_release(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(release))
    script = """
import registry_auditor
from registry_auditor.errors import SchemaMismatch
from registry_auditor.store import Store, check, upgrade
assert registry_auditor.__file__.startswith(sys.argv[3]), registry_auditor.__file__
try:
    Store.open(sys.argv[1], banks=sys.argv[2], create=True)
except SchemaMismatch as error:
    print(error)
print(*upgrade(sys.argv[1]))
Store.open(sys.argv[1], banks=sys.argv[2]).close()
"""
    refusal, upgraded = process(script, own_url, banks, str(release)).output().splitlines()
    assert "is older than the code's 9000; run: registry-auditor db upgrade --db" in refusal
    assert upgraded == f"{revisions()[-1]} 9000"


def a_later_release(tmp_path: Path) -> Path:
    """A copy of the package whose schema has one more revision."""
    package = Path(registry_auditor.__file__).parent
    copy = tmp_path / "release/registry_auditor"
    copy.mkdir(parents=True)
    for file in ("__init__.py", "errors.py"):
        shutil.copy(package / file, copy)
    for part in ("domain", "store"):
        shutil.copytree(package / part, copy / part)
    shutil.copytree(str(MIGRATIONS), copy / "migrations")
    (copy / "migrations/versions/9000_later.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '9000'\ndown_revision = '{revisions()[-1]}'\n"
        "def upgrade():\n    op.add_column('audits', sa.Column('priority', sa.Integer()))\n"
    )
    return copy.parent


def test_tables_of_another_program_are_left_alone(empty_url: str, banks: str) -> None:
    execute(empty_url, "CREATE TABLE runs (run_uuid TEXT)", "INSERT INTO runs VALUES ('mlflow')")
    assert check(empty_url).state is SchemaState.FOREIGN
    with pytest.raises(StoreError, match="tables of another program"):
        Store.open(empty_url, banks=banks, create=True)


def test_shares_a_database_whose_other_tables_have_other_names(empty_url: str, banks: str) -> None:
    execute(
        empty_url,
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('theirs')",
    )
    with Store.open(empty_url, banks=banks, create=True) as store:
        assert store.audits().items == ()
