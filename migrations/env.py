"""Runs migrations: in the transaction of `store.schema.upgrade`, or for the `alembic` command of a developer."""

from alembic import context

from registry_auditor.errors import UsageError
from registry_auditor.store.engine import WRITES, connect, parse
from registry_auditor.store.schema import VERSION_TABLE, is_common
from registry_auditor.store.tables import Tables


def render_item(kind, item, autogen_context):
    """Write our column types as the plain ones below them: a migration must not change when the code does."""
    if kind == "type" and type(item).__module__ == "registry_auditor.store.columns":
        return f"sa.{item.impl!r}"
    return False


def migrate(connection):
    context.configure(
        connection=connection,
        target_metadata=Tables.metadata,
        version_table=VERSION_TABLE,
        include_name=is_common,
        render_item=render_item,
        render_as_batch=True,  # SQLite alters a table by copying it
        transactional_ddl=True,  # SQLite can, once the driver does not begin transactions of its own
    )
    with context.begin_transaction():
        context.run_migrations()


if connection := context.config.attributes.get("connection"):
    migrate(connection)
else:
    arguments = context.get_x_argument(as_dictionary=True)
    if "db" not in arguments:
        raise UsageError("which database? alembic -x db=sqlite:///dev.db …")
    engine = connect(parse(arguments["db"]))
    with engine.execution_options(**WRITES).begin() as connection:
        migrate(connection)
    engine.dispose()
