// Metrics of masks: small cases by hand, edge cases, symmetries, and the nearest pixels against a
// search of all.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "promiseg/core/image.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/metrics/mask_metrics.hpp"

using namespace promiseg;

namespace {

/// A mask from rows of text: '#' is object, with some value other than 0.
Mask draw(const std::vector<std::string>& rows) {
  Mask mask({static_cast<Index>(rows.size()), static_cast<Index>(rows.at(0).size())});
  for (std::size_t y = 0; y < rows.size(); ++y) {
    REQUIRE(rows[y].size() == rows[0].size());
    for (std::size_t x = 0; x < rows[y].size(); ++x) {
      mask.view()(y, x) = rows[y][x] == '#' ? static_cast<std::uint8_t>(1 + 37 * x % 255) : 0;
    }
  }
  return mask;
}

Mask random_mask(const Extents<2>& extents, double share, Random& random) {
  Mask mask(extents);
  for (std::uint8_t& value : mask.elements()) value = random.chance(share) ? 255 : 0;
  return mask;
}

Tensor<double, 2> random_map(const Extents<2>& extents, Random& random) {
  Tensor<double, 2> map(extents);
  for (double& value : map.elements()) value = random.uniform();
  return map;
}

Tensor<double, 2> row_map(const std::vector<double>& values) {
  Tensor<double, 2> map({1, static_cast<Index>(values.size())});
  std::copy(values.begin(), values.end(), map.data());
  return map;
}

template <class T>
Tensor<T, 2> transposed(const Tensor<T, 2>& image) {
  return Tensor<T, 2>(image.view().permuted({1, 0}));
}

/// Left and right exchanged, by a view of negative stride.
template <class T>
Tensor<T, 2> mirrored(const Tensor<T, 2>& image) {
  const Index width = image.extent(1);
  return Tensor<T, 2>(
      TensorView<const T, 2>(image.data() + width - 1, image.extents(), {width, -1}));
}

Mask inverted(Mask mask) {
  for (std::uint8_t& value : mask.elements()) value = value == 0 ? 1 : 0;
  return mask;
}

doctest::Approx about(double value) { return doctest::Approx(value).epsilon(1e-12); }

template <class Call>
ErrorCode code_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("no error");
  return ErrorCode::io;
}

}  // namespace

TEST_CASE("the counts of two masks, and what follows from them") {
  const Mask truth = draw({"####......"});
  const Mask prediction = draw({"##....#..."});
  const metrics::MaskCounts counts = metrics::count_pixels(truth, prediction);
  CHECK(counts == metrics::MaskCounts{2, 1, 2, 5});
  CHECK(counts.truth_area() == 4);
  CHECK(counts.predicted_area() == 3);
  CHECK(counts.pixels() == 10);
  CHECK(metrics::mae(counts) == about(0.3));
  CHECK(metrics::dice(counts) == about(4.0 / 7.0));
  CHECK(metrics::iou(counts) == about(2.0 / 5.0));
  CHECK(metrics::precision(counts) == about(2.0 / 3.0));
  CHECK(metrics::recall(counts) == about(1.0 / 2.0));
  // 1.3 P R / (0.3 P + R)
  CHECK(metrics::f_beta(counts) == about(1.3 / 3.0 / (0.2 + 0.5)));
  CHECK(metrics::dice(truth, prediction) == metrics::dice(counts));
  CHECK(metrics::iou(truth, prediction) == metrics::iou(counts));
  CHECK(metrics::precision(truth, prediction) == metrics::precision(counts));
  CHECK(metrics::recall(truth, prediction) == metrics::recall(counts));
  CHECK(metrics::f_beta(truth, prediction) == metrics::f_beta(counts));
  CHECK(metrics::mae(truth, prediction) == metrics::mae(counts));
  CHECK(metrics::e_measure(truth, prediction) == metrics::e_measure(counts));
}

