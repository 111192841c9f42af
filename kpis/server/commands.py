"""The command `plantproof serve`."""

import importlib.util
from pathlib import Path

import click

from config.load import load_plant
from kpis.commands import LAKE, PLANT, STORE, store_to_read


@click.command()
@PLANT
@LAKE
@STORE
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback unless told otherwise.")
@click.option("--port", default=8040, show_default=True, type=int)
def serve(plant: Path, *, lake_path: Path | None, store: str | None, host: str, port: int) -> None:
    """Serve KPIs and indicators as JSON (GET /health, /api/v1/kpis, /api/v1/indicators).

    \b
    Example:  plantproof serve PLANT --port 8040
    """
    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("uvicorn") is None:
        raise click.ClickException('the server is an extra; install it with: pip install "plantproof[server]"')
    import uvicorn  # noqa: PLC0415  an extra

    from kpis.server.app import make_app  # noqa: PLC0415

    loaded = load_plant(plant)
    uvicorn.run(make_app(loaded, store_to_read(loaded, store, lake_path)), host=host, port=port, log_level="warning")
