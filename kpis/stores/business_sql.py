"""Declared values from a business system's database, read with one SELECT through SQLAlchemy (extra `sql`).

Nothing is ever written: the query is a SELECT, its transaction is rolled back, and a SQLite file is opened read-only.
"""

import datetime as dt
import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from config.business import Declarations, clashes, declarations, unfit
from config.declared_checks import told
from config.faults import Fault, did_you_mean, faults_of
from config.load import SecretMissing, url_of
from config.plant import Plant
from config.redaction import Redaction
from config.registers import Declared, SqlSource
from config.tables import heads_of
from kpis.stores.base import StoreError

MOST_ROWS = 100_000
"""More rows than this are no declared values: the query lacks its sums."""
_NEEDED = ("period", "measure", "value", "unit")
_COLUMNS = (*_NEEDED, "declared_by", "declared_at", "factors", "note")

logger = logging.getLogger("plantproof.kpis")

Placed = tuple[str, Declared]
"""A row, and where it stands, for messages."""


def declarations_of(plant: Plant, faults: list[Fault] | None = None) -> Declarations:
    """Return a plant's declared values: those of business.csv and those of its business systems.

    faults: takes the rows that are left out; without it they are logged. Raises StoreError where a source cannot be
    read.
    """
    left_out: list[Fault] = []
    today = dt.datetime.now(plant.zone).date()
    placed: list[Placed] = [("business.csv", row) for row in plant.business]
    for source in plant.business_sources:
        placed = _without_clashes(placed, _read(source, plant.root, plant.coal_factors, today, left_out), left_out)
    _tell(left_out, faults)
    return declarations(plant, [row for _, row in placed[len(plant.business) :]])


def declared_of(
    source: SqlSource,
    root: Path,
    *,
    coal: str = "sme-2024",
    today: dt.date | None = None,
    faults: list[Fault] | None = None,
) -> list[Declared]:
    """Return the declared values that a source's query gives; rows that cannot be taken are told and left out.

    root: the plant's folder, where secrets and SQLite files are. coal: the plant's set of standard coal coefficients.
    today: the day of the query, which is when a value is declared where the query does not say.
    faults: takes what is wrong with rows that are left out; without it they are logged.
    Raises StoreError naming the source where it cannot be read, or its columns are not those of declared values.
    """
    left_out: list[Fault] = []
    day = today or dt.datetime.now(dt.UTC).astimezone().date()
    placed = _without_clashes([], _read(source, root, coal, day, left_out), left_out)
    _tell(left_out, faults)
    return [row for _, row in placed]


def _tell(left_out: Sequence[Fault], faults: list[Fault] | None) -> None:
    if faults is not None:
        faults += left_out
        return
    for fault in left_out:
        logger.warning("left out: %s", fault)


def _without_clashes(kept: Sequence[Placed], more: Sequence[Placed], left_out: list[Fault]) -> list[Placed]:
    """Return rows and more of them, without those that a row before them speaks against."""
    both = [*kept, *more]
    dropped = set()
    for later, earlier, clash in clashes([row for _, row in both]):
        (place, row), (other, before) = both[later], both[earlier]
        rule = f"{clash}: {other} has it for {before.period}"
        hint = "keep one of the two, or mend the query"
        left_out.append(Fault(f"{place} column period", told(row), row.period, rule, hint))
        dropped.add(later)
    return [one for n, one in enumerate(both) if n not in dropped]


def _read(source: SqlSource, root: Path, coal: str, today: dt.date, left_out: list[Fault]) -> list[Placed]:
    found = []
    for n, cells in enumerate(_fetched(source, root), 1):
        place = f"business source {source.id}: row {n}"
        row = _row(source, cells, today, place, left_out)
        misfits = [] if row is None else list(unfit(row, coal))
        left_out += (Fault(f"{place} column {m.column}", cells["measure"], m.value, m.rule, m.hint) for m in misfits)
        if row is not None and not misfits:
            found.append((place, row))
    return found


def _row(
    source: SqlSource, cells: Mapping[str, Any], today: dt.date, place: str, left_out: list[Fault]
) -> Declared | None:
    """Return a row under the rules of business.csv; None where it is against them."""
    given = {name: cell if name in ("value", "declared_at") else _text(cell) for name, cell in cells.items()}
    said = {name: cell for name, cell in given.items() if cell not in (None, "")}
    own = {"declared_by": source.declared_by} if source.declared_by else {}
    try:
        return Declared.model_validate({**own, "declared_at": today, **said, "source": source.id})
    except ValidationError as error:
        left_out += faults_of(error, Declared, f"{place} column", str(said.get("measure", "")))
        return None


