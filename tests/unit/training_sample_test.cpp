// Labelled images as training sees them: the truth in the model's frame, and prompts made from it.
#include "promiseg/train/training_sample.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "error_message.hpp"

using namespace promiseg;
using promiseg::train::frame_target;
using promiseg::train::given_prompt;
using promiseg::train::make_sample;
using promiseg::train::PointSampler;
using promiseg::train::shaken_box;
using promiseg::train::TrainConfig;
using promiseg::train::TrainingSample;
using promiseg::train::TrainPrompt;
using promiseg_test::contains;
using promiseg_test::message_of;

namespace {

constexpr Index kFrame = 64;

/// A frame of 64; the logits have 256 / `patch` pixels a side.
ModelConfig model_of(Index patch) {
  ModelConfig config;
  config.image_size = kFrame;
  config.patch_size = patch;
  return config;
}

/// Logits of half the frame's side, and of its own.
ModelConfig half_size() { return model_of(8); }
ModelConfig own_size() { return model_of(4); }

/// 255 in rows [top, bottom) of columns [left, right).
Mask rectangle(Index height, Index width, Index top, Index bottom, Index left, Index right) {
  Mask mask({height, width});
  for (Index y = top; y < bottom; ++y) {
    for (Index x = left; x < right; ++x) mask.view()(y, x) = 255;
  }
  return mask;
}

Mask full(Index height, Index width) { return rectangle(height, width, 0, height, 0, width); }

/// Speckles.
Mask pattern(Index height, Index width) {
  Mask mask({height, width});
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      mask.view()(y, x) = static_cast<std::uint8_t>((x * 7 + y * 13) % 5 < 2 ? 255 : 0);
    }
  }
  return mask;
}

bool same(const Mask& a, const Mask& b) {
  return a.extents() == b.extents() &&
         std::equal(a.elements().begin(), a.elements().end(), b.elements().begin());
}

TrainingSample sample_of(const Mask& mask, const ModelConfig& model) {
  return make_sample("scan.png", "key", mask, model);
}

/// The point must lie on the image, not on the padding beside it.
void check_inside_image(const PointPrompt& point, const TrainingSample& sample) {
  const ImageSize size = sample.geometry.resized;
  CHECK(point.x >= 0.0F);
  CHECK(point.y >= 0.0F);
  CHECK(point.x < static_cast<float>(size.width));
  CHECK(point.y < static_cast<float>(size.height));
}

/// The label that the target has where a point lies.
int true_label(const PointPrompt& point, const TrainingSample& sample) {
  const Index side = sample.target.extent(0);
  const auto at = [&](float position) {
    return static_cast<Index>(position) * side / kFrame;  // the sampler's positions are exact
  };
  return sample.target.view()(at(point.y), at(point.x)) > 127 ? 1 : 0;
}

Index objects_among(const std::vector<PointPrompt>& points) {
  return std::count_if(points.begin(), points.end(),
                       [](const PointPrompt& point) { return point.label == 1; });
}

bool lies_in_frame(const BoxPrompt& box) {
  const auto last = static_cast<float>(kFrame - 1);
  return box.x0 >= 0.0F && box.y0 >= 0.0F && box.x1 <= last && box.y1 <= last && box.x0 < box.x1 &&
         box.y0 < box.y1;
}

}  // namespace

TEST_CASE("frame target: at the logits' own size it is the mask, and else still binary") {
  CHECK(same(frame_target(pattern(64, 64), own_size()), pattern(64, 64)));
  for (const ImageSize& size : {ImageSize{100, 80}, {37, 64}, {20, 31}, {300, 7}}) {
    CAPTURE(size.height);
    CAPTURE(size.width);
    const Mask target = frame_target(pattern(size.height, size.width), own_size());
    CHECK(target.extents() == Extents<2>{64, 64});
    std::set<int> values(target.elements().begin(), target.elements().end());
    values.insert({0, 255});
    CHECK(values == std::set<int>{0, 255});
  }
}

TEST_CASE("frame target: a square, at half the frame's size") {
  CHECK(same(frame_target(rectangle(64, 64, 16, 32, 8, 40), half_size()),
             rectangle(32, 32, 8, 16, 4, 20)));
  CHECK(same(frame_target(full(64, 64), half_size()), full(32, 32)));
  CHECK(same(frame_target(Mask({64, 64}), half_size()), Mask({32, 32})));

  // An edge between two pixels that become one is a value between.
  const Mask uneven = frame_target(rectangle(64, 64, 17, 32, 9, 40), half_size());
  CHECK(uneven.view()(10, 10) == 255);
  CHECK(uneven.view()(10, 4) == 128);
  CHECK(uneven.view()(8, 10) == 128);
  CHECK(uneven.view()(8, 4) == 64);
  CHECK(uneven.view()(7, 10) == 0);
  CHECK(uneven.view()(10, 3) == 0);
}

