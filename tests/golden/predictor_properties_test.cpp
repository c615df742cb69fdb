// What must hold for any model and any image: geometry, batches, saved embeddings. Small synthetic
// models, so that equal means equal to the last bit.
#include <doctest/doctest.h>

#include <memory>

#include "fixture.hpp"
#include "golden.hpp"
#include "promiseg/sam/predictor.hpp"
#include "unit/temporary_folder.hpp"

using namespace promiseg_test;

namespace {

ModelConfig small_vit() {
  ModelConfig config = published_config("vit_b");
  config.image_size = 64;
  config.patch_size = 8;
  config.encoder_embed_dim = 32;
  config.encoder_depth = 2;
  config.encoder_num_heads = 2;
  config.global_attn_indexes = {1};
  config.window_size = 3;
  config.prompt_embed_dim = 32;
  config.decoder_num_heads = 4;
  config.decoder_mlp_dim = 64;
  config.iou_head_hidden_dim = 32;
  return config;
}

/// Intensities from 0 to 1, so that the padding is as dark as the darkest pixel.
ModelConfig small_vit_min_max(ResizeRule rule) {
  ModelConfig config = small_vit();
  config.resize_rule = rule;
  config.intensity_rule = IntensityRule::min_max;
  return config;
}

ModelConfig small_tiny_vit() {
  ModelConfig config = published_config("litemedsam");
  config.image_size = 64;
  config.embed_dims = {16, 32, 40, 320};
  config.depths = {1, 1, 2, 1};
  config.num_heads = {1, 2, 4, 10};
  config.window_sizes = {7, 7, 4, 7};
  config.prompt_embed_dim = 32;
  config.decoder_num_heads = 4;
  config.decoder_mlp_dim = 64;
  config.iou_head_hidden_dim = 32;
  return config;
}

/// A predictor with synthetic weights.
template <Backend B>
Predictor<B> make_predictor(B backend, const ModelConfig& config, std::uint64_t seed = 5) {
  const TemporaryFolder folder;
  tools::synth_model(config, seed, folder / "model.safetensors", 1);
  return {std::move(backend), ModelFile(folder / "model.safetensors")};
}

/// Values from 0 (at the top left) to 255, smooth enough to survive any resizing.
Image picture(Index height, Index width) {
  Image image({height, width, 1});
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      const double wave = std::sin(0.21 * static_cast<double>(x) + 0.13 * static_cast<double>(y));
      image.view()(y, x, 0) = static_cast<std::uint8_t>(127.0 + 120.0 * wave);
    }
  }
  image.view()(0, 0, 0) = 0;
  image.view()(height - 1, width - 1, 0) = 255;
  return image;
}

Prompt box_prompt(float x0, float y0, float x1, float y1) {
  Prompt prompt;
  prompt.box = BoxPrompt{x0, y0, x1, y1};
  return prompt;
}

Prompt point_prompt(float x, float y) {
  Prompt prompt;
  prompt.points = {{x, y, 1}};
  return prompt;
}

template <class T, std::size_t Rank>
bool same_bits(const Tensor<T, Rank>& a, const Tensor<T, Rank>& b) {
  return a.extents() == b.extents() && std::equal(a.elements().begin(), a.elements().end(),
                                                  b.elements().begin(), b.elements().end());
}

bool same_bits(const Prediction& a, const Prediction& b) {
  bool same = a.masks.size() == b.masks.size() && a.scores == b.scores &&
              same_bits(a.low_res_logits, b.low_res_logits);
  for (std::size_t i = 0; same && i < a.masks.size(); ++i) same = same_bits(a.masks[i], b.masks[i]);
  return same;
}

/// True if the mask has pixels of both kinds: otherwise comparing it says little.
bool is_mixed(const Mask& mask) {
  const auto inside = std::count(mask.elements().begin(), mask.elements().end(), 255);
  return inside > 0 && inside < mask.size();
}

