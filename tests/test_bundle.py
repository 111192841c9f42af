"""The offline bundle: what is in it, what it refuses, and that it installs with no network."""

import base64
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.bundle.lock import Entry, LockError, chosen, closure, read_lock, rendered, roots
from collector.bundle.make import make_bundle
from collector.bundle.wheels import Target, build_own, fetch, look_into, needs, wanted
from plantproof import cli

ROOT = Path(__file__).parents[1]
HERE = Target(platform.machine(), "{}.{}".format(*sys.version_info), 17)
PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "plantproof"
version = "0.1.0"
license = "Apache-2.0"
dependencies = ["tiny>=1"]
[project.optional-dependencies]
more = ["other>=2"]
[project.scripts]
plantproof = "plantproof:main"
[tool.setuptools]
py-modules = ["plantproof"]
[tool.setuptools.packages.find]
include = ["rooms*"]
"""
MAIN = "import tiny\n\n\ndef main():\n    print('plantproof, version 0.1.0, tiny', tiny.SIZE)\n"


def wheel(folder, name, version, *about, size=1):
    """Make a wheel of one module; returns its SHA-256."""
    info = f"{name}-{version}.dist-info"
    said = "\n".join(("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *about, ""))
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {f"{name}.py": f"SIZE = {size}\n", f"{info}/METADATA": said, f"{info}/WHEEL": tags}
    sums = {
        n: base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).decode().rstrip("=") for n, t in files.items()
    }
    record = "".join(f"{n},sha256={sums[n]},{len(text)}\n" for n, text in files.items()) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path := folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        for n, text in {**files, f"{info}/RECORD": record}.items():
            made.writestr(zipfile.ZipInfo(n), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree_of(folder):
    """A source tree whose lock holds tiny, deep (which tiny needs), other (of the extra more) and one for Windows."""
    (index := folder / "index").mkdir(parents=True)
    deep = wheel(index, "deep", "3.0", "License-Expression: MIT")
    tiny = wheel(index, "tiny", "1.5", "Requires-Dist: deep>=1", "Classifier: License :: OSI Approved :: BSD License")
    other = wheel(index, "other", "2.1", "License: UNKNOWN")
    (tree := folder / "tree").mkdir()
    (tree / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (tree / "plantproof.py").write_text(MAIN, encoding="utf-8")
    (tree / "LICENSE").write_text("words", encoding="utf-8")
    shutil.copytree(ROOT / "deploy" / "offline", tree / "deploy" / "offline")
    (tree / "requirements.lock").write_text(
        f"deep==3.0 \\\n    --hash=sha256:{deep}\n    # via tiny\n"
        f"dos==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:{'0' * 64}\n    # via tiny\n"
        f"other==2.1 \\\n    --hash=sha256:{other}\n    # via plantproof (pyproject.toml)\n"
        f"tiny==1.5 \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{tiny}\n"
        "    # via\n    #   plantproof (pyproject.toml)\n",
        encoding="utf-8",
    )
    return tree


@contextlib.contextmanager
def only(index):
    """Let pip know no index but a folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            patch.delenv(name)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(index))
        yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return tree_of(tmp_path_factory.mktemp("source"))


