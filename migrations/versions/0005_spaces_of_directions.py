"""Whether a bank was added to those of one basis and dimension is read from an index."""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"

SPACE = ["basis", "dimension", "created_at"]


def upgrade() -> None:
    op.create_index("ix_banks_basis_dimension_created_at", "banks", SPACE)
    op.drop_index("ix_banks_basis", "banks")


def downgrade() -> None:
    op.create_index("ix_banks_basis", "banks", ["basis"])
    op.drop_index("ix_banks_basis_dimension_created_at", "banks")
