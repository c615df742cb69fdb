// The resizing rules against values of the libraries they follow, and against properties of their
// definitions; the geometry between image and model frame.
#include "promiseg/sam/resize.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/io/safetensors.hpp"

using namespace promiseg;

namespace {

constexpr int kFixtureCases = 6;

const SafetensorsFile& fixture() {
  static const SafetensorsFile file(std::filesystem::path(PROMISEG_TEST_DATA) / "fixtures" /
                                    "image_ops.safetensors");
  return file;
}

ImageView fixture_image(const std::string& name) { return fixture().view<std::uint8_t, 3>(name); }

ImageSize size_of(ImageView image) { return {image.extent(0), image.extent(1)}; }

int largest_difference(ImageView a, ImageView b) {
  REQUIRE(a.extents() == b.extents());
  const Image left(a);
  const Image right(b);
  int largest = 0;
  for (Index i = 0; i < left.size(); ++i) {
    largest = std::max(largest, std::abs(int{left.data()[i]} - int{right.data()[i]}));
  }
  return largest;
}

/// A picture with every grey level, different in each channel, without symmetry.
Image pattern(Index height, Index width, Index channels) {
  Image image({height, width, channels});
  std::uint32_t state = 12345;
  for (std::uint8_t& value : image.elements()) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<std::uint8_t>(state >> 24);
  }
  return image;
}

/// The same pixels with gaps between rows, pixels and channels, and rows stored upwards.
class StridedCopy {
 public:
  explicit StridedCopy(const Image& image)
      : strides_{-(image.extent(1) * (image.extent(2) * 2 + 1) + 3), image.extent(2) * 2 + 1, 2},
        extents_(image.extents()),
        storage_(static_cast<std::size_t>(-strides_[0] * image.extent(0)), 77),
        first_(-strides_[0] * (image.extent(0) - 1)) {
    for (Index y = 0; y < extents_[0]; ++y) {
      for (Index x = 0; x < extents_[1]; ++x) {
        for (Index c = 0; c < extents_[2]; ++c) {
          storage_[static_cast<std::size_t>(first_ + y * strides_[0] + x * strides_[1] +
                                            c * strides_[2])] = image.view()(y, x, c);
        }
      }
    }
  }

  ImageView view() const { return {storage_.data() + first_, extents_, strides_}; }

 private:
  Extents<3> strides_;
  Extents<3> extents_;
  std::vector<std::uint8_t> storage_;
  Index first_;
};

Tensor<float, 3> as_float(ImageView image) {
  Tensor<float, 3> result(image.extents());
  const Image packed(image);
  std::copy(packed.elements().begin(), packed.elements().end(), result.elements().begin());
  return result;
}

template <class Function>
ErrorCode code_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("expected an Error");
  return ErrorCode::io;
}

}  // namespace

TEST_CASE("8-bit resizes equal the libraries' on the fixture") {
  for (int i = 0; i < kFixtureCases; ++i) {
    const std::string name = "resize" + std::to_string(i);
    CAPTURE(name);
    const ImageView in = fixture_image(name + ".in");
    const ImageSize target = size_of(fixture_image(name + ".cv_area_u8"));
    const ImageView pillow = fixture_image(name + ".pil_bilinear_u8");
    CHECK(largest_difference(resize_pillow_bilinear(in, target), pillow) == 0);
    CHECK(largest_difference(resize_area(in, target), fixture_image(name + ".cv_area_u8")) == 0);
    CHECK(largest_difference(resize_linear_u8(in, target), fixture_image(name + ".cv_linear_u8")) ==
          0);
  }
  CHECK(largest_difference(resize_pillow_bilinear(fixture_image("sam.in"), {43, 64}),
                           fixture_image("sam.resized_u8")) == 0);
}