/// One value of a bilinear enlargement of the top left `rows` x `columns` of `from` to
/// `height` x `width`, without aligned corners.
double interpolated(const std::function<double(Index, Index)>& from, ImageSize part, ImageSize to,
                    Index y, Index x) {
  const auto position = [](Index at, Index size_to, Index size_from) {
    const double scale = static_cast<double>(size_from) / static_cast<double>(size_to);
    return std::max(0.0, (static_cast<double>(at) + 0.5) * scale - 0.5);
  };
  const double fy = position(y, to.height, part.height);
  const double fx = position(x, to.width, part.width);
  const auto top = static_cast<Index>(fy);
  const auto left = static_cast<Index>(fx);
  const Index bottom = std::min(top + 1, part.height - 1);
  const Index right = std::min(left + 1, part.width - 1);
  const double down = fy - static_cast<double>(top);
  const double along = fx - static_cast<double>(left);
  return (1 - down) * ((1 - along) * from(top, left) + along * from(top, right)) +
         down * ((1 - along) * from(bottom, left) + along * from(bottom, right));
}

/// Checks a mask against its low-res logits, brought to the image by the definition. Pixels whose
/// logit is all but zero may fall to either side.
void check_mask_position(const Prediction& prediction, const FrameGeometry& geometry) {
  const auto low = prediction.low_res_logits.view().select(0, 0);
  const ImageSize low_size{low.extent(0), low.extent(1)};
  const ImageSize frame_size{geometry.frame_size, geometry.frame_size};
  const auto low_at = [&](Index y, Index x) { return double{low(y, x)}; };
  const auto frame_at = [&](Index y, Index x) {
    return interpolated(low_at, low_size, frame_size, y, x);
  };
  const Mask& mask = prediction.masks.front();
  REQUIRE(mask.extents() == Extents<2>{geometry.original.height, geometry.original.width});
  Index wrong = 0;
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) {
      const double logit = interpolated(frame_at, geometry.resized, geometry.original, y, x);
      if (std::abs(logit) > 1e-5 && (logit > 0) != (mask.view()(y, x) != 0)) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

/// The reference backend that counts how often memory is asked of it.
class CountingBackend : public ReferenceBackend {
 public:
  Buffer allocate(std::size_t size) {
    ++*count_;
    return ReferenceBackend::allocate(size);
  }
  std::shared_ptr<int> count() const { return count_; }

 private:
  std::shared_ptr<int> count_ = std::make_shared<int>(0);
};

}  // namespace

TEST_CASE("predictor: each axis has its own scale") {
  const ModelConfig config = published_config("vit_b");
  const FrameGeometry landscape = frame_geometry({301, 451}, config);
  const FrameGeometry portrait = frame_geometry({451, 301}, config);
  CHECK(landscape.resized == ImageSize{683, 1024});
  CHECK(portrait.resized == ImageSize{1024, 683});
  Prompt prompt = point_prompt(300, 100);
  prompt.box = BoxPrompt{10, 20, 200, 250};
  const Prompt wide = to_frame(prompt, landscape);
  CHECK(wide.points[0].x == doctest::Approx(300.0 * 1024 / 451));
  CHECK(wide.points[0].y == doctest::Approx(100.0 * 683 / 301));
  CHECK(wide.box->x1 == doctest::Approx(200.0 * 1024 / 451));
  CHECK(wide.box->y1 == doctest::Approx(250.0 * 683 / 301));
  const Prompt tall = to_frame(prompt, portrait);
  CHECK(tall.points[0].x == doctest::Approx(300.0 * 683 / 301));
  CHECK(tall.points[0].y == doctest::Approx(100.0 * 1024 / 451));
  CHECK(tall.box->x0 == doctest::Approx(10.0 * 683 / 301));
  CHECK(tall.box->y0 == doctest::Approx(20.0 * 1024 / 451));
}

