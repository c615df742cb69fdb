// The metrics of masks against recordings of 24 pairs: of the published metrics by pysodmetrics,
// and of the code of ProMISe's authors.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "fixture.hpp"
#include "promiseg/metrics/mask_metrics.hpp"

using namespace promiseg_test;

namespace {

constexpr double kAbsolute = 1e-9;
constexpr double kCurveAbsolute = 1e-7;  // recorded in float32

struct Recorded {
  SafetensorsFile file = open_fixture("metrics");
  Json values = Json::parse(file.metadata().at("values_f64"));

  const Json& value(const char* table, std::size_t row, std::size_t column) const {
    return values.at(table).as_array().at(row).as_array().at(column);
  }
};

/// Calls `body(row, truth, prediction)` for all pairs; the prediction holds 0 to 255.
template <class Body>
void for_each_recorded(const Recorded& recorded, const Body& body) {
  const Json settings = fixture_settings(recorded.file);
  const Json::Array& names = settings.at("pairs").as_array();
  REQUIRE(names.size() == 24);
  for (std::size_t row = 0; row < names.size(); ++row) {
    const std::string& name = names[row].as_string();
    CAPTURE(name);
    const std::string number = (row < 10 ? "0" : "") + std::to_string(row);
    body(row, recorded.file.view<std::uint8_t, 2>("gt." + number),
         recorded.file.view<std::uint8_t, 2>("pred." + number));
  }
}

/// JSON has no NaN: it is recorded as null.
void check_value(const char* what, double got, const Json& expected) {
  CAPTURE(what);
  CAPTURE(got);
  if (expected.is_null()) {
    CHECK(std::isnan(got));
  } else {
    CHECK(std::abs(got - expected.as_number()) <= kAbsolute);
  }
}

/// Bytes as values from 0 to 1.
Tensor<double, 2> unit_map(metrics::MaskView bytes) {
  Tensor<double, 2> map(bytes.extents());
  for (Index i = 0; i < map.size(); ++i) map.data()[i] = bytes.data()[i] / 255.0;
  return map;
}

/// Stretched to the whole range from 0 to 1, as pysodmetrics does.
Tensor<double, 2> stretched_map(metrics::MaskView bytes) {
  Tensor<double, 2> map = unit_map(bytes);
  const double low = *std::min_element(map.elements().begin(), map.elements().end());
  const double high = *std::max_element(map.elements().begin(), map.elements().end());
  if (high == low) return map;
  for (double& value : map.elements()) value = (value - low) / (high - low);
  return map;
}

Mask thresholded(metrics::MaskView bytes) {
  Mask mask(bytes.extents());
  for (Index i = 0; i < mask.size(); ++i) mask.data()[i] = bytes.data()[i] >= 128 ? 1 : 0;
  return mask;
}

/// Nothing between 0 and 255.
bool is_mask(metrics::MaskView bytes) {
  return std::all_of(bytes.data(), bytes.data() + bytes.size(),
                     [](std::uint8_t value) { return value == 0 || value == 255; });
}

/// The authors' columns, in their order.
std::array<double, 9> authors_columns(const metrics::MaskMetrics& found) {
  return {found.mae,    found.iou,       found.precision, found.recall,    found.dice,
          found.f_beta, found.s_measure, found.e_measure, found.weighted_f};
}
constexpr std::array<const char*, 9> kAuthorsColumns{
    "mae", "iou", "precision", "recall", "dice", "f_beta", "s_measure", "e_measure", "weighted_f"};

}  // namespace

TEST_CASE("metrics of maps are those of the published code") {
  const Recorded recorded;
  for_each_recorded(recorded, [&](std::size_t row, metrics::MaskView truth, metrics::MaskView got) {
    const Tensor<double, 2> map = stretched_map(got);
    const metrics::EMeasureCurve curve = metrics::e_measure_curve(truth, map);
    check_value("mae", metrics::mae(truth, map), recorded.value("published", row, 0));
    check_value("s_measure", metrics::s_measure(truth, map), recorded.value("published", row, 1));
    check_value("e_measure_adaptive", metrics::e_measure_adaptive(truth, map),
                recorded.value("published", row, 2));
    check_value("mean E-measure", curve.mean(), recorded.value("published", row, 3));
    check_value("max E-measure", curve.max(), recorded.value("published", row, 4));
    check_value("weighted_f", metrics::weighted_f(truth, map), recorded.value("published", row, 5));
  });
}

