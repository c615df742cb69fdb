// The files that `promiseg segment` writes for one image.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "promiseg/io/image_reference.hpp"
#include "promiseg/io/json.hpp"
#include "promiseg/sam/predictor.hpp"
#include "prompt_arguments.hpp"

namespace promiseg::cli {

/// Objects that fit into an 8-bit label image.
inline constexpr std::size_t kMaxLabels = 255;

/// Everything known about a segmented image. `objects` and `predictions` have the same order.
struct SegmentResult {
  ImageReference reference;
  const Image& image;
  FrameGeometry geometry;
  const std::vector<NamedPrompt>& objects;
  const std::vector<Prediction>& predictions;
  std::vector<std::pair<std::string, double>> times_ms;
  std::string precision;  ///< "fp32" or "bf16"
};

/// DIR/STEM + ending, for an image.
std::filesystem::path result_path(const std::filesystem::path& folder, const ImageReference& image,
                                  const std::string& ending);

/// Writes mask, overlay and record into the folder and returns a JSON object with their paths
/// (`mask`, `overlay`, `json`) and the record's members. Throws `io`.
Json write_results(const SegmentResult& result, const std::filesystem::path& folder);

}  // namespace promiseg::cli