// An image whose longer side is the frame's is only padded. Padded by hand to a square, it must
// give the same numbers, and the square's mask must be the image's mask with something below or to
// the right of it.
TEST_CASE("predictor: portrait, landscape and the square that holds them") {
  for (ResizeRule rule : {ResizeRule::pillow_bilinear, ResizeRule::area}) {
    auto predictor = make_predictor(EigenBackend(), small_vit_min_max(rule));
    for (const ImageSize size : {ImageSize{64, 40}, ImageSize{40, 64}, ImageSize{64, 1}}) {
      CAPTURE(size.height);
      CAPTURE(size.width);
      const Image image = picture(size.height, size.width);
      Image square({64, 64, 1});
      for (Index y = 0; y < size.height; ++y) {
        for (Index x = 0; x < size.width; ++x) square.view()(y, x, 0) = image.view()(y, x, 0);
      }
      const auto right = static_cast<float>(size.width);
      const auto bottom = static_cast<float>(size.height);
      const Prompts prompts = {box_prompt(0.25F, 3, right, bottom - 5), point_prompt(0.5F, 20)};
      const auto small = predictor.predict(predictor.encode(image), prompts);
      const auto large = predictor.predict(predictor.encode(square), prompts);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        CHECK(same_bits(small[i].low_res_logits, large[i].low_res_logits));
        CHECK(small[i].scores == large[i].scores);
        const Mask cropped(
            large[i].masks[0].view().slice(0, 0, size.height).slice(1, 0, size.width));
        CHECK(same_bits(small[i].masks[0], cropped));
      }
    }
  }
}

// INTER_AREA undoes an enlargement by a whole factor exactly.
TEST_CASE("predictor: an enlarged image gives the enlarged mask") {
  auto predictor = make_predictor(EigenBackend(), small_vit_min_max(ResizeRule::area));
  const Image image = picture(64, 44);
  Image enlarged({192, 132, 1});
  for (Index y = 0; y < 192; ++y) {
    for (Index x = 0; x < 132; ++x) enlarged.view()(y, x, 0) = image.view()(y / 3, x / 3, 0);
  }
  const auto small = predictor.predict(predictor.encode(image), {box_prompt(8, 10, 36, 50)});
  const auto large = predictor.predict(predictor.encode(enlarged), {box_prompt(24, 30, 108, 150)});
  CHECK(same_bits(small[0].low_res_logits, large[0].low_res_logits));
  REQUIRE(is_mixed(small[0].masks[0]));
  // At the middle of every enlarged pixel, bilinear interpolation meets the small mask's logits.
  const Mask middles(every({3, 3}, large[0].masks[0].view().slice(0, 1, 190).slice(1, 1, 130)));
  CHECK(same_bits(middles, small[0].masks[0]));
}

TEST_CASE("predictor: masks lie where their logits say, for images of any shape") {
  for (const ModelConfig& config : {small_vit(), small_tiny_vit()}) {
    auto predictor = make_predictor(EigenBackend(), config);
    for (const auto& size : {std::pair<Index, Index>{1, 1},
                             {1, 300},
                             {300, 1},
                             {2, 3},
                             {64, 64},
                             {37, 100},
                             {100, 37},
                             {128, 128},
                             {301, 451},
                             {7, 2000}}) {
      const Index height = size.first;
      const Index width = size.second;
      CAPTURE(height);
      CAPTURE(width);
      const ImageEmbedding embedding = predictor.encode(picture(height, width));
      const auto w = static_cast<float>(width);
      const auto h = static_cast<float>(height);
      const auto predictions =
          predictor.predict(embedding, {box_prompt(0, 0, w, h), point_prompt(0.7F * w, 0.4F * h)});
      for (const Prediction& prediction : predictions) {
        check_mask_position(prediction, embedding.geometry);
        CHECK(std::isfinite(prediction.scores[0]));
      }
    }
  }
}

TEST_CASE("predictor: a large image") {
  auto predictor = make_predictor(EigenBackend(), small_tiny_vit());
  const ImageEmbedding embedding = predictor.encode(picture(3000, 4000));
  const auto prediction = predictor.predict(embedding, {box_prompt(500, 300, 3900, 2500)}).front();
  CHECK(prediction.masks[0].extents() == Extents<2>{3000, 4000});
  CHECK(embedding.geometry.resized == ImageSize{48, 64});
}