TEST_CASE("two empty masks agree; one empty mask has found nothing") {
  const Mask empty = draw({"...", "..."});
  const Mask object = draw({".#.", ".##"});
  const Mask full = draw({"###", "###"});
  const auto overlap = [](const Mask& truth, const Mask& prediction) {
    const metrics::MaskMetrics found = metrics::evaluate(truth, prediction);
    return std::vector<double>{found.dice, found.iou, found.precision, found.recall, found.f_beta};
  };
  CHECK(overlap(empty, empty) == std::vector<double>(5, 1.0));
  CHECK(overlap(full, full) == std::vector<double>(5, 1.0));
  CHECK(overlap(object, object) == std::vector<double>(5, 1.0));
  CHECK(overlap(object, empty) == std::vector<double>(5, 0.0));
  CHECK(overlap(empty, object) == std::vector<double>(5, 0.0));
  CHECK(overlap(full, empty) == std::vector<double>(5, 0.0));
}

TEST_CASE("the mean absolute error of a map") {
  const Mask truth = draw({"##.."});
  CHECK(metrics::mae(truth, row_map({0.75, 1.0, 0.5, 0.0})) == about(0.75 / 4.0));
  CHECK(metrics::mae(truth, metrics::to_map(truth)) == 0.0);
  CHECK(metrics::mae(truth, metrics::to_map(inverted(truth))) == 1.0);
}

TEST_CASE("the E-measure of masks by hand") {
  // Means 1/2 and 1/4: a is 3/4 or -1/4, b 1/2 or -1/2.
  const double both = 25.0 / 13.0 * 25.0 / 13.0 / 4.0;
  const double missed = 0.2 * 0.2 / 4.0;
  const double neither = 1.8 * 1.8 / 4.0;
  CHECK(metrics::e_measure(draw({"##.."}), draw({"#..."})) ==
        about((both + missed + 2.0 * neither) / 3.0));

  const Mask empty = draw({"...."});
  const Mask object = draw({".#.."});
  const Mask full = draw({"####"});
  SUBCASE("a perfect mask scores N / (N - 1), also where it is empty or everywhere") {
    for (const Mask& mask : {empty, object, full}) {
      CHECK(metrics::e_measure(mask, mask) == about(4.0 / 3.0));
    }
  }
  SUBCASE("the opposite scores nothing") {
    for (const Mask& mask : {empty, object, full}) {
      CHECK(metrics::e_measure(mask, inverted(mask)) == about(0.0));
    }
  }
  SUBCASE("a prediction without a boundary scores a quarter of that") {
    CHECK(metrics::e_measure(object, empty) == about(1.0 / 3.0));
    CHECK(metrics::e_measure(object, full) == about(1.0 / 3.0));
  }
  SUBCASE("against an empty or a full truth pixels are counted") {
    CHECK(metrics::e_measure(empty, object) == about(3.0 / 3.0));
    CHECK(metrics::e_measure(full, object) == about(1.0 / 3.0));
  }
}

TEST_CASE("the E-measure of a map under thresholds") {
  const Mask truth = draw({"..#"});
  const Tensor<double, 2> map = row_map({0.0, 0.5, 1.0});
  const auto curve = metrics::e_measure_curve(truth, map);
  const double everything = metrics::e_measure(truth, draw({"###"}));
  const double two = metrics::e_measure(truth, draw({".##"}));
  const double one = metrics::e_measure(truth, draw({"..#"}));
  CHECK(curve.at_level[0] == everything);
  CHECK(curve.at_level[1] == two);
  CHECK(curve.at_level[127] == two);  // 0.5 is level 127.5, rounded down
  CHECK(curve.at_level[128] == one);
  CHECK(curve.at_level[255] == one);
  CHECK(curve.max() == one);
  CHECK(curve.mean() == about((everything + 127.0 * two + 128.0 * one) / 256.0));
  CHECK(metrics::e_measure_adaptive(truth, map) == one);  // cut at twice the mean, 1
  CHECK(metrics::e_measure_adaptive(truth, row_map({0.0, 0.25, 0.5})) == one);
  // Twice the mean is above 1: cut there.
  CHECK(metrics::e_measure_adaptive(truth, row_map({0.25, 0.75, 0.75})) ==
        metrics::e_measure(truth, draw({"..."})));
  CHECK(metrics::e_measure_adaptive(truth, row_map({0.25, 0.75, 1.0})) == one);
}

