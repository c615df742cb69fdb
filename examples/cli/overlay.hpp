// The picture that shows what was segmented: image, objects, prompts and a legend.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "promiseg/core/image.hpp"

namespace promiseg::cli {

/// A prompt point in image pixels; (0, 0) is the centre of the top left pixel, as for SAM.
struct OverlayPoint {
  double x = 0;
  double y = 0;
  int label = 1;  ///< 1 belongs to the object, 0 to the background; others are not drawn
};

/// One object and the prompts that led to it.
struct OverlayObject {
  std::string label;                         ///< UTF-8; may be empty
  TensorView<const std::uint8_t, 2> mask;    ///< of the image's size, 0 outside; or an empty view
  std::vector<OverlayPoint> points;          ///< in image pixels
  std::optional<std::array<double, 4>> box;  ///< x0, y0, x1, y1 in image pixels, as the points
  double score = 0;                          ///< the predicted IoU; not shown unless finite
};

/// How many times `draw_overlay` enlarges an image of this size: the smallest whole number that
/// makes its longest side at least 900 pixels, so 1 from 900 pixels on. Throws `shape_mismatch`
/// unless both sides are positive.
Index overlay_scale(ImageSize size);

/// Red, green and blue of the object with this index. The first seven are those of Okabe and Ito
/// ("Color Universal Design", 2008) without black; further ones are the same hues, lighter or
/// darker.
std::array<std::uint8_t, 3> overlay_color(std::size_t index);

/// Draws objects and prompts over an image `[height, width, 1 or 3]`; returns
/// `[height', width', 3]`, RGB.
///
/// The image lies at the top left, enlarged `overlay_scale` times (Catmull-Rom interpolation): what
/// is at (x, y) in the image, measured from its outer corner, is at scale * (x, y) in the picture.
/// Lines are about two pixels wide, and grow with the root of the size in pictures of more than
/// 1200 pixels. Nothing outside an object changes but under its outline and the prompts.
///
/// With more than one object, or where any has a label, a legend (colour, label or "object N",
/// score) stands in a strip below, on as many columns as fit; only then the picture is wider than
/// the image, where the image is too narrow for text.
///
/// Throws `shape_mismatch` for a bad image or a mask of another size, `invalid_argument` for
/// prompts that are not finite, `unsupported` for a picture above 32767 pixels a side.
Image draw_overlay(ImageView image, std::span<const OverlayObject> objects);

}  // namespace promiseg::cli
