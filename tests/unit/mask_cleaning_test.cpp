// Cleaning of masks: morphology against values of OpenCV, components and holes against a flood fill
// and drawings, settings as JSON.
#include "promiseg/sam/mask_cleaning.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "error_message.hpp"
#include "promiseg/io/safetensors.hpp"

using namespace promiseg;
using promiseg_test::contains;
using promiseg_test::message_of;

namespace {

/// A mask from rows of text: '#' is inside.
Mask draw(const std::vector<std::string>& rows) {
  Mask mask({static_cast<Index>(rows.size()), static_cast<Index>(rows.at(0).size())});
  for (std::size_t y = 0; y < rows.size(); ++y) {
    REQUIRE(rows[y].size() == rows[0].size());
    for (std::size_t x = 0; x < rows[y].size(); ++x) {
      mask.view()(y, x) = rows[y][x] == '#' ? 255 : 0;
    }
  }
  return mask;
}

/// The reverse; '?' for a value that is neither 0 nor 255.
std::vector<std::string> drawing(const Mask& mask) {
  std::vector<std::string> rows;
  for (Index y = 0; y < mask.extent(0); ++y) {
    std::string& row = rows.emplace_back();
    for (Index x = 0; x < mask.extent(1); ++x) {
      const std::uint8_t value = mask.view()(y, x);
      row += value == 255 ? '#' : value == 0 ? '.' : '?';
    }
  }
  return rows;
}

using Rows = std::vector<std::string>;

/// About `percent` of the pixels inside, with values from 1 to 255.
Mask noise(Index height, Index width, std::uint32_t percent, std::uint32_t seed) {
  Mask mask({height, width});
  std::uint32_t state = seed * 2654435761U + 1U;
  for (std::uint8_t& value : mask.elements()) {
    state = state * 1664525U + 1013904223U;
    const std::uint32_t chance = (state >> 8) % 100;
    value = chance < percent ? static_cast<std::uint8_t>(1 + (state >> 16) % 255) : 0;
  }
  return mask;
}

/// The definition: any (or all) of the pixels under a kernel with its anchor at size / 2.
Mask naive_morphology(const Mask& mask, Index size, bool dilation) {
  Mask result(mask.extents());
  for (Index y = 0; y < mask.extent(0); ++y) {
    for (Index x = 0; x < mask.extent(1); ++x) {
      bool any = false;
      for (Index v = y - size / 2; v < y - size / 2 + size; ++v) {
        for (Index u = x - size / 2; u < x - size / 2 + size; ++u) {
          if (v < 0 || u < 0 || v >= mask.extent(0) || u >= mask.extent(1)) continue;
          any = any || (mask.view()(v, u) != 0) == dilation;
        }
      }
      result.view()(y, x) = any == dilation ? 255 : 0;
    }
  }
  return result;
}

/// Components by flood fill, in raster order: of each its pixels as offsets.
std::vector<std::vector<Index>> flood_components(const Mask& mask, bool inside, bool corners) {
  const Index height = mask.extent(0);
  const Index width = mask.extent(1);
  std::vector<bool> seen(static_cast<std::size_t>(mask.size()));
  std::vector<std::vector<Index>> components;
  for (Index start = 0; start < mask.size(); ++start) {
    std::vector<Index> component;
    const auto take = [&](Index y, Index x) {
      if (y < 0 || x < 0 || y >= height || x >= width) return;
      const auto at = static_cast<std::size_t>(y * width + x);
      if (seen[at] || (mask.data()[at] != 0) != inside) return;
      seen[at] = true;
      component.push_back(y * width + x);
    };
    take(start / width, start % width);
    for (std::size_t i = 0; i < component.size(); ++i) {
      const Index y = component[i] / width;
      const Index x = component[i] % width;
      for (Index dy = -1; dy <= 1; ++dy) {
        for (Index dx = -1; dx <= 1; ++dx) {
          if (corners || dy == 0 || dx == 0) take(y + dy, x + dx);
        }
      }
    }
    if (!component.empty()) components.push_back(std::move(component));
  }
  return components;
}

Mask painted(const Extents<2>& extents, const std::vector<Index>& pixels, Mask mask = {}) {
  if (mask.empty()) mask = Mask(extents);
  for (Index pixel : pixels) mask.data()[pixel] = 255;
  return mask;
}

Mask naive_fill_holes(const Mask& mask) {
  const Index width = mask.extent(1);
  Mask result(mask.extents());
  std::fill(result.elements().begin(), result.elements().end(), std::uint8_t{255});
  for (const auto& component : flood_components(mask, false, false)) {
    const bool open = std::any_of(component.begin(), component.end(), [&](Index pixel) {
      const Index y = pixel / width;
      const Index x = pixel % width;
      return y == 0 || x == 0 || y == mask.extent(0) - 1 || x == width - 1;
    });
    for (Index pixel : component) result.data()[pixel] = open ? 0 : 255;
  }
  return result;
}

void check_equal(const Mask& got, const Mask& expected) {
  REQUIRE(got.extents() == expected.extents());
  CHECK(std::equal(got.elements().begin(), got.elements().end(), expected.elements().begin()));
}

/// A mask of the fixture, which holds 0 and 1, as 0 and 255.
Mask fixture_mask(const SafetensorsFile& file, const std::string& name) {
  Mask mask(file.view<std::uint8_t, 2>(name));
  REQUIRE(std::ranges::all_of(mask.elements(), [](std::uint8_t value) { return value <= 1; }));
  for (std::uint8_t& value : mask.elements()) value = value == 1 ? 255 : 0;
  return mask;
}

}  // namespace

