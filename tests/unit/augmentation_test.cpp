// Augmentation: every change on images small enough to write down, and the whole by its properties:
// image and mask move together, the seed decides everything, chances are what the config says.
#include "promiseg/train/augmentation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "error_message.hpp"
#include "promiseg/train/augmentation/jpeg_compression.hpp"

using namespace promiseg;
using promiseg_test::contains;
using promiseg_test::message_of;

namespace {

using Rows = std::vector<std::vector<int>>;

/// A grey image from rows of numbers.
Image draw(const Rows& rows) {
  Image image({static_cast<Index>(rows.size()), static_cast<Index>(rows.at(0).size()), 1});
  std::uint8_t* to = image.data();
  for (const auto& row : rows) {
    for (int value : row) *to++ = static_cast<std::uint8_t>(value);
  }
  return image;
}

/// The reverse, of an image's first channel.
Rows numbers(const Image& image) {
  Rows rows;
  for (Index y = 0; y < image.extent(0); ++y) {
    auto& row = rows.emplace_back();
    for (Index x = 0; x < image.extent(1); ++x) row.push_back(image.view()(y, x, 0));
  }
  return rows;
}

Image filled(Index height, Index width, Index channels, int value) {
  Image image({height, width, channels});
  std::ranges::fill(image.elements(), static_cast<std::uint8_t>(value));
  return image;
}

Image noise_image(Index height, Index width, Index channels) {
  Image image({height, width, channels});
  Random random(99);
  for (std::uint8_t& sample : image.elements()) {
    sample = static_cast<std::uint8_t>(random.below(256));
  }
  return image;
}

/// Grey that grows from 100 to 139 from left to right.
Image ramp() {
  Image image({64, 64, 1});
  for (Index i = 0; i < image.size(); ++i) {
    image.data()[i] = static_cast<std::uint8_t>(100 + i % 64 * 40 / 64);
  }
  return image;
}

/// 255 in rows [top, bottom) of columns [left, right).
Mask rectangle(Index height, Index width, Index top, Index bottom, Index left, Index right) {
  Mask mask({height, width});
  for (Index y = top; y < bottom; ++y) {
    for (Index x = left; x < right; ++x) mask.view()(y, x) = 255;
  }
  return mask;
}

Image as_image(const Mask& mask) {
  return Image(mask.view().reshaped(Extents<3>{mask.extent(0), mask.extent(1), 1}));
}

template <std::size_t Rank>
bool same(const Tensor<std::uint8_t, Rank>& a, const Tensor<std::uint8_t, Rank>& b) {
  return a.extents() == b.extents() && std::ranges::equal(a.elements(), b.elements());
}

/// Largest value less smallest.
int contrast(const Image& image) {
  const auto [low, high] = std::ranges::minmax_element(image.elements());
  return *high - *low;
}

double mean_difference(const Image& a, const Image& b) {
  double sum = 0.0;
  for (Index i = 0; i < a.size(); ++i) sum += std::abs(a.data()[i] - b.data()[i]);
  return sum / static_cast<double>(a.size());
}

/// The default, but everything happens that often.
AugmentationConfig all_at(double probability) {
  AugmentationConfig config;
  config.crop_probability = probability;
  config.horizontal_flip_probability = probability;
  config.vertical_flip_probability = probability;
  config.shift_scale_rotate_probability = probability;
  config.blur_probability = probability;
  config.brightness_contrast_probability = probability;
  config.texture_probability = probability;
  config.dropout_probability = probability;
  return config;
}

}  // namespace

TEST_CASE("augmentation that never happens changes nothing") {
  const Mask mask = rectangle(9, 14, 2, 6, 3, 9);
  for (Index channels : {1, 3}) {
    const Image image = noise_image(9, 14, channels);
    Random random(1);
    for (int i = 0; i < 20; ++i) {
      const AugmentedImage result = augment(image, mask, all_at(0.0), random, compress_jpeg);
      CHECK(same(result.image, image));
      CHECK(same(result.mask, mask));
    }
  }
}