def command(*words):
    return CliRunner().invoke(cli, ["bundle", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def told(tree, tmp_path_factory):
    """What the command says of the bundle that it made of the tree with its extra."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    target = ("--platform", f"linux_{HERE.machine}", "--python", HERE.python, "--glibc", "2.17")
    with only(tree.parent / "index"):
        made = command(folder, *target, "--extra", "more", "--tree", tree, "--json")
    assert made.exit_code == 0, made.output
    return json.loads(made.stdout)


@pytest.fixture(scope="module")
def bundle(told):
    return Path(told["folder"])


def without_network():
    """The words before a command that take every network from it, where this machine lets us."""
    words = ["unshare", "--net", "--map-root-user"]
    able = (
        shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    )
    return words if able else []


def offline():
    """An environment in which nothing finds a proxy, and so no index, that answers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return kept | nowhere | {"PYTHON": sys.executable}


def install(bundle, folder, **more):
    command = [*without_network(), "sh", str(bundle / "install.sh"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=offline() | more, check=False)


def bill(folder):
    return json.loads((folder / "sbom.cdx.json").read_text("utf-8"))


def test_the_lock_is_followed_from_what_the_project_asks_for_and_no_further(tree):
    assert [entry.name for entry in chosen(tree, [])] == ["deep", "dos", "tiny"]
    assert [entry.name for entry in chosen(tree, ["more"])] == ["deep", "dos", "other", "tiny"]


def test_a_chosen_lock_reads_back_as_it_was(tree):
    entries = chosen(tree, [])
    again = read_lock(rendered(entries))
    assert [(e.name, e.version, e.marker, e.hashes) for e in again] == [
        (e.name, e.version, e.marker, e.hashes) for e in entries
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tiny==1.5\n", "no hashes for tiny"),
        ("tiny>=1.5\n", "requirements.lock:1"),
        ("--find-links folder\n", "requirements.lock:1"),
        ("-e .\n", "requirements.lock:1"),
    ],
)
def test_a_lock_without_hashes_or_with_other_lines_is_refused(text, words):
    with pytest.raises(LockError, match=re.escape(words)):
        read_lock(text)


def test_an_extra_that_is_none_is_refused_with_those_that_are(tree):
    with pytest.raises(LockError, match="no extra kpi; the extras are more"):
        chosen(tree, ["kpi"])


def test_markers_are_asked_of_the_target_and_not_of_this_machine():
    entries = [
        Entry("a", "1", "sys_platform == 'win32'", ("sha256:0",), frozenset()),
        Entry("b", "1", "python_full_version < '3.12'", ("sha256:0",), frozenset()),
        Entry("c", "1", "platform_machine == 'aarch64'", ("sha256:0",), frozenset()),
        Entry("d", "1", "", ("sha256:0",), frozenset()),
    ]
    assert [e.name for e in wanted(entries, Target("aarch64", "3.11", 28))] == ["b", "c", "d"]
    assert [e.name for e in wanted(entries, Target("x86_64", "3.13", 28))] == ["d"]
    assert {e.marker for e in wanted(entries, Target("aarch64", "3.11", 28))} == {""}


def test_a_target_takes_wheels_for_its_glibc_and_older_ones():
    tags = Target("aarch64", "3.11", 28).tags
    assert tags[0] == "manylinux_2_28_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_5_aarch64"} <= set(tags)
    assert "manylinux_2_31_aarch64" not in tags


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("extra", ["", "kpi", "server", "sql", "cluster", "dev"])
def test_the_projects_own_lock_is_whole_for_every_extra(extra, python):
    entries = wanted(chosen(ROOT, [extra] if extra else []), Target("x86_64", python, 28))
    names = [entry.name for entry in entries]
    assert len(set(names)) == len(names)
    assert {"polars", "asyncua", "numpy"} <= set(names)
    assert ("altair" in names) is (extra == "kpi")
    assert ("pytest" in names) is (extra == "dev")


def test_every_distribution_of_the_lock_belongs_to_the_agent_an_extra_or_the_build():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    entries = read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    reached = closure(entries, roots(project, project["optional-dependencies"]) | {"setuptools"})
    assert {entry.name for entry in reached} == {entry.name for entry in entries}


def test_the_image_builds_from_the_same_lock(tree):
    command = [sys.executable, str(ROOT / "collector" / "bundle" / "lock.py")]
    said = subprocess.run([*command, "more"], cwd=tree, capture_output=True, text=True, check=True).stdout
    assert said == rendered(chosen(tree, ["more"]))
    one = subprocess.run([*command, "--only", "deep"], cwd=tree, capture_output=True, text=True, check=True).stdout
    assert [entry.name for entry in read_lock(one)] == ["deep"]


def test_the_agent_imports_nothing_of_the_bundle():
    code = "import sys, plantproof, collector.agent, collector.commands; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = set(said.split())
    assert "collector.agent" in loaded
    assert not {name for name in loaded if name.startswith(("collector.bundle", "packaging"))}


def test_a_bundle_has_one_wheel_for_each_line_and_each_hash_is_the_wheels(bundle):
    entries = read_lock((bundle / "requirements.txt").read_text("utf-8"))
    assert [entry.name for entry in entries] == ["plantproof", "deep", "other", "tiny"]
    sums = {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in (bundle / "wheels").iterdir()}
    assert sums == {one for entry in entries for one in entry.hashes}


def test_the_sums_name_every_file_and_the_command_tells_their_own_sum(told, bundle):
    text = (bundle / "SHA256SUMS").read_bytes()
    listed = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in text.decode().splitlines()}
    there = {p.relative_to(bundle).as_posix(): p for p in bundle.rglob("*") if p.is_file()}
    assert listed.keys() == there.keys() - {"SHA256SUMS"}
    assert all(hashlib.sha256(there[name].read_bytes()).hexdigest() == said for name, said in listed.items())
    size = sum(path.stat().st_size for path in there.values())
    sums = hashlib.sha256(text).hexdigest()
    assert told == {"folder": str(bundle), "wheels": 4, "bytes": size, "sha256sums": sums}