TEST_CASE("morphology gives OpenCV's values") {
  const SafetensorsFile file(std::filesystem::path(PROMISEG_TEST_DATA) / "fixtures" /
                             "image_ops.safetensors");
  const std::vector<std::pair<std::string, std::function<Mask(Mask, Index)>>> operations = {
      {"erode", erode}, {"dilate", dilate}, {"open", morph_open}, {"close", morph_close}};
  for (int i = 0; i < 4; ++i) {
    const std::string name = "morph" + std::to_string(i) + ".";
    const Mask input(file.view<std::uint8_t, 2>(name + "in"));
    for (const auto& [operation, call] : operations) {
      for (Index size : {3, 5}) {
        const std::string expected = name + operation + std::to_string(size);
        CAPTURE(expected);
        check_equal(call(input, size), fixture_mask(file, expected));
      }
    }
  }
}

TEST_CASE("even kernels are anchored as OpenCV anchors them") {
  // Each of these rows is what cv2 gives for ones((k, k)).
  const Mask bar = draw({"...####....."});
  CHECK(drawing(erode(bar, 2)) == Rows{"....###....."});
  CHECK(drawing(dilate(bar, 2)) == Rows{"...#####...."});
  CHECK(drawing(morph_open(bar, 2)) == Rows{"....####...."});
  CHECK(drawing(morph_close(bar, 2)) == Rows{"....####...."});
  CHECK(drawing(erode(bar, 4)) == Rows{".....#......"});
  CHECK(drawing(dilate(bar, 4)) == Rows{"..#######..."});
}

TEST_CASE("morphology follows its definition for every kernel and shape") {
  const std::vector<Extents<2>> shapes = {{1, 1}, {1, 23}, {23, 1}, {2, 2}, {17, 31}, {30, 9}};
  std::uint32_t seed = 1;
  for (const Extents<2>& shape : shapes) {
    for (std::uint32_t percent : {0U, 3U, 50U, 97U, 100U}) {
      const Mask mask = noise(shape[0], shape[1], percent, seed++);
      for (Index size : {1, 2, 3, 4, 5, 6, 9, 40, 70}) {
        CAPTURE(shape_text(shape));
        CAPTURE(percent);
        CAPTURE(size);
        check_equal(erode(mask, size), naive_morphology(mask, size, false));
        check_equal(dilate(mask, size), naive_morphology(mask, size, true));
      }
    }
  }
}

TEST_CASE("morphology takes kernels of any size from one on") {
  const Mask dot = draw({".....", "..#..", "....."});
  constexpr Index kHuge = std::numeric_limits<Index>::max();
  CHECK(drawing(dilate(dot, kHuge)) == Rows{"#####", "#####", "#####"});
  CHECK(drawing(erode(dot, kHuge)) == Rows{".....", ".....", "....."});
  CHECK(erode(Mask(), 3).empty());
  CHECK(dilate(Mask({0, 5}), 3).extents() == Extents<2>{0, 5});
  CHECK(dilate(Mask({5, 0}), 3).extents() == Extents<2>{5, 0});
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { erode(dot, 0); }), "got 0"));
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { morph_close(dot, -3); }), "got -3"));
}

TEST_CASE("objects that touch at a corner are one, unless only sides count") {
  const Mask mask = draw({
      "##...#",
      "..#.#.",
      "...#..",
      "#....#",
  });
  CHECK(component_areas(mask) == std::vector<Index>{6, 1, 1});
  CHECK(component_areas(mask, Connectivity::four) == std::vector<Index>{2, 1, 1, 1, 1, 1, 1});
  CHECK(drawing(largest_component(mask)) == Rows{"##...#", "..#.#.", "...#..", "......"});
  CHECK(drawing(largest_component(mask, Connectivity::four)) ==
        Rows{"##....", "......", "......", "......"});
  CHECK(drawing(remove_small_components(mask, 2)) == drawing(largest_component(mask)));
}

