#include "evaluation.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <utility>

#include "case_thumbnail.hpp"
#include "labelled_image.hpp"
#include "mask_outline.hpp"
#include "promiseg/sam/morphology.hpp"
#include "promiseg/sam/preprocess.hpp"

namespace promiseg::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Why a prompt cannot be made from the true mask; empty if it can.
std::string reason_to_skip(const Mask& truth, PromptSource source) {
  if (source == PromptSource::own || source == PromptSource::image) return {};
  const auto pixels = truth.elements();
  const bool has_object =
      std::any_of(pixels.begin(), pixels.end(), [](std::uint8_t value) { return value != 0; });
  return has_object ? "" : "the true mask is empty";
}

/// The pixels of one class, by their ranks in reading order.
std::vector<PointPrompt> pixels_at(metrics::MaskView truth, bool on_object,
                                   std::vector<Index> ranks) {
  std::sort(ranks.begin(), ranks.end());
  std::vector<PointPrompt> points;
  auto next = ranks.begin();
  Index rank = 0;
  for (Index y = 0; y < truth.extent(0); ++y) {
    for (Index x = 0; x < truth.extent(1); ++x) {
      if ((truth(y, x) != 0) != on_object) continue;
      for (; next != ranks.end() && *next == rank; ++next) {
        points.push_back({static_cast<float>(x), static_cast<float>(y), on_object ? 1 : 0});
      }
      ++rank;
    }
  }
  return points;
}

std::string note_on(const metrics::MaskCounts& counts) {
  if (counts.both_empty()) return "no object, and none found";
  if (counts.truth_area() == 0) return "no object";
  return counts.predicted_area() == 0 ? "nothing found" : "";
}

/// Goes through samples and gathers what comes out.
class Evaluator {
 public:
  Evaluator(Segmenter& segmenter, const EvaluationSettings& settings)
      : segmenter_(segmenter), settings_(settings) {
    evaluation_.low_res_side = 4 * segmenter.config().grid();
  }

  /// `index` is that of the sample in its dataset, so that its points are the same whichever other
  /// samples are evaluated.
  void add(const Sample& sample, std::size_t index) {
    const LabelledImage labelled = read_sample(sample, settings_.window);
    std::string reason = reason_to_skip(labelled.mask, settings_.prompt);
    if (!reason.empty()) {
      evaluation_.skipped.push_back({sample.name, std::move(reason)});
      return;
    }
    EvaluatedCase result;
    result.name = sample.name;
    result.split = sample.split;

    const Clock::time_point encoding = Clock::now();
    const ImageEmbedding embedding = segmenter_.encode(labelled.image);
    result.encode_seconds = seconds_since(encoding);
    const Clock::time_point decoding = Clock::now();
    const Prediction prediction = predict(embedding, labelled.mask, index);
    result.decode_seconds = seconds_since(decoding);

    const Mask& mask = prediction.masks.front();
    result.score = double{prediction.scores.front()};
    result.original = measure(labelled.mask, mask);
    const Mask low_res = low_res_mask(prediction.low_res_logits.view().select(0, 0));
    result.low_res = measure(truth_in_frame(labelled.mask, low_res.extent(0)), low_res);
    result.note = note_on(metrics::count_pixels(labelled.mask, mask));
    evaluation_.cases.push_back(std::move(result));
    keep_picture(labelled, mask);
  }

  Evaluation take() { return std::move(evaluation_); }

 private:
  Prompts prompts(const ImageEmbedding& embedding, const Mask& truth, std::size_t index) {
    if (settings_.prompt == PromptSource::own) return segmenter_.pack_prompts(0, embedding);
    Prompts prompts(1);
    Prompt& prompt = prompts.front();
    if (settings_.prompt == PromptSource::image) {
      const auto last = static_cast<float>(embedding.geometry.frame_size - 1);
      prompt.box = BoxPrompt{0, 0, last, last};
      prompt = from_frame(prompt, embedding.geometry);
    } else if (settings_.prompt == PromptSource::box) {
      prompt.box = true_box(truth);
    } else {
      prompt.points = draw_points(truth, Random(settings_.seed, index));
    }
    return prompts;
  }

