"""Receipts are written as they are kept: inputs of a model as numbers, documents as they were sent.

PostgreSQL took as much processor to make binary documents of a receipt's texts, and to compress
them, as a forecast takes.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_DOCUMENTS = ("request", "vector", "feature_times", "answer")
# Up to this size a row is kept as it is, neither compressed nor apart.
_WHOLE_ROW_BYTES = 8160


# Inputs by name in one order, whoever made the document.
_INPUTS = """
    SELECT array_agg(name ORDER BY name COLLATE "C") AS names,
        array_agg(coalesce(value::real, 'NaN') ORDER BY name COLLATE "C") AS features
    FROM jsonb_each_text(vector->'features') AS input (name, value)
"""
_HAS_INPUTS = "jsonb_typeof(vector->'features') = 'object'"


def upgrade() -> None:
    """Take inputs out of the documents of before."""
    op.execute("CREATE TABLE vector_layouts (layout uuid PRIMARY KEY, names text[] NOT NULL)")
    op.execute("ALTER TABLE forecast_log ADD COLUMN layout uuid, ADD COLUMN features real[]")
    op.execute(f"""
        INSERT INTO vector_layouts
        SELECT DISTINCT md5(array_to_string(names, ','))::uuid, names
        FROM forecast_log, LATERAL ({_INPUTS}) AS inputs WHERE {_HAS_INPUTS}
    """)
    op.execute(f"""
        UPDATE forecast_log SET vector = vector - 'features', (layout, features) = (
            SELECT md5(array_to_string(names, ','))::uuid, features FROM ({_INPUTS}) AS inputs
        ) WHERE {_HAS_INPUTS}
    """)
    op.execute(f"""
        ALTER TABLE forecast_log SET (toast_tuple_target = {_WHOLE_ROW_BYTES}),
        {", ".join(f"ALTER COLUMN {name} TYPE json USING {name}::json" for name in _DOCUMENTS)}
    """)


def downgrade() -> None:
    """Put inputs back into the documents."""
    op.execute(f"""
        ALTER TABLE forecast_log RESET (toast_tuple_target),
        {", ".join(f"ALTER COLUMN {name} TYPE jsonb USING {name}::jsonb" for name in _DOCUMENTS)}
    """)
    op.execute("""
        UPDATE forecast_log SET vector = vector || jsonb_build_object('features', (
            SELECT jsonb_object_agg(name,
                CASE WHEN abs(value) < 'Infinity' THEN value END)
            FROM unnest(names, features) AS input (name, value)
        )) FROM vector_layouts WHERE vector_layouts.layout = forecast_log.layout
    """)
    op.execute("ALTER TABLE forecast_log DROP COLUMN layout, DROP COLUMN features")
    op.execute("DROP TABLE vector_layouts")