TEST_CASE("float resizes equal the libraries' on the fixture") {
  for (int i = 0; i < kFixtureCases; ++i) {
    const std::string name = "resize" + std::to_string(i);
    CAPTURE(name);
    // The float fixtures hold the first channel only.
    const Tensor<float, 3> in = as_float(fixture_image(name + ".in").slice(2, 0, 1));
    const auto area = fixture().view<float, 2>(name + ".cv_area_f32");
    const auto bilinear = fixture().view<float, 2>(name + ".torch_bilinear");
    const ImageSize target{area.extent(0), area.extent(1)};
    const Tensor<float, 3> got_area = resize_area(in.view(), target);
    Tensor<float, 2> got_bilinear({target.height, target.width});
    resize_bilinear(in.view().select(2, 0), got_bilinear);
    float area_difference = 0.0F;
    float bilinear_difference = 0.0F;
    for (Index y = 0; y < target.height; ++y) {
      for (Index x = 0; x < target.width; ++x) {
        area_difference =
            std::max(area_difference, std::abs(got_area.view()(y, x, 0) - area(y, x)));
        bilinear_difference =
            std::max(bilinear_difference, std::abs(got_bilinear.view()(y, x) - bilinear(y, x)));
      }
    }
    // Two units in the last place of 255.
    CHECK(area_difference <= 3.1e-5F);
    CHECK(bilinear_difference <= 3.1e-5F);
  }
}

TEST_CASE("the result does not depend on strides or on the other channels") {
  for (const Index channels : {1, 2, 3, 5}) {
    const Image image = pattern(23, 31, channels);
    const StridedCopy strided(image);
    for (const ImageSize target :
         {ImageSize{7, 12}, ImageSize{40, 31}, ImageSize{23, 9}, ImageSize{50, 70}}) {
      CAPTURE(channels);
      CAPTURE(target.height);
      const auto check = [&](auto resize) {
        const Image whole = resize(image.view(), target);
        CHECK(largest_difference(resize(strided.view(), target), whole) == 0);
        for (Index c = 0; c < channels; ++c) {
          CHECK(largest_difference(resize(image.view().slice(2, c, 1), target),
                                   whole.view().slice(2, c, 1)) == 0);
        }
      };
      check([](ImageView in, ImageSize size) { return resize_pillow_bilinear(in, size); });
      check([](ImageView in, ImageSize size) { return resize_area(in, size); });
      check([](ImageView in, ImageSize size) { return resize_linear_u8(in, size); });
    }
  }
}

TEST_CASE("an unchanged size copies, a constant image stays constant, one pixel spreads") {
  const Image image = pattern(9, 14, 3);
  Image white({37, 5, 3});
  std::fill(white.elements().begin(), white.elements().end(), std::uint8_t{255});
  Image dot({1, 1, 1});
  dot.elements()[0] = 201;
  const auto check = [&](auto resize) {
    CHECK(largest_difference(resize(image.view(), ImageSize{9, 14}), image) == 0);
    for (const ImageSize target : {ImageSize{1, 1}, ImageSize{11, 2}, ImageSize{90, 77}}) {
      const Image resized = resize(white.view(), target);
      CHECK(std::all_of(resized.elements().begin(), resized.elements().end(),
                        [](std::uint8_t value) { return value == 255; }));
      const Image spread = resize(dot.view(), target);
      CHECK(std::all_of(spread.elements().begin(), spread.elements().end(),
                        [](std::uint8_t value) { return value == 201; }));
    }
  };
  check([](ImageView in, ImageSize size) { return resize_pillow_bilinear(in, size); });
  check([](ImageView in, ImageSize size) { return resize_area(in, size); });
  check([](ImageView in, ImageSize size) { return resize_linear_u8(in, size); });
}

TEST_CASE("pillow filters rows first where they shrink much more than columns") {
  const Image image = pattern(80, 20, 3);
  const auto by_passes = [&](ImageSize first, ImageSize target) {
    return resize_pillow_bilinear(resize_pillow_bilinear(image, first), target);
  };
  const ImageSize tall{40, 10};  // 40 rows lost, 10 columns
  CHECK(largest_difference(resize_pillow_bilinear(image, tall), by_passes({40, 20}, tall)) == 0);
  CHECK(largest_difference(resize_pillow_bilinear(image, tall), by_passes({80, 10}, tall)) == 1);
  const ImageSize even{60, 5};  // 20 rows lost, 15 columns
  CHECK(largest_difference(resize_pillow_bilinear(image, even), by_passes({80, 5}, even)) == 0);
}

