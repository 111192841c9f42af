"""The reference importer takes what a plant signed, once, and refuses what was changed, is old or of something else."""

import hashlib
import http.server
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
from fractions import Fraction

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from kpis.evidence.archive import manifest, pack
from kpis.evidence.keys import make_key
from tests.assessed_plant import BUSINESS
from tests.packaged_plant import contents_of, package_of, sealed
from tests.reference_importer import SCRIPT, reference_importer

SIGNATURE, MANIFEST = "signature.dsse.json", "manifest-sha256.txt"


@pytest.fixture(scope="module")
def script():
    with reference_importer() as module:
        yield module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("import")


@pytest.fixture(scope="module")
def signer(folder):
    return make_key(folder / "works.pem")


@pytest.fixture(scope="module")
def contents(folder):
    business = BUSINESS.replace("12000,万元,张会计,2026-01-10,", "12000,万元,张会计,2026-01-10,revenue.csv")
    found = contents_of(folder / "plant", business=business, revenue="month,amount\n2025-01,1000\n")
    vars(found)["asked"] = type(found.asked)(period=found.asked.period, before=found.asked.before, rubrics=())
    return found


@pytest.fixture(scope="module")
def package(contents, signer):
    return package_of(contents, signer)


@pytest.fixture
def run(script, folder, signer, tmp_path, capsys):
    """Run the importer over a package, with what it imported before; returns exit code, what is stored, messages."""

    def importing(data, *words, key="works.pem.pub"):
        file = tmp_path / "package.zip"
        file.write_bytes(data)
        trust = ("--key", folder / key) if key else ()
        code = script.main([str(word) for word in (file, *trust, "--state", tmp_path / "state", *words)])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return importing


def refused(result):
    code, rows, told = result
    assert (code, rows) == (4, [])
    return told


def unpacked(data):
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


def changed(contents, signer, edit):
    """A package whose indicators.json says something else, hashed and signed by the plant itself."""

    def change(files):
        said = json.loads(files["indicators.json"])
        edit(said)
        files["indicators.json"] = json.dumps(said).encode()

    return package_of(contents, signer, change)


def one_of(rows, name, subject="works"):
    (found,) = [row for row in rows if (row["id"], row["subject"]) == (name, subject)]
    return found


# What is stored.


def test_four_of_ten_machines_are_stored_as_40_percent_with_all_that_is_behind_it(run, package, signer):
    code, rows, told = run(package)
    assert (code, told) == (0, f"imported {len(rows)} figures of works, revision 1\n")
    assert one_of(rows, "equipment_networking_rate") == {
        "id": "equipment_networking_rate",
        "name": "设备联网率",
        "subject": "works",
        "value": 0.4,
        "exact": "2/5",
        "percent": "40.00",
        "unit": "1",
        "n": "4",
        "N": "10",
        "start": "2025-01-01T00:00:00+08:00",
        "end": "2026-01-01T00:00:00+08:00",
        "rule": "equipment_networking_rate@1 evidenced>=0.5",
        "evidence": "a",
        "coverage": one_of(rows, "equipment_networking_rate")["coverage"],
        "flags": [],
        "missing": [],
        "refused": None,
        "declared": [],
        "plant": "works",
        "revision": 1,
        "package_sha256": hashlib.sha256(package).hexdigest(),
        "manifest_sha256": hashlib.sha256(unpacked(package)[MANIFEST]).hexdigest(),
        "key_id": signer.key_id,
        "key_trusted": True,
    }


def test_a_declared_value_is_stored_with_who_when_and_the_attachments_hash(run, package):
    _, rows, _ = run(package)
    revenue = next(one for one in one_of(rows, "revenue_per_head")["declared"] if one["name"] == "revenue")
    assert (revenue["declared_by"], revenue["declared_at"]) == ("张会计", "2026-01-10")
    assert revenue["attachment_sha256"] == hashlib.sha256(b"month,amount\n2025-01,1000\n").hexdigest()