TEST_CASE("flips are exact") {
  const Image image = noise_image(5, 8, 3);
  const Mask mask = rectangle(5, 8, 1, 3, 2, 7);
  for (const bool horizontal : {false, true}) {
    for (const bool vertical : {false, true}) {
      AugmentationConfig config = all_at(0.0);
      config.horizontal_flip_probability = horizontal ? 1.0 : 0.0;
      config.vertical_flip_probability = vertical ? 1.0 : 0.0;
      Random random(1);
      const AugmentedImage result = augment(image, mask, config, random);
      bool equal = true;
      for (Index y = 0; y < 5; ++y) {
        for (Index x = 0; x < 8; ++x) {
          const Index v = vertical ? 4 - y : y;
          const Index u = horizontal ? 7 - x : x;
          equal = equal && result.mask.view()(y, x) == mask.view()(v, u);
          for (Index c = 0; c < 3; ++c) {
            equal = equal && result.image.view()(y, x, c) == image.view()(v, u, c);
          }
        }
      }
      CHECK(equal);
    }
  }
}

TEST_CASE("a map says where a pixel comes from") {
  const Image image = draw({{1, 2, 3}, {4, 5, 6}, {7, 8, 9}});
  const auto turned = [&](double degrees) {
    return numbers(warp_bilinear(image, similarity_map({degrees, 1.0, 0.0, 0.0}, {3, 3})));
  };
  CHECK(turned(0.0) == numbers(image));
  CHECK(turned(90.0) == Rows{{3, 6, 9}, {2, 5, 8}, {1, 4, 7}});
  CHECK(turned(180.0) == Rows{{9, 8, 7}, {6, 5, 4}, {3, 2, 1}});
  CHECK(turned(-90.0) == Rows{{7, 4, 1}, {8, 5, 2}, {9, 6, 3}});

  SUBCASE("shifts go right and down, and what comes in is mirrored without the edge") {
    const AffineMap right = similarity_map({0.0, 1.0, 2.0, 0.0}, {1, 4});
    CHECK(numbers(warp_bilinear(draw({{1, 2, 3, 4}}), right)) == Rows{{3, 2, 1, 2}});
    const AffineMap down = similarity_map({0.0, 1.0, 0.0, 1.0}, {3, 1});
    CHECK(numbers(warp_bilinear(draw({{1}, {2}, {3}}), down)) == Rows{{2}, {1}, {2}});
  }
  SUBCASE("between pixels, values are too") {
    AffineMap half;
    half.x0 = 0.5;
    CHECK(numbers(warp_bilinear(draw({{0, 100}}), half)) == Rows{{50, 50}});
  }
  SUBCASE("a crop is enlarged, in the mask without new values") {
    Image squares({4, 4, 1});
    for (Index i = 0; i < 16; ++i) squares.data()[i] = static_cast<std::uint8_t>(10 * i);
    const AffineMap map = crop_map({1.0, 1.0, 2.0, 2.0}, {4, 4});
    CHECK(numbers(warp_bilinear(squares, map)) ==
          Rows{{38, 43, 48, 53}, {58, 63, 68, 73}, {78, 83, 88, 93}, {98, 103, 108, 113}});
    const Mask mask = warp_nearest(squares.view().select(2, 0), map);
    CHECK(numbers(as_image(mask)) ==
          Rows{{50, 50, 60, 60}, {50, 50, 60, 60}, {90, 90, 100, 100}, {90, 90, 100, 100}});
  }
  SUBCASE("the inner map of two comes first") {
    const AffineMap turn = similarity_map({90.0, 1.0, 0.0, 0.0}, {3, 3});
    const AffineMap both = composed(flip_map({3, 3}, true, false), turn);
    CHECK(same(warp_bilinear(image, both),
               warp_bilinear(warp_bilinear(image, flip_map({3, 3}, true, false)), turn)));
  }
  SUBCASE("views of any strides") {
    const Image colours = noise_image(6, 7, 3);
    const ImageView turned_view = colours.view().permuted({1, 0, 2});
    const AffineMap map = similarity_map({20.0, 1.1, 1.0, -2.0}, {7, 6});
    CHECK(same(warp_bilinear(turned_view, map), warp_bilinear(Image(turned_view), map)));
  }
  SUBCASE("maps that are no use are refused") {
    AffineMap map;
    map.xx = 1000.0;
    const auto warp = [&] { warp_bilinear(image, map); };
    CHECK(contains(message_of(ErrorCode::invalid_argument, warp), "got 1000"));
    map.xx = std::numeric_limits<double>::quiet_NaN();
    CHECK(contains(message_of(ErrorCode::invalid_argument, warp), "affine map"));
  }
}