TEST_CASE("frame target: a larger mask is averaged and cut at the middle before it is halved") {
  // Of four pixels that become one of the frame, one or three belong to the object.
  Mask mask({128, 128});
  for (Index y = 0; y < 128; ++y) {
    for (Index x = 0; x < 128; ++x) {
      const bool most = (y / 8 + x / 8) % 2 == 0;  // blocks of two by two target pixels
      const bool odd_one = y % 2 == 0 && x % 2 == 0;
      mask.view()(y, x) = static_cast<std::uint8_t>(most != odd_one ? 255 : 0);
    }
  }
  const Mask target = frame_target(mask, half_size());
  Mask expected({32, 32});
  for (Index y = 0; y < 32; ++y) {
    for (Index x = 0; x < 32; ++x) {
      expected.view()(y, x) = static_cast<std::uint8_t>((y / 2 + x / 2) % 2 == 0 ? 255 : 0);
    }
  }
  CHECK(same(target, expected));
}

TEST_CASE("frame target: padding stays empty, to the right and below") {
  struct Case {
    ImageSize size;
    Index rows;  ///< of the target that the image covers
    Index columns;
  };
  const std::vector<Case> cases = {{{32, 64}, 16, 32},   {{64, 32}, 32, 16},  {{100, 200}, 16, 32},
                                   {{200, 100}, 32, 16}, {{15, 30}, 16, 32},  {{30, 15}, 32, 16},
                                   {{64, 64}, 32, 32},   {{1000, 250}, 32, 8}};
  for (const Case& each : cases) {
    CAPTURE(each.size.height);
    CAPTURE(each.size.width);
    const Mask target = frame_target(full(each.size.height, each.size.width), half_size());
    CHECK(same(target, rectangle(32, 32, 0, each.rows, 0, each.columns)));
  }
}

TEST_CASE("sample: the object's box, in pixels of the frame") {
  // Its last pixel is included, and scaled as coordinates are.
  struct Case {
    const char* what;
    Mask mask;
    ModelConfig model;
    BoxPrompt expected;
  };
  const std::vector<Case> cases = {
      {"logits half as large as the frame",
       rectangle(64, 64, 16, 32, 8, 40),
       half_size(),
       {8, 16, 39, 31}},
      {"logits as large as the frame",
       rectangle(64, 64, 16, 32, 8, 40),
       own_size(),
       {8, 16, 39, 31}},
      {"an image larger than the frame",
       rectangle(128, 128, 32, 64, 16, 80),
       half_size(),
       {8, 16, 39.5F, 31.5F}},
      {"landscape", rectangle(64, 128, 32, 64, 16, 80), half_size(), {8, 16, 39.5F, 31.5F}},
      {"portrait", rectangle(256, 160, 64, 128, 32, 160), half_size(), {8, 16, 39.75F, 31.75F}}};
  for (const Case& each : cases) {
    CAPTURE(each.what);
    const TrainingSample sample = sample_of(each.mask, each.model);
    REQUIRE(sample.box.has_value());
    CHECK((*sample.box == each.expected));
  }
}

TEST_CASE("sample: it keeps what it is given, the geometry, and one box around several parts") {
  Mask mask = rectangle(64, 128, 4, 8, 100, 104);
  mask.view()(40, 20) = 255;
  mask.view()(41, 20) = mask.view()(40, 21) = mask.view()(41, 21) = 255;
  const TrainingSample sample = make_sample("scan.png", "some key", mask, own_size());
  CHECK(sample.name == "scan.png");
  CHECK(sample.key == "some key");
  CHECK((sample.geometry == FrameGeometry{{64, 128}, {32, 64}, 64}));
  CHECK(same(sample.target, frame_target(mask, own_size())));
  REQUIRE(sample.box.has_value());
  CHECK((*sample.box == BoxPrompt{10, 2, 51.5F, 20.5F}));

  const TrainingSample pixel = sample_of(rectangle(64, 64, 63, 64, 5, 6), own_size());
  REQUIRE(pixel.box.has_value());
  CHECK((*pixel.box == BoxPrompt{5, 63, 5, 63}));
}