def test_a_figure_without_a_value_is_stored_with_what_is_missing(run, package):
    _, rows, _ = run(package)
    row = one_of(rows, "water_reuse_rate")
    assert (row["value"], row["percent"]) == (None, None)
    assert row["missing"]


@pytest.mark.parametrize(
    ("value", "told"),
    [("1/3", "33.33"), ("2/3", "66.67"), ("1/8", "12.50"), ("0.500050", "50.01"), ("1", "100.00"), ("0", "0.00"),
     ("1/800", "0.13"), ("-1/800", "-0.13"), ("-1/1000000", "0.00"), ("3/2", "150.00")],
)  # fmt: skip
def test_a_percentage_is_rounded_once_and_half_up(script, value, told):
    assert script.percent(Fraction(value)) == told


def test_it_runs_without_plantproof_or_any_library(tmp_path, folder, package, signer):
    (tmp_path / "package.zip").write_bytes(package)
    words = (tmp_path / "package.zip", "--key", folder / "works.pem.pub", "--state", tmp_path / "state")
    # -I and -S: neither this folder nor site-packages.
    result = subprocess.run([sys.executable, "-I", "-S", SCRIPT, *words], capture_output=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[0])["key_id"] == signer.key_id


def test_what_is_stored_has_its_row_in_the_contract(run, package):
    _, rows, _ = run(package)
    page = (SCRIPT.parents[1] / "docs" / "import.md").read_text(encoding="utf-8")
    table = page.partition("## What the importer prints")[2].partition("```")[0]
    heads = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert [name for head in heads for name in re.findall("`([^`]+)`", head)] == list(rows[0])
    example = json.loads(page.partition("```json")[2].partition("```")[0])
    assert list(example) == list(rows[0])
    same = ("id", "name", "value", "exact", "percent", "n", "N", "rule", "start", "end")
    assert {k: example[k] for k in same} == {k: one_of(rows, "equipment_networking_rate")[k] for k in same}


# What was changed.


def test_bytes_anywhere_are_not_changed_unseen(script, package, signer):
    trusted = {signer.key_id: script.key_of(signer.public_pem.decode())}
    script.verified(package, trusted, any_key=False)
    listed = package.rindex(b"PK\x01\x02")
    for at in [*range(0, len(package), 9973), *range(60), *range(listed, len(package))]:
        with pytest.raises(script.RefusedError):
            script.verified(package[:at] + bytes([package[at] ^ 1]) + package[at + 1 :], trusted, any_key=False)


def test_bytes_of_the_signature_are_not_changed_unseen_in_an_archive_that_is_sound(script, package, signer):
    trusted, files = {signer.key_id: script.key_of(signer.public_pem.decode())}, unpacked(package)
    data = files[SIGNATURE]
    for at in [*range(0, len(data), 13), *range(len(data) - 120, len(data))]:
        files[SIGNATURE] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(script.RefusedError):
            script.verified(pack(files), trusted, any_key=False)


def test_a_file_that_came_went_or_changed_is_named(run, package):
    files = unpacked(package)
    assert "extra.txt: is not what manifest-sha256.txt says" in refused(run(pack(files | {"extra.txt": b""})))
    assert "indicators.json: is not what" in refused(run(pack(files | {"indicators.json": b"{}"})))
    assert "declared.json: is not what" in refused(run(pack({n: d for n, d in files.items() if n != "declared.json"})))


def test_who_changes_a_file_and_the_manifest_cannot_sign(run, package):
    files = unpacked(package) | {"declared.json": b"{}"}
    files[MANIFEST] = manifest(files)
    assert "its resources are not the files of the package" in refused(run(pack(files)))


def test_entries_in_another_order_or_bytes_between_them_are_refused(run, package):
    files = unpacked(package)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as whole:
        for name in sorted(files, reverse=True):
            whole.writestr(zipfile.ZipInfo(name), files[name])
    for data in (buffer.getvalue(), package + b"\0", b"\0" + package):
        assert "the archive" in refused(run(data))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", "c:evil", "a//evil", "./evil"])
def test_an_entry_that_leads_out_of_the_package_is_refused(run, package, name):
    assert "the archive is not written as a package is" in refused(run(pack(unpacked(package) | {name: b""})))


