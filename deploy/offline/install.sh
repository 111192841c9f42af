#!/bin/sh
# Installs PlantProof @VERSION@ from this folder alone; no index and no network is asked.
#   sh install.sh [FOLDER]        FOLDER: of the environment, default /opt/plantproof
#   PYTHON=/usr/bin/python@PYTHON@ sh install.sh    names the interpreter
# Exit codes: 0 installed, 1 could not install, 2 usage, 4 a file of the bundle is not what it was.
set -eu

say() { printf '%s\n' "$*" >&2; }
fail() { code=$1; shift; say "$*"; exit "$code"; }

[ $# -le 1 ] || fail 2 "usage: sh install.sh [FOLDER]"
case "${1:-}" in -*) fail 2 "usage: sh install.sh [FOLDER]" ;; esac
folder=${1:-/opt/plantproof}
case "$folder" in /*) ;; *) folder=$PWD/$folder ;; esac
cd "$(dirname "$0")"

sha256sum --check --quiet --strict SHA256SUMS >&2 || fail 4 "a file differs from SHA256SUMS; copy the bundle anew"

python=${PYTHON:-python@PYTHON@}
command -v "$python" >/dev/null || fail 1 "$python is not here; install Python @PYTHON@ or name it: PYTHON=... sh install.sh"
found=$("$python" -I -c 'import platform, sys
print("%d.%d" % sys.version_info[:2], platform.machine(), platform.libc_ver()[1])')
case "$found" in
"@PYTHON@ @MACHINE@ "*) ;;
*) fail 1 "this is Python and platform $found; the bundle is for @PYTHON@ @MACHINE@" ;;
esac
"$python" -I -c 'import platform, sys
had, wanted = ([int(n) for n in text.split(".")[:2]] for text in (platform.libc_ver()[1] or "0.0", "@GLIBC@"))
sys.exit(had < wanted)' || fail 1 "glibc here is older than @GLIBC@: $found; make a bundle with --glibc"

if [ -e "$folder" ] && [ ! -e "$folder/pyvenv.cfg" ] && [ -n "$(ls -A "$folder")" ]; then
    fail 1 "$folder is there and is no Python environment; name another folder"
fi
umask 022
"$python" -I -m venv "$folder" || fail 1 "no environment could be made; Debian and Ubuntu want python@PYTHON@-venv"
"$folder/bin/python" -I -m pip --isolated install --quiet --disable-pip-version-check --no-cache-dir --no-input \
    --no-index --find-links wheels --no-deps --require-hashes --only-binary :all: --requirement requirements.txt ||
    fail 1 "pip could not install; what it said stands above"
# What stays is what sbom.cdx.json lists; the next bundle brings pip back for as long as it takes.
"$folder/bin/python" -I -m pip --isolated uninstall --quiet --yes --disable-pip-version-check setuptools pip 2>/dev/null
PYTHONSAFEPATH=1 "$folder/bin/plantproof" --version >&2
say "installed in $folder; next: $folder/bin/plantproof init /etc/plantproof"
