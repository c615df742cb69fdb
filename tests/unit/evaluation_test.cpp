#include "evaluation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "evaluation_output.hpp"
#include "promiseg/io/csv.hpp"
#include "promiseg/sam/preprocess.hpp"

using namespace promiseg;
using namespace promiseg::cli;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// A mask whose rectangle [x0, x1) by [y0, y1) is the object.
Mask rectangle(ImageSize size, Index x0, Index y0, Index x1, Index y1, std::uint8_t value = 255) {
  Mask mask({size.height, size.width});
  for (Index y = y0; y < y1; ++y) {
    for (Index x = x0; x < x1; ++x) mask.view()(y, x) = value;
  }
  return mask;
}

bool same_pixels(const Mask& a, const Mask& b) {
  return a.extents() == b.extents() &&
         std::equal(a.elements().begin(), a.elements().end(), b.elements().begin());
}

/// True if the predictor takes the box for an image of this size.
bool is_accepted(const BoxPrompt& box, ImageSize size) {
  Prompt prompt;
  prompt.box = box;
  try {
    require_inside(prompt, {size, size, std::max(size.height, size.width)}, false);
  } catch (const Error&) {
    return false;
  }
  return true;
}

bool is_object(const Mask& mask, const PointPrompt& point) {
  return mask.view()(static_cast<Index>(point.y), static_cast<Index>(point.x)) != 0;
}

std::vector<int> labels_of(const std::vector<PointPrompt>& points) {
  std::vector<int> labels;
  for (const PointPrompt& point : points) labels.push_back(point.label);
  return labels;
}

/// Logits [side, side], -1 but for a square of zeros.
Tensor<float, 2> square_logits(Index side, Index begin, Index width) {
  Tensor<float, 2> logits({side, side});
  for (float& value : logits.elements()) value = -1.0F;
  for (Index y = begin; y < begin + width; ++y) {
    for (Index x = begin; x < begin + width; ++x) logits.view()(y, x) = 0.0F;
  }
  return logits;
}

Dataset two_splits() {
  Dataset dataset;
  dataset.samples.resize(5);
  dataset.samples[1].split = Split::test;
  dataset.samples[4].split = Split::test;
  return dataset;
}

/// Two images, the second without a Dice; one was skipped.
Evaluation small_evaluation() {
  Evaluation evaluation;
  evaluation.cases.resize(2);
  evaluation.cases[0].name = "a, b";
  evaluation.cases[0].split = Split::test;
  evaluation.cases[0].original.dice = 0.5;
  evaluation.cases[0].original.iou = 0.25;
  evaluation.cases[0].low_res.dice = 0.75;
  evaluation.cases[0].score = 0.875;
  evaluation.cases[0].encode_seconds = 1;
  evaluation.cases[0].decode_seconds = 0.5;
  evaluation.cases[1].name = "c";
  evaluation.cases[1].original.dice = kNan;
  evaluation.cases[1].original.iou = 0.75;
  evaluation.cases[1].low_res.dice = 0.25;
  evaluation.skipped.push_back({"blank", "the true mask is empty"});
  evaluation.low_res_side = 256;
  return evaluation;
}

EvaluationRecord small_record() {
  EvaluationRecord record;
  record.model = "model.safetensors";
  record.model_arch = "vit_b";
  record.data = "data.csv";
  record.split = "test";
  record.prompt = "box";
  record.metrics = "promise";
  return record;
}

}  // namespace

TEST_CASE("evaluation: the true box ends at the object's last pixels") {
  const Mask mask = rectangle({20, 30}, 5, 3, 12, 9, 1);
  CHECK(true_box(mask) == BoxPrompt{5, 3, 11, 8});
  CHECK(true_box(rectangle({20, 30}, 0, 0, 30, 20)) == BoxPrompt{0, 0, 29, 19});
  CHECK_FALSE(true_box(Mask({20, 30})).has_value());
}

TEST_CASE("evaluation: the true box of the thinnest object is a box") {
  const ImageSize size{20, 30};
  CHECK(true_box(rectangle(size, 7, 3, 8, 9)) == BoxPrompt{7, 3, 8, 8});
  CHECK(true_box(rectangle(size, 29, 19, 30, 20)) == BoxPrompt{29, 19, 30, 20});
  for (const Index x : {0, 29}) {
    for (const Index y : {0, 19}) {
      CAPTURE(x);
      CAPTURE(y);
      const std::optional<BoxPrompt> box = true_box(rectangle(size, x, y, x + 1, y + 1));
      REQUIRE(box.has_value());
      CHECK(is_accepted(*box, size));
    }
  }
  CHECK(is_accepted(true_box(rectangle({1, 1}, 0, 0, 1, 1)).value_or(BoxPrompt{}), {1, 1}));
}

