// The strip below an overlay's image: what the colours mean.
#pragma once

#include <cairo.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "overlay.hpp"

namespace promiseg::cli {

struct LegendEntry {
  std::string label;
  std::string score;
  double label_width = 0;
};

/// The strip below the image: entries on a grid, row by row.
struct Legend {
  static constexpr double kFontSize = 15;
  static constexpr double kLineHeight = 25;
  static constexpr double kMargin = 14;
  static constexpr double kSwatch = 14;
  static constexpr double kGap = 9;  // between swatch, label and score
  static constexpr double kColumnGap = 28;
  static constexpr double kMinWidth = 240;

  std::vector<LegendEntry> entries;
  std::size_t columns = 1;
  double column_width = 0;
  double unit = 1;
  Index width = 0;
  Index height = 0;  // 0: there is no legend
};

/// The legend of a picture of that size; none, of height 0, for one object without a label.
Legend lay_out_legend(std::span<const OverlayObject> objects, Index image_width,
                      Index image_height);

/// Draws the legend with its upper edge at `top`.
void draw_legend(cairo_t* pen, const Legend& legend, double top);

}  // namespace promiseg::cli
