// Contrast-limited adaptive histogram equalisation (Zuiderveld, 1994), of an image's brightness.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "promiseg/core/image.hpp"
#include "promiseg/train/augmentation/filter.hpp"

namespace promiseg {
namespace detail {

using Histogram = std::array<std::int64_t, 256>;

/// Brightness of every pixel: the value of grey, and of colours Rec. 601's mixture.
inline Tensor<std::uint8_t, 2> luminance(ImageView image) {
  Tensor<std::uint8_t, 2> grey(Extents<2>{image.extent(0), image.extent(1)});
  for (Index y = 0; y < image.extent(0); ++y) {
    for (Index x = 0; x < image.extent(1); ++x) {
      grey.view()(y, x) =
          image.extent(2) == 1
              ? image(y, x, 0)
              : static_cast<std::uint8_t>(
                    (77 * image(y, x, 0) + 150 * image(y, x, 1) + 29 * image(y, x, 2) + 128) / 256);
    }
  }
  return grey;
}

/// No value counts more than `limit`; what that cuts off is shared among all values.
inline void clip_histogram(Histogram& histogram, std::int64_t limit) {
  std::int64_t excess = 0;
  for (std::int64_t& count : histogram) {
    excess += std::max<std::int64_t>(count - limit, 0);
    count = std::min(count, limit);
  }
  std::int64_t shared = 0;
  for (std::size_t value = 0; value < histogram.size(); ++value) {
    const std::int64_t until = excess * (static_cast<std::int64_t>(value) + 1) / 256;
    histogram[value] += until - shared;
    shared = until;
  }
}

/// What every brightness becomes, by the histogram of `tile`. A tile of one value has no contrast
/// to raise and stays as it is: the black around an image stays black.
inline void make_clahe_table(TensorView<const std::uint8_t, 2> tile, double clip_limit,
                             TensorView<std::uint8_t, 1> table) {
  Histogram histogram{};
  for (Index y = 0; y < tile.extent(0); ++y) {
    for (Index x = 0; x < tile.extent(1); ++x) ++histogram[tile(y, x)];
  }
  const auto area = static_cast<std::int64_t>(tile.size());
  const bool flat = *std::max_element(histogram.begin(), histogram.end()) == area;
  const double limit = clip_limit * static_cast<double>(area) / 256.0;
  clip_histogram(histogram, std::max<std::int64_t>(std::llround(limit), 1));
  std::int64_t below = 0;
  for (std::size_t value = 0; value < histogram.size(); ++value) {
    below += histogram[value];
    table(value) = static_cast<std::uint8_t>(flat ? static_cast<std::int64_t>(value)
                                                  : (2 * 255 * below + area) / (2 * area));
  }
}

/// Tables `[rows, columns, 256]`, one for each tile of a grid over the image.
inline Tensor<std::uint8_t, 3> make_clahe_tables(TensorView<const std::uint8_t, 2> grey,
                                                 double clip_limit, Index rows, Index columns) {
  const auto strip = [](TensorView<const std::uint8_t, 2> part, std::size_t axis, Index tile,
                        Index tiles) {
    const Index begin = part.extent(axis) * tile / tiles;
    return part.slice(axis, begin, part.extent(axis) * (tile + 1) / tiles - begin);
  };
  Tensor<std::uint8_t, 3> tables(Extents<3>{rows, columns, 256});
  for (Index row = 0; row < rows; ++row) {
    const auto row_tables = tables.view().select(0, row);
    for (Index column = 0; column < columns; ++column) {
      const auto tile = strip(strip(grey, 0, row, rows), 1, column, columns);
      make_clahe_table(tile, clip_limit, row_tables.select(0, column));
    }
  }
  return tables;
}

/// The two tiles along one axis whose centres a pixel lies between, and the second's share.
struct TilePair {
  Index first;
  Index second;
  std::int32_t second_weight;  ///< out of 256
};

inline TilePair tiles_around(Index pixel, Index size, Index tiles) {
  // The pixel's centre in tiles, from the first tile's centre, is distance / (2 size).
  const Index distance = std::max<Index>((2 * pixel + 1) * tiles - size, 0);
  const Index first = distance / (2 * size);
  const Index weight = distance % (2 * size) * 256 / (2 * size);
  return {first, std::min(first + 1, tiles - 1), static_cast<std::int32_t>(weight)};
}

inline std::int32_t equalised(TensorView<const std::uint8_t, 3> tables, const TilePair& rows,
                              const TilePair& columns, std::uint8_t value) {
  const auto along_row = [&](Index row) -> std::int32_t {
    return tables(row, columns.first, value) * (256 - columns.second_weight) +
           tables(row, columns.second, value) * columns.second_weight;
  };
  const std::int32_t sum = along_row(rows.first) * (256 - rows.second_weight) +
                           along_row(rows.second) * rows.second_weight;
  return (sum + 256 * 128) / (256 * 256);
}

}  // namespace detail

/// Raises the contrast of each of `tiles` x `tiles` parts, going over smoothly from part to part;
/// an image with fewer pixels has fewer parts. `clip_limit` is how often a value may occur, as a
/// multiple of a flat histogram's; it limits how much contrast is raised. Colours change by the
/// same amount in every channel.
inline Image clahe(ImageView image, double clip_limit, Index tiles) {
  require_image(image);
  require(clip_limit >= 1.0 && clip_limit <= 256.0 && tiles >= 1, ErrorCode::invalid_argument,
          "clahe: expected a clip limit of 1 to 256 and at least one tile, got ", clip_limit,
          " and ", tiles);
  const Index height = image.extent(0);
  const Index width = image.extent(1);
  const Index rows = std::min(tiles, height);
  const Index columns = std::min(tiles, width);
  const Tensor<std::uint8_t, 2> grey = detail::luminance(image);
  const Tensor<std::uint8_t, 3> tables = detail::make_clahe_tables(grey, clip_limit, rows, columns);

  Image result(image);
  std::uint8_t* sample = result.data();
  const std::uint8_t* value = grey.data();
  for (Index y = 0; y < height; ++y) {
    const detail::TilePair row_pair = detail::tiles_around(y, height, rows);
    for (Index x = 0; x < width; ++x, ++value) {
      const detail::TilePair column_pair = detail::tiles_around(x, width, columns);
      const std::int32_t change =
          detail::equalised(tables.view(), row_pair, column_pair, *value) - *value;
      for (Index c = 0; c < image.extent(2); ++c, ++sample) {
        *sample = detail::saturate(*sample + change);
      }
    }
  }
  return result;
}

}  // namespace promiseg