TEST_CASE("the parts of a spiral and of a comb are one object") {
  CHECK(component_areas(draw({"#.#.#.#", "#.#.#.#", "#######", "......."})) ==
        std::vector<Index>{15});
  const Mask spiral = draw({
      "#######",
      "......#",
      "#####.#",
      "#...#.#",
      "#.###.#",
      "#.....#",
      "#######",
  });
  CHECK(component_areas(spiral, Connectivity::four).size() == 1);
  CHECK(drawing(fill_holes(spiral)) == drawing(spiral));
}

TEST_CASE("of equal objects the first is kept") {
  CHECK(drawing(largest_component(draw({".##.", "....", "##.."}))) == Rows{".##.", "....", "...."});
  // The one whose first pixel comes first, although the other has the first long run.
  CHECK(drawing(largest_component(draw({"#....", "#.###", "#...."}))) ==
        Rows{"#....", "#....", "#...."});
}

TEST_CASE("the smallest area that stays is the one given") {
  const Mask mask = draw({"#.##.###", "........", ".......#"});
  CHECK(drawing(remove_small_components(mask, 1)) == drawing(mask));
  CHECK(drawing(remove_small_components(mask, 2)) == Rows{"..##.###", "........", "........"});
  CHECK(drawing(remove_small_components(mask, 3)) == Rows{".....###", "........", "........"});
  CHECK(drawing(remove_small_components(mask, 4)) == Rows{"........", "........", "........"});
}

TEST_CASE("holes are filled, bays and the background are not") {
  CHECK(drawing(fill_holes(
            draw({".######.", ".#..#.#.", ".######.", ".#......", ".#.###.#", ".###.#.#"}))) ==
        Rows{".######.", ".######.", ".######.", ".#......", ".#.###.#", ".###.#.#"});
  SUBCASE("a diagonal outline encloses") {
    CHECK(drawing(fill_holes(draw({"..#..", ".#.#.", "..#.."}))) ==
          Rows{"..#..", ".###.", "..#.."});
  }
  SUBCASE("what is inside a hole is part of the filled object") {
    CHECK(drawing(fill_holes(draw({"#####", "#...#", "#.#.#", "#...#", "#####"}))) ==
          Rows(5, "#####"));
  }
  SUBCASE("the mask's border closes nothing") {
    CHECK(drawing(fill_holes(draw({"#.#", "#.#", "###"}))) == Rows{"#.#", "#.#", "###"});
    CHECK(drawing(fill_holes(draw({"###", "..#", "###"}))) == Rows{"###", "..#", "###"});
  }
}

TEST_CASE("components and holes are those of a flood fill") {
  const std::vector<Extents<2>> shapes = {{1, 1}, {1, 40}, {40, 1}, {2, 3}, {37, 53}, {64, 64}};
  std::uint32_t seed = 100;
  for (const Extents<2>& shape : shapes) {
    for (std::uint32_t percent : {0U, 10U, 35U, 42U, 50U, 60U, 75U, 95U, 100U}) {
      const Mask mask = noise(shape[0], shape[1], percent, seed++);
      CAPTURE(shape_text(shape));
      CAPTURE(percent);
      for (bool corners : {false, true}) {
        const Connectivity connectivity = corners ? Connectivity::eight : Connectivity::four;
        const auto components = flood_components(mask, true, corners);
        std::vector<Index> areas;
        Mask big(shape);
        std::vector<Index> largest;
        for (const auto& component : components) {
          const auto area = static_cast<Index>(component.size());
          areas.push_back(area);
          if (area >= 4) big = painted(shape, component, std::move(big));
          if (component.size() > largest.size()) largest = component;
        }
        std::sort(areas.begin(), areas.end(), std::greater<>());
        CHECK(component_areas(mask, connectivity) == areas);
        check_equal(largest_component(mask, connectivity), painted(shape, largest));
        check_equal(remove_small_components(mask, 4, connectivity), big);
      }
      check_equal(fill_holes(mask), naive_fill_holes(mask));
    }
  }
}

TEST_CASE("masks without pixels pass through") {
  for (const Extents<2>& shape : {Extents<2>{0, 0}, Extents<2>{0, 7}, Extents<2>{7, 0}}) {
    const Mask mask(shape);
    CHECK(component_areas(mask).empty());
    CHECK(largest_component(mask).extents() == shape);
    CHECK(remove_small_components(mask, 5).extents() == shape);
    CHECK(fill_holes(mask).extents() == shape);
  }
}