def test_the_same_tree_gives_the_same_wheel_of_ours(tree, bundle, tmp_path):
    with only(tree.parent / "index"):
        build_own(tree, tmp_path)
    (again,) = tmp_path.iterdir()
    assert again.read_bytes() == (bundle / "wheels" / again.name).read_bytes()


def test_no_file_of_a_bundle_names_an_index_or_this_machine(bundle, tree):
    for path in bundle.rglob("*"):
        if path.is_file() and path.suffix != ".whl":
            text = path.read_text("utf-8")
            assert not re.search(r"https?://|file:/", text), path.name
            assert str(tree) not in text
            assert "@PYTHON@" not in text


def test_the_bill_of_materials_says_names_versions_hashes_and_licences(bundle):
    held = bill(bundle)
    assert (held["bomFormat"], held["specVersion"], held["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", held["serialNumber"])
    parts = {part["name"]: part for part in [held["metadata"]["component"], *held["components"]]}
    assert {name: part["version"] for name, part in parts.items()} == {
        "plantproof": "0.1.0", "deep": "3.0", "tiny": "1.5", "other": "2.1"
    }  # fmt: skip
    assert parts["deep"]["licenses"] == [{"expression": "MIT"}]
    assert parts["tiny"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert "licenses" not in parts["other"]  # it says UNKNOWN
    (file,) = (bundle / "wheels").glob("tiny-*")
    assert parts["tiny"]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}]
    assert parts["tiny"]["purl"] == "pkg:pypi/tiny@1.5"


def test_the_bill_of_materials_says_who_needs_whom(bundle):
    edges = {d["ref"].split("/")[1]: [r.split("/")[1] for r in d["dependsOn"]] for d in bill(bundle)["dependencies"]}
    assert edges == {
        "deep@3.0": [], "other@2.1": [], "plantproof@0.1.0": ["other@2.1", "tiny@1.5"], "tiny@1.5": ["deep@3.0"]
    }  # fmt: skip


def test_without_its_extra_a_distribution_does_not_need_what_the_extra_needs(bundle):
    wheels = [look_into(path) for path in (bundle / "wheels").iterdir()]
    assert needs(wheels, HERE, {"plantproof": []})["plantproof"] == ["tiny"]
    assert needs(wheels, HERE, {"plantproof": ["more"]})["plantproof"] == ["other", "tiny"]


