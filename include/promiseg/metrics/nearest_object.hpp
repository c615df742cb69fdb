// For every pixel the nearest one of the object: the exact Euclidean distance transform, with
// positions instead of distances.
#pragma once

#include <cstddef>
#include <vector>

#include "promiseg/metrics/pixel_pairs.hpp"

namespace promiseg::metrics {

namespace detail {

/// [H, W]: the row of the object's nearest pixel in the same column, the upper of two; -1 if the
/// column has none.
inline Tensor<Index, 2> nearest_rows(MaskView mask) {
  Tensor<Index, 2> result(mask.extents());
  const TensorView<Index, 2> rows = result.view();
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) {
      rows(y, x) = mask(y, x) != 0 ? y : y > 0 ? rows(y - 1, x) : Index{-1};
    }
  }
  for (Index y = mask.extent(0) - 2; y >= 0; --y) {
    for (Index x = 0; x < mask.extent(1); ++x) {
      const Index above = rows(y, x);
      const Index below = rows(y + 1, x);
      if (below > y && (above < 0 || below - y < y - above)) rows(y, x) = below;
    }
  }
  return result;
}

}  // namespace detail

/// [H, W]: the offset y * W + x of the object pixel nearest to each pixel; of equally near ones
/// that of the smallest x, then y, as SciPy's `distance_transform_edt` chooses. Time and memory
/// are linear in the pixels (Meijster, Roerdink and Hesselink, "A general algorithm for computing
/// distance transforms in linear time", 2000). Throws `invalid_argument` if there is no object.
inline Tensor<Index, 2> nearest_object(MaskView mask) {
  require(detail::area_of(mask) > 0, ErrorCode::invalid_argument,
          "nearest_object: expected a mask with an object, got none in shape ",
          shape_text(mask.extents()));
  const Tensor<Index, 2> rows = detail::nearest_rows(mask);
  const Index width = mask.extent(1);
  Tensor<Index, 2> result(mask.extents());

  /// A column, and where in the row it begins to be the one with the nearest pixel.
  struct Site {
    Index column;
    Index begin;
  };
  std::vector<Site> sites;  // of one row, from left to right
  for (Index y = 0; y < mask.extent(0); ++y) {
    const auto squared_distance = [&](Index x, Index column) {
      const Index dx = x - column;
      const Index dy = y - rows.view()(y, column);
      return dx * dx + dy * dy;
    };
    sites.clear();
    for (Index column = 0; column < width; ++column) {
      if (rows.view()(y, column) < 0) continue;
      while (!sites.empty() && squared_distance(sites.back().begin, column) <
                                   squared_distance(sites.back().begin, sites.back().column)) {
        sites.pop_back();
      }
      Index begin = 0;
      if (!sites.empty()) {
        // The first x that is nearer to this column's pixel than to the last site's; a tie stays
        // with the left one.
        const Index last = sites.back().column;
        begin = (squared_distance(0, column) - squared_distance(0, last)) / (2 * (column - last));
        ++begin;
      }
      if (begin < width) sites.push_back({column, begin});
    }
    std::size_t site = 0;
    for (Index x = 0; x < width; ++x) {
      while (site + 1 < sites.size() && sites[site + 1].begin <= x) ++site;
      const Index column = sites[site].column;
      result.view()(y, x) = rows.view()(y, column) * width + column;
    }
  }
  return result;
}

}  // namespace promiseg::metrics
