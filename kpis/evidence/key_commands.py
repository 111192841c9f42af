"""The commands `plantproof keys new` and `plantproof keys show`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from config.language import Lang, lang_option
from kpis.commands import JSON
from kpis.evidence.keys import KeyFault, grouped, key_id, make_key, public_file, public_half, read_passphrase
from kpis.indicators.said import Said
from kpis.output import to_json

FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
PASSPHRASE = click.option(
    "--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), help="Its first line encrypts the key."
)
LANG = lang_option()
_MADE = Said(
    "Keep {private} where the one who signs alone can read it, and hand {public} to who checks packages.",
    "{private} 仅供签名人读取，请妥善保管；将 {public} 交给核验方。",
)
_ID = Said("key id", "密钥编号")


@click.group()
def keys() -> None:
    """Make and show the keys that packages are signed with.

    \b
    Examples:  plantproof keys new secrets/evidence.pem
               plantproof keys show secrets/evidence.pem.pub
    """


@keys.command()
@FILE
@PASSPHRASE
@JSON
@LANG
def new(file: Path, *, passphrase_file: Path | None, as_json: bool, lang: Lang) -> None:
    """Write a new private key into FILE, and its public half into FILE.pub.

    \b
    Example:  plantproof keys new secrets/evidence.pem

    Nothing is written over.
    """
    with _telling(lang):
        made = make_key(file, _passphrase(passphrase_file))
    _print(file, made.public_pem, lang, as_json=as_json)
    click.echo(_MADE.into(lang).format(private=file, public=public_file(file)), err=True)


@keys.command()
@FILE
@PASSPHRASE
@JSON
@LANG
def show(file: Path, *, passphrase_file: Path | None, as_json: bool, lang: Lang) -> None:
    """Show the id and the public half of the key in FILE, which may hold either half.

    \b
    Example:  plantproof keys show secrets/evidence.pem.pub

    Two people who read out the same id have the same key.
    """
    with _telling(lang):
        public = public_half(file, _passphrase(passphrase_file))
    _print(file, public, lang, as_json=as_json)


def _passphrase(file: Path | None) -> bytes | None:
    return None if file is None else read_passphrase(file)


@contextmanager
def _telling(lang: Lang) -> Iterator[None]:
    try:
        yield
    except KeyFault as error:
        raise click.ClickException(error.said.into(lang)) from error


def _print(file: Path, public: bytes, lang: Lang, *, as_json: bool) -> None:
    of = key_id(public)
    if as_json:
        said = {"file": str(file), "algorithm": "Ed25519", "key_id": of, "grouped": grouped(of)}
        click.echo(to_json(said | {"public_pem": public.decode()}))
        return
    click.echo(f"{_ID.into(lang)}: {of}\n{' ' * len(_ID.en)}  {grouped(of)}\n{public.decode()}", nl=False)
