#include "promiseg/adapt/pack.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "promiseg/eigen/backend.hpp"
#include "promiseg/segmenter.hpp"
#include "synth.hpp"
#include "temporary_folder.hpp"

using namespace promiseg;

namespace {

/// A SAM small enough for a unit test, with four blocks to tap.
ModelConfig small_config() {
  ModelConfig config;
  config.image_size = 128;
  config.encoder_embed_dim = 32;
  config.encoder_depth = 4;
  config.encoder_num_heads = 2;
  config.global_attn_indexes = {1, 3};
  config.window_size = 3;
  config.prompt_embed_dim = 32;
  config.decoder_num_heads = 4;
  config.decoder_mlp_dim = 64;
  config.iou_head_hidden_dim = 32;
  return config;
}

PackConfig small_pack() {
  PackConfig config;
  config.apm = ApmKind::resnet;
  config.ips = true;
  config.tap_blocks = {4, 3};
  config.resnet_blocks = {1, 1, 1, 1};
  config.point_num = 4;
  config.point_value = {1, 1, 0, 0};
  config.point_scale = 128;
  config.ips_hidden_dim = 16;
  return config;
}

/// A model file, an image, and packs on demand.
struct Bench {
  promiseg_test::TemporaryFolder folder;
  std::filesystem::path model_path = folder.path() / "model.safetensors";
  Image image{{60, 100, 1}};

  Bench() {
    tools::synth_model(small_config(), 5, model_path);
    for (Index i = 0; i < image.size(); ++i) {
      image.data()[i] = static_cast<std::uint8_t>((i * i / 7) % 251);
    }
  }

  std::filesystem::path pack(const std::string& name, const PackConfig& config,
                             std::uint64_t seed) const {
    const auto path = folder.path() / (name + ".safetensors");
    tools::synth_pack(config, ModelFile(model_path), seed, path);
    return path;
  }

  Predictor<EigenBackend> predictor() const {
    return {EigenBackend({.threads = 1}), ModelFile(model_path)};
  }
};

bool same_logits(const Prediction& a, const Prediction& b) {
  return std::equal(a.low_res_logits.elements().begin(), a.low_res_logits.elements().end(),
                    b.low_res_logits.elements().begin(), b.low_res_logits.elements().end());
}

}  // namespace

TEST_CASE("a pack predicts prompts, and decodes with its tokens shifted") {
  const Bench bench;
  Predictor<EigenBackend> predictor = bench.predictor();
  Pack<EigenBackend> pack(predictor, PackFile(bench.pack("one", small_pack(), 1)));
  CHECK(pack.taps() == std::vector<Index>{4, 3});
  const ImageEmbedding embedding = predictor.encode(bench.image, pack.taps());

  const Prompts prompts = pack.prompts(embedding);
  REQUIRE(prompts.size() == 1);
  REQUIRE(prompts[0].points.size() == 4);
  CHECK(prompts[0].points[0].label == 1);
  CHECK(prompts[0].points[3].label == 0);

  const Prediction predicted = pack.predict(embedding, prompts).front();
  CHECK(predicted.masks.front().extents() == Extents<2>{60, 100});

  SUBCASE("the shift is what the adapter computes, on the pack's mask token") {
    const Tensor<float, 2> shift = pack.adapter().token_shift(embedding.features);
    PredictOptions options;
    options.mask_token = pack.config().mask_token;
    options.allow_padding = true;
    const Prediction frozen = predictor.predict(embedding, prompts, options).front();
    options.token_shift = shift.view();
    const Prediction shifted = predictor.predict(embedding, prompts, options).front();
    CHECK(same_logits(predicted, shifted));
    CHECK_FALSE(same_logits(predicted, frozen));
  }
  SUBCASE("prompts are values: a moved point changes the mask, the embedding stays") {
    Prompts moved = prompts;
    moved[0].points[0].x = 5;
    moved[0].points[0].y = 5;
    moved[0].points.pop_back();
    CHECK_FALSE(same_logits(predicted, pack.predict(embedding, moved).front()));
    CHECK(same_logits(predicted, pack.predict(embedding, prompts).front()));
  }
  SUBCASE("an embedding saved with its taps gives the same prompts") {
    const auto path = bench.folder.path() / "embedding.safetensors";
    save_embedding(embedding, path);
    const ImageEmbedding loaded = load_embedding(path);
    CHECK(pack.prompts(loaded)[0].points == prompts[0].points);
  }
  SUBCASE("without the taps there are no prompts") {
    const ImageEmbedding bare = predictor.encode(bench.image);
    CHECK_THROWS_WITH_AS(pack.prompts(bare), doctest::Contains("tap.4"), Error);
  }
}