TEST_CASE("image and mask stay together") {
  const Mask mask = rectangle(64, 64, 20, 44, 24, 44);
  AugmentationConfig config = all_at(0.0);
  config.crop_probability = 1.0;
  config.horizontal_flip_probability = 0.5;
  config.vertical_flip_probability = 0.5;
  config.shift_scale_rotate_probability = 1.0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const AugmentedImage result = augment(as_image(mask), mask, config, random);
    Index apart = 0;
    Index area = 0;
    for (Index i = 0; i < mask.size(); ++i) {
      const bool inside = result.mask.data()[i] != 0;
      if (inside) ++area;
      if (inside != (result.image.data()[i] >= 128)) ++apart;
    }
    CHECK(apart <= 6);  // corners, which the image rounds
    CHECK(area > 400);  // of 480
    CHECK(area < 600);
    CHECK(std::ranges::all_of(result.mask.elements(),
                              [](std::uint8_t value) { return value == 0 || value == 255; }));
  }
}

TEST_CASE("the seed decides everything") {
  const Image image = noise_image(33, 47, 3);
  const Mask mask = rectangle(33, 47, 5, 20, 10, 40);
  const auto run = [&](std::uint64_t seed, std::uint64_t stream) {
    Random random(seed, stream);
    return augment(image, mask, all_at(1.0), random);
  };
  for (std::uint64_t stream = 0; stream < 10; ++stream) {
    CAPTURE(stream);
    const AugmentedImage first = run(5, stream);
    const AugmentedImage again = run(5, stream);
    CHECK(same(first.image, again.image));
    CHECK(same(first.mask, again.mask));
    CHECK_FALSE(same(first.image, run(6, stream).image));
    CHECK_FALSE(same(first.image, run(5, stream + 1).image));
  }
}

TEST_CASE("blurs") {
  const Image dot =
      draw({{0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 240, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 0}});
  const auto row = [](const Image& image, std::size_t y) { return numbers(image)[y]; };
  CHECK(row(box_blur(dot, 3), 1) == std::vector<int>{0, 27, 27, 27, 0});
  CHECK(row(gaussian_blur(dot, 3), 1) == std::vector<int>{0, 15, 30, 15, 0});
  CHECK(row(gaussian_blur(dot, 3), 2) == std::vector<int>{0, 30, 60, 30, 0});
  CHECK(row(gaussian_blur(dot, 5), 2)[2] == 34);  // 36 of 256 parts
  CHECK(row(motion_blur(dot, 3, 0.0), 2) == std::vector<int>{0, 80, 80, 80, 0});
  CHECK(row(motion_blur(dot, 3, 90.0), 1) == std::vector<int>{0, 0, 80, 0, 0});
  CHECK(row(motion_blur(dot, 5, 45.0), 1) == std::vector<int>{0, 48, 0, 0, 0});
  CHECK(row(motion_blur(dot, 5, 135.0), 1) == std::vector<int>{0, 0, 0, 48, 0});
  CHECK(contrast(median_blur(dot, 3)) == 0);
  CHECK(contrast(median_blur(dot, 5)) == 0);

  SUBCASE("nothing happens to what is even") {
    for (const BlurKind kind :
         {BlurKind::box, BlurKind::gaussian, BlurKind::median, BlurKind::motion}) {
      for (Index kernel : {3, 5}) {
        for (int value : {0, 7, 128, 255}) {
          const Image even = filled(6, 9, 3, value);
          CHECK(same(apply_blur(even, {kind, kernel, 30.0}), even));
        }
      }
    }
  }
  SUBCASE("the median is the middle of the sorted neighbours") {
    const Image image = noise_image(8, 11, 3);
    for (Index kernel : {3, 5}) {
      const Image padded = detail::reflect_padded(image, kernel / 2);
      const Image result = median_blur(image, kernel);
      bool equal = true;
      for (Index y = 0; y < 8; ++y) {
        for (Index x = 0; x < 11; ++x) {
          for (Index c = 0; c < 3; ++c) {
            const Image window(
                padded.view().slice(0, y, kernel).slice(1, x, kernel).slice(2, c, 1));
            std::vector<std::uint8_t> values(window.elements().begin(), window.elements().end());
            std::ranges::sort(values);
            equal = equal && result.view()(y, x, c) == values[values.size() / 2];
          }
        }
      }
      CHECK(equal);
    }
  }
  SUBCASE("other kernels are refused") {
    const auto blur = [&] { box_blur(dot, 7); };
    CHECK(contains(message_of(ErrorCode::invalid_argument, blur), "got 7"));
  }
}