def test_a_bomb_is_refused_before_it_is_read(run, script):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr("zeros", bytes(50_000_000))
    assert "more entries or bytes than a package may have" in refused(run(buffer.getvalue()))
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as whole:
        for n in range(script.MAX_ENTRIES + 1):
            whole.writestr(str(n), b"")
    assert "more entries" in refused(run(many.getvalue()))


@pytest.mark.parametrize("data", [b"", b"PK", b"garbage" * 99], ids=["nothing", "two letters", "garbage"])
def test_what_is_no_archive_is_refused(run, data):
    assert "the archive cannot be opened" in refused(run(data))


# Who signed.


def test_a_key_that_is_not_trusted_is_refused_or_said(run, package, folder, signer):
    make_key(folder / "other.pem") if not (folder / "other.pem").exists() else None
    assert "none of those that you trust" in refused(run(package, key="other.pem.pub"))
    code, rows, told = run(package, "--any-key", key=None)
    assert (code, rows[0]["key_id"], rows[0]["key_trusted"]) == (3, signer.key_id, False)
    assert "nobody vouches for the key" in told


def test_a_package_that_nobody_signed_is_refused_or_said(run, contents):
    unsigned = package_of(contents)
    assert "it is not signed" in refused(run(unsigned))
    code, rows, _ = run(unsigned, "--any-key", key=None)
    assert (code, rows[0]["key_id"], rows[0]["key_trusted"]) == (3, None, False)


def test_a_signature_of_another_package_is_refused(run, contents, signer, package):
    other = package_of(contents, signer, revision=2, replaces="a" * 64)
    files = unpacked(package) | {SIGNATURE: unpacked(other)[SIGNATURE]}
    assert "its signature is of something else" in refused(run(pack(files)))


# What was imported before.


def next_of(contents, signer, package, revision=2):
    before = hashlib.sha256(unpacked(package)[MANIFEST]).hexdigest()
    return package_of(contents, signer, revision=revision, replaces=before)


def test_an_older_package_is_refused_once_a_later_one_was_imported(run, contents, signer, package):
    second = next_of(contents, signer, package)
    assert [run(data)[0] for data in (package, second)] == [0, 0]
    assert "it is revision 1, and revision 2 was imported already" in refused(run(package))


def test_the_same_package_again_is_no_fault(run, package):
    assert run(package)[:2] == run(package)[:2]


def test_another_package_of_the_same_revision_is_refused(run, contents, signer, package):
    run(package)
    other = package_of(contents, signer, samples=1)
    assert "another package of revision 1 was imported already" in refused(run(other))


def test_a_revision_that_replaces_another_one_is_refused(run, contents, signer, package):
    run(package)
    assert "replaces another revision 1" in refused(run(package_of(contents, signer, revision=2, replaces="b" * 64)))


def test_what_is_refused_is_not_kept_as_imported(run, contents, signer, package):
    third = next_of(contents, signer, package, revision=3)
    refused(run(third, "--plant", "elsewhere"))
    assert run(package)[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--plant", "elsewhere"), "its plant is works, not elsewhere"),
        (("--from", "2024-01-01"), "its begin is 2025-01-01, not 2024-01-01"),
        (("--to", "2025-07-01"), "its end is 2026-01-01, not 2025-07-01"),
    ],
)
def test_a_package_of_another_plant_or_period_than_was_asked_for_is_refused(run, package, words, told):
    assert told in refused(run(package, *words))


def test_what_was_asked_for_is_taken(run, package):
    assert run(package, "--plant", "works", "--from", "2025-01-01", "--to", "2026-01-01")[0] == 0


# What the figures say.