TEST_CASE("sample: an empty mask has no box") {
  for (const ModelConfig& model : {half_size(), own_size()}) {
    CHECK_FALSE(sample_of(Mask({64, 64}), model).box.has_value());
    CHECK_FALSE(sample_of(Mask({300, 20}), model).box.has_value());
  }
}

TEST_CASE("points: only where the image lies, with the target's labels, half of them on it") {
  for (const ImageSize& size :
       {ImageSize{64, 64}, {32, 64}, {64, 32}, {64, 47}, {10, 64}, {150, 301}}) {
    CAPTURE(size.height);
    CAPTURE(size.width);
    const Mask mask =
        rectangle(size.height, size.width, 0, size.height / 2, size.width / 4, size.width);
    for (const ModelConfig& model : {half_size(), own_size()}) {
      const TrainingSample sample = sample_of(mask, model);
      const PointSampler sampler(sample, kFrame);
      Random random(3);
      const std::vector<PointPrompt> points = sampler.draw(200, random);
      REQUIRE(points.size() == 200);
      CHECK(objects_among(points) == 100);
      for (const PointPrompt& point : points) {
        check_inside_image(point, sample);
        CHECK(point.label == true_label(point, sample));
      }
    }
  }
}

TEST_CASE("points: every pixel of the image can be drawn, at its centre") {
  const TrainingSample sample = sample_of(rectangle(64, 128, 32, 64, 16, 80), half_size());
  Random random(4);
  std::set<std::pair<float, float>> places;
  for (const PointPrompt& point : PointSampler(sample, kFrame).draw(20000, random)) {
    places.emplace(point.x, point.y);
  }
  std::set<std::pair<float, float>> expected;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 32; ++x) {
      expected.emplace(static_cast<float>(2 * x) + 0.5F, static_cast<float>(2 * y) + 0.5F);
    }
  }
  CHECK((places == expected));
}

TEST_CASE("points: shuffled, odd numbers, and the same from the same random numbers") {
  const TrainingSample sample = sample_of(rectangle(64, 64, 16, 32, 8, 40), half_size());
  const PointSampler sampler(sample, kFrame);
  Random random(5);
  const std::vector<PointPrompt> points = sampler.draw(64, random);
  const auto before = [](const PointPrompt& a, const PointPrompt& b) { return a.label < b.label; };
  const auto after = [](const PointPrompt& a, const PointPrompt& b) { return a.label > b.label; };
  CHECK_FALSE(std::is_sorted(points.begin(), points.end(), before));
  CHECK_FALSE(std::is_sorted(points.begin(), points.end(), after));
  CHECK(objects_among(sampler.draw(7, random)) == 3);
  CHECK(sampler.draw(0, random).empty());

  Random again(5);
  CHECK((sampler.draw(64, again) == points));
  Random other(6);
  CHECK((sampler.draw(64, other) != points));
}

TEST_CASE("points: all of one kind where there is only one") {
  for (const bool object : {true, false}) {
    CAPTURE(object);
    const Mask mask = object ? full(32, 64) : Mask({32, 64});
    const TrainingSample sample = sample_of(mask, half_size());
    Random random(7);
    const std::vector<PointPrompt> points = PointSampler(sample, kFrame).draw(30, random);
    REQUIRE(points.size() == 30);
    CHECK(objects_among(points) == (object ? 30 : 0));
    for (const PointPrompt& point : points) check_inside_image(point, sample);
  }
}

TEST_CASE("shaken box: each side moves by up to its share of the length, both ways") {
  const BoxPrompt box{10, 20, 29, 59};  // 20 x 40
  Random random(8);
  std::array<float, 4> lowest{};
  std::array<float, 4> highest{};
  for (int i = 0; i < 1000; ++i) {
    const BoxPrompt shaken = shaken_box(box, 0.05, kFrame, random);
    const std::array<float, 4> moves = {shaken.x0 - box.x0, shaken.y0 - box.y0, shaken.x1 - box.x1,
                                        shaken.y1 - box.y1};
    for (std::size_t side = 0; side < moves.size(); ++side) {
      lowest[side] = std::min(lowest[side], moves[side]);
      highest[side] = std::max(highest[side], moves[side]);
    }
  }
  for (std::size_t side = 0; side < lowest.size(); ++side) {
    CAPTURE(side);
    const float reach = side % 2 == 0 ? 1.0F : 2.0F;
    CHECK(highest[side] <= reach + 1e-4F);
    CHECK(highest[side] > 0.9F * reach);
    CHECK(lowest[side] >= -reach - 1e-4F);
    CHECK(lowest[side] < -0.9F * reach);
  }
}

