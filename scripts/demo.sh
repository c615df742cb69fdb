#!/usr/bin/env bash
# From a fresh checkout to segmented MR slices: installs, builds, fetches the real weights and real
# images; outlines the liver, both kidneys and a liver lesion from a box each, then a brain without
# any prompt.
set -euo pipefail
cd "$(dirname "$0")/.."

image_sha256=112539bc17c0e281987397e827dff9e99890109866d570f08761f83b8f55c277
out=build/demo

scripts/install_dependencies.sh
echo "Building (a few minutes the first time)"
cmake --preset release >/dev/null
cmake --build --preset release --target promiseg_command
scripts/fetch_weights.sh

mkdir -p "$out"
image=$out/abdomen_mr.dcm
if [ ! -f "$image" ]; then
  echo "Fetching an abdominal MR (from the wheel of pydicom 3.0.2)"
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" \
    pydicom==3.0.2
  python3 -m zipfile -e "$download"/pydicom-3.0.2-*.whl "$download/wheel"
  found=$download/wheel/pydicom/data/test_files/examples_overlay.dcm
  echo "$image_sha256  $found" | sha256sum --check --quiet
  cp "$found" "$image"
fi

build/release/bin/promiseg segment "$image" --window auto -o "$out" \
  --box 50,78,178,195 --label liver \
  --box 115,188,187,250 --label "right kidney" \
  --box 288,196,348,252 --label "left kidney" \
  --box 120,103,163,152 --label "liver lesion"

# A pack needs no prompt. This one has learnt what a brain is on axial and sagittal slices; a coronal
# one is new to it.
scripts/brain_mri_data.sh "$out/brain_mri.csv"
row=$(grep 'coronal=121,test' "$out/brain_mri.csv")
{ echo image_name,train_type,mask_name; echo "$row"; } >"$out/coronal.csv"
pack=packs/brain-mri/brain-mri.safetensors
build/release/bin/promiseg segment "${row%%,*}" --pack "$pack" -o "$out"
build/release/bin/promiseg evaluate --data "$out/coronal.csv" --pack "$pack" -o "$out/brain_report"
echo
echo "Look at $out/abdomen_mr_overlay.png and $out/ch2_coronal121_overlay.png; masks and numbers are"
echo "beside them. scripts/train_demo.sh trains the brain's pack from nothing."