TEST_CASE("brightness and contrast end at black and white") {
  const Image image = draw({{0, 10, 128, 250, 255}});
  CHECK(numbers(adjust(image, {1.0, 0.2})) == Rows{{51, 61, 179, 255, 255}});
  CHECK(numbers(adjust(image, {1.0, -0.2})) == Rows{{0, 0, 77, 199, 204}});
  CHECK(numbers(adjust(image, {1.1, 0.0})) == Rows{{0, 11, 141, 255, 255}});
  CHECK(same(adjust(image, {}), image));
}

TEST_CASE("CLAHE raises contrast where there is some") {
  for (Index tiles : {1, 4}) {
    CAPTURE(tiles);
    CHECK(contrast(clahe(ramp(), 2.0, tiles)) > contrast(ramp()) + 10);
    for (Index channels : {1, 3}) {
      for (int value : {0, 100, 255}) {
        const Image even = filled(20, 30, channels, value);
        CHECK(same(clahe(even, 2.0, tiles), even));
      }
    }
  }
  SUBCASE("colours change alike in every channel") {
    const Image grey = ramp();
    Image colours({64, 64, 3});
    for (Index i = 0; i < colours.size(); ++i) {
      colours.data()[i] = static_cast<std::uint8_t>(grey.data()[i / 3] + 10 * (i % 3));
    }
    const Image result = clahe(colours, 2.0, 4);
    CHECK(contrast(result) > contrast(colours) + 10);
    bool alike = true;
    for (Index i = 0; i < result.size(); i += 3) {
      const std::uint8_t* pixel = result.data() + i;
      alike = alike && pixel[1] - pixel[0] == 10 && pixel[2] - pixel[0] == 20;
    }
    CHECK(alike);
  }
  const auto none = [] { clahe(ramp(), 2.0, 0); };
  CHECK(contains(message_of(ErrorCode::invalid_argument, none), "tile"));
}

TEST_CASE("sharpening steepens edges") {
  const Image edge = draw({{100, 100, 100, 150, 150, 150}});
  CHECK(numbers(sharpen(edge, 0.5)) == Rows{{100, 100, 25, 225, 150, 150}});
  CHECK(numbers(sharpen(edge, 1.0)) == Rows{{100, 100, 0, 255, 150, 150}});
  CHECK(same(sharpen(edge, 0.0), edge));
  CHECK(same(sharpen(filled(4, 5, 3, 255), 0.5), filled(4, 5, 3, 255)));
}

TEST_CASE("noise has the deviation asked for") {
  const Image even = filled(64, 64, 1, 128);
  const Image noisy = add_noise(even, 5.0, 11);
  double sum = 0.0;
  double squares = 0.0;
  for (std::uint8_t value : noisy.elements()) {
    const double change = value - 128.0;
    sum += change;
    squares += change * change;
  }
  CHECK(std::abs(sum / 4096.0) < 0.3);
  CHECK(std::sqrt(squares / 4096.0) == doctest::Approx(5.0).epsilon(0.05));
  CHECK(same(noisy, add_noise(even, 5.0, 11)));
  CHECK_FALSE(same(noisy, add_noise(even, 5.0, 12)));
}