  Prediction predict(const ImageEmbedding& embedding, const Mask& truth, std::size_t index) {
    const Prompts asked = prompts(embedding, truth, index);
    require(asked.size() == 1, ErrorCode::invalid_argument,
            "expected a pack with a prompt of its own, this one has none");
    PredictOptions frozen;
    frozen.allow_padding = true;  // the whole frame reaches into it
    std::vector<Prediction> predictions = settings_.with_pack
                                              ? segmenter_.predict_with_pack(0, embedding, asked)
                                              : segmenter_.predict(embedding, asked, frozen);
    return std::move(predictions.front());
  }

  metrics::MaskMetrics measure(metrics::MaskView truth, metrics::MaskView mask) const {
    return settings_.promise_metrics ? metrics::evaluate_promise(truth, mask)
                                     : metrics::evaluate(truth, mask);
  }

  /// Draws the last case, if it is one of the worst. Those that are not would fill the memory.
  void keep_picture(const LabelledImage& labelled, const Mask& mask) {
    const std::size_t last = evaluation_.cases.size() - 1;
    const double dice = evaluation_.cases[last].original.dice;
    // As `worst_first` sorts them: without a value at the end, equal ones as they came.
    pictured_.emplace(std::isnan(dice) ? std::numeric_limits<double>::infinity() : dice, last);
    if (pictured_.size() > settings_.max_pictures) {
      const auto best = std::prev(pictured_.end());
      const std::size_t dropped = best->second;
      pictured_.erase(best);
      if (dropped == last) return;
      evaluation_.cases[dropped].picture = std::vector<std::byte>();
    }
    evaluation_.cases[last].picture = case_thumbnail(labelled.image, labelled.mask, mask);
  }

  Segmenter& segmenter_;
  const EvaluationSettings& settings_;
  Evaluation evaluation_;
  std::multimap<double, std::size_t> pictured_;  // cases with a picture, by Dice
};

}  // namespace

std::vector<std::size_t> select_samples(const Dataset& dataset, std::optional<Split> split,
                                        const std::string& source) {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    if (!split || dataset.samples[i].split == *split) chosen.push_back(i);
  }
  if (!chosen.empty()) return chosen;
  std::string others;
  for (const Split other : {Split::train, Split::val, Split::test}) {
    const std::size_t count = dataset.count(other);
    if (count == 0) continue;
    others += others.empty() ? "; there are " : ", ";
    others.append(to_string(other)).append(" (" + std::to_string(count) + ")");
  }
  fail(ErrorCode::not_found, source, ": there are no ", split ? to_string(*split) : "",
       split ? " samples" : "samples", others);
}

std::optional<BoxPrompt> true_box(metrics::MaskView truth) {
  const PixelRange object = mask_range(truth);
  if (object.x0 == object.x1) return std::nullopt;
  return BoxPrompt{static_cast<float>(object.x0), static_cast<float>(object.y0),
                   static_cast<float>(std::max(object.x1 - 1, object.x0 + 1)),
                   static_cast<float>(std::max(object.y1 - 1, object.y0 + 1))};
}

std::vector<PointPrompt> draw_points(metrics::MaskView truth, Random random) {
  constexpr Index kPoints = 16;
  const Index object = metrics::count_pixels(truth, truth).truth_area();
  const Index background = truth.size() - object;
  require(object > 0, ErrorCode::invalid_argument,
          "draw_points: expected a mask with an object, this one is empty");
  const auto draw = [&](Index count, Index among) {
    std::vector<Index> ranks;
    for (Index i = 0; i < count; ++i) ranks.push_back(random.below(among));
    return ranks;
  };
  const Index beside = background > 0 ? kPoints / 2 : 0;
  std::vector<PointPrompt> points = pixels_at(truth, true, draw(kPoints - beside, object));
  const std::vector<PointPrompt> others = pixels_at(truth, false, draw(beside, background));
  points.insert(points.end(), others.begin(), others.end());
  for (std::size_t i = points.size(); i > 1; --i) {
    std::swap(points[i - 1], points[static_cast<std::size_t>(random.below(static_cast<Index>(i)))]);
  }
  return points;
}

