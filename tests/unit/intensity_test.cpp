#include "promiseg/io/intensity.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

using promiseg::Error;
using promiseg::Image;
using promiseg::Index;
using promiseg::RawImage;
using promiseg::Tensor;
using promiseg::ValueRange;
using promiseg::Window;

namespace {

RawImage raw_floats(const std::vector<float>& values) {
  Tensor<float, 3> samples({1, static_cast<Index>(values.size()), 1});
  std::copy(values.begin(), values.end(), samples.data());
  RawImage raw;
  raw.samples = samples;
  raw.bits = 16;
  return raw;
}

RawImage raw_bytes(const std::vector<std::uint8_t>& values) {
  Image samples({1, static_cast<Index>(values.size()), 1});
  std::copy(values.begin(), values.end(), samples.data());
  RawImage raw;
  raw.samples = samples;
  return raw;
}

std::vector<int> values_of(const Image& image) {
  return {image.elements().begin(), image.elements().end()};
}

}  // namespace

TEST_CASE("parse_window reads auto and a pair of numbers") {
  CHECK(promiseg::parse_window("auto") == Window::automatic());
  CHECK(promiseg::parse_window("-160,240") == Window::fixed(-160, 240));
  CHECK(promiseg::parse_window("0.5,1e3") == Window::fixed(0.5, 1000));
  CHECK(promiseg::parse_window(" 1 , 2 ") == Window::fixed(1, 2));
}

TEST_CASE("parse_window names what it expects") {
  for (const char* text : {"", ",", "1", "1,", ",2", "1,2,3", "1;2", "a,b", "2,1", "1,1", "nan,1",
                           "0,inf", "1e999,2", "Auto", "0x1,3", "1 2,3"}) {
    CAPTURE(text);
    try {
      promiseg::parse_window(text);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == promiseg::ErrorCode::invalid_argument);
      CHECK(std::string(error.what()).find("LO,HI") != std::string::npos);
      CHECK(std::string(error.what()).find('"' + std::string(text) + '"') != std::string::npos);
    }
  }
  CHECK_THROWS_AS(Window::fixed(2, 1), Error);
  CHECK_THROWS_AS(Window::fixed(0, std::numeric_limits<double>::infinity()), Error);
}

TEST_CASE("percentile interpolates between order statistics as numpy does") {
  // Expected values from numpy.percentile.
  const std::vector<float> values{7, 1, 3, 10, 2};
  const auto at = [&](double percent) {
    std::vector<float> copy = values;
    return promiseg::percentile(std::span(copy), percent);
  };
  CHECK(at(0) == 1);
  CHECK(at(100) == 10);
  CHECK(at(50) == 3);
  CHECK(at(25) == 2);
  CHECK(at(0.5) == doctest::Approx(1.02).epsilon(1e-12));
  CHECK(at(99.5) == doctest::Approx(9.94).epsilon(1e-12));
  CHECK(at(60) == doctest::Approx(4.6).epsilon(1e-12));

  std::vector<float> hundred(101);
  std::iota(hundred.begin(), hundred.end(), 0.0f);
  std::reverse(hundred.begin(), hundred.end());
  CHECK(promiseg::percentile(std::span(hundred), 99.5) == 99.5);
  std::vector<float> none;
  CHECK_THROWS_AS(promiseg::percentile(std::span(none), 50), Error);
  CHECK_THROWS_AS(promiseg::percentile(std::span(hundred), 101), Error);
}

TEST_CASE("a window maps linearly, clips, and rounds the middle to even") {
  const RawImage raw = raw_floats({-100, 0, 1, 3, 254, 255, 256, 1e9f});
  CHECK(values_of(to_8bit(raw, Window::fixed(0, 510))) ==
        std::vector<int>{0, 0, 0, 2, 127, 128, 128, 255});  // 0.5 -> 0, 1.5 -> 2, 127.5 -> 128
  CHECK(promiseg::window_value(0.25, {0, 1}) == 64);
  CHECK(promiseg::window_value(1, {0, 1}) == 255);
  CHECK(promiseg::window_value(std::numeric_limits<double>::quiet_NaN(), {0, 1}) == 0);
  CHECK(promiseg::window_value(1e300, {-1e308, 1e308}) <= 255);
}

TEST_CASE("constant images and windows of one value do not divide by zero") {
  CHECK(values_of(to_8bit(raw_floats({5, 5, 5}))) == std::vector<int>{0, 0, 0});
  CHECK(promiseg::window_value(5, {5, 5}) == 0);
  CHECK(promiseg::window_value(5.01, {5, 5}) == 255);
}

TEST_CASE("the automatic window is that of the percentiles, or of all values if these coincide") {
  std::vector<float> ramp(1001);
  std::iota(ramp.begin(), ramp.end(), 0.0f);
  const ValueRange range = promiseg::automatic_range(std::span<const float>(ramp));
  CHECK(range.low == 5);
  CHECK(range.high == 995);

  std::vector<float> dark(10000, 0.0f);
  dark[17] = 800;
  CHECK(promiseg::automatic_range(std::span<const float>(dark)) == ValueRange{0, 800});
  const Image image = to_8bit(raw_floats(dark));
  CHECK(image.view()(0, 17, 0) == 255);
  CHECK(image.view()(0, 16, 0) == 0);
}

TEST_CASE("values that are no numbers neither count nor crash") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(values_of(to_8bit(raw_floats({nan, -inf, 0, 1, inf}))) ==
        std::vector<int>{0, 0, 0, 255, 255});
  CHECK(values_of(to_8bit(raw_floats({nan, inf}))) == std::vector<int>{0, 255});
}

TEST_CASE("bytes are taken as they are unless a window is given") {
  const RawImage raw = raw_bytes({0, 50, 100, 255});
  CHECK(values_of(to_8bit(raw)) == std::vector<int>{0, 50, 100, 255});
  CHECK(values_of(to_8bit(raw, Window::fixed(0, 100))) == std::vector<int>{0, 128, 255, 255});
}

TEST_CASE("the user's window goes before the file's, and the file's before none") {
  RawImage raw = raw_floats({0, 10, 20});
  raw.suggested_window = Window::fixed(0, 20);
  CHECK(values_of(to_8bit(raw)) == std::vector<int>{0, 128, 255});
  CHECK(values_of(to_8bit(raw, Window::fixed(0, 10))) == std::vector<int>{0, 255, 255});
}

TEST_CASE("where low means bright, the mapped values are inverted") {
  RawImage raw = raw_bytes({0, 50, 255});
  raw.inverted = true;
  CHECK(values_of(to_8bit(raw)) == std::vector<int>{255, 205, 0});
  RawImage wide = raw_floats({0, 10, 20});
  wide.inverted = true;
  CHECK(values_of(to_8bit(wide, Window::fixed(0, 10))) == std::vector<int>{255, 0, 0});
}
