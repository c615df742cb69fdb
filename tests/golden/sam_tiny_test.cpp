// A small SAM with random weights, from its checkpoint to its masks, stage by stage.
#include <doctest/doctest.h>

#include <set>

#include "convert.hpp"
#include "find_config.hpp"
#include "fixture.hpp"
#include "golden.hpp"
#include "promiseg/sam/predictor.hpp"
#include "unit/temporary_folder.hpp"

using namespace promiseg_test;

namespace {

/// The model as a user makes it: converted from what PyTorch saved.
class TinyModel {
 public:
  TinyModel() {
    tools::ConvertOptions options;
    options.config = Json::Object{{"decoder_num_heads", 4}};
    tools::convert_model(PROMISEG_TEST_DATA "/fixtures/sam_tiny_weights.pth", path(), options);
  }
  std::filesystem::path path() const { return folder_ / "sam_tiny.safetensors"; }

 private:
  TemporaryFolder folder_;
};

const TinyModel& tiny_model() {
  static const TinyModel model;
  return model;
}

/// The names between "case." and the next dot.
std::set<std::string> case_names(const SafetensorsFile& fixture) {
  constexpr std::string_view kPrefix = "case.";
  std::set<std::string> names;
  for (const auto& [name, entry] : fixture.tensors()) {
    if (!name.starts_with(kPrefix)) continue;
    names.insert(name.substr(kPrefix.size(), name.find('.', kPrefix.size()) - kPrefix.size()));
  }
  return names;
}

/// (value - 128) / 32, channels last
Tensor<float, 3> encoder_input(const SafetensorsFile& fixture) {
  const auto pixels = fixture.view<std::uint8_t, 4>("image_u8").select(0, 0).permuted({1, 2, 0});
  Tensor<float, 3> input(pixels.extents());
  const auto view = input.view();
  for (Index y = 0; y < pixels.extent(0); ++y) {
    for (Index x = 0; x < pixels.extent(1); ++x) {
      for (Index c = 0; c < 3; ++c) {
        view(y, x, c) = (static_cast<float>(pixels(y, x, c)) - 128.0F) / 32.0F;
      }
    }
  }
  return input;
}

Image raw_image(const SafetensorsFile& fixture) {
  return Image(fixture.view<std::uint8_t, 3>("raw_image").permuted({1, 2, 0}));
}

}  // namespace

TEST_CASE("sam_tiny: the checkpoint tells the config") {
  const ModelConfig expected = fixture_config(open_fixture("sam_tiny"), "vit_b");
  const std::vector<std::string> apart =
      tools::differences(expected, ModelFile(tiny_model().path()).config());
  CHECK_MESSAGE(apart.empty(), doctest::toString(apart.empty() ? "" : apart.front()));
}

TEST_CASE("sam_tiny: preprocessing") {
  const SafetensorsFile fixture = open_fixture("sam_tiny");
  const ModelConfig config = fixture_config(fixture, "vit_b");
  const Image image = raw_image(fixture);
  const Tensor<float, 3> input = normalise_for_model(image, config);
  check_close("preprocess", every({1, 1, 3, 3}, channels_first(input.view())),
              fixture.view<float, 4>("preprocess.out_strided"), {1e-7, 1e-6});
}

TEST_CASE("sam_tiny: encoder") {
  const SafetensorsFile fixture = open_fixture("sam_tiny");
  const ModelFile file(tiny_model().path());
  const Tensor<float, 3> input = encoder_input(fixture);
  for_each_backend([&](const std::string& name, auto backend) {
    Predictor predictor(std::move(backend), file);
    Index stages = 0;
    const auto embedding = encode(predictor.model(), input, [&](const EncoderStage& stage) {
      const bool patches = stage.kind == EncoderStage::Kind::patch_embed;
      const std::string what =
          patches ? "enc.patch_embed" : "enc.block" + std::to_string(stage.index);
      check_close(name + " " + what, stage.features.with_unit_axis(0), fixture.view<float, 4>(what),
                  kEncoderStage);
      ++stages;
    });
    CHECK(stages == 1 + predictor.config().encoder_depth);
    check_close(name + " enc.embedding", channels_first(embedding.view()),
                fixture.view<float, 4>("enc.embedding"), kEncoderStage);

    const ImageEmbedding of_pixels = predictor.encode(raw_image(fixture));
    check_close(name + " enc.embedding_of_preprocess", channels_first(of_pixels.features.view()),
                fixture.view<float, 4>("enc.embedding_of_preprocess"), kEncoderStage);
  });
}