Mask truth_in_frame(metrics::MaskView truth, Index side) {
  constexpr Index kLongest = Index{1} << 15;  // the square then takes a gigabyte
  const Index longest = std::max(truth.extent(0), truth.extent(1));
  require(longest <= kLongest, ErrorCode::unsupported, "a mask of ", truth.extent(1), " x ",
          truth.extent(0), " pixels cannot be padded to a square: expected at most ", kLongest,
          " pixels a side");
  Mask square({longest, longest});
  const auto pixels = square.view();
  for (Index y = 0; y < truth.extent(0); ++y) {
    for (Index x = 0; x < truth.extent(1); ++x) pixels(y, x) = truth(y, x) != 0 ? 255 : 0;
  }
  return resize_mask(std::as_const(square).view(), {side, side});
}

Mask low_res_mask(TensorView<const float, 2> logits) {
  constexpr Index kKernel = 5;
  Mask mask(logits.extents());
  const auto inside = mask.view();
  for (Index y = 0; y < logits.extent(0); ++y) {
    for (Index x = 0; x < logits.extent(1); ++x) {
      const float probability = 1.0F / (1.0F + std::exp(-logits(y, x)));
      inside(y, x) = probability >= 0.5F ? 255 : 0;
    }
  }
  return morph_open(std::move(mask), kKernel);
}

ReportSummary summarize(std::span<const double> values) {
  std::vector<double> numbers;
  std::copy_if(values.begin(), values.end(), std::back_inserter(numbers),
               [](double value) { return !std::isnan(value); });
  ReportSummary summary;
  summary.images = numbers.size();
  if (numbers.empty()) return summary;
  std::sort(numbers.begin(), numbers.end());
  const std::size_t half = numbers.size() / 2;
  const auto count = static_cast<double>(numbers.size());
  double sum = 0;
  for (const double number : numbers) sum += number;
  summary.mean = sum / count;
  summary.median =
      numbers.size() % 2 == 1 ? numbers[half] : (numbers[half - 1] + numbers[half]) / 2;
  summary.lowest = numbers.front();
  summary.highest = numbers.back();
  if (numbers.size() == 1) return summary;
  double squares = 0;
  for (const double number : numbers) squares += (number - summary.mean) * (number - summary.mean);
  summary.deviation = std::sqrt(squares / (count - 1));
  return summary;
}

Evaluation evaluate_samples(Segmenter& segmenter, const Dataset& dataset,
                            std::span<const std::size_t> chosen, const EvaluationSettings& settings,
                            const std::function<void(Index, Index)>& progress) {
  const Clock::time_point start = Clock::now();
  Evaluator evaluator(segmenter, settings);
  Index done = 0;
  for (const std::size_t index : chosen) {
    const Sample& sample = dataset.samples[index];
    try {
      evaluator.add(sample, index);
    } catch (const Error& error) {
      fail(error.code(), sample.name, ": ", error.what());
    }
    progress(++done, std::ssize(chosen));
  }
  Evaluation evaluation = evaluator.take();
  if (evaluation.cases.empty() && !evaluation.skipped.empty()) {
    const SkippedCase& first = evaluation.skipped.front();
    fail(ErrorCode::invalid_argument, first.name, ": ", first.reason, "; all ",
         evaluation.skipped.size(), " images were skipped, nothing is left to measure");
  }
  evaluation.seconds = seconds_since(start);
  return evaluation;
}

}  // namespace promiseg::cli
