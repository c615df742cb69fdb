// A ViT with synthetic weights against the fixtures of the whole model.
#pragma once

#include <string>

#include "fixture.hpp"
#include "golden.hpp"

namespace promiseg_test {

/// Encodes the fixture's image, then decodes the fixture's prompt, and compares the four tapped
/// blocks, the embedding, the logits and the predicted IoU.
template <Backend B>
void check_synthetic_vit(const std::string& name, B& backend, const SafetensorsFile& fixture,
                         const Tolerance& encoder_tolerance) {
  const Json settings = fixture_settings(fixture);
  const Index tap_stride = static_cast<Index>(settings.at("tap_stride").as_integer());
  const Index stride = static_cast<Index>(settings.at("emb_stride").as_integer());
  SamModel<B> model =
      synthetic_model(backend, fixture_config(fixture, "vit_b"), fixture_weights_seed(fixture));
  Index taps = 0;
  const Tensor<float, 3> embedding =
      encode(model, fixture_image(fixture), [&](const EncoderStage& stage) {
        const std::string tap = "tap" + std::to_string(stage.index + 1);
        if (stage.kind != EncoderStage::Kind::block || !fixture.contains(tap)) return;
        const auto [height, width, channels] = stage.features.extents();
        const auto tokens = stage.features.reshaped(Extents<2>{height * width, channels});
        check_close(name + " " + tap, every({tap_stride, 1}, tokens), fixture.view<float, 2>(tap),
                    encoder_tolerance);
        ++taps;
      });
  CHECK(taps == 4);
  check_close(name + " embedding", every({1, 1, stride, stride}, channels_first(embedding.view())),
              fixture.view<float, 4>("embedding_strided"), encoder_tolerance);

  const DecodedMasks decoded = model.decode(embedding.view(), fixture_prompts(fixture, "sam."));
  check_close(name + " low_res_single", every({1, 1, 2, 2}, decoded.logits.view().slice(1, 0, 1)),
              fixture.view<float, 4>("sam.low_res_single"), kMaskLogits);
  check_within(name + " iou_single", decoded.iou.view().slice(1, 0, 1),
               fixture.view<float, 2>("sam.iou_single"), kIouAbsolute);
}

}  // namespace promiseg_test