def rate(said):
    return next(one for one in said["results"] if one["kpi"] == "equipment_networking_rate")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda said: rate(said)["exact"].update(value="1/2"), "1/2 is not 4/10"),
        (lambda said: rate(said).update(value=0.5), "its numbers are not those of its exact ones"),
        (lambda said: rate(said).update(numerator=5.0), "its numbers are not those of its exact ones"),
        (
            lambda said: rate(said).update(
                value=0.5, numerator=5.0, exact={"value": "1/2", "numerator": "5", "denominator": "10"}
            ),
            "says 5 of 10, and lists 4 of 10",
        ),
        (lambda said: rate(said)["members"].pop(0), "says 4 of 10, and lists 3 of 9"),
        (lambda said: rate(said)["exact"].update(value="4e-1"), "is no exact number"),
        (lambda said: rate(said).update(refused={"en": "x", "zh": "x"}), "has a value although it must not be told"),
        (lambda said: said["results"].append(rate(said)), "a figure stands twice"),
        (lambda said: said["period"].update(start_ns=0), "of another plant or period than the descriptor"),
        (lambda said: said["period"].update(start="2024-01-01T00:00:00+08:00"), "not what its nanoseconds say"),
        (lambda said: said["plant"].update(id="elsewhere"), "of another plant or period"),
        (lambda said: rate(said).pop("rule"), "the package is not as its format says"),
        (lambda said: rate(said).update(value=float("nan")), "NaN is no number"),
    ],
)  # fmt: skip
def test_figures_that_do_not_follow_from_their_own_numbers_are_refused_though_they_are_signed(
    run, contents, signer, edit, told
):
    assert told in refused(run(changed(contents, signer, edit)))


def test_an_attachment_that_is_another_file_than_was_declared_is_refused(run, contents, signer):
    def other(files):
        files["config/revenue.csv"] = b"month,amount\n2025-01,2000\n"

    assert "its attachment revenue.csv is missing or another file" in refused(run(package_of(contents, signer, other)))


def test_a_refused_figure_is_imported_and_shown_to_a_person(run, contents, signer):
    def refuse(said):
        rate(said).update(value=None, low=None, high=None, refused={"en": "no", "zh": "不予采信"})
        rate(said)["exact"]["value"] = None

    code, rows, told = run(changed(contents, signer, refuse))
    assert (code, one_of(rows, "equipment_networking_rate")["refused"]) == (3, "不予采信")
    assert "equipment_networking_rate of works is refused" in told


def test_a_later_fields_of_the_same_format_are_no_fault(run, contents, signer):
    def add(said):
        said["added"] = 1
        rate(said)["added"] = 1

    assert run(changed(contents, signer, add))[0] == 0


def places(node, place=()):
    """Where the values of a JSON text stand."""
    yield place
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from places(node[key], (*place, key))


def test_whatever_stands_in_place_of_a_value_it_is_imported_or_refused(script, contents):
    files = unpacked(package_of(contents))
    about = json.loads(files["datapackage.json"])["plantproof"]
    whole = json.loads(files["indicators.json"])
    figures = [rate(whole), next(one for one in whole["results"] if one["kpi"] == "revenue_per_head")]
    for one in figures:
        one["members"] = one["members"][:1]
    small = json.dumps(whole | {"kpis": [], "kinds": [], "comparisons": [], "results": figures})
    refusals, tries = 0, 0
    for place in list(places(json.loads(small)))[1:]:
        for other in (None, True, -1, 10**30, "x", "\ud800", [], {}, [None], {"zh": 1}):
            said = node = json.loads(small)
            for key in place[:-1]:
                node = node[key]
            node[place[-1]] = other
            written = {"indicators.json": json.dumps(said).encode(), "config/revenue.csv": files["config/revenue.csv"]}
            tries += 1
            try:
                _, rows = script.verified(sealed(contents.plant, written, about), {}, any_key=True)
                json.dumps(rows, ensure_ascii=False).encode()
            except script.RefusedError:
                refusals += 1
    assert 0 < refusals < tries


def test_a_format_that_it_does_not_know_is_refused(run, contents, signer):
    assert "this importer reads format 2" in refused(run(package_of(contents, signer, format=3)))


# Ed25519 as RFC 8032 says.