TEST_CASE("an empty map is cut at 0, where everything is object") {
  const Tensor<double, 2> nothing({2, 2});
  CHECK(metrics::e_measure_adaptive(draw({"..", ".."}), nothing) == 0.0);
  CHECK(metrics::e_measure_adaptive(draw({"##", "##"}), nothing) == about(4.0 / 3.0));
  const auto curve = metrics::e_measure_curve(draw({"..", ".."}), nothing);
  CHECK(curve.max() == about(4.0 / 3.0));
  CHECK(curve.mean() == about(255.0 / 256.0 * 4.0 / 3.0));
}

TEST_CASE("the S-measure by hand") {
  SUBCASE("of an empty or a full truth it is a mean") {
    CHECK(metrics::s_measure(draw({"..."}), row_map({0.0, 0.25, 0.5})) == about(0.75));
    CHECK(metrics::s_measure(draw({"###"}), row_map({0.0, 0.25, 0.5})) == about(0.25));
  }
  SUBCASE("quadrants of one pixel are alike whatever they hold") {
    const Mask truth = draw({"#.", ".."});
    CHECK(metrics::s_measure(truth, metrics::to_map(truth)) == about(1.0));
    // Object score 3/4 (the background), region score 1.
    CHECK(metrics::s_measure(truth, Tensor<double, 2>({2, 2})) == about(0.875));
  }
  SUBCASE("an image of one row has two quadrants") {
    const Mask truth = draw({"##.."});
    const Tensor<double, 2> map = row_map({1.0, 0.0, 0.0, 0.0});
    // Cut after the first pixel: alike on the left (1/4), constant in the map alone on the right.
    const double object = 0.5 * (1.0 / (1.25 + std::sqrt(0.5))) + 0.5;
    CHECK(metrics::s_measure(truth, map) == about(0.5 * object + 0.5 * 0.25));
    // The authors cut after the second pixel: constant in the truth alone, then alike (1/2).
    const double authors_object = 0.5 * (1.0 / 1.75) + 0.5;
    CHECK(metrics::promise_s_measure(truth, map) == about(0.5 * authors_object + 0.5 * 0.5));
  }
  SUBCASE("similarity by its formula") {
    // The cut comes after the fourth row: above it, truth and map are (1, 1, 1, 1) and below it
    // (1, 0, 1, 0) and (1, 0, 0, 0).
    const Mask truth = draw({"#", "#", "#", "#", "#", ".", "#", "."});
    Tensor<double, 2> map({8, 1});
    for (Index y = 0; y < 5; ++y) map.view()(y, 0) = 1.0;
    const double above = 1.0;
    const double below =
        4.0 * 0.25 * 0.5 * (0.5 / 3.0) / ((0.25 * 0.25 + 0.5 * 0.5) * (0.75 / 3.0 + 1.0 / 3.0));
    const double in_object = 2.0 * (5.0 / 6.0) / (25.0 / 36.0 + 1.0 + std::sqrt(5.0 / 6.0 / 5.0));
    const double object = 0.75 * in_object + 0.25;
    CHECK(metrics::s_measure(truth, map) == about(0.5 * object + 0.25 * (above + below)));
  }
  SUBCASE("an object whose centre is the last pixel") {
    const Mask truth = draw({"...", "..#"});
    CHECK(metrics::s_measure(truth, metrics::to_map(truth)) == about(1.0));
  }
}