TEST_CASE("predictor: grey is RGB of equal channels, and strides do not matter") {
  auto predictor = make_predictor(EigenBackend(), small_vit());
  const Image grey = picture(50, 70);
  const ImageEmbedding expected = predictor.encode(grey);
  const ImageView three = std::as_const(grey).view().broadcast_to({50, 70, 3});
  CHECK(same_bits(predictor.encode(three).features, expected.features));
  CHECK(same_bits(predictor.encode(Image(three)).features, expected.features));
  const Image transposed(std::as_const(grey).view().permuted({1, 0, 2}));
  const ImageView back = transposed.view().permuted({1, 0, 2});
  CHECK(same_bits(predictor.encode(back).features, expected.features));
}

TEST_CASE("predictor: several prompts at once are the same as one by one") {
  Prompts prompts;
  for (int i = 0; i < 20; ++i) {  // more than one batch takes
    const auto shift = static_cast<float>(i);
    prompts.push_back(box_prompt(shift, 2, 30 + shift, 35));
  }
  prompts.push_back(point_prompt(20, 20));
  prompts.push_back(point_prompt(40, 10));
  prompts.push_back(box_prompt(3, 4, 50, 30));
  prompts.back().points = {{20, 20, 1}, {1, 1, 0}};
  prompts.push_back(box_prompt(3, 4, 50, 30));
  prompts.back().mask_logits = Tensor<float, 2>({32, 32});
  prompts.push_back(prompts[0]);
  for_each_backend([&](const std::string& name, auto backend) {
    CAPTURE(name);
    auto predictor = make_predictor(std::move(backend), small_vit());
    const ImageEmbedding embedding = predictor.encode(picture(40, 60));
    const auto together = predictor.predict(embedding, prompts);
    REQUIRE(together.size() == prompts.size());
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      CAPTURE(i);
      const auto alone = predictor.predict(embedding, {prompts[i]}).front();
      const Difference apart =
          difference(together[i].low_res_logits.view(), std::as_const(alone.low_res_logits).view());
      CHECK(apart.relative <= 1e-6);
      CHECK(apart.largest <= 1e-6);
      CHECK(together[i].scores[0] == doctest::Approx(alone.scores[0]).epsilon(1e-6));
    }
    CHECK(same_bits(together.front(), together.back()));
  });
}

TEST_CASE("predictor: one embedding serves any number of prompts, in any order") {
  auto predictor = make_predictor(EigenBackend(), small_tiny_vit());
  const ImageEmbedding embedding = predictor.encode(picture(40, 60));
  const Tensor<float, 3> before = embedding.features;
  const Prompts box = {box_prompt(5, 5, 40, 30)};
  const Prompts point = {point_prompt(20, 20)};
  const auto first = predictor.predict(embedding, box).front();
  const auto other = predictor.predict(embedding, point, {.multimask = true}).front();
  CHECK(other.masks.size() == 3);
  CHECK(same_bits(predictor.predict(embedding, box).front(), first));
  CHECK(same_bits(embedding.features, before));
  // Another image in between changes nothing, and the same image again gives the same bits.
  predictor.encode(picture(60, 20));
  CHECK(same_bits(predictor.predict(embedding, box).front(), first));
  CHECK(same_bits(predictor.encode(picture(40, 60)).features, before));
}

TEST_CASE("predictor: results do not depend on the number of threads") {
  for (const ModelConfig& config : {small_vit(), small_tiny_vit()}) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      for_each_instruction_set(
          [&](const std::string& name, const EigenBackend& backend) {
            CAPTURE(name);
            const auto on_threads = [&](int threads) {
              return make_predictor(EigenBackend({.threads = threads,
                                                  .instruction_set = backend.instruction_set(),
                                                  .precision = backend.precision()}),
                                    config);
            };
            auto one = on_threads(1);
            auto three = on_threads(3);
            const Prompts prompts = {box_prompt(5, 5, 40, 30)};
            const ImageEmbedding embedding = one.encode(picture(40, 60));
            CHECK(same_bits(embedding.features, three.encode(picture(40, 60)).features));
            CHECK(same_bits(one.predict(embedding, prompts).front(),
                            three.predict(embedding, prompts).front()));
          },
          precision);
    }
  }
}

