#include "case_thumbnail.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <variant>
#include <vector>

#include "promiseg/io/png_file.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace promiseg;
using namespace promiseg::cli;

using Rgb = std::array<std::uint8_t, 3>;

Image filled_image(Index height, Index width, Index channels, std::uint8_t value) {
  Image image({height, width, channels});
  for (std::uint8_t& sample : image.elements()) sample = value;
  return image;
}

Mask rectangle(Index height, Index width, Index x0, Index y0, Index x1, Index y1) {
  Mask mask({height, width});
  for (Index y = y0; y < y1; ++y) {
    for (Index x = x0; x < x1; ++x) mask.view()(y, x) = 255;
  }
  return mask;
}

Image decoded(const std::vector<std::byte>& png) {
  const RawImage raw = decode_png(png, "thumbnail");
  REQUIRE(std::holds_alternative<Image>(raw.samples));
  return std::get<Image>(raw.samples);
}

Image picture_of(const Image& image, const Mask& truth, const Mask& prediction,
                 Index max_side = 360) {
  return decoded(case_thumbnail(image, truth, prediction, max_side));
}

Rgb pixel(const Image& image, Index x, Index y) {
  const auto view = image.view();
  return {view(y, x, 0), view(y, x, 1), view(y, x, 2)};
}

bool near(const Rgb& a, const Rgb& b, int tolerance = 2) {
  for (std::size_t c = 0; c < 3; ++c) {
    if (std::abs(int{a[c]} - int{b[c]}) > tolerance) return false;
  }
  return true;
}

Index count_near(const Image& image, const Rgb& color) {
  Index count = 0;
  for (Index y = 0; y < image.extent(0); ++y) {
    for (Index x = 0; x < image.extent(1); ++x) count += near(pixel(image, x, y), color) ? 1 : 0;
  }
  return count;
}

ErrorCode code_of(const Image& image, const Mask& truth, const Mask& prediction,
                  Index max_side = 360) {
  try {
    case_thumbnail(image, truth, prediction, max_side);
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("expected promiseg::Error");
  return ErrorCode::io;
}

}  // namespace

TEST_CASE("thumbnail: large images shrink, small ones grow by a whole number") {
  const auto extents = [](Index height, Index width, Index max_side) {
    const Mask mask({height, width});
    return picture_of(filled_image(height, width, 1, 90), mask, mask, max_side).extents();
  };
  CHECK(extents(900, 1200, 360) == Extents<3>{270, 360, 3});
  CHECK(extents(1001, 500, 360) == Extents<3>{360, 180, 3});
  CHECK(extents(360, 200, 360) == Extents<3>{360, 200, 3});
  CHECK(extents(256, 256, 360) == Extents<3>{256, 256, 3});
  CHECK(extents(64, 48, 360) == Extents<3>{320, 240, 3});
  CHECK(extents(1, 1, 5) == Extents<3>{5, 5, 3});
  CHECK(extents(1, 4000, 360) == Extents<3>{1, 360, 3});
}

TEST_CASE("thumbnail: without objects it is the image in RGB") {
  const Mask empty({300, 200});
  const Image grey = picture_of(filled_image(300, 200, 1, 90), empty, empty);
  CHECK(count_near(grey, {90, 90, 90}) == 300 * 200);
  Image color = filled_image(300, 200, 3, 10);
  for (std::size_t i = 2; i < color.elements().size(); i += 3) color.elements()[i] = 250;
  CHECK(count_near(picture_of(color, empty, empty), {10, 10, 250}) == 300 * 200);
}

TEST_CASE("thumbnail: each mask has its colour, inside and outside stay as they are") {
  const Image image = filled_image(200, 300, 1, 100);
  const Mask truth = rectangle(200, 300, 20, 50, 120, 150);
  const Mask prediction = rectangle(200, 300, 180, 50, 280, 150);
  const Image picture = picture_of(image, truth, prediction);
  REQUIRE(picture.extents() == Extents<3>{200, 300, 3});
  for (const Index y : {60, 100, 140}) {
    CAPTURE(y);
    CHECK(near(pixel(picture, 20, y), kTruthColor, 40));
    CHECK(near(pixel(picture, 119, y), kTruthColor, 40));
    CHECK(near(pixel(picture, 180, y), kPredictionColor, 40));
    CHECK(near(pixel(picture, 279, y), kPredictionColor, 40));
  }
  for (const Index x : {70, 230, 150, 5}) CHECK(pixel(picture, x, 100) == Rgb{100, 100, 100});
  CHECK(count_near(picture, kAgreementColor) == 0);
  CHECK(int{pixel(picture, 18, 100)[0]} < 100);  // the rim
}

