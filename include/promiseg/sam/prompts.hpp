// What a person, or a module, asks the model to segment.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "promiseg/core/tensor.hpp"

namespace promiseg {

/// A position with a meaning: label 1 lies on the object, 0 on the background, 2 and 3 are the
/// first and second corner of a box around it, -1 is ignored.
struct PointPrompt {
  float x = 0;
  float y = 0;
  int label = 1;

  friend bool operator==(const PointPrompt&, const PointPrompt&) = default;
};

inline bool is_box_corner(const PointPrompt& point) { return point.label == 2 || point.label == 3; }

/// A rectangle around the object, corners included.
struct BoxPrompt {
  float x0 = 0;
  float y0 = 0;
  float x1 = 0;
  float y1 = 0;

  friend bool operator==(const BoxPrompt&, const BoxPrompt&) = default;
};

/// Everything known about one object. Coordinates are (x, y) in pixels; of the original image at
/// the predictor, of the model's frame inside the model.
struct Prompt {
  std::vector<PointPrompt> points;
  std::optional<BoxPrompt> box;
  /// Logits of a coarse mask, [4 * grid, 4 * grid] in the model's frame: what an earlier prediction
  /// returned as `low_res_logits`. Empty if there is none.
  Tensor<float, 2> mask_logits;
};

/// Points without a box get a padding point; corners given as points count as a box.
inline bool needs_padding_point(const Prompt& prompt) {
  return !prompt.points.empty() && !prompt.box.has_value() &&
         std::none_of(prompt.points.begin(), prompt.points.end(), is_box_corner);
}

/// Tokens that the prompt encoder makes: the points, a padding point if one is needed, the two
/// corners of a box.
inline Index token_count(const Prompt& prompt) {
  return static_cast<Index>(prompt.points.size()) + (prompt.box.has_value() ? 2 : 0) +
         (needs_padding_point(prompt) ? 1 : 0);
}

/// One entry per object.
using Prompts = std::vector<Prompt>;

}  // namespace promiseg