TEST_CASE("sam_tiny: prompts and masks") {
  const SafetensorsFile fixture = open_fixture("sam_tiny");
  const ModelFile file(tiny_model().path());
  const Tensor<float, 3> embedding(
      fixture.view<float, 4>("enc.embedding").select(0, 0).permuted({1, 2, 0}));
  const std::set<std::string> names = case_names(fixture);
  REQUIRE(names.size() == 10);
  for_each_backend([&](const std::string& backend_name, auto backend) {
    Predictor predictor(std::move(backend), file);
    SamModel<std::remove_cvref_t<decltype(predictor.backend())>>& model = predictor.model();
    check_close(backend_name + " dense_pe",
                channels_first(model.prompt_encoder().dense_pe_host().view()),
                fixture.view<float, 4>("dense_pe"), kPromptEncoding);
    for (const std::string& name : names) {
      const std::string prefix = "case." + name + ".";
      const std::string what = backend_name + " " + name + " ";
      const Prompts prompts = fixture_prompts(fixture, prefix);

      const EncodedPrompts encoded = model.encode_prompts(prompts);
      check_close(what + "sparse", encoded.sparse.view(), fixture.view<float, 3>(prefix + "sparse"),
                  kPromptEncoding);
      const auto dense = encoded.dense.view().permuted({0, 3, 1, 2});
      if (fixture.contains(prefix + "dense")) {
        check_close(what + "dense", dense, fixture.view<float, 4>(prefix + "dense"),
                    kPromptEncoding);
      } else {  // recorded at one position, as it is the same everywhere
        const auto row = fixture.view<float, 2>(prefix + "dense_row");
        check_close(what + "dense", dense,
                    row.with_unit_axis(2).with_unit_axis(3).broadcast_to(dense.extents()),
                    kPromptEncoding);
      }

      const DecodedMasks decoded = model.decode(embedding.view(), prompts);
      check_close(what + "low_res_single", decoded.logits.view().slice(1, 0, 1),
                  fixture.view<float, 4>(prefix + "low_res_single"), kMaskLogits);
      check_close(what + "low_res_multi", decoded.logits.view().slice(1, 1, 3),
                  fixture.view<float, 4>(prefix + "low_res_multi"), kMaskLogits);
      check_within(what + "iou_single", decoded.iou.view().slice(1, 0, 1),
                   fixture.view<float, 2>(prefix + "iou_single"), kIouAbsolute);
      check_within(what + "iou_multi", decoded.iou.view().slice(1, 1, 3),
                   fixture.view<float, 2>(prefix + "iou_multi"), kIouAbsolute);
    }
  });
}

TEST_CASE("sam_tiny: bfloat16") {
  const SafetensorsFile fixture = open_fixture("sam_tiny");
  const ModelFile file(tiny_model().path());
  const Tensor<float, 3> input = encoder_input(fixture);
  const auto recorded = fixture.view<float, 4>("enc.embedding");
  const Tensor<float, 3> exact(recorded.select(0, 0).permuted({1, 2, 0}));
  const auto check = [&](const std::string& name, auto backend) {
    Predictor predictor(std::move(backend), file);
    const Tensor<float, 3> embedding = encode(predictor.model(), input);
    check_close(name + " enc.embedding", channels_first(embedding.view()), recorded,
                kBfloat16Embedding);
    for (const std::string prompt : {"point5", "box", "mask_points"}) {
      const std::string prefix = "case." + prompt + ".";
      const DecodedMasks decoded =
          predictor.model().decode(exact.view(), fixture_prompts(fixture, prefix));
      check_close(name + " " + prompt, decoded.logits.view().slice(1, 1, 3),
                  fixture.view<float, 4>(prefix + "low_res_multi"), kBfloat16Logits);
    }
  };
  check("reference/bf16", ReferenceBackend(Precision::bf16));
  for_each_instruction_set(check, Precision::bf16);
}

TEST_CASE("sam_tiny: postprocessing") {
  const SafetensorsFile fixture = open_fixture("sam_tiny");
  const ModelConfig config = fixture_config(fixture, "vit_b");
  const FrameGeometry geometry = frame_geometry({301, 451}, config);
  CHECK(geometry.resized == ImageSize{171, 256});
  const auto low_res = fixture.view<float, 4>("postprocess.in").select(0, 0).select(0, 0);
  const Tensor<float, 2> logits = to_original(low_res, geometry);
  check_close("postprocess logits", every({2, 2}, std::as_const(logits).view()),
              fixture.view<float, 4>("postprocess.out0").select(0, 0).select(0, 0), kMaskLogits);
  check_mask("postprocess mask", threshold_mask(logits, config.mask_threshold).view(),
             fixture.view<std::uint8_t, 4>("postprocess.mask0").select(0, 0).select(0, 0));
}
