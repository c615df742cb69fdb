// Judging a model, or a pack on it, by pictures whose true masks are known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "promiseg/core/image.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/io/dataset.hpp"
#include "promiseg/io/intensity.hpp"
#include "promiseg/io/report.hpp"
#include "promiseg/metrics/mask_metrics.hpp"
#include "promiseg/sam/prompts.hpp"
#include "promiseg/segmenter.hpp"

namespace promiseg::cli {

/// Where the prompt of an image comes from.
enum class PromptSource {
  own,     ///< the pack: what it predicts, or what it was trained with
  image,   ///< the whole model frame as a box
  points,  ///< the true mask: pixels drawn on and beside the object
  box,     ///< the true mask: the object's bounding box
};

struct EvaluationSettings {
  PromptSource prompt = PromptSource::own;
  bool with_pack = false;        ///< decode with the segmenter's first pack, else frozen
  bool promise_metrics = false;  ///< the metrics of ProMISe's authors, else the published ones
  std::uint64_t seed = 0;        ///< of the points that are drawn
  std::optional<Window> window;  ///< from raw values to 8 bits, see `to_8bit`
  std::size_t max_pictures = Report().max_pictures;  ///< kept, of the worst cases
};

/// What came out for one image.
struct EvaluatedCase {
  std::string name;
  Split split = Split::train;
  metrics::MaskMetrics original;  ///< of the final mask, at the size of the image
  metrics::MaskMetrics low_res;   ///< in the model's frame, as the paper has it
  double score = 0;               ///< the model's own estimate of the IoU
  double encode_seconds = 0;
  double decode_seconds = 0;       ///< includes the prediction of prompts
  std::string note;                ///< empty, or what is special about the masks
  std::vector<std::byte> picture;  ///< a PNG; empty if many other cases are worse
};

/// An image that could not be given the prompt.
struct SkippedCase {
  std::string name;
  std::string reason;
};

struct Evaluation {
  std::vector<EvaluatedCase> cases;
  std::vector<SkippedCase> skipped;
  Index low_res_side = 0;  ///< of the frame that `EvaluatedCase::low_res` was measured in
  double seconds = 0;      ///< all of it: reading, encoding, decoding, measuring, drawing
};

/// The indices of a dataset's samples of one split, or of all. Throws `not_found`, naming `source`
/// and the splits that there are, if there are no such samples.
std::vector<std::size_t> select_samples(const Dataset& dataset, std::optional<Split> split,
                                        const std::string& source);

/// The object's bounding box in a mask [H, W], its last pixels included as in SAM's own boxes, but
/// at least one pixel wide and high. Empty if there is no object.
std::optional<BoxPrompt> true_box(metrics::MaskView truth);

/// Eight pixels on the object of a mask [H, W] and eight beside it, drawn with replacement and
/// shuffled, as the original draws them. If there is nothing beside it, all are on the object.
/// Throws `invalid_argument` if there is no object.
std::vector<PointPrompt> draw_points(metrics::MaskView truth, Random random);

/// A true mask [H, W] in the model's frame [side, side], as the original prepares its data: padded
/// to a square at the right and below, resized by area, cut in the middle. Throws `unsupported` for
/// a mask so long that its square would not fit into memory.
Mask truth_in_frame(metrics::MaskView truth, Index side);

/// The mask of logits [side, side] as the original evaluates it: a sigmoid of one half or more,
/// opened with a kernel of 5 x 5.
Mask low_res_mask(TensorView<const float, 2> logits);

/// Mean, median, sample deviation (divided by n - 1) and extremes of the values that are numbers;
/// `images` is how many these are. What too few values give is NaN.
ReportSummary summarize(std::span<const double> values);

/// Segments the chosen samples of a dataset and measures the masks. Calls `progress(done, total)`
/// after each. An image whose mask cannot give the prompt is skipped. Throws `invalid_argument` if
/// all are, `shape_mismatch` if a mask has not the size of its image, and what reading and
/// predicting throw; the message begins with the sample's name.
Evaluation evaluate_samples(Segmenter& segmenter, const Dataset& dataset,
                            std::span<const std::size_t> chosen, const EvaluationSettings& settings,
                            const std::function<void(Index, Index)>& progress);

}  // namespace promiseg::cli