def test_a_wheel_of_another_hash_than_the_locks_is_refused(tmp_path):
    tree = tree_of(tmp_path)
    wheel(tmp_path / "index", "tiny", "1.5", "Requires-Dist: deep>=1", size=666)
    with only(tmp_path / "index"), pytest.raises(LockError, match="DO NOT MATCH THE HASHES"):
        fetch(wanted(chosen(tree, []), HERE), HERE, tmp_path / "wheels")


def test_a_lock_that_lacks_what_a_wheel_needs_is_found_out_before_the_gateway_does(tmp_path):
    wheel(tmp_path, "tiny", "1.5", "Requires-Dist: ghost>=1", "Requires-Dist: dos; sys_platform == 'win32'")
    wheels = [look_into(path) for path in tmp_path.iterdir()]
    with pytest.raises(LockError, match="ghost is needed"):
        needs(wheels, HERE, {"tiny": []})


def test_building_writes_nothing_into_the_source_tree(tree, bundle):
    assert bundle.is_dir()
    assert {path.name for path in tree.iterdir()} == {
        "pyproject.toml", "plantproof.py", "LICENSE", "deploy", "requirements.lock"
    }  # fmt: skip


def test_it_installs_and_runs_without_a_network(bundle, tmp_path):
    said = install(bundle, tmp_path / "env")
    assert said.returncode == 0, said.stderr
    program = tmp_path / "env" / "bin" / "plantproof"
    run = subprocess.run([program], capture_output=True, text=True, env=offline(), check=True)
    assert run.stdout == "plantproof, version 0.1.0, tiny 1\n"
    there = {path.name.partition("-")[0] for path in (tmp_path / "env").rglob("*.dist-info")}
    assert there == {"plantproof"} | {part["name"] for part in bill(bundle)["components"]}


def altered(bundle, folder):
    """A copy of the bundle that a test may change."""
    return shutil.copytree(bundle, folder / "copy")


@pytest.mark.parametrize("file", ["requirements.txt", "wheels/tiny-1.5-py3-none-any.whl", "sbom.cdx.json"])
def test_a_file_that_was_changed_on_the_way_installs_nothing(bundle, tmp_path, file):
    copy = altered(bundle, tmp_path)
    with (copy / file).open("ab") as changed:
        changed.write(b"\n")
    said = install(copy, tmp_path / "env")
    assert said.returncode == 4
    assert "differs from SHA256SUMS" in said.stderr
    assert file in said.stderr
    assert not (tmp_path / "env").exists()


def test_a_file_that_is_missing_installs_nothing(bundle, tmp_path):
    copy = altered(bundle, tmp_path)
    (copy / "wheels" / "tiny-1.5-py3-none-any.whl").unlink()
    assert install(copy, tmp_path / "env").returncode == 4
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("here", "other", "words"),
    [
        (HERE.machine, "riscv64", f"the bundle is for {HERE.python} riscv64"),
        ('"2.17"', '"2.99"', "glibc here is older than"),
    ],
)
def test_a_bundle_for_another_platform_is_refused(bundle, tmp_path, here, other, words):
    copy = altered(bundle, tmp_path)
    script = (copy / "install.sh").read_text("utf-8")
    assert here in script
    (copy / "install.sh").write_text(script.replace(here, other), encoding="utf-8")
    sums = (copy / "SHA256SUMS").read_text("utf-8").splitlines(keepends=True)
    (copy / "SHA256SUMS").write_text("".join(line for line in sums if "install.sh" not in line), encoding="utf-8")
    said = install(copy, tmp_path / "env")
    assert said.returncode == 1
    assert words in said.stderr
    assert not (tmp_path / "env").exists()


def test_a_folder_that_is_no_environment_is_left_alone(bundle, tmp_path):
    (tmp_path / "mine").write_text("letters", encoding="utf-8")
    said = install(bundle, tmp_path)
    assert said.returncode == 1
    assert "no Python environment" in said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("words", [["one", "two"], ["--help"]])