TEST_CASE("shaken box: it stays in the frame and a rectangle, at the edges and when tiny, too") {
  const std::vector<BoxPrompt> boxes = {{0, 0, 63, 63},   {40, 50, 63, 63}, {0, 0, 1, 1},
                                        {62, 62, 63, 63}, {63, 63, 63, 63}, {30, 10, 30, 10}};
  for (const BoxPrompt& box : boxes) {
    CAPTURE(box.x0);
    CAPTURE(box.x1);
    Random random(9);
    int outside = 0;
    int moved = 0;
    for (int i = 0; i < 500; ++i) {
      const BoxPrompt shaken = shaken_box(box, 0.49, kFrame, random);
      if (!lies_in_frame(shaken)) ++outside;
      if (shaken != box) ++moved;
    }
    CHECK(outside == 0);
    CHECK(moved > 400);
  }
}

TEST_CASE("shaken box: without jitter it is the same") {
  Random random(10);
  for (const BoxPrompt& box : {BoxPrompt{10, 20, 29, 59}, {0, 0, 63, 63}, {62, 0, 63, 1}}) {
    CHECK((shaken_box(box, 0.0, kFrame, random) == box));
  }
}

TEST_CASE("given prompt: the whole frame, whatever the mask") {
  TrainConfig config;
  config.prompt = TrainPrompt::image;
  Random random(11);
  for (const Mask& mask : {rectangle(64, 128, 32, 64, 16, 80), Mask({64, 128})}) {
    for (const bool shaken : {false, true}) {
      const Prompt prompt =
          given_prompt(sample_of(mask, half_size()), config, kFrame, shaken, random);
      REQUIRE(prompt.box.has_value());
      CHECK((*prompt.box == BoxPrompt{0, 0, 63, 63}));
      CHECK(prompt.points.empty());
      CHECK(prompt.mask_logits.empty());
    }
  }
}

TEST_CASE("given prompt: the object's box, shaken or not") {
  const TrainingSample sample = sample_of(rectangle(64, 64, 16, 32, 8, 40), half_size());
  TrainConfig config;
  config.prompt = TrainPrompt::box;
  config.box_jitter = 0.1;
  Random random(12);
  const Prompt still = given_prompt(sample, config, kFrame, false, random);
  REQUIRE(still.box.has_value());
  CHECK((still.box == sample.box));
  CHECK(still.points.empty());

  Random first(13);
  Random second(13);
  const Prompt shaken = given_prompt(sample, config, kFrame, true, first);
  REQUIRE(shaken.box.has_value());
  CHECK((shaken.box != sample.box));
  CHECK((*shaken.box == shaken_box(*sample.box, 0.1, kFrame, second)));
  CHECK(shaken.points.empty());
}

TEST_CASE("given prompt: points, as many as the settings say") {
  const TrainingSample sample = sample_of(rectangle(64, 64, 16, 32, 8, 40), half_size());
  TrainConfig config;
  config.prompt = TrainPrompt::points;
  config.point_num = 6;
  Random first(14);
  Random second(14);
  const Prompt prompt = given_prompt(sample, config, kFrame, true, first);
  CHECK_FALSE(prompt.box.has_value());
  CHECK(prompt.points.size() == 6);
  CHECK(objects_among(prompt.points) == 3);
  CHECK((prompt.points == PointSampler(sample, kFrame).draw(6, second)));
}

TEST_CASE("given prompt: an empty mask gives neither box nor points, and says whose it is") {
  const TrainingSample sample = sample_of(Mask({64, 64}), half_size());
  const auto message = [&](TrainPrompt kind) {
    TrainConfig config;
    config.prompt = kind;
    Random random(15);
    return message_of(ErrorCode::invalid_argument,
                      [&] { given_prompt(sample, config, kFrame, true, random); });
  };
  const std::string box = message(TrainPrompt::box);
  CHECK(contains(box, "scan.png"));
  CHECK(contains(box, "no object"));
  const std::string points = message(TrainPrompt::points);
  CHECK(contains(points, "scan.png"));
  CHECK(contains(points, "no object"));
}
