// From pixels to the model's input, and from mask logits back to pixels.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "promiseg/core/image.hpp"
#include "promiseg/sam/geometry.hpp"
#include "promiseg/sam/model_config.hpp"
#include "promiseg/sam/prompts.hpp"
#include "promiseg/sam/resize.hpp"

namespace promiseg {

/// How an image was brought into the model's square frame.
struct FrameGeometry {
  ImageSize original;    ///< of the image as it was given
  ImageSize resized;     ///< inside the frame, from its top left corner; the rest is padding
  Index frame_size = 0;  ///< side of the frame

  friend bool operator==(const FrameGeometry&, const FrameGeometry&) = default;
};

/// The geometry of an image of this size for a model.
inline FrameGeometry frame_geometry(ImageSize original, const ModelConfig& config) {
  return {original, longest_side_size(original, config.image_size), config.image_size};
}

/// The image at its size inside the frame, by the model's own resize rule.
inline Image resize_for_model(ImageView image, const ModelConfig& config) {
  require_image(image);
  const ImageSize target = longest_side_size({image.extent(0), image.extent(1)}, config.image_size);
  return config.resize_rule == ResizeRule::area ? resize_area(image, target)
                                                : resize_pillow_bilinear(image, target);
}

/// The model's input [S, S, 3] from an image already resized: intensities normalised by the model's
/// rule, grey repeated to three channels, zero padding below and to the right (`Sam.preprocess`;
/// for LiteMedSAM min-max over all channels).
inline Tensor<float, 3> normalise_for_model(ImageView resized, const ModelConfig& config) {
  require_image(resized);
  require(resized.extent(0) <= config.image_size && resized.extent(1) <= config.image_size,
          ErrorCode::shape_mismatch, "resized image: expected at most ", config.image_size,
          " pixels a side, got ", shape_text(resized.extents()));
  float subtract[3] = {};
  float divide[3] = {};
  if (config.intensity_rule == IntensityRule::min_max) {
    const Image copy(resized);
    const auto [smallest, largest] =
        std::minmax_element(copy.elements().begin(), copy.elements().end());
    std::fill_n(subtract, 3, static_cast<float>(*smallest));
    std::fill_n(divide, 3, std::max(static_cast<float>(*largest - *smallest), 1e-8F));
  } else {
    for (std::size_t c = 0; c < 3; ++c) {
      subtract[c] = static_cast<float>(config.pixel_mean[c]);
      divide[c] = static_cast<float>(config.pixel_std[c]);
    }
  }
  Tensor<float, 3> input({config.image_size, config.image_size, 3});
  const auto view = input.view();
  const bool grey = resized.extent(2) == 1;
  for (Index y = 0; y < resized.extent(0); ++y) {
    for (Index x = 0; x < resized.extent(1); ++x) {
      for (Index c = 0; c < 3; ++c) {
        const auto value = static_cast<float>(resized(y, x, grey ? 0 : c));
        view(y, x, c) = (value - subtract[c]) / divide[c];
      }
    }
  }
  return input;
}

namespace detail {

/// A prompt with every coordinate scaled from one size to another, each axis by its own factor.
inline Prompt scale_prompt(const Prompt& prompt, ImageSize from, ImageSize to) {
  const auto scale = [&](float& x, float& y) {
    const ImagePoint at = scale_point({double{x}, double{y}}, from, to);
    x = static_cast<float>(at.x);
    y = static_cast<float>(at.y);
  };
  Prompt scaled = prompt;
  for (PointPrompt& point : scaled.points) scale(point.x, point.y);
  if (scaled.box.has_value()) {
    scale(scaled.box->x0, scaled.box->y0);
    scale(scaled.box->x1, scaled.box->y1);
  }
  return scaled;
}

}  // namespace detail

/// A prompt from the original image's pixels to the frame's. A mask prompt is in the frame already.
inline Prompt to_frame(const Prompt& prompt, const FrameGeometry& geometry) {
  return detail::scale_prompt(prompt, geometry.original, geometry.resized);
}

/// A prompt from the frame's pixels to the original image's; what lies in the padding comes to lie
/// outside the image.
inline Prompt from_frame(const Prompt& prompt, const FrameGeometry& geometry) {
  return detail::scale_prompt(prompt, geometry.resized, geometry.original);
}

/// Throws `invalid_argument`, saying what lies where, unless points and box (a true rectangle) lie
/// in the image; with `allow_padding`, in the model's frame.
inline void require_inside(const Prompt& prompt, const FrameGeometry& geometry,
                           bool allow_padding) {
  const ImageSize image = geometry.original;
  ImagePoint limit{static_cast<double>(image.width), static_cast<double>(image.height)};
  if (allow_padding) {
    constexpr double kRounding = 0.01;  // coordinates travel as floats and as decimal text
    const auto side = static_cast<double>(geometry.frame_size);
    limit = scale_point({side, side}, geometry.resized, image);
    limit = {limit.x + kRounding, limit.y + kRounding};
  }
  const auto inside = [&](float x, float y) {
    return x >= 0 && y >= 0 && double{x} <= limit.x && double{y} <= limit.y;
  };
  for (const PointPrompt& point : prompt.points) {
    const bool on_far_edge = double{point.x} == limit.x || double{point.y} == limit.y;
    require(inside(point.x, point.y) && !on_far_edge, ErrorCode::invalid_argument, "point ",
            point.x, ",", point.y, " lies outside the image of ", image.width, " x ", image.height,
            " pixels");
  }
  if (!prompt.box.has_value()) return;
  const BoxPrompt& box = *prompt.box;
  require(box.x0 < box.x1 && box.y0 < box.y1, ErrorCode::invalid_argument, "box ", box.x0, ",",
          box.y0, ",", box.x1, ",", box.y1, ": expected X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1");
  require(inside(box.x0, box.y0) && inside(box.x1, box.y1), ErrorCode::invalid_argument, "box ",
          box.x0, ",", box.y0, ",", box.x1, ",", box.y1, " reaches outside the image of ",
          image.width, " x ", image.height, " pixels");
}

/// Mask logits [h, w] over the whole frame, to logits at the original size: padding cropped, then
/// bilinear. SAM first enlarges to the frame (`Sam.postprocess_masks`); LiteMedSAM's logits have
/// the frame's size already, so there the first step changes nothing.
inline Tensor<float, 2> to_original(TensorView<const float, 2> logits,
                                    const FrameGeometry& geometry) {
  Tensor<float, 2> frame({geometry.frame_size, geometry.frame_size});
  resize_bilinear(logits, frame);
  Tensor<float, 2> original({geometry.original.height, geometry.original.width});
  resize_bilinear(std::as_const(frame)
                      .view()
                      .slice(0, 0, geometry.resized.height)
                      .slice(1, 0, geometry.resized.width),
                  original);
  return original;
}

/// 255 where the logits exceed the threshold, else 0.
inline Mask threshold_mask(TensorView<const float, 2> logits, double threshold) {
  Mask mask(logits.extents());
  for (Index y = 0; y < logits.extent(0); ++y) {
    for (Index x = 0; x < logits.extent(1); ++x) {
      mask.view()(y, x) = double{logits(y, x)} > threshold ? 255 : 0;
    }
  }
  return mask;
}

}  // namespace promiseg