TEST_CASE("dropout blackens squares of the image only") {
  AugmentationConfig config = all_at(0.0);
  config.dropout_probability = 1.0;
  const Mask mask = rectangle(40, 50, 0, 40, 0, 50);
  Random random(3);
  const AugmentedImage result = augment(filled(40, 50, 3, 255), mask, config, random);
  CHECK(same(result.mask, mask));
  const auto black = std::ranges::count(result.image.elements(), std::uint8_t{0});
  CHECK(black >= 8 * 8 * 3);      // all in one place
  CHECK(black <= 8 * 8 * 8 * 3);  // all apart
  CHECK(black + std::ranges::count(result.image.elements(), std::uint8_t{255}) ==
        result.image.size());

  const std::vector<Hole> holes = {{1, 2, 1, 2}};
  CHECK(numbers(drop_holes(filled(2, 4, 1, 9), holes)) == Rows{{9, 9, 9, 9}, {9, 9, 0, 0}});
}

TEST_CASE("JPEG compression keeps the shape and loses with the quality") {
  for (Index channels : {1, 3}) {
    CAPTURE(channels);
    const Image image = noise_image(21, 34, channels);
    const Image fine = compress_jpeg(image, 100);
    const Image coarse = compress_jpeg(image, 5);
    CHECK(fine.extents() == image.extents());
    CHECK(coarse.extents() == image.extents());
    CHECK(mean_difference(fine, image) < mean_difference(coarse, image));
    CHECK(same(coarse, compress_jpeg(image, 5)));
    const Image even = filled(9, 9, channels, 128);
    CHECK(mean_difference(compress_jpeg(even, 90), even) <= 1.0);
  }
  // More bytes than the encoder starts with.
  const Image large = noise_image(300, 400, 3);
  CHECK(mean_difference(compress_jpeg(large, 100), large) < 60.0);
  const auto zero = [] { compress_jpeg(filled(2, 2, 1, 0), 0); };
  CHECK(contains(message_of(ErrorCode::invalid_argument, zero), "got 0"));
}

TEST_CASE("compression is among the choices only with a codec") {
  AugmentationConfig config = all_at(0.0);
  config.texture_probability = 1.0;
  config.jpeg_quality_min = 30;
  config.jpeg_quality_max = 32;
  const Image image = noise_image(16, 16, 1);
  const Mask mask({16, 16});
  std::vector<int> qualities;
  const auto codec = [&](ImageView view, int quality) {
    qualities.push_back(quality);
    return Image(view);
  };
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    augment(image, mask, config, random, codec);
    Random without(seed);
    augment(image, mask, config, without);
  }
  CHECK(qualities.size() > 10);
  CHECK(qualities.size() < 40);
  CHECK(std::ranges::all_of(qualities, [](int quality) { return quality >= 30 && quality <= 32; }));

  AugmentationPlan plan;
  plan.texture.kind = TextureKind::jpeg;
  plan.texture.strength = 50.0;
  const auto missing = [&] { apply_augmentation(plan, image, mask); };
  CHECK(contains(message_of(ErrorCode::invalid_argument, missing), "no codec"));
  const auto wrong = [&] {
    apply_augmentation(plan, image, mask, [](ImageView /*view*/, int /*quality*/) {
      return Image({1, 1, 1});
    });
  };
  CHECK(contains(message_of(ErrorCode::shape_mismatch, wrong), "codec"));
}

TEST_CASE("images of every shape") {
  for (const Extents<2>& shape : {Extents<2>{1, 1}, Extents<2>{1, 17}, Extents<2>{17, 1},
                                  Extents<2>{2, 3}, Extents<2>{5, 60}, Extents<2>{61, 7}}) {
    for (Index channels : {1, 3}) {
      const Image image = noise_image(shape[0], shape[1], channels);
      const Mask mask = rectangle(shape[0], shape[1], 0, shape[0], 0, shape[1]);
      for (std::uint64_t seed = 0; seed < 30; ++seed) {
        Random random(seed);
        const AugmentedImage result = augment(image, mask, all_at(1.0), random, compress_jpeg);
        CHECK(result.image.extents() == image.extents());
        CHECK(same(result.mask, mask));  // a mask that is full stays full
      }
    }
  }
}

