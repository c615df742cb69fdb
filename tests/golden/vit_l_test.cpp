// ViT-L's encoder at its published size: wider, and twice as deep as ViT-B.
#include <doctest/doctest.h>

#include "fixture.hpp"
#include "golden.hpp"

using namespace promiseg_test;

TEST_CASE("vit_l: embedding") {
  const SafetensorsFile fixture = open_fixture("vit_l_synth");
  EigenBackend backend;
  SamModel<EigenBackend> model =
      synthetic_model(backend, fixture_config(fixture, "vit_l"), fixture_weights_seed(fixture));
  const Tensor<float, 3> embedding = encode(model, fixture_image(fixture));
  check_close("eigen embedding", every({1, 1, 4, 4}, channels_first(embedding.view())),
              fixture.view<float, 4>("embedding_strided"), kLargeEncoderStage);
}