TEST_CASE("several packs share one encoding") {
  const Bench bench;
  Predictor<EigenBackend> predictor = bench.predictor();
  PackConfig other = small_pack();
  other.tap_blocks = {4, 2};
  Pack<EigenBackend> first(predictor, PackFile(bench.pack("first", small_pack(), 1)));
  Pack<EigenBackend> second(predictor, PackFile(bench.pack("second", other, 2)));
  const std::vector<Index> taps = {4, 3, 2};
  const ImageEmbedding embedding = predictor.encode(bench.image, taps);
  const Prompts prompts = first.prompts(embedding);
  const Prediction before = first.predict(embedding, prompts).front();
  CHECK_FALSE(same_logits(before, second.predict(embedding, prompts).front()));
  CHECK(same_logits(before, first.predict(embedding, prompts).front()));

  SUBCASE("and the facade keeps the taps of all of them") {
    Segmenter segmenter(EigenBackend({.threads = 1}), ModelFile(bench.model_path));
    const std::size_t a = segmenter.add_pack(PackFile(bench.folder.path() / "first.safetensors"));
    const std::size_t b = segmenter.add_pack(PackFile(bench.folder.path() / "second.safetensors"));
    const ImageEmbedding encoded = segmenter.encode(bench.image);
    CHECK(encoded.taps.size() == 3);
    const Prompts own = segmenter.pack_prompts(a, encoded);
    CHECK(same_logits(before, segmenter.predict_with_pack(a, encoded, own).front()));
    CHECK_FALSE(segmenter.pack_prompts(b, encoded)[0].points == own[0].points);
  }
}

TEST_CASE("a pack of IPS alone takes given prompts, or the whole frame") {
  const Bench bench;
  Predictor<EigenBackend> predictor = bench.predictor();
  const ImageEmbedding embedding = predictor.encode(bench.image);
  PackConfig config;
  config.ips = true;
  config.ips_hidden_dim = 16;
  Pack<EigenBackend> given(predictor, PackFile(bench.pack("given", config, 3)));
  CHECK(given.taps().empty());
  CHECK(given.prompts(embedding).empty());
  config.own_prompt = OwnPrompt::image;
  Pack<EigenBackend> whole(predictor, PackFile(bench.pack("whole", config, 3)));
  const Prompts prompts = whole.prompts(embedding);
  REQUIRE(prompts.size() == 1);
  REQUIRE(prompts[0].box.has_value());
  CHECK(prompts[0].box->x1 == doctest::Approx(127 * 100.0 / 128));
  CHECK(whole.predict(embedding, prompts).size() == 1);
}

TEST_CASE("corners predicted as points count as a box") {
  const Bench bench;
  Predictor<EigenBackend> predictor = bench.predictor();
  const ImageEmbedding embedding = predictor.encode(bench.image);
  Prompts box(1);
  box[0].box = BoxPrompt{10, 12, 70, 50};
  Prompts corners(1);
  corners[0].points = {{10, 12, 2}, {70, 50, 3}};
  CHECK(same_logits(predictor.predict(embedding, box).front(),
                    predictor.predict(embedding, corners).front()));
}

TEST_CASE("objects with points and with corners decode together as one by one") {
  const Bench bench;
  Predictor<EigenBackend> predictor = bench.predictor();
  const ImageEmbedding embedding = predictor.encode(bench.image);
  Prompt points;
  points.points = {{20, 20, 1}, {80, 40, 0}};
  Prompt corners;
  corners.points = {{10, 12, 2}, {70, 50, 3}};
  for (const Prompts& both : {Prompts{points, corners}, Prompts{corners, points}}) {
    const auto together = predictor.predict(embedding, both);
    for (std::size_t i = 0; i < both.size(); ++i) {
      CHECK(same_logits(together[i], predictor.predict(embedding, {both[i]}).front()));
    }
  }
}

TEST_CASE("the pack's cleaning and threshold apply, and can be replaced") {
  const Bench bench;
  Predictor<EigenBackend> predictor = bench.predictor();
  PackConfig config = small_pack();
  config.cleaning.threshold = 0.999;
  Pack<EigenBackend> pack(predictor, PackFile(bench.pack("strict", config, 1)));
  const ImageEmbedding embedding = predictor.encode(bench.image, pack.taps());
  const Prompts prompts = pack.prompts(embedding);
  const auto area = [&](const std::optional<MaskCleaning>& cleaning) {
    const Mask mask = pack.predict(embedding, prompts, cleaning).front().masks.front();
    return std::count(mask.elements().begin(), mask.elements().end(), 255);
  };
  MaskCleaning generous;
  generous.threshold = 0.001;
  CHECK(area(std::nullopt) == 0);
  CHECK(area(generous) == 60 * 100);
}

TEST_CASE("a pack of another model is refused with both names") {
  const Bench bench;
  const auto pack = bench.pack("pack", small_pack(), 1);
  const auto other_path = bench.folder.path() / "other.safetensors";
  tools::synth_model(small_config(), 6, other_path);
  Predictor<EigenBackend> other(EigenBackend({.threads = 1}), ModelFile(other_path));
  CHECK_THROWS_WITH_AS(Pack<EigenBackend>(other, PackFile(pack)), doctest::Contains("synth:vit:5"),
                       Error);
  CHECK_THROWS_WITH_AS(Pack<EigenBackend>(other, PackFile(pack)), doctest::Contains("synth:vit:6"),
                       Error);
  CHECK_THROWS_WITH_AS(PackFile{bench.model_path}, doctest::Contains("expected a pack"), Error);
  CHECK_THROWS_WITH_AS(ModelFile{pack}, doctest::Contains("expected a model"), Error);
}
