// Connected components of masks: sizes, selection, holes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "promiseg/core/image.hpp"

namespace promiseg {

/// Which pixels are neighbours: those that share a side, or also those that share a corner.
enum class Connectivity { four, eight };

namespace detail {

/// Consecutive pixels of one row, [begin, end).
struct PixelRun {
  Index begin = 0;
  Index end = 0;
};

/// Calls `visit` with every longest run of one row whose pixels are `inside` (or all are not), from
/// left to right.
template <class Visit>
void visit_runs(const Mask& mask, Index row, bool inside, const Visit& visit) {
  const Index width = mask.extent(1);
  const std::uint8_t* pixels = mask.data() + row * width;
  Index x = 0;
  while (true) {
    while (x < width && (pixels[x] != 0) != inside) ++x;
    if (x == width) return;
    PixelRun run{x, x};
    while (run.end < width && (pixels[run.end] != 0) == inside) ++run.end;
    visit(run);
    x = run.end;
  }
}

/// Disjoint sets with areas: one number for each element.
class AreaSets {
 public:
  void reserve(std::size_t count) { links_.reserve(count); }

  /// A new set of one element, which gets the next free number.
  std::size_t add(Index area) {
    links_.push_back(-area);
    return links_.size() - 1;
  }

  std::size_t find(std::size_t element) {
    while (links_[element] >= 0) {
      const auto parent = static_cast<std::size_t>(links_[element]);
      if (links_[parent] < 0) return parent;
      links_[element] = links_[parent];
      element = static_cast<std::size_t>(links_[element]);
    }
    return element;
  }

  void join(std::size_t a, std::size_t b) {
    a = find(a);
    b = find(b);
    if (a == b) return;
    if (area(a) < area(b)) std::swap(a, b);
    links_[a] += links_[b];
    links_[b] = static_cast<Index>(a);
  }

  std::size_t size() const { return links_.size(); }
  bool is_root(std::size_t element) const { return links_[element] < 0; }
  Index area(std::size_t root) const { return -links_[root]; }

 private:
  std::vector<Index> links_;  // of a root minus its area, of another element its parent
};

/// Runs of a mask, numbered from 1 in raster order and joined into components; set 0 is the world
/// beyond the mask. Only the sets are kept, eight bytes a run: who needs the runs again walks the
/// mask again in the same order.
class RunComponents {
 public:
  /// Components of the pixels that are `inside` or of those that are not; with `open_border` those
  /// at the mask's border are one with the world beyond.
  RunComponents(const Mask& mask, bool inside, Connectivity connectivity, bool open_border) {
    const Index height = mask.extent(0);
    std::size_t count = 1;
    for (Index y = 0; y < height; ++y) {
      visit_runs(mask, y, inside, [&](PixelRun /*run*/) { ++count; });
    }
    sets_.reserve(count);
    sets_.add(std::numeric_limits<Index>::max() / 2);  // heavy, so that it stays the root

    std::vector<PixelRun> above;
    std::vector<PixelRun> current;
    for (Index y = 0; y < height; ++y) {
      std::swap(above, current);
      current.clear();
      const std::size_t first = sets_.size();
      visit_runs(mask, y, inside, [&](PixelRun run) {
        const std::size_t number = sets_.add(run.end - run.begin);
        const bool at_border =
            y == 0 || y == height - 1 || run.begin == 0 || run.end == mask.extent(1);
        if (open_border && at_border) sets_.join(kWorld, number);
        current.push_back(run);
      });
      join_rows(above, current, first, connectivity == Connectivity::eight ? 1 : 0);
    }
  }

  static constexpr std::size_t kWorld = 0;

  AreaSets& sets() { return sets_; }