TEST_CASE("block means round as OpenCV's: half up for 2x2, half to even otherwise") {
  Image pair({1, 4, 1});
  const std::array<std::uint8_t, 4> grey{0, 1, 2, 3};
  std::copy(grey.begin(), grey.end(), pair.elements().begin());
  const Image means = resize_area(pair, {1, 2});  // 0.5 and 2.5
  CHECK(int{means.elements()[0]} == 0);
  CHECK(int{means.elements()[1]} == 2);

  Image block({2, 2, 1});
  block.elements()[0] = 1;
  block.elements()[3] = 1;  // 0.5
  CHECK(int{resize_area(block, {1, 1}).elements()[0]} == 1);
  CHECK(int{resize_linear_u8(block, {1, 1}).elements()[0]} == 1);
}

TEST_CASE("a mask stays a mask: what is covered by less than half is outside") {
  Mask mask({2, 6});
  for (const Index x : {0, 1, 2}) mask.view()(0, x) = 255;
  for (const Index x : {0, 1}) mask.view()(1, x) = 255;
  const Mask small = resize_mask(std::as_const(mask).view(), {1, 3});  // 4/4, 1/4, 0
  CHECK(std::vector<int>(small.elements().begin(), small.elements().end()) ==
        std::vector<int>{255, 0, 0});
  mask.view()(1, 2) = 255;  // 2/4: a mean of 127.5, rounded up
  CHECK(int{resize_mask(std::as_const(mask).view(), {1, 3}).elements()[1]} == 255);
}

TEST_CASE("a large block mean does not overflow") {
  // 2^24 white pixels sum to almost 2^32.
  const std::uint8_t white = 255;
  const ImageView image(&white, {4096, 4096, 1}, {0, 0, 0});
  CHECK(int{resize_area(image, {1, 1}).elements()[0]} == 255);
}

TEST_CASE("float area means keep fractions") {
  Tensor<float, 3> image({3, 2, 1});
  for (Index i = 0; i < 6; ++i) image.data()[i] = static_cast<float>(i * i);
  const Tensor<float, 3> mean = resize_area(image.view(), {1, 1});
  CHECK(mean.elements()[0] == doctest::Approx(55.0 / 6.0));
  const Tensor<float, 3> halves = resize_area(image.view(), {2, 2});  // 1.5 rows each
  CHECK(halves.elements()[0] == doctest::Approx((0.0 + 0.5 * 4.0) / 1.5));
  CHECK(halves.elements()[3] == doctest::Approx((0.5 * 9.0 + 25.0) / 1.5));
}

TEST_CASE("bilinear reads and writes strided planes") {
  Tensor<float, 2> in({5, 7});
  for (Index i = 0; i < in.size(); ++i) in.data()[i] = static_cast<float>((i * 37) % 23) - 11.0F;
  Tensor<float, 2> expected({13, 11});
  resize_bilinear(in.view(), expected);

  Tensor<float, 2> transposed({7, 5});
  for (Index y = 0; y < 5; ++y) {
    for (Index x = 0; x < 7; ++x) transposed.view()(x, y) = in.view()(y, x);
  }
  Tensor<float, 2> out({11, 13});
  const TensorView<const float, 2> columns = transposed.view();
  resize_bilinear(columns.permuted({1, 0}), out.view().permuted({1, 0}));
  for (Index y = 0; y < 13; ++y) {
    for (Index x = 0; x < 11; ++x) CHECK(out.view()(x, y) == expected.view()(y, x));
  }
}