TEST_CASE("the weighted F-measure by hand") {
  SUBCASE("without errors it is 1, without an object 0") {
    const Mask object = draw({"....", ".##.", "...."});
    CHECK(metrics::weighted_f(object, metrics::to_map(object)) == about(1.0));
    const Mask empty = draw({"..", ".."});
    CHECK(metrics::weighted_f(empty, metrics::to_map(empty)) == 0.0);
    CHECK(metrics::weighted_f(empty, metrics::to_map(draw({"##", ".."}))) == 0.0);
  }
  SUBCASE("a false alarm costs more the farther off it is") {
    const auto with_distance = [](double distance) {
      const double precision = 1.0 / (1.0 + 2.0 - std::pow(0.5, distance / 5.0));
      return about(2.0 * precision / (1.0 + precision));
    };
    const Mask truth = draw({"#....."});
    CHECK(metrics::weighted_f(truth, metrics::to_map(draw({"##...."}))) == with_distance(1.0));
    CHECK(metrics::weighted_f(truth, metrics::to_map(draw({"#....#"}))) == with_distance(5.0));
    CHECK(metrics::weighted_f(draw({"#..", "..."}), metrics::to_map(draw({"#..", "..#"}))) ==
          with_distance(std::sqrt(5.0)));
  }
  SUBCASE("an error inside is spread over its neighbourhood") {
    // One pixel: the middle of the 7x7 Gaussian is all that is left of its error.
    double sum = 0.0;
    for (int k = -3; k <= 3; ++k) sum += std::exp(-k * k / 50.0);
    const double recall = 1.0 - 0.5 / (sum * sum);
    CHECK(metrics::weighted_f(draw({"#"}), row_map({0.5})) == about(2.0 * recall / (1.0 + recall)));
  }
  SUBCASE("a missed object is all wrong where the border is far") {
    Mask truth({15, 15});
    truth.view()(7, 7) = 1;
    CHECK(metrics::weighted_f(truth, Tensor<double, 2>({15, 15})) == about(0.0));
  }
}

TEST_CASE("the nearest pixel is that of a search of all, the leftmost and then upmost of equals") {
  Random random(5);
  const std::vector<Extents<2>> shapes = {{1, 1}, {1, 19}, {19, 1}, {2, 2}, {16, 16}, {13, 29}};
  for (const Extents<2>& shape : shapes) {
    for (double share : {0.01, 0.05, 0.3, 0.9, 1.0}) {
      Mask mask = random_mask(shape, share, random);
      mask.data()[random.below(mask.size())] = 255;
      const Tensor<Index, 2> got = metrics::nearest_object(mask);
      const Index width = shape[1];
      Index wrong = 0;
      for (Index i = 0; i < mask.size(); ++i) {
        using Key = std::tuple<Index, Index, Index>;  // squared distance, x, y
        constexpr Index kFar = std::numeric_limits<Index>::max();
        Key best{kFar, kFar, kFar};
        for (Index j = 0; j < mask.size(); ++j) {
          if (mask.data()[j] == 0) continue;
          const Index dy = i / width - j / width;
          const Index dx = i % width - j % width;
          best = std::min(best, Key{dy * dy + dx * dx, j % width, j / width});
        }
        wrong += got.data()[i] == std::get<2>(best) * width + std::get<1>(best) ? 0 : 1;
      }
      CAPTURE(shape_text(shape));
      CAPTURE(share);
      CHECK(wrong == 0);
    }
  }
  CHECK(code_of([] { metrics::nearest_object(Mask({3, 4})); }) == ErrorCode::invalid_argument);
}

TEST_CASE("images of one pixel") {
  const Mask inside = draw({"#"});
  const Mask outside = draw({"."});
  for (const auto& column : metrics::kMetricColumns) {
    CAPTURE(column.name);
    const bool is_error = column.name == "mae";
    CHECK(metrics::evaluate(inside, inside).*column.value == about(is_error ? 0.0 : 1.0));
    if (column.name == "weighted_f") continue;  // below
    CHECK(metrics::evaluate(outside, outside).*column.value == about(is_error ? 0.0 : 1.0));
    CHECK(metrics::evaluate(inside, outside).*column.value == about(is_error ? 1.0 : 0.0));
    CHECK(metrics::evaluate(outside, inside).*column.value == about(is_error ? 1.0 : 0.0));
  }
  CHECK(metrics::evaluate(outside, outside).weighted_f == 0.0);
  CHECK(metrics::evaluate(outside, inside).weighted_f == 0.0);
  CHECK(metrics::evaluate(inside, outside).weighted_f > 0.9);  // mostly beyond the border
}