 private:
  /// Joins neighbours of two rows; `first` is the number of the lower row's first run, and the
  /// upper row's come right before it.
  void join_rows(const std::vector<PixelRun>& above, const std::vector<PixelRun>& current,
                 std::size_t first, Index reach) {
    const std::size_t first_above = first - above.size();
    for (std::size_t i = 0, j = 0; i < above.size() && j < current.size();) {
      if (above[i].begin < current[j].end + reach && current[j].begin < above[i].end + reach) {
        sets_.join(first_above + i, first + j);
      }
      above[i].end < current[j].end ? ++i : ++j;
    }
  }

  AreaSets sets_;
};

/// Writes 255 where `keep`, called with the number of a run of inside pixels, says so, else 0.
template <class Keep>
void keep_runs(Mask& mask, const Keep& keep) {
  std::size_t number = RunComponents::kWorld;
  for (Index y = 0; y < mask.extent(0); ++y) {
    std::uint8_t* row = mask.data() + y * mask.extent(1);
    visit_runs(mask, y, true, [&](PixelRun run) {
      const std::uint8_t value = keep(++number) ? 255 : 0;
      std::fill(row + run.begin, row + run.end, value);
    });
  }
}

}  // namespace detail

// In all of these any value but 0 is inside and the result is 0 or 255. Objects are 8-connected
// unless asked otherwise, as in OpenCV and scikit-image (SciPy's default is 4). Time grows with the
// pixels, extra memory with the runs of equal pixels along the rows: 8 bytes each.

/// Areas of all components in pixels, the largest first; as many as there are components.
inline std::vector<Index> component_areas(const Mask& mask,
                                          Connectivity connectivity = Connectivity::eight) {
  detail::RunComponents components(mask, true, connectivity, false);
  const detail::AreaSets& sets = components.sets();
  std::vector<Index> areas;
  for (std::size_t i = components.kWorld + 1; i < sets.size(); ++i) {
    if (sets.is_root(i)) areas.push_back(sets.area(i));
  }
  std::sort(areas.begin(), areas.end(), std::greater<>());
  return areas;
}

/// The component with the most pixels; of equals the one that comes first in raster order.
inline Mask largest_component(Mask mask, Connectivity connectivity = Connectivity::eight) {
  detail::RunComponents components(mask, true, connectivity, false);
  detail::AreaSets& sets = components.sets();
  std::size_t largest = components.kWorld;
  for (std::size_t i = components.kWorld + 1; i < sets.size(); ++i) {
    const std::size_t root = sets.find(i);
    if (largest == components.kWorld || sets.area(root) > sets.area(largest)) largest = root;
  }
  detail::keep_runs(mask, [&](std::size_t run) { return sets.find(run) == largest; });
  return mask;
}

/// Without the components of fewer than `min_area` pixels.
inline Mask remove_small_components(Mask mask, Index min_area,
                                    Connectivity connectivity = Connectivity::eight) {
  detail::RunComponents components(mask, true, connectivity, false);
  detail::AreaSets& sets = components.sets();
  detail::keep_runs(mask, [&](std::size_t run) { return sets.area(sets.find(run)) >= min_area; });
  return mask;
}

/// With every hole filled: every 4-connected part of the background that does not touch the mask's
/// border. Four neighbours for holes is what goes with eight for objects: a diagonal line is
/// closed.
inline Mask fill_holes(Mask mask) {
  detail::RunComponents components(mask, false, Connectivity::four, true);
  detail::AreaSets& sets = components.sets();
  std::size_t number = components.kWorld;
  for (Index y = 0; y < mask.extent(0); ++y) {
    std::uint8_t* row = mask.data() + y * mask.extent(1);
    Index done = 0;
    detail::visit_runs(mask, y, false, [&](detail::PixelRun run) {
      std::fill(row + done, row + run.begin, std::uint8_t{255});
      const std::uint8_t value = sets.find(++number) == components.kWorld ? 0 : 255;
      std::fill(row + run.begin, row + run.end, value);
      done = run.end;
    });
    std::fill(row + done, row + mask.extent(1), std::uint8_t{255});
  }
  return mask;
}

}  // namespace promiseg