TEST_CASE("predictor: a saved embedding gives the same bits") {
  const TemporaryFolder folder;
  auto predictor = make_predictor(EigenBackend(), small_vit());
  const ImageEmbedding embedding = predictor.encode(picture(40, 61));
  save_embedding(embedding, folder / "embedding.safetensors");
  const ImageEmbedding loaded = load_embedding(folder / "embedding.safetensors");
  CHECK(loaded.geometry == embedding.geometry);
  CHECK(loaded.model == embedding.model);
  CHECK(same_bits(loaded.features, embedding.features));
  const Prompts prompts = {box_prompt(5, 5, 40, 30), point_prompt(20, 20)};
  const auto expected = predictor.predict(embedding, prompts);
  const auto got = predictor.predict(loaded, prompts);
  for (std::size_t i = 0; i < prompts.size(); ++i) CHECK(same_bits(got[i], expected[i]));
}

TEST_CASE("predictor: what it refuses") {
  auto predictor = make_predictor(EigenBackend(), small_vit());
  auto other = make_predictor(EigenBackend(), small_vit(), 6);
  const ImageEmbedding embedding = predictor.encode(picture(40, 60));
  const Prompts box = {box_prompt(5, 5, 40, 30)};
  const auto code_of = [](const auto& work) -> std::optional<ErrorCode> {
    try {
      work();
    } catch (const Error& error) {
      return error.code();
    }
    return std::nullopt;
  };
  CHECK_FALSE(code_of([&] { predictor.predict(embedding, box); }).has_value());
  CHECK(code_of([&] { other.predict(embedding, box); }) == ErrorCode::invalid_argument);
  const auto refuses = [&](const Prompt& prompt) {
    return code_of([&] { predictor.predict(embedding, {prompt}); }) == ErrorCode::invalid_argument;
  };
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  CHECK(refuses({}));
  CHECK(refuses(point_prompt(60, 10)));
  CHECK(refuses(point_prompt(10, -0.5F)));
  CHECK(refuses(point_prompt(kNaN, 10)));
  CHECK(refuses(box_prompt(5, 5, 40, 41)));
  CHECK(refuses(box_prompt(5, 30, 40, 30)));
  CHECK(refuses(box_prompt(5, 5, kNaN, 30)));
  Prompt wrong_mask;
  wrong_mask.mask_logits = Tensor<float, 2>({31, 32});
  CHECK(code_of([&] { predictor.predict(embedding, {wrong_mask}); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] { predictor.encode(Image({4, 4, 2})); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] { predictor.encode(Image({0, 4, 3})); }) == ErrorCode::shape_mismatch);
  CHECK(predictor.predict(embedding, {}).empty());
}

TEST_CASE("predictor: after the first call, the backend's memory is used again") {
  for (const ModelConfig& config : {small_vit(), small_tiny_vit()}) {
    CountingBackend backend;
    const std::shared_ptr<int> allocations = backend.count();
    auto predictor = make_predictor(std::move(backend), config);
    const Prompts prompts = {box_prompt(5, 5, 40, 30), box_prompt(9, 8, 30, 30),
                             point_prompt(20, 20)};
    const ImageEmbedding embedding = predictor.encode(picture(40, 60));
    predictor.predict(embedding, prompts);
    const int after_first = *allocations;
    CHECK(after_first > 0);
    for (int i = 0; i < 2; ++i) {
      predictor.encode(picture(64, 20));
      predictor.predict(embedding, prompts);
    }
    CHECK(*allocations == after_first);
  }
}