def test_the_installer_says_its_usage(bundle, words):
    said = subprocess.run(["sh", bundle / "install.sh", *words], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "usage: sh install.sh [FOLDER]" in said.stderr


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--extra", "none"], 1, "no extra none"),
        (["--python", "3"], 2, "is not a version such as 3.11"),
        (["--glibc", "3.1"], 2, "is not a version"),
        (["--platform", "win_amd64"], 2, "linux_x86_64"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(tree, tmp_path, options, code, words):
    said = command(tmp_path / "b", "--platform", "linux_x86_64", "--tree", tree, *options)
    assert said.exit_code == code
    assert words in said.output
    assert not (tmp_path / "b").exists()


def test_a_folder_with_files_and_a_folder_that_is_no_source_tree_are_refused(tree, tmp_path):
    (tmp_path / "file").touch()
    full = command(tmp_path, "--platform", "linux_x86_64", "--tree", tree)
    assert (full.exit_code, "is not empty" in full.output) == (1, True)
    bare = command(tmp_path / "b", "--platform", "linux_x86_64", "--tree", tmp_path)
    assert (bare.exit_code, "source tree" in bare.output) == (1, True)


def test_no_template_of_the_installer_names_what_is_not_replaced():
    texts = [path.read_text("utf-8") for path in (ROOT / "deploy" / "offline").iterdir()]
    known = {"@VERSION@", "@PYTHON@", "@MACHINE@", "@GLIBC@", "@EXTRAS@"}
    assert {word for text in texts for word in re.findall(r"@[A-Z]+@", text)} == known
    assert len(texts) == 3


def reachable(tmp_path):
    """Whether pip finds an index, asked for the smallest wheel of the lock."""
    (one,) = (entry for entry in chosen(ROOT, []) if entry.name == "mdurl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_DEFAULT_TIMEOUT", "3")
        patch.setenv("PIP_RETRIES", "0")
        try:
            fetch([one], HERE, tmp_path)
        except LockError:
            return False
    return True


def test_the_real_bundle_installs_without_a_network_and_computes_kpis(tmp_path):
    if os.environ.get("PLANTPROOF_INDEX") != "1":
        pytest.skip("takes half a minute and an index: set PLANTPROOF_INDEX=1")
    if not reachable(tmp_path / "probe"):
        pytest.skip("no package index can be reached through pip's settings")
    glibc = int(platform.libc_ver()[1].split(".")[1])
    made = make_bundle(ROOT, tmp_path / "bundle", Target(HERE.machine, HERE.python, min(glibc, 28)), [])
    said = install(made.folder, tmp_path / "env")
    assert said.returncode == 0, said.stderr
    program = [*without_network(), str(tmp_path / "env" / "bin" / "plantproof")]

    def run(*words):
        return subprocess.run(
            [*program, *words], capture_output=True, text=True, env=offline(), check=False, cwd=tmp_path
        )

    assert run("--version").stdout == "plantproof, version 0.1.0\n"
    assert run("init", "plant").returncode == 0
    # From 08:00 to 12:00 press1 runs for three hours and stops for one.
    rows = [f"2026-11-20T{8 + m // 60:02}:{m % 60:02}:00+08:00,press1.state,{1 if m < 180 else 3}" for m in range(241)]
    (tmp_path / "day.csv").write_text("\n".join(("ts,point,value", *rows)), encoding="utf-8")
    period = ("--from", "2026-11-20T08:00:00+08:00", "--to", "2026-11-20T12:00:00+08:00")
    told = run("kpi", "plant", *period, "--asset", "line1/press1", "--samples", "day.csv", "--json")
    assert told.returncode in (0, 3), told.stderr
    (availability,) = (row["value"] for row in json.loads(told.stdout) if row["kpi"] == "availability")
    assert availability == pytest.approx(0.75)
