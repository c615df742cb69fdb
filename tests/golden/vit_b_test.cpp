// ViT-B at its published size, with the fastest instruction set only: it takes seconds.
#include <doctest/doctest.h>

#include "synthetic_vit.hpp"

using namespace promiseg_test;

TEST_CASE("vit_b: image to mask") {
  EigenBackend backend;
  check_synthetic_vit("eigen", backend, open_fixture("vit_b_synth"), kLargeEncoderStage);
}