RFC_8032 = [  # section 7.1: public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]


def library_verifies(public, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_signatures_of_rfc_8032_hold(script, public, message, signature):
    assert script.verifies(*map(bytes.fromhex, (public, message, signature)))


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511), st.data())
def test_a_signature_holds_where_the_library_says_so_and_no_flipped_bit_does(script, secret, message, bit, data):
    key = Ed25519PrivateKey.from_private_bytes(secret)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert script.verifies(public, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not script.verifies(public, message, bytes(flipped))
    assert not script.verifies(public, message + b"\0", signature)
    other = bytearray(public)
    other[data.draw(st.integers(0, 31))] ^= 1
    assert script.verifies(bytes(other), message, signature) == library_verifies(bytes(other), message, signature)


@pytest.mark.parametrize("more", [1, 2, 7])
def test_the_same_signature_with_a_larger_s_does_not_hold(script, more):
    public, message, signature = map(bytes.fromhex, RFC_8032[1])
    s = int.from_bytes(signature[32:], "little") + more * script.L
    forged = signature[:32] + s.to_bytes(32, "little")
    assert not script.verifies(public, message, forged)
    assert not library_verifies(public, message, forged)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_and_signatures_of_another_size_do_not_hold(script, size):
    public, message, signature = map(bytes.fromhex, RFC_8032[1])
    assert not script.verifies(public, message, signature[:32] + bytes(size))
    assert not script.verifies(bytes(size), message, signature)


def small_order(script):
    """The eight points whose order divides 8, as bytes."""
    found, n = set(), 2
    while len(found) < 8:
        point = script.point_of(n.to_bytes(32, "little"))
        if point is not None:
            found.add(script.bytes_of(script.times(script.L, point)))
        n += 1
    return sorted(found)


def test_points_of_small_order_hold_where_the_library_says_so(script):
    held = 0
    for public in small_order(script):
        for first in small_order(script):
            for message in (b"", b"a", b"b"):
                signature = first + bytes(32)
                expected = library_verifies(public, message, signature)
                assert script.verifies(public, message, signature) == expected
                held += expected
    # Else this would compare nothing but refusals.
    assert 0 < held < 8 * 8 * 3


@pytest.mark.parametrize(
    "encoded",
    [2**255 - 19, 2**255 - 18, 2**255 - 1, 1 | 1 << 255, (2**255 - 20) | 1 << 255],
    ids=["y = p", "y = p + 1", "y = 2^255 - 1", "x = -0, y = 1", "x = -0, y = -1"],
)
def test_another_writing_of_a_point_is_no_key(script, encoded):
    assert script.point_of(encoded.to_bytes(32, "little")) is None


# The plant's server.

TOKEN = "t0ken"


class Plant(http.server.BaseHTTPRequestHandler):
    """An API that has the packages of its server's `has`, and keeps what it was asked in `asked`."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("If-None-Match")))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, b'{"error": {"code": "no_token"}}')
        elif self.path == "/api/v1/evidence":
            self.answer(200, json.dumps({"packages": [told for told, _ in self.server.has]}).encode())
        else:
            (data,) = [data for told, data in self.server.has if self.path == f"/api/v1/evidence/{told['id']}/package"]
            tag = f'"{hashlib.sha256(data).hexdigest()}"'
            same = self.headers.get("If-None-Match") == tag
            self.answer(304 if same else self.server.code, b"" if same else data[: self.server.most], tag)

    def answer(self, code, data, tag=""):
        self.send_response(code)
        self.send_header("ETag", tag)
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plant) as serving:
        serving.has, serving.asked, serving.code, serving.most = [], [], 200, None
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def listed(name, data, revision, **more):
    year = {"start": "2025-01-01T00:00:00+08:00", "end": "2026-01-01T00:00:00+08:00"}
    return {"id": name, "plant": "works", **year, "revision": revision, **more}, data


@pytest.fixture
def pull(script, folder, signer, server, tmp_path, capsys, monkeypatch):
    """Pull from a server; returns exit code, what is stored, messages, and the server's paths that were asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def pulling(*words, token=TOKEN, url=None):
        (tmp_path / "token").write_text(f"{token}\n")
        base = url or f"http://127.0.0.1:{server.server_port}/"
        words = ("--url", base, "--token-file", tmp_path / "token", "--key", folder / "works.pem.pub", *words)
        server.asked.clear()
        code = script.main([str(word) for word in (*words, "--state", tmp_path / "state")])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return pulling


def test_what_a_plant_has_is_pulled_in_order_and_only_once(pull, server, contents, signer, package):
    second = next_of(contents, signer, package)
    server.has = [listed("a", package, 1), listed("b", second, 2)]
    code, rows, _ = pull()
    assert (code, [row["revision"] for row in rows if row["id"] == "oee" and row["subject"] == "works"]) == (0, [1, 2])
    code, rows, told = pull()
    assert (code, rows) == (0, [])
    assert "a: left out, as revision 2 of its period was imported already" in told
    assert "b: imported already" in told
    tag = f'"{hashlib.sha256(second).hexdigest()}"'
    assert server.asked == [("/api/v1/evidence", None), ("/api/v1/evidence/b/package", tag)]


def test_only_what_was_asked_for_is_pulled(pull, server, package):
    server.has = [
        listed("a", package, 1),
        listed("b", b"", 1, plant="elsewhere"),
        listed("c", b"", 1, end="2025-07-01T00:00:00+08:00"),
    ]
    code, rows, _ = pull("--plant", "works", "--to", "2026-01-01")
    assert (code, {row["plant"] for row in rows}) == (0, {"works"})
    assert [path for path, _ in server.asked] == ["/api/v1/evidence", "/api/v1/evidence/a/package"]


def test_one_bad_package_does_not_keep_others_from_being_imported(pull, server, contents, signer, package):
    server.has = [listed("a", b"garbage", 1), listed("b", package, 1)]
    code, rows, told = pull()
    assert (code, bool(rows)) == (4, True)
    assert "REFUSED: the archive cannot be opened" in told


def test_an_old_package_under_a_new_number_is_refused(pull, server, contents, signer, package):
    server.has = [listed("a", next_of(contents, signer, package), 2)]
    assert pull()[0] == 0
    server.has = [listed("b", package, 3)]
    assert "it is revision 1, and revision 2 was imported already" in refused(pull())


def test_half_a_download_is_refused_by_its_etag(pull, server, package):
    server.has, server.most = [listed("a", package, 1)], len(package) // 2
    assert "its bytes are not those of its ETag" in refused(pull())


@pytest.mark.parametrize(
    "has",
    [[{}], [None], ["x"], [{"id": 1, "plant": "works", "start": "x", "end": "x", "revision": 1}], {"a": 1},
     [{"id": "a", "plant": "works", "start": "2025-01-01", "end": "2026-01-01", "revision": 1}]],
    ids=str,
)  # fmt: skip
def test_a_server_that_gives_no_list_is_told(pull, server, has):
    server.has = [(one, b"") for one in has]
    code, rows, told = pull()
    assert (code, rows) == (69, [])
    assert "gives no list of packages" in told


def test_a_wrong_token_is_told(pull):
    code, rows, told = pull(token="wrong")
    assert (code, rows) == (69, [])
    assert "401" in told


def test_a_redirect_is_not_followed_with_the_token(pull, server, package):
    server.has, server.code = [listed("a", package, 1)], 302
    code, rows, told = pull()
    assert (code, rows) == (69, [])
    assert "302" in told


@pytest.mark.parametrize("url", ["http://plant.example", "ftp://127.0.0.1", "file:///etc"])
def test_a_token_is_not_sent_in_the_clear(pull, url):
    code, _, told = pull(url=url)
    assert code == 69
    assert "by https alone" in told


def test_a_server_that_is_not_there_is_told(pull):
    assert pull(url="http://127.0.0.1:9")[0] == 69


@pytest.mark.parametrize("words", [(), ("x.zip",), ("x.zip", "--url", "https://p"), ("--url", "https://p")])
def test_a_command_line_that_does_not_fit_is_told(script, words):
    with pytest.raises(SystemExit) as ended:
        script.main(list(words))
    assert ended.value.code == 2