TEST_CASE("bilinear doubles a ramp with PyTorch's half-pixel centres") {
  Tensor<float, 2> ramp({1, 2});
  ramp.data()[1] = 4.0F;
  Tensor<float, 2> out({3, 4});
  resize_bilinear(ramp.view(), out);
  const std::array<float, 4> expected{0.0F, 1.0F, 3.0F, 4.0F};
  for (Index y = 0; y < 3; ++y) {
    for (Index x = 0; x < 4; ++x) {
      CHECK(out.view()(y, x) == expected[static_cast<std::size_t>(x)]);
    }
  }
}

TEST_CASE("resizing refuses what it cannot do") {
  const Image image = pattern(4, 4, 3);
  const std::uint8_t byte = 0;
  const ImageView no_rows(&byte, {0, 4, 3});
  const ImageView too_tall(&byte, {Index{1} << 40, 1, 1}, {0, 0, 0});
  const ImageView on_device(&byte, {1, 1, 1}, MemorySpace::cuda);
  const auto check = [&](auto resize) {
    CHECK(code_of([&] { resize(image.view(), ImageSize{0, 4}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { resize(image.view(), ImageSize{4, -1}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] {
            resize(image.view(), ImageSize{Index{1} << 40, 1});
          }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { resize(no_rows, ImageSize{4, 4}); }) == ErrorCode::shape_mismatch);
    CHECK(code_of([&] { resize(too_tall, ImageSize{4, 4}); }) == ErrorCode::shape_mismatch);
    CHECK(code_of([&] { resize(on_device, ImageSize{4, 4}); }) == ErrorCode::invalid_argument);
  };
  check([](ImageView in, ImageSize size) { resize_pillow_bilinear(in, size); });
  check([](ImageView in, ImageSize size) { resize_area(in, size); });
  check([](ImageView in, ImageSize size) { resize_linear_u8(in, size); });

  float value = 0.0F;
  const TensorView<float, 2> plane(&value, {1, 1});
  const TensorView<float, 2> empty(&value, {0, 1});
  CHECK(code_of([&] { resize_bilinear(empty, plane); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] { resize_bilinear(plane, empty); }) == ErrorCode::invalid_argument);
}

TEST_CASE("longest-side sizes are the original's, but never empty") {
  const auto rows =
      fixture().view<std::int64_t, 2>("longest_side");  // height, width, target, result
  for (Index i = 0; i < rows.extent(0); ++i) {
    const ImageSize original{static_cast<Index>(rows(i, 0)), static_cast<Index>(rows(i, 1))};
    CHECK(longest_side_size(original, static_cast<Index>(rows(i, 2))) ==
          ImageSize{static_cast<Index>(rows(i, 3)), static_cast<Index>(rows(i, 4))});
  }
  CHECK(longest_side_size({1, 8000}, 256) == ImageSize{1, 256});
  CHECK(longest_side_size({3, 2}, 1) == ImageSize{1, 1});
  CHECK(code_of([] { longest_side_size({0, 8}, 256); }) == ErrorCode::invalid_argument);
  CHECK(code_of([] { longest_side_size({8, 8}, 0); }) == ErrorCode::invalid_argument);
}

TEST_CASE("points scale per axis and come back") {
  const ImageView image = fixture_image("sam.in");
  const ImageView resized = fixture_image("sam.resized_u8");
  const auto points = fixture().view<float, 2>("sam.points");
  const auto scaled = fixture().view<float, 2>("sam.points_scaled");
  for (Index i = 0; i < points.extent(0); ++i) {
    const ImagePoint point{double{points(i, 0)}, double{points(i, 1)}};
    const ImagePoint there = scale_point(point, size_of(image), size_of(resized));
    // The fixture's points were rounded to float after scaling.
    CHECK(there.x == doctest::Approx(double{scaled(i, 0)}).epsilon(2e-7));
    CHECK(there.y == doctest::Approx(double{scaled(i, 1)}).epsilon(2e-7));
    const ImagePoint back = scale_point(there, size_of(resized), size_of(image));
    CHECK(back.x == doctest::Approx(point.x));
    CHECK(back.y == doctest::Approx(point.y));
  }
  CHECK(code_of([] { scale_point({1.0, 1.0}, {0, 4}, {4, 4}); }) == ErrorCode::invalid_argument);
}