TEST_CASE("what changes places, and what does not") {
  Random random(11);
  for (int round = 0; round < 20; ++round) {
    const Extents<2> shape{1 + random.below(20), 1 + random.below(20)};
    const Mask truth = random_mask(shape, random.uniform(), random);
    const Mask prediction = random_mask(shape, random.uniform(), random);
    CAPTURE(round);
    const metrics::MaskMetrics there = metrics::evaluate(truth, prediction);
    const metrics::MaskMetrics back = metrics::evaluate(prediction, truth);
    CHECK(there.mae == back.mae);
    CHECK(there.dice == back.dice);
    CHECK(there.iou == back.iou);
    CHECK(there.precision == back.recall);
    CHECK(there.recall == back.precision);
    CHECK(there.dice == about(2.0 * there.iou / (1.0 + there.iou)));
    CHECK(metrics::e_measure(inverted(truth), inverted(prediction)) == about(there.e_measure));

    const metrics::MaskMetrics turned =
        metrics::evaluate(transposed(truth), transposed(prediction));
    CHECK(turned.f_beta == there.f_beta);
    CHECK(turned.e_measure == there.e_measure);
    CHECK(turned.s_measure == about(there.s_measure));
    CHECK(metrics::promise_s_measure(transposed(truth), metrics::to_map(transposed(prediction))) ==
          about(metrics::promise_s_measure(truth, metrics::to_map(prediction))));
  }
}

TEST_CASE("the weighted F-measure of a convex object looks alike from all sides") {
  // No pixel then has two nearest ones in the object.
  Mask truth({17, 23});
  for (Index y = 4; y < 9; ++y) {
    for (Index x = 6; x < 15; ++x) truth.view()(y, x) = 1;
  }
  Random random(3);
  const Tensor<double, 2> map = random_map(truth.extents(), random);
  const double expected = metrics::weighted_f(truth, map);
  CHECK(expected > 0.05);
  CHECK(expected < 0.95);
  CHECK(metrics::weighted_f(transposed(truth), transposed(map)) == about(expected));
  CHECK(metrics::weighted_f(mirrored(truth), mirrored(map)) == about(expected));
}

TEST_CASE("views of any strides are read as they are") {
  Random random(8);
  const Mask truth = random_mask({9, 14}, 0.4, random);
  const Mask prediction = random_mask({9, 14}, 0.4, random);
  const metrics::MaskMetrics copied = metrics::evaluate(transposed(truth), transposed(prediction));
  const metrics::MaskMetrics viewed =
      metrics::evaluate(truth.view().permuted({1, 0}), prediction.view().permuted({1, 0}));
  for (const auto& column : metrics::kMetricColumns) {
    CAPTURE(column.name);
    CHECK(copied.*column.value == viewed.*column.value);
  }
}

TEST_CASE("the promise variants keep the original's mistakes") {
  SUBCASE("two empty masks") {
    const metrics::MaskMetrics found = metrics::evaluate_promise(draw({"..."}), draw({"..."}));
    CHECK(found.mae == 0.0);
    CHECK(std::isnan(found.dice));
    CHECK(found.iou == 0.0);
    CHECK(found.precision == 0.0);
    CHECK(found.recall == 0.0);
    CHECK(found.f_beta == 0.0);
    CHECK(found.s_measure == 1.0);
    CHECK(found.e_measure == about(1.5));
    CHECK(std::isnan(found.weighted_f));
  }
  SUBCASE("missing the object costs the weighted F-measure nothing") {
    const Mask truth = draw({"##.."});
    CHECK(metrics::evaluate_promise(truth, draw({"...."})).weighted_f == 1.0);
    CHECK(metrics::evaluate_promise(truth, draw({".##."})).weighted_f == about(0.8));
    CHECK(std::isnan(metrics::evaluate_promise(draw({"...."}), truth).weighted_f));
  }
  SUBCASE("elsewhere the overlap is the same") {
    const Mask truth = draw({"####......"});
    const Mask prediction = draw({"##....#..."});
    const metrics::MaskMetrics promise = metrics::evaluate_promise(truth, prediction);
    const metrics::MaskMetrics published = metrics::evaluate(truth, prediction);
    CHECK(promise.mae == published.mae);
    CHECK(promise.dice == published.dice);
    CHECK(promise.iou == published.iou);
    CHECK(promise.precision == published.precision);
    CHECK(promise.recall == published.recall);
    CHECK(promise.f_beta == about(published.f_beta));
    CHECK(promise.e_measure == published.e_measure);
    CHECK(promise.s_measure != published.s_measure);
    CHECK(promise.weighted_f != published.weighted_f);
  }
}