TEST_CASE("evaluation: points lie on the right side, eight on each") {
  const Mask mask = rectangle({20, 30}, 5, 3, 12, 9);
  std::set<std::vector<int>> orders;
  for (std::uint64_t stream = 0; stream < 10; ++stream) {
    const std::vector<PointPrompt> points = draw_points(mask, Random(7, stream));
    REQUIRE(points.size() == 16);
    std::vector<int> labels = labels_of(points);
    CHECK(std::count(labels.begin(), labels.end(), 1) == 8);
    CHECK(std::count(labels.begin(), labels.end(), 0) == 8);
    for (const PointPrompt& point : points) CHECK(is_object(mask, point) == (point.label == 1));
    orders.insert(std::move(labels));
  }
  CHECK(orders.size() > 5);
}

TEST_CASE("evaluation: points depend on seed and stream alone") {
  const Mask mask = rectangle({20, 30}, 5, 3, 12, 9);
  const std::vector<PointPrompt> points = draw_points(mask, Random(7, 2));
  CHECK(draw_points(mask, Random(7, 2)) == points);
  CHECK_FALSE(draw_points(mask, Random(7, 3)) == points);
  CHECK_FALSE(draw_points(mask, Random(8, 2)) == points);
}

TEST_CASE("evaluation: points of masks with little object or background") {
  const Mask dot = rectangle({20, 30}, 29, 19, 30, 20);
  for (const PointPrompt& point : draw_points(dot, Random(1))) {
    if (point.label == 1) {
      CHECK(point == PointPrompt{29, 19, 1});
    }
  }
  const std::vector<PointPrompt> all = draw_points(rectangle({2, 2}, 0, 0, 2, 2), Random(1));
  CHECK(labels_of(all) == std::vector<int>(16, 1));
  CHECK_THROWS_AS(draw_points(Mask({2, 2}), Random(1)), Error);
}

TEST_CASE("evaluation: the truth lies at the top left of the frame") {
  const Mask landscape = rectangle({4, 8}, 0, 0, 8, 4, 1);
  CHECK(same_pixels(truth_in_frame(landscape, 8), rectangle({8, 8}, 0, 0, 8, 4)));
  CHECK(same_pixels(truth_in_frame(landscape, 4), rectangle({4, 4}, 0, 0, 4, 2)));
  CHECK(same_pixels(truth_in_frame(landscape, 16), rectangle({16, 16}, 0, 0, 16, 8)));
  const Mask portrait = rectangle({8, 4}, 0, 0, 4, 8);
  CHECK(same_pixels(truth_in_frame(portrait, 8), rectangle({8, 8}, 0, 0, 4, 8)));
  CHECK(same_pixels(truth_in_frame(portrait, 4), rectangle({4, 4}, 0, 0, 2, 4)));
  const Mask part = rectangle({4, 8}, 6, 2, 8, 4);
  CHECK(same_pixels(truth_in_frame(part, 4), rectangle({4, 4}, 3, 1, 4, 2)));
}

TEST_CASE("evaluation: the truth is cut in the middle, and lies where the model has the image") {
  Mask mask({4, 4});
  mask.view()(0, 0) = 255;  // a quarter of the first block
  for (Index x : {2, 3}) mask.view()(0, x) = 255;
  mask.view()(1, 2) = 255;  // three quarters of the second
  CHECK(same_pixels(truth_in_frame(mask, 2), rectangle({2, 2}, 1, 0, 2, 1)));

  // Of 300 x 200 pixels the model's frame of 64 shows 64 x 43, its logits 16 x 10.75.
  const Mask full = rectangle({200, 300}, 0, 0, 300, 200);
  CHECK(same_pixels(truth_in_frame(full, 16), rectangle({16, 16}, 0, 0, 16, 11)));
}

TEST_CASE("evaluation: a square too large for the memory is refused") {
  const std::uint8_t inside = 1;
  const metrics::MaskView endless(&inside, {1, Index{1} << 20}, {0, 0});
  CHECK_THROWS_WITH_AS(truth_in_frame(endless, 16), doctest::Contains("1048576 x 1"), Error);
}

TEST_CASE("evaluation: logits from one half on are inside, specks are not") {
  CHECK(same_pixels(low_res_mask(square_logits(16, 3, 5)), rectangle({16, 16}, 3, 3, 8, 8)));
  CHECK(same_pixels(low_res_mask(square_logits(16, 3, 4)), Mask({16, 16})));
}