def _text(cell: object) -> object:
    if isinstance(cell, dt.datetime) and cell.time() == dt.time():
        return cell.date().isoformat()
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return cell if cell is None else str(cell).strip()


def _fetched(source: SqlSource, root: Path) -> list[dict[str, Any]]:
    """Return the rows of a source's query, each as its cells by column; raises StoreError."""
    thing = f"business source {source.id}"
    try:
        sqlalchemy = importlib.import_module("sqlalchemy")
    except ImportError as error:
        hint = "install the extra: pip install 'plantproof[sql]'"
        raise StoreError(f"{thing}: SQLAlchemy is not installed, and reads databases; {hint}") from error
    try:
        url = sqlalchemy.make_url(url_of(source, root))
    except SecretMissing as error:
        raise StoreError(f"{thing}: url {error}") from error
    except (sqlalchemy.exc.ArgumentError, ValueError):  # may say the whole URL, with its password
        hint = "write such as mysql+pymysql://reader:${env:ERP_PASSWORD}@10.0.0.5/erp"
        raise StoreError(f"{thing}: its url is none that SQLAlchemy knows; {hint}") from None
    try:
        return _selected(sqlalchemy, _read_only(url, root, thing), source, thing)
    except ModuleNotFoundError as error:
        hint = f"install it, or name another as {url.get_backend_name()}+DRIVER"
        raise StoreError(f"{thing}: the driver {error.name} of {url.drivername} is not installed; {hint}") from error
    except sqlalchemy.exc.NoSuchModuleError as error:
        hint = "write such as sqlite, postgresql+psycopg, mysql+pymysql, mssql+pymssql or oracle+oracledb"
        raise StoreError(f"{thing}: {url.drivername} is no database that SQLAlchemy knows; {hint}") from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        hidden = Redaction((str(url.password or ""), *_words(url.query)), shortest=1)
        said = hidden(str(getattr(error, "orig", None) or error))
        hint = "check url, query and the rights of its user"
        raise StoreError(f"{thing}: cannot be read: {' '.join(said.split())}; {hint}") from None


def _words(query: Mapping[str, Any]) -> list[str]:
    """Return what options of a URL are set to, which a driver may say again: one may be a password."""
    return [word for value in query.values() for word in ((value,) if isinstance(value, str) else value)]


def _read_only(url: Any, root: Path, thing: str) -> Any:
    """Return the URL of a SQLite file so that it is opened read-only, and never made; any other URL as it is."""
    if url.get_backend_name() != "sqlite":
        return url
    name = (url.database or "").replace("\0", "")
    path = (root / name).resolve()
    if not path.is_file():
        raise StoreError(f"{thing}: {path} is no file; write sqlite:///NAME.db, from the plant's folder")
    return url.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})


def _selected(sqlalchemy: Any, url: Any, source: SqlSource, thing: str) -> list[dict[str, Any]]:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        # Without parameters a % in the query is no placeholder of the driver's.
        result = connection.execution_options(no_parameters=True).exec_driver_sql(source.query)
        columns = _named(result.keys(), thing)
        rows = result.fetchmany(MOST_ROWS + 1)
        connection.rollback()
    if len(rows) > MOST_ROWS:
        raise StoreError(f"{thing}: more than {MOST_ROWS} rows; sum them in the query, one row a period and measure")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _named(keys: Iterable[str], thing: str) -> list[str]:
    """Return the columns of a query in business.csv's names; raises StoreError where one is missing or unknown."""
    heads = heads_of("business")
    columns = [heads.get(key, key.lower()) for key in keys]
    for column in columns:
        if column not in _COLUMNS:
            raise StoreError(f"{thing}: column {column!r} is unknown; {did_you_mean(column, _COLUMNS)}")
        if columns.count(column) > 1:
            raise StoreError(f"{thing}: column {column!r} stands twice; keep one of them")
    for column in _NEEDED:
        if column not in columns:
            raise StoreError(f"{thing}: column {column!r} is missing; name it in the query, such as x AS {column}")
    return columns