TEST_CASE("the E-measure's curve is the published code's at every threshold") {
  const Recorded recorded;
  const auto expected = recorded.file.view<float, 2>("published_e_curve");
  for_each_recorded(recorded, [&](std::size_t row, metrics::MaskView truth, metrics::MaskView got) {
    const auto curve = metrics::e_measure_curve(truth, stretched_map(got)).at_level;
    REQUIRE(expected.extent(1) == static_cast<Index>(curve.size()));
    double apart = 0.0;
    for (std::size_t level = 0; level < curve.size(); ++level) {
      const double there = expected(row, 255 - level);  // recorded from the highest threshold down
      REQUIRE(std::isfinite(curve[level]));
      apart = std::max(apart, std::abs(curve[level] - there));
    }
    CHECK(apart <= kCurveAbsolute);
  });
}

TEST_CASE("the promise variants are those of the authors' code") {
  const Recorded recorded;
  const auto status = recorded.file.view<std::int64_t, 2>("authors_status");
  for_each_recorded(recorded, [&](std::size_t row, metrics::MaskView truth, metrics::MaskView got) {
    const auto found = authors_columns(metrics::evaluate_promise(truth, thresholded(got)));
    for (std::size_t column = 0; column < found.size(); ++column) {
      const Json& expected = recorded.value("authors", row, column);
      check_value(kAuthorsColumns[column], found[column], expected);
      // 0 a number, 1 NaN; 2, that the code failed, happened for none of these pairs.
      CHECK(status(row, column) == (expected.is_null() ? 1 : 0));
    }
  });
}

TEST_CASE("the promise variants for maps are those of the authors' code") {
  const Recorded recorded;
  for_each_recorded(recorded, [&](std::size_t row, metrics::MaskView truth, metrics::MaskView got) {
    const Tensor<double, 2> map = unit_map(got);
    check_value("promise_s_measure", metrics::promise_s_measure(truth, map),
                recorded.value("authors_soft", row, 0));
    check_value("promise_weighted_f", metrics::promise_weighted_f(truth, map),
                recorded.value("authors_soft", row, 1));
  });
}

TEST_CASE("a mask scores what its map scores") {
  const Recorded recorded;
  int masks = 0;
  for_each_recorded(recorded, [&](std::size_t row, metrics::MaskView truth, metrics::MaskView got) {
    if (!is_mask(got)) return;
    ++masks;
    const metrics::MaskMetrics found = metrics::evaluate(truth, got);
    check_value("mae", found.mae, recorded.value("published", row, 0));
    check_value("s_measure", found.s_measure, recorded.value("published", row, 1));
    check_value("weighted_f", found.weighted_f, recorded.value("published", row, 5));
    // The adaptive threshold of an empty map is 0, where everything is object.
    if (metrics::count_pixels(truth, got).predicted_area() > 0) {
      check_value("e_measure", found.e_measure, recorded.value("published", row, 2));
    }
  });
  CHECK(masks == 14);
}

TEST_CASE("where a mask has an object, both families count the same overlap") {
  const Recorded recorded;
  for_each_recorded(recorded, [&](std::size_t row, metrics::MaskView truth, metrics::MaskView got) {
    const Mask mask = thresholded(got);
    const auto found = authors_columns(metrics::evaluate(truth, mask));
    const bool both_empty = metrics::count_pixels(truth, mask).both_empty();
    for (std::size_t column = 1; column < 6; ++column) {
      const Json& authors = recorded.value("authors", row, column);
      check_value(kAuthorsColumns[column], found[column], both_empty ? Json(1.0) : authors);
    }
  });
}