TEST_CASE("the columns of a table") {
  const metrics::MaskMetrics numbers{1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<std::string> names = {"mae",    "dice",      "iou",       "precision", "recall",
                                          "f_beta", "s_measure", "e_measure", "weighted_f"};
  REQUIRE(names.size() == metrics::kMetricColumns.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    CHECK(metrics::kMetricColumns[i].name == names[i]);
    CHECK(numbers.*metrics::kMetricColumns[i].value == static_cast<double>(i + 1));
  }
}

TEST_CASE("evaluate gives every metric its place") {
  const Mask truth = draw({"##...", "###..", ".#..."});
  const Mask prediction = draw({".##..", "####.", "....."});
  const metrics::MaskMetrics found = metrics::evaluate(truth, prediction);
  const Tensor<double, 2> map = metrics::to_map(prediction);
  CHECK(found.mae == metrics::mae(truth, prediction));
  CHECK(found.mae == about(metrics::mae(truth, map)));
  CHECK(found.dice == metrics::dice(truth, prediction));
  CHECK(found.iou == metrics::iou(truth, prediction));
  CHECK(found.precision == metrics::precision(truth, prediction));
  CHECK(found.recall == metrics::recall(truth, prediction));
  CHECK(found.f_beta == metrics::f_beta(truth, prediction));
  CHECK(found.s_measure == metrics::s_measure(truth, map));
  CHECK(found.e_measure == metrics::e_measure(truth, prediction));
  CHECK(found.e_measure == about(metrics::e_measure_adaptive(truth, map)));
  CHECK(found.weighted_f == metrics::weighted_f(truth, map));
}

TEST_CASE("metrics refuse what does not fit") {
  const Mask truth({4, 5});
  const Mask turned({5, 4});
  const Tensor<double, 2> map({4, 5});
  const Tensor<double, 2> turned_map({5, 4});
  CHECK(code_of([&] { metrics::count_pixels(truth, turned); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] { metrics::dice(truth, turned); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] { metrics::evaluate(truth, turned); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] { metrics::evaluate_promise(truth, turned); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] { metrics::evaluate(Mask(), Mask()); }) == ErrorCode::shape_mismatch);
  CHECK(code_of([&] {
          metrics::evaluate(Mask({0, 5}), Mask({0, 5}));
        }) == ErrorCode::shape_mismatch);

  using OfMap = double (*)(metrics::MaskView, metrics::MapView);
  const std::vector<OfMap> all = {static_cast<OfMap>(metrics::mae),
                                  metrics::s_measure,
                                  metrics::e_measure_adaptive,
                                  metrics::weighted_f,
                                  metrics::promise_s_measure,
                                  metrics::promise_weighted_f,
                                  [](metrics::MaskView a, metrics::MapView b) {
                                    return metrics::e_measure_curve(a, b).mean();
                                  }};
  for (OfMap metric : all) {
    CHECK(code_of([&] { metric(truth, turned_map); }) == ErrorCode::shape_mismatch);
    for (double value : {-0.01, 1.01, std::numeric_limits<double>::quiet_NaN()}) {
      Tensor<double, 2> wrong = map;
      wrong.view()(2, 3) = value;
      CHECK(code_of([&] { metric(truth, wrong); }) == ErrorCode::invalid_argument);
    }
  }
}