TEST_CASE("image and mask must fit together") {
  Random random(1);
  const auto message = [&](const Image& image, const Mask& mask) {
    return message_of(ErrorCode::shape_mismatch,
                      [&] { augment(image, mask, all_at(0.5), random); });
  };
  CHECK(contains(message(Image({4, 5, 3}), Mask({5, 4})), "mask: expected shape [4, 5]"));
  CHECK(contains(message(Image({4, 5, 2}), Mask({4, 5})), "image"));
  CHECK(contains(message(Image({4, 0, 3}), Mask({4, 0})), "image"));
}

TEST_CASE("changes happen as often as the config says") {
  constexpr int kDraws = 2000;
  const AugmentationConfig config;
  for (const bool with_jpeg : {false, true}) {
    CAPTURE(with_jpeg);
    double crops = 0;
    double horizontal_flips = 0;
    double vertical_flips = 0;
    double movements = 0;
    double adjustments = 0;
    double dropouts = 0;
    std::vector<double> blurs(5);
    std::vector<double> textures(5);
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      Random random(7, i);
      const AugmentationPlan plan = draw_augmentation(config, {64, 96}, with_jpeg, random);
      crops += plan.cropped;
      horizontal_flips += plan.horizontal_flip;
      vertical_flips += plan.vertical_flip;
      movements += plan.moved;
      adjustments += plan.adjusted;
      dropouts += !plan.holes.empty();
      blurs[static_cast<std::size_t>(plan.blur.kind)] += 1;
      textures[static_cast<std::size_t>(plan.texture.kind)] += 1;
    }
    const auto near = [](double count, double of, double share) {
      return std::abs(count / of - share) < 0.04;
    };
    CHECK(near(crops, kDraws, 0.25));
    CHECK(near(horizontal_flips, kDraws, 0.25));
    CHECK(near(vertical_flips, kDraws, 0.25));
    CHECK(near(movements, kDraws, 0.25));
    CHECK(near(adjustments, kDraws, 0.25));
    CHECK(near(dropouts, kDraws, 0.1));
    CHECK(near(blurs[0], kDraws, 0.75));
    CHECK(near(textures[0], kDraws, 0.75));
    for (std::size_t kind = 1; kind <= 4; ++kind) {
      CAPTURE(kind);
      CHECK(near(blurs[kind], kDraws - blurs[0], 0.25));
      const bool jpeg = kind == static_cast<std::size_t>(TextureKind::jpeg);
      const double share = with_jpeg ? 0.25 : (jpeg ? 0.0 : 1.0 / 3.0);
      CHECK(near(textures[kind], kDraws - textures[0], share));
    }
  }
}

TEST_CASE("what is drawn lies in its range") {
  const AugmentationConfig config = all_at(1.0);
  const auto within = [](double value, double low, double high) {
    return value >= low && value <= high;
  };
  bool good = true;
  for (std::uint64_t i = 0; i < 500; ++i) {
    Random random(8, i);
    const AugmentationPlan plan = draw_augmentation(config, {100, 200}, true, random);
    const CropBox& crop = plan.crop;
    good = good && within(crop.left, 0.0, 200.0 - crop.width + 1e-9) &&
           within(crop.top, 0.0, 100.0 - crop.height + 1e-9) &&
           within(crop.width * crop.height / 20000.0, 0.95 - 1e-9, 1.05) &&
           within(crop.width / crop.height / 2.0, 0.95 - 1e-9, 1.05 + 1e-9) &&
           within(plan.movement.degrees, -45.0, 45.0) && within(plan.movement.scale, 0.95, 1.05) &&
           within(plan.movement.shift_x, -12.5, 12.5) &&
           within(plan.movement.shift_y, -6.25, 6.25) &&
           (plan.blur.kernel == 3 || plan.blur.kernel == 5) &&
           within(plan.adjustment.gain, 0.9, 1.1) && within(plan.adjustment.offset, -0.1, 0.1) &&
           plan.holes.size() == 8;
    for (const Hole& hole : plan.holes) {
      good = good && hole.height == 8 && hole.width == 8 && hole.top >= 0 && hole.top <= 92 &&
             hole.left >= 0 && hole.left <= 192;
    }
  }
  CHECK(good);
}

