// A labelled image as training sees it: features in the cache, or pixels where the encoder trains;
// truth in the model's frame.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "promiseg/core/image.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/sam/preprocess.hpp"
#include "promiseg/train/train_config.hpp"

namespace promiseg::train {

/// One image, or one augmented version of it.
struct TrainingSample {
  std::string name;  ///< for messages
  std::string key;   ///< of its features in the cache
  FrameGeometry geometry;
  Tensor<std::uint8_t, 2> target;  ///< [4 * grid, 4 * grid], 0 outside to 255 inside
  std::optional<BoxPrompt> box;    ///< around the object, in the frame; empty if there is none
  Image pixels;  ///< at the image's size in the frame; empty where features are cached
};

namespace detail {

/// The pixels of the object, as a rectangle with its last pixels included.
inline std::optional<BoxPrompt> bounding_box(TensorView<const std::uint8_t, 2> mask) {
  std::optional<BoxPrompt> box;
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) {
      if (mask(y, x) == 0) continue;
      const auto column = static_cast<float>(x);
      const auto row = static_cast<float>(y);
      if (!box.has_value()) {
        box = BoxPrompt{column, row, column, row};
      } else {
        *box = {std::min(box->x0, column), box->y0, std::max(box->x1, column), row};
      }
    }
  }
  return box;
}

}  // namespace detail

/// A mask [H, W] (0 and 255) in the model's frame, as the decoder's logits are: resized as a mask,
/// then bilinear to 4 * grid. Throws `shape_mismatch`.
inline Tensor<std::uint8_t, 2> frame_target(TensorView<const std::uint8_t, 2> mask,
                                            const ModelConfig& model) {
  const ImageSize size{mask.extent(0), mask.extent(1)};
  const ImageSize target = longest_side_size(size, model.image_size);
  const Mask resized = resize_mask(mask, target);
  Tensor<float, 2> frame({model.image_size, model.image_size});
  for (Index y = 0; y < target.height; ++y) {
    for (Index x = 0; x < target.width; ++x) frame.view()(y, x) = resized.view()(y, x);
  }
  Tensor<float, 2> small({4 * model.grid(), 4 * model.grid()});
  resize_bilinear(std::as_const(frame).view(), small);
  Tensor<std::uint8_t, 2> result(small.extents());
  for (Index i = 0; i < small.size(); ++i) {
    result.data()[i] = static_cast<std::uint8_t>(std::lround(small.data()[i]));
  }
  return result;
}

/// The sample of a mask; its features lie in the cache under `key`. Without pixels.
inline TrainingSample make_sample(std::string name, std::string key,
                                  TensorView<const std::uint8_t, 2> mask,
                                  const ModelConfig& model) {
  TrainingSample sample{std::move(name),
                        std::move(key),
                        frame_geometry({mask.extent(0), mask.extent(1)}, model),
                        frame_target(mask, model),
                        {},
                        {}};
  Prompt prompt;
  prompt.box = detail::bounding_box(mask);
  sample.box = to_frame(prompt, sample.geometry).box;
  return sample;
}

/// The pixels inside and outside the object, where the image lies, as positions in the frame.
class PointSampler {
 public:
  PointSampler(const TrainingSample& sample, Index image_size) {
    const Index side = sample.target.extent(0);
    const auto scale = static_cast<float>(image_size) / static_cast<float>(side);
    const auto centre = [&](Index at) { return (static_cast<float>(at) + 0.5F) * scale - 0.5F; };
    const auto inside = [&](Index at, Index extent) { return at * image_size < extent * side; };
    for (Index y = 0; y < side && inside(y, sample.geometry.resized.height); ++y) {
      for (Index x = 0; x < side && inside(x, sample.geometry.resized.width); ++x) {
        const bool object = sample.target.view()(y, x) > 127;
        (object ? object_ : background_).push_back({centre(x), centre(y), object ? 1 : 0});
      }
    }
  }

  /// `count` points, half of them on the object, drawn with replacement and shuffled. Where there
  /// is only object or only background, all come from there.
  std::vector<PointPrompt> draw(Index count, Random& random) const {
    std::vector<PointPrompt> points;
    for (Index i = 0; i < count; ++i) {
      const bool object = background_.empty() || (!object_.empty() && i < count / 2);
      const auto& from = object ? object_ : background_;
      points.push_back(from[static_cast<std::size_t>(random.below(std::ssize(from)))]);
    }
    for (std::size_t i = points.size(); i > 1; --i) {
      std::swap(points[i - 1],
                points[static_cast<std::size_t>(random.below(static_cast<Index>(i)))]);
    }
    return points;
  }

 private:
  std::vector<PointPrompt> object_;
  std::vector<PointPrompt> background_;
};

/// The box with each side moved by up to `jitter` of the box's length, inside the frame.
inline BoxPrompt shaken_box(const BoxPrompt& box, double jitter, Index image_size, Random& random) {
  const double width = double{box.x1} - double{box.x0} + 1;
  const double height = double{box.y1} - double{box.y0} + 1;
  const auto last = static_cast<double>(image_size - 1);
  const auto moved = [&](float at, double length) {
    const double shift = random.uniform(-jitter, jitter) * length;
    return static_cast<float>(std::clamp(double{at} + shift, 0.0, last));
  };
  BoxPrompt shaken{moved(box.x0, width), moved(box.y0, height), moved(box.x1, width),
                   moved(box.y1, height)};
  const auto keep_open = [&](float& low, float& high) {
    if (high > low) return;
    low = std::min(low, static_cast<float>(last) - 1);
    high = low + 1;
  };
  keep_open(shaken.x0, shaken.x1);
  keep_open(shaken.y0, shaken.y1);
  return shaken;
}

/// True if the sample shows what a prompt of this kind needs: an object; for points, one that is
/// still there at the decoder's resolution.
inline bool can_prompt(const TrainingSample& sample, TrainPrompt prompt) {
  if (prompt == TrainPrompt::image) return true;
  if (prompt == TrainPrompt::box) return sample.box.has_value();
  return std::any_of(sample.target.elements().begin(), sample.target.elements().end(),
                     [](std::uint8_t value) { return value > 127; });
}

/// The prompt that a sample is trained with where APM predicts none. Throws `invalid_argument`,
/// naming the sample, where it shows no object and the prompt needs one.
inline Prompt given_prompt(const TrainingSample& sample, const TrainConfig& config,
                           Index image_size, bool shaken, Random& random) {
  Prompt prompt;
  if (config.prompt == TrainPrompt::image) {
    const auto last = static_cast<float>(image_size - 1);
    prompt.box = BoxPrompt{0, 0, last, last};
    return prompt;
  }
  require(can_prompt(sample, config.prompt), ErrorCode::invalid_argument, sample.name,
          ": its mask shows no object to make a prompt of");
  if (config.prompt == TrainPrompt::box) {
    prompt.box =
        shaken ? shaken_box(*sample.box, config.box_jitter, image_size, random) : *sample.box;
  } else {
    prompt.points = PointSampler(sample, image_size).draw(config.point_num, random);
  }
  return prompt;
}

}  // namespace promiseg::train