TEST_CASE("cleaning that is off changes nothing") {
  const Mask labels = noise(13, 21, 60, 7);
  check_equal(clean(labels, MaskCleaning{}), labels);
  MaskCleaning ones;
  ones.open = 1;
  ones.close = 1;
  ones.min_area = 1;
  check_equal(clean(labels, ones), labels);
}

TEST_CASE("cleaning works in its order") {
  SUBCASE("opening parts what a bridge joins, before the largest is chosen") {
    const Mask mask = draw({
        "####.....",
        "####..###",
        "#########",
        "####..###",
    });
    MaskCleaning cleaning;
    cleaning.open = 3;
    cleaning.largest_component = true;
    CHECK(drawing(clean(mask, cleaning)) ==
          Rows{"####.....", "####.....", "####.....", "####....."});
  }
  SUBCASE("opening comes before closing") {
    MaskCleaning cleaning;
    cleaning.open = 3;
    cleaning.close = 3;
    const Mask mask = noise(40, 50, 80, 3);
    check_equal(clean(mask, cleaning), morph_close(morph_open(mask, 3), 3));
  }
  SUBCASE("a filled hole counts for the area, and for what is largest") {
    const Mask mask = draw({
        "####......",
        "#..#.#####",
        "#..#.####.",
        "####.####.",
    });
    MaskCleaning cleaning;
    cleaning.fill_holes = true;
    cleaning.min_area = 14;
    cleaning.largest_component = true;
    CHECK(drawing(clean(mask, cleaning)) == Rows(4, "####......"));
    cleaning.fill_holes = false;
    cleaning.min_area = 13;
    CHECK(drawing(clean(mask, cleaning)) ==
          Rows{"..........", ".....#####", ".....####.", ".....####."});
  }
}

TEST_CASE("cleaning refuses settings out of range") {
  const auto message = [](auto member, auto value) {
    MaskCleaning cleaning;
    cleaning.*member = value;
    return message_of(ErrorCode::invalid_argument, [&] { clean(Mask({2, 2}), cleaning); });
  };
  CHECK(contains(message(&MaskCleaning::open, -1), "open"));
  CHECK(contains(message(&MaskCleaning::close, 8193), "close"));
  CHECK(contains(message(&MaskCleaning::min_area, -1), "min_area"));
  CHECK(contains(message(&MaskCleaning::threshold, 1.0), "threshold"));
}

TEST_CASE("cleaning travels through JSON") {
  MaskCleaning cleaning;
  cleaning.threshold = 0.25;
  cleaning.open = 5;
  cleaning.close = 4;
  cleaning.largest_component = true;
  cleaning.min_area = 120;
  cleaning.fill_holes = true;
  MaskCleaning back;
  apply_json(Json::parse(to_json(cleaning).dump()), back);
  CHECK(back == cleaning);

  apply_json(Json::parse(R"({"open": 0})"), back);
  CHECK(back.open == 0);
  CHECK(back.min_area == 120);  // what is not named stays
}

TEST_CASE("JSON that does not fit is refused, and changes nothing") {
  const auto message = [](const char* text) {
    MaskCleaning cleaning;
    const std::string what =
        message_of(ErrorCode::invalid_argument, [&] { apply_json(Json::parse(text), cleaning); });
    CHECK(cleaning == MaskCleaning{});
    return what;
  };
  CHECK(contains(message(R"({"open": 3, "opening": 5})"), "opening"));
  CHECK(contains(message(R"({"close": "5"})"), "close"));
  CHECK(contains(message(R"({"open": 3, "close": 2.5})"), "close"));
  CHECK(contains(message(R"({"open": -1})"), "open"));
  CHECK(contains(message(R"({"open": 100000})"), "open"));
  CHECK(contains(message(R"({"min_area": -5})"), "min_area"));
  CHECK(contains(message(R"({"fill_holes": 1})"), "fill_holes"));
  CHECK(contains(message(R"({"threshold": 0})"), "threshold"));
  CHECK(contains(message(R"({"open": 3, "threshold": 1.5})"), "threshold"));
  CHECK(contains(message("[]"), "an array"));
}

TEST_CASE("the logit of a probability") {
  CHECK(logit_threshold(0.5) == 0.0F);
  for (double probability : {1e-12, 0.01, 0.3, 0.9, 0.9999}) {
    const double logit = logit_threshold(probability);
    CHECK(1.0 / (1.0 + std::exp(-logit)) == doctest::Approx(probability).epsilon(1e-5));
  }
  CHECK(std::isfinite(logit_threshold(std::numeric_limits<double>::denorm_min())));
  CHECK(std::isfinite(logit_threshold(std::nextafter(1.0, 0.0))));
  for (double probability : {0.0, 1.0, -0.5, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { logit_threshold(probability); }),
                   "logit_threshold"));
  }
}