TEST_CASE("augmentation travels through JSON") {
  AugmentationConfig config = all_at(0.125);
  config.crop_scale_min = 0.5;
  config.rotate_limit = 10.0;
  config.blur_kernel_max = 3;
  config.clahe_tiles = 4;
  config.noise_variance_max = 12.5;
  config.jpeg_quality_min = 60;
  config.dropout_size = 32;
  AugmentationConfig back;
  apply_json(Json::parse(to_json(config).dump()), back);
  CHECK(back == config);

  apply_json(Json::parse(R"({"rotate_limit": 0})"), back);
  CHECK(back.rotate_limit == 0.0);
  CHECK(back.clahe_tiles == 4);  // what is not named stays
}

TEST_CASE("augmentation refuses settings out of range") {
  const auto message = [](auto member, auto value) {
    AugmentationConfig config;
    config.*member = value;
    return message_of(ErrorCode::invalid_argument, [&] { validate(config); });
  };
  using Config = AugmentationConfig;
  CHECK(message_of(ErrorCode::invalid_argument, [] { validate(Config{}); }) == "no error");
  CHECK(contains(message(&Config::crop_probability, 1.5), "crop_probability"));
  CHECK(contains(message(&Config::dropout_probability, -0.1), "dropout_probability"));
  CHECK(contains(message(&Config::blur_probability, std::numeric_limits<double>::quiet_NaN()),
                 "blur_probability"));
  CHECK(contains(message(&Config::crop_scale_min, 0.0), "crop_scale_min"));
  CHECK(contains(message(&Config::crop_scale_max, 0.9), "crop_scale_max"));  // below the least
  CHECK(contains(message(&Config::crop_ratio_max, 5.0), "crop_ratio_max"));
  CHECK(contains(message(&Config::scale_limit, 1.0), "scale_limit"));
  CHECK(contains(message(&Config::rotate_limit, 181.0), "rotate_limit"));
  CHECK(contains(message(&Config::blur_kernel_max, Index{4}), "blur_kernel_max"));
  CHECK(contains(message(&Config::clahe_clip_min, 0.5), "clahe_clip_min"));
  CHECK(contains(message(&Config::jpeg_quality_min, Index{0}), "jpeg_quality_min"));
  CHECK(contains(message(&Config::jpeg_quality_max, Index{98}), "jpeg_quality_max"));
  CHECK(contains(message(&Config::dropout_holes, Index{0}), "dropout_holes"));

  Config wrong;
  wrong.shift_limit = 2.0;
  Random random(1);
  const auto use = [&] { augment(filled(2, 2, 1, 0), Mask({2, 2}), wrong, random); };
  CHECK(contains(message_of(ErrorCode::invalid_argument, use), "shift_limit"));
}

TEST_CASE("JSON that does not fit an augmentation is refused, and changes nothing") {
  const auto message = [](const char* text) {
    AugmentationConfig config;
    const std::string what =
        message_of(ErrorCode::invalid_argument, [&] { apply_json(Json::parse(text), config); });
    CHECK(config == AugmentationConfig{});
    return what;
  };
  CHECK(contains(message(R"({"scale_limit": 0.1, "rotation": 5})"), "rotation"));
  CHECK(contains(message(R"({"rotate_limit": "45"})"), "rotate_limit"));
  CHECK(contains(message(R"({"scale_limit": 0.1, "clahe_tiles": 2.5})"), "clahe_tiles"));
  CHECK(contains(message(R"({"scale_limit": 0.1, "crop_probability": 2})"), "crop_probability"));
  CHECK(contains(message("[]"), "an array"));
}