TEST_CASE("thumbnail: equal outlines are one, in the colour of agreement") {
  const Image image = filled_image(200, 200, 3, 60);
  const Mask mask = rectangle(200, 200, 50, 50, 150, 150);
  const Image picture = picture_of(image, mask, mask);
  CHECK(near(pixel(picture, 50, 100), kAgreementColor, 40));
  CHECK(near(pixel(picture, 100, 149), kAgreementColor, 40));
  CHECK(count_near(picture, kTruthColor) == 0);
  CHECK(count_near(picture, kPredictionColor) == 0);
}

TEST_CASE("thumbnail: any value but zero is inside") {
  const Image image = filled_image(100, 100, 1, 60);
  const Mask mask = rectangle(100, 100, 20, 20, 80, 80);
  Mask labels = mask;
  for (std::uint8_t& value : labels.elements()) value = value != 0 ? 1 : 0;
  const Mask empty({100, 100});
  CHECK(case_thumbnail(image, labels, empty) == case_thumbnail(image, mask, empty));
}

TEST_CASE("thumbnail: a mask up to the edge is closed there, a single pixel is not lost") {
  const Image image = filled_image(200, 200, 1, 60);
  const Mask empty({200, 200});
  const Image full = picture_of(image, rectangle(200, 200, 0, 0, 200, 200), empty);
  for (const Index at : {0, 199}) {
    CHECK(near(pixel(full, at, 100), kTruthColor, 40));
    CHECK(near(pixel(full, 100, at), kTruthColor, 40));
  }
  const Image large = filled_image(1500, 1500, 1, 60);
  const Mask none({1500, 1500});
  const Image speck = picture_of(large, rectangle(1500, 1500, 750, 750, 751, 751), none);
  CHECK(near(pixel(speck, 180, 180), kTruthColor, 80));
}

TEST_CASE("thumbnail: bad arguments say so") {
  const Image image = filled_image(20, 30, 1, 60);
  const Mask mask({20, 30});
  const Mask turned({30, 20});
  CHECK(code_of(Image(), Mask(), Mask()) == ErrorCode::shape_mismatch);
  CHECK(code_of(image, turned, mask) == ErrorCode::shape_mismatch);
  CHECK(code_of(image, mask, turned) == ErrorCode::shape_mismatch);
  CHECK(code_of(image, mask, mask, 0) == ErrorCode::invalid_argument);
  CHECK(code_of(image, mask, mask, 5000) == ErrorCode::invalid_argument);
}

TEST_CASE("encode_png: the same bytes that write_png writes") {
  const promiseg_test::TemporaryFolder folder;
  Image image({7, 5, 3});
  for (std::size_t i = 0; i < image.elements().size(); ++i) {
    image.elements()[i] = static_cast<std::uint8_t>(i * 13);
  }
  const std::vector<std::byte> bytes = encode_png(image, "picture");
  write_png(folder / "picture.png", image);
  const std::vector<char> written = promiseg_test::read_bytes(folder / "picture.png");
  REQUIRE(written.size() == bytes.size());
  CHECK(std::memcmp(written.data(), bytes.data(), bytes.size()) == 0);
  const Image again = decoded(bytes);
  CHECK(again.extents() == image.extents());
  CHECK(std::memcmp(again.data(), image.data(), image.elements().size()) == 0);
  CHECK_THROWS_WITH_AS(encode_png(Image({2, 2, 2}), "picture"),
                       "image: expected [height, width, 1 or 3] with at least one pixel, got "
                       "[2, 2, 2]",
                       Error);
}