TEST_CASE("evaluation: a summary leaves out what is no number") {
  const ReportSummary summary = summarize(std::vector<double>{1, kNan, 0, 0.5, kNan});
  CHECK(summary.images == 3);
  CHECK(summary.mean == doctest::Approx(0.5));
  CHECK(summary.median == 0.5);
  CHECK(summary.deviation == doctest::Approx(0.5));
  CHECK(summary.lowest == 0);
  CHECK(summary.highest == 1);
  CHECK(summarize(std::vector<double>{4, 1, 2, 3}).median == 2.5);

  const ReportSummary single = summarize(std::vector<double>{kNan, 0.25});
  CHECK(single.images == 1);
  CHECK(single.mean == 0.25);
  CHECK(std::isnan(single.deviation));
  const ReportSummary none = summarize(std::vector<double>{kNan});
  CHECK(none.images == 0);
  CHECK(std::isnan(none.mean));
  CHECK(std::isnan(none.highest));
}

TEST_CASE("evaluation: samples of a split, by their places in the dataset") {
  const Dataset dataset = two_splits();
  CHECK(select_samples(dataset, Split::test, "x") == std::vector<std::size_t>{1, 4});
  CHECK(select_samples(dataset, std::nullopt, "x") == std::vector<std::size_t>{0, 1, 2, 3, 4});
  CHECK_THROWS_WITH_AS(select_samples(dataset, Split::val, "x.csv"),
                       "x.csv: there are no val samples; there are train (3), test (2)", Error);
  CHECK_THROWS_WITH_AS(select_samples(Dataset(), std::nullopt, "x.csv"),
                       "x.csv: there are no samples", Error);
}

TEST_CASE("evaluation: the table has one line per image") {
  const std::vector<CsvRecord> records = parse_csv(metrics_csv(small_evaluation()), "table");
  REQUIRE(records.size() == 3);
  const std::vector<std::string>& header = records[0].fields;
  REQUIRE(header.size() == 22);
  CHECK(header[2] == "mae");
  CHECK(header[3] == "dice");
  CHECK(header[10] == "weighted_f");
  CHECK(header[12] == "dice_256");
  CHECK(header[20] == "score");
  const std::vector<std::string>& first = records[1].fields;
  CHECK(first[0] == "a, b");
  CHECK(first[1] == "test");
  CHECK(first[3] == "0.5");
  CHECK(first[12] == "0.75");
  CHECK(first[20] == "0.875");
  CHECK(first[21] == "1.5");
  CHECK(records[2].fields[3].empty());
}

TEST_CASE("evaluation: the summary counts what has no value, and names what was skipped") {
  const Json json = summary_json(small_evaluation(), small_record());
  CHECK(json.at("images").as_integer() == 2);
  CHECK(json.at("dice").as_number() == 0.5);
  CHECK(json.at("undefined").at("dice").as_integer() == 1);
  CHECK(json.at("undefined").at("iou").as_integer() == 0);
  CHECK(json.at("iou").as_number() == 0.5);
  CHECK(json.at("median").at("iou").as_number() == 0.5);
  CHECK(json.at("standard_deviation").at("iou").as_number() ==
        doctest::Approx(0.25 * std::sqrt(2.0)));
  CHECK(json.at("at_256").at("dice").as_number() == 0.5);
  CHECK(json.at("at_256").at("undefined").at("dice").as_integer() == 0);
  REQUIRE(json.at("skipped").as_array().size() == 1);
  CHECK(json.at("skipped").as_array()[0].at("name").as_string() == "blank");
  CHECK(json.at("pack").is_null());
  CHECK(json.at("model").at("arch").as_string() == "vit_b");
  CHECK(json.at("prompt").as_string() == "box");
}

TEST_CASE("evaluation: the report and the terminal say the same") {
  const Evaluation evaluation = small_evaluation();
  const std::string html = to_html(evaluation_report(evaluation, small_record()));
  const auto reports = [&](const std::string& text) {
    return html.find(text) != std::string::npos;
  };
  CHECK(reports("Skipped: blank (the true mask is empty)."));
  CHECK(reports("Original resolution: without a value, and in no mean: Dice of 1 image."));
  CHECK_FALSE(reports("The model&#39;s frame: without a value"));
  CHECK(reports("256 x 256"));
  CHECK(reports("the true mask&#39;s bounding box"));
  const std::string text = summary_text(evaluation);
  CHECK(text.find("Dice             0.500     0.500\n") != std::string::npos);
  CHECK(text.find("2 images") != std::string::npos);
  CHECK(text.find("skipped blank: the true mask is empty\n") != std::string::npos);
}
