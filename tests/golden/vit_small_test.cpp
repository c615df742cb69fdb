// A ViT of twelve small blocks on a full-size image: windows that do not divide the grid, global
// blocks, and the decoder at its published size.
#include <doctest/doctest.h>

#include "synthetic_vit.hpp"

using namespace promiseg_test;

TEST_CASE("vit_small: image to mask") {
  const SafetensorsFile fixture = open_fixture("vit_small_synth");
  for_each_backend([&](const std::string& name, auto backend) {
    check_synthetic_vit(name, backend, fixture, kEncoderStage);
  });
}
