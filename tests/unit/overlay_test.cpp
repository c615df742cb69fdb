#include "overlay.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mask_outline.hpp"

namespace {

using namespace promiseg;
using namespace promiseg::cli;

using Rgb = std::array<std::uint8_t, 3>;

Image filled_image(Index height, Index width, const Rgb& color) {
  Image image({height, width, 3});
  for (std::size_t i = 0; i < image.elements().size(); ++i) image.elements()[i] = color[i % 3];
  return image;
}

/// Grey values that differ from pixel to pixel.
Image textured_image(Index height, Index width) {
  Image image({height, width, 1});
  for (Index i = 0; i < image.size(); ++i) {
    image.data()[i] = static_cast<std::uint8_t>((i * 37 + i / width * 11) % 200);
  }
  return image;
}

Mask rectangle(Index height, Index width, Index x0, Index y0, Index x1, Index y1) {
  Mask mask({height, width});
  for (Index y = y0; y < y1; ++y) {
    for (Index x = x0; x < x1; ++x) mask.view()(y, x) = 255;
  }
  return mask;
}

OverlayObject object_of(const Mask& mask) { return {"", mask.view(), {}, std::nullopt, 0.5}; }

Image draw(const Image& image, const std::vector<OverlayObject>& objects) {
  return draw_overlay(image.view(), objects);
}

Rgb pixel(const Image& image, Index x, Index y) {
  if (x < 0 || y < 0 || y >= image.extent(0) || x >= image.extent(1)) {
    FAIL("no pixel at ", x, ", ", y);
  }
  const auto view = image.view();
  return {view(y, x, 0), view(y, x, 1), view(y, x, 2)};
}

bool near(const Rgb& a, const Rgb& b, int tolerance) {
  for (std::size_t c = 0; c < 3; ++c) {
    if (std::abs(int{a[c]} - int{b[c]}) > tolerance) return false;
  }
  return true;
}

Rgb tinted(const Rgb& below, const Rgb& color) {
  Rgb result{};
  for (std::size_t c = 0; c < 3; ++c) {
    result[c] = static_cast<std::uint8_t>(std::lround(0.75 * below[c] + 0.25 * color[c]));
  }
  return result;
}

bool same(const Image& a, const Image& b) {
  return a.extents() == b.extents() &&
         std::equal(a.elements().begin(), a.elements().end(), b.elements().begin());
}

ErrorCode code_of(const Image& image, const std::vector<OverlayObject>& objects) {
  try {
    draw(image, objects);
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("expected promiseg::Error");
  return ErrorCode::io;
}

/// Whether a pixel's centre lies within the outlines, by the even-odd rule.
bool encloses(const MaskOutlines& outlines, Index x, Index y) {
  const double at_x = static_cast<double>(2 * x + 1);
  const double at_y = static_cast<double>(2 * y + 1) + 0.25;  // passes by all corners
  bool inside = false;
  for (std::size_t i = 0; i < outlines.ends.size(); ++i) {
    const auto outline = outlines.outline(i);
    for (std::size_t k = 0; k < outline.size(); ++k) {
      const OutlinePoint a = outline[k];
      const OutlinePoint b = outline[(k + 1) % outline.size()];
      if ((a.y > at_y) == (b.y > at_y)) continue;
      const double crossing = a.x + (at_y - a.y) * (b.x - a.x) / (b.y - a.y);
      if (crossing > at_x) inside = !inside;
    }
  }
  return inside;
}

}  // namespace

TEST_CASE("outline: one pixel is a diamond, clockwise") {
  const MaskOutlines outlines = trace_outlines(rectangle(5, 7, 3, 2, 4, 3).view());
  REQUIRE(outlines.ends == std::vector<std::size_t>{4});
  CHECK(outlines.points == std::vector<OutlinePoint>{{7, 4}, {8, 5}, {7, 6}, {6, 5}});
}

TEST_CASE("outline: straight runs are single segments, also on the image's border") {
  const MaskOutlines outlines = trace_outlines(rectangle(20, 30, 0, 0, 30, 20).view());
  REQUIRE(outlines.ends == std::vector<std::size_t>{8});
  std::set<std::pair<int, int>> corners;
  for (const OutlinePoint& point : outlines.points) corners.insert({point.x, point.y});
  CHECK(corners == std::set<std::pair<int, int>>{
                       {1, 0}, {59, 0}, {60, 1}, {60, 39}, {59, 40}, {1, 40}, {0, 39}, {0, 1}});
}

TEST_CASE("outline: holes have their own, touching corners connect, nothing gives nothing") {
  Mask ring = rectangle(9, 9, 1, 1, 8, 8);
  ring.view()(4, 4) = 0;
  CHECK(trace_outlines(ring.view()).ends.size() == 2);

  Mask diagonal({4, 4});
  diagonal.view()(1, 1) = 1;
  diagonal.view()(2, 2) = 1;
  CHECK(trace_outlines(diagonal.view()).ends.size() == 1);

  CHECK(trace_outlines(Mask({4, 4}).view()).ends.empty());
  CHECK(trace_outlines(MaskView()).ends.empty());
}

TEST_CASE("outline: encloses exactly the pixels of any mask") {
  std::uint32_t state = 1;
  for (const std::uint32_t density : {20u, 50u, 80u}) {
    Mask mask({23, 31});
    for (std::uint8_t& value : mask.elements()) {
      state = state * 1664525u + 1013904223u;
      value = (state >> 16) % 100 < density ? 7 : 0;
    }
    // Once as it lies in memory, once mirrored and transposed.
    const MaskView transposed(mask.data() + 30, {31, 23}, {-1, 31});
    for (const MaskView& view : {MaskView(mask.view()), transposed}) {
      const MaskOutlines outlines = trace_outlines(view);
      int wrong = 0;
      for (Index y = 0; y < view.extent(0); ++y) {
        for (Index x = 0; x < view.extent(1); ++x) {
          wrong += encloses(outlines, x, y) != (view(y, x) != 0);
        }
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("overlay: scale") {
  CHECK(overlay_scale({1, 1}) == 900);
  CHECK(overlay_scale({300, 484}) == 2);
  CHECK(overlay_scale({450, 100}) == 2);
  CHECK(overlay_scale({449, 100}) == 3);
  CHECK(overlay_scale({100, 899}) == 2);
  CHECK(overlay_scale({900, 900}) == 1);
  CHECK(overlay_scale({4000, 6000}) == 1);
  CHECK_THROWS_AS(overlay_scale({0, 5}), Error);
}

TEST_CASE("overlay: the first 255 colours differ") {
  std::set<Rgb> colors;
  for (std::size_t i = 0; i < 255; ++i) colors.insert(overlay_color(i));
  CHECK(colors.size() == 255);
  CHECK(overlay_color(1) == Rgb{230, 159, 0});
}

TEST_CASE("overlay: without objects it is the enlarged image") {
  SUBCASE("large images stay as they are, grey and RGB") {
    const Image grey = textured_image(40, 900);
    const Image picture = draw(grey, {});
    REQUIRE(picture.extents() == Extents<3>{40, 900, 3});
    bool equal = true;
    for (Index y = 0; y < 40; ++y) {
      for (Index x = 0; x < 900; ++x) {
        const std::uint8_t value = grey.view()(y, x, 0);
        equal = equal && pixel(picture, x, y) == Rgb{value, value, value};
      }
    }
    CHECK(equal);
    const Image color = filled_image(900, 3, {10, 120, 250});
    CHECK(same(draw(color, {}), color));
  }
  SUBCASE("small ones keep even areas, edges in their place, and the range of values") {
    CHECK(same(draw(filled_image(300, 200, {10, 120, 250}), {}),
               filled_image(900, 600, {10, 120, 250})));
    Image step({10, 100, 1});
    for (Index y = 0; y < 10; ++y) {
      for (Index x = 50; x < 100; ++x) step.view()(y, x, 0) = 200;
    }
    const Image picture = draw(step, {});
    REQUIRE(picture.extents() == Extents<3>{90, 900, 3});
    CHECK(pixel(picture, 430, 45) == Rgb{0, 0, 0});
    CHECK(pixel(picture, 470, 45) == Rgb{200, 200, 200});
    // The middle of the step lies on the border between the pixels 49 and 50.
    CHECK(int{pixel(picture, 449, 45)[0]} < 100);
    CHECK(int{pixel(picture, 450, 45)[0]} > 100);
    CHECK(pixel(picture, 449, 45)[0] + pixel(picture, 450, 45)[0] ==
          doctest::Approx(200).epsilon(0.02));
  }
  SUBCASE("views with any strides") {
    const Image grey = textured_image(30, 20);
    Image turned({20, 30, 1});
    for (Index y = 0; y < 20; ++y) {
      for (Index x = 0; x < 30; ++x) turned.view()(y, x, 0) = grey.view()(x, y, 0);
    }
    CHECK(same(draw_overlay(ImageView(grey.view()).permuted({1, 0, 2}), {}), draw(turned, {})));
  }
}

TEST_CASE("overlay: tint inside, line on the border, nothing outside") {
  const Rgb color = overlay_color(0);
  for (const Index scale : {Index{1}, Index{3}}) {
    CAPTURE(scale);
    const Index size = 900 / scale;
    const Image image = textured_image(size, size);
    const Image plain = draw(image, {});
    const Mask mask = rectangle(size, size, 100, 50, 200, 150);
    const Image picture = draw(image, {object_of(mask)});
    REQUIRE(picture.extents() == plain.extents());

    bool outside_kept = true;
    bool inside_tinted = true;
    const Index margin = 3;
    for (Index y = 0; y < 900; ++y) {
      for (Index x = 0; x < 900; ++x) {
        const bool far_outside = x < 100 * scale - margin || x >= 200 * scale + margin ||
                                 y < 50 * scale - margin || y >= 150 * scale + margin;
        const bool deep_inside = x >= 100 * scale + margin && x < 200 * scale - margin &&
                                 y >= 50 * scale + margin && y < 150 * scale - margin;
        if (far_outside && pixel(picture, x, y) != pixel(plain, x, y)) outside_kept = false;
        if (deep_inside && !near(pixel(picture, x, y), tinted(pixel(plain, x, y), color), 2)) {
          inside_tinted = false;
        }
      }
    }
    CHECK(outside_kept);
    CHECK(inside_tinted);
    // Two pixels wide, one on either side of the border; the halo darkens what is next to it.
    for (const Index x : {100 * scale, 200 * scale}) {
      CHECK(near(pixel(picture, x - 1, 100 * scale), color, 2));
      CHECK(near(pixel(picture, x, 100 * scale), color, 2));
    }
    CHECK(near(pixel(picture, 150 * scale, 50 * scale), color, 2));
    CHECK(near(pixel(picture, 150 * scale, 150 * scale - 1), color, 2));
    CHECK(int{pixel(picture, 100 * scale - 2, 100 * scale)[0]} <=
          int{pixel(plain, 100 * scale - 2, 100 * scale)[0]} / 2 + 2);
  }
}

TEST_CASE("overlay: holes are outlined and stay clear") {
  const Image image = filled_image(300, 300, {90, 90, 90});
  Mask mask = rectangle(300, 300, 50, 50, 250, 250);
  for (Index y = 100; y < 200; ++y) {
    for (Index x = 100; x < 200; ++x) mask.view()(y, x) = 0;
  }
  const Image picture = draw(image, {object_of(mask)});
  CHECK(pixel(picture, 450, 450) == Rgb{90, 90, 90});
  CHECK(near(pixel(picture, 300, 450), overlay_color(0), 2));
  CHECK(near(pixel(picture, 225, 450), tinted({90, 90, 90}, overlay_color(0)), 2));
}

TEST_CASE("overlay: long outlines stay in one piece and get no chords") {
  // A comb whose outline takes more than one portion of the path.
  const Index width = 3200;
  const Index height = 80;
  Mask mask({height, width});
  for (Index x = 16; x < width - 16; ++x) {
    for (Index y = (x / 16) % 2 == 0 ? 10 : 50; y < 70; ++y) mask.view()(y, x) = 1;
  }
  REQUIRE(trace_outlines(mask.view()).points.size() > 700);
  const Rgb grey{30, 30, 30};
  const Image picture = draw(filled_image(height, width, grey), {object_of(mask)});

  int gaps = 0;
  for (Index x = 32; x < width - 16; x += 16) {  // both sides of each flank, halfway up
    gaps += !near(pixel(picture, x, 30), overlay_color(0), 2);
    gaps += !near(pixel(picture, x - 1, 30), overlay_color(0), 2);
  }
  CHECK(gaps == 0);

  int stray = 0;  // further than four pixels from every border there is tint or nothing
  const auto view = mask.view();
  for (Index y = 4; y < height - 4; ++y) {
    for (Index x = 4; x < width - 4; ++x) {
      int inside = 0;
      for (Index dy = -4; dy <= 4; dy += 4) {
        for (Index dx = -4; dx <= 4; dx += 4) inside += view(y + dy, x + dx);
      }
      if (inside == 0) stray += pixel(picture, x, y) != grey;
      if (inside == 9) stray += !near(pixel(picture, x, y), tinted(grey, overlay_color(0)), 2);
    }
  }
  CHECK(stray == 0);
}

TEST_CASE("overlay: masks that touch the border are closed along it") {
  for (const Index size : {Index{900}, Index{90}}) {
    const Image image = filled_image(size, size, {60, 60, 60});
    const Image picture = draw(image, {object_of(rectangle(size, size, 0, 0, size, size))});
    REQUIRE(picture.extents() == Extents<3>{900, 900, 3});
    for (const Index at : {0, 1, 898, 899}) {
      CHECK(near(pixel(picture, at, 450), overlay_color(0), 2));
      CHECK(near(pixel(picture, 450, at), overlay_color(0), 2));
    }
    CHECK(near(pixel(picture, 450, 450), tinted({60, 60, 60}, overlay_color(0)), 2));
  }
}

TEST_CASE("overlay: empty masks and views draw nothing") {
  const Image image = textured_image(60, 80);
  const Image plain = draw(image, {});
  CHECK(same(draw(image, {object_of(Mask({60, 80}))}), plain));
  CHECK(same(draw(image, {OverlayObject{}}), plain));
}

TEST_CASE("overlay: an image of one pixel") {
  Image image({1, 1, 1});
  image.data()[0] = 77;
  CHECK(same(draw(image, {}), filled_image(900, 900, {77, 77, 77})));
  const Mask mask = rectangle(1, 1, 0, 0, 1, 1);
  OverlayObject object = object_of(mask);
  object.points = {{0, 0, 1}};
  object.box = {{0, 0, 0, 0}};
  const Image picture = draw(image, {object});
  CHECK(picture.extents() == Extents<3>{900, 900, 3});
  CHECK(near(pixel(picture, 450, 300), tinted({77, 77, 77}, overlay_color(0)), 2));
}

TEST_CASE("overlay: points and boxes") {
  const Image image = filled_image(300, 300, {40, 40, 40});
  OverlayObject object;
  // The centre of pixel (x, y) is at 3 * (x + 0.5) in the picture.
  object.points = {{50, 60, 1}, {100, 60, 0}, {150, 60, 5}};
  object.box = {{20, 120, 280, 220}};
  const Image picture = draw(image, {object});
  CHECK(picture.extents() == Extents<3>{900, 900, 3});

  CHECK(near(pixel(picture, 151, 181), {0, 0, 0}, 20));            // the plus
  CHECK(near(pixel(picture, 154, 178), overlay_color(0), 20));     // between its arms
  CHECK(near(pixel(picture, 151 + 6, 181), {255, 255, 255}, 30));  // the rim
  CHECK(near(pixel(picture, 301, 181), {255, 255, 255}, 20));      // the minus
  CHECK(near(pixel(picture, 301, 181 + 3), {214, 26, 28}, 20));    // red above and below it
  CHECK(pixel(picture, 451, 181) == Rgb{40, 40, 40});              // a label that means nothing

  int colored = 0;
  for (Index x = 61; x <= 841; ++x) colored += near(pixel(picture, x, 361), overlay_color(0), 25);
  CHECK(colored > 781 / 2);
  CHECK(colored < 781 * 7 / 10);
  for (const Index x : {61, 841}) {
    for (const Index y : {361, 661}) CHECK(near(pixel(picture, x, y), overlay_color(0), 25));
  }
  CHECK(pixel(picture, 450, 500) == Rgb{40, 40, 40});
}

TEST_CASE("overlay: prompts far outside the image are cut off") {
  const Image image = textured_image(60, 80);
  OverlayObject object;
  object.points = {{1e300, -1e300, 1}, {-500, 20, 0}};
  object.box = {{-1e300, -1e12, 1e300, 1e12}};
  CHECK(same(draw(image, {object}), draw(image, {})));
}

TEST_CASE("overlay: the legend stands below the image") {
  const Image image = textured_image(300, 484);
  const Image plain = draw(image, {});
  OverlayObject kidney;
  kidney.label = "kidney";
  const Image one = draw(image, {kidney});
  REQUIRE(one.extent(1) == 968);
  CHECK(one.extent(0) > 600 + 20);
  CHECK(one.extent(0) < 600 + 80);
  CHECK(std::equal(plain.elements().begin(), plain.elements().end(), one.elements().begin()));
  CHECK(draw(image, {OverlayObject{}, OverlayObject{}}).extent(0) == one.extent(0));

  bool swatch = false;
  bool text = false;
  for (Index y = 600; y < one.extent(0); ++y) {
    for (Index x = 0; x < 968; ++x) {
      swatch = swatch || near(pixel(one, x, y), overlay_color(0), 4);
      text = text || near(pixel(one, x, y), {237, 237, 237}, 12);
    }
  }
  CHECK(swatch);
  CHECK(text);

  // Another score is another picture, and only where the legend is.
  OverlayObject scored = kidney;
  scored.score = 0.93;
  const Image other = draw(image, {scored});
  CHECK_FALSE(same(one, other));
  scored.score = 0.9301;
  CHECK(same(other, draw(image, {scored})));
}

TEST_CASE("overlay: many objects wrap into rows and columns") {
  const Image image = textured_image(300, 484);
  const auto strip = [&](std::size_t count, const std::string& label) {
    OverlayObject object;
    object.label = label;
    return draw(image, std::vector<OverlayObject>(count, object)).extent(0) - 600;
  };
  CHECK(strip(4, "a") == strip(1, "a"));
  CHECK(strip(30, "a") > strip(4, "a"));
  CHECK(strip(255, "a") > 4 * strip(30, "a"));
  CHECK(strip(255, "a") < 255 * 25);  // several columns
  CHECK(strip(30, "a somewhat longer label") > strip(30, "a"));

  // All swatches are there.
  const Image picture = draw(image, std::vector<OverlayObject>(28));
  std::set<std::size_t> seen;
  for (Index y = 600; y < picture.extent(0); ++y) {
    for (Index x = 0; x < 968; ++x) {
      for (std::size_t i = 0; i < 28; ++i) {
        if (pixel(picture, x, y) == overlay_color(i)) seen.insert(i);
      }
    }
  }
  CHECK(seen.size() == 28);
}

TEST_CASE("overlay: a narrow image leaves its legend room for text") {
  const Image image = filled_image(900, 4, {200, 0, 0});
  OverlayObject object;
  object.label = "vertebra";
  const Image picture = draw(image, {object});
  CHECK(picture.extent(1) == 240);
  CHECK(pixel(picture, 3, 899) == Rgb{200, 0, 0});
  CHECK(int{pixel(picture, 4, 450)[0]} < 40);
}

TEST_CASE("overlay: hostile labels and scores") {
  const Image image = textured_image(300, 484);
  for (const std::string& label :
       {std::string("\xff\xfe\x80 bad"), std::string("cut \xe2\x82"), std::string("\xed\xa0\x80"),
        std::string("\xc0\xaf"), std::string("nul\0in\nside", 11), std::string(1 << 20, 'w'),
        std::string("\xf4\x90\x80\x80"),
        std::string("Gr\xc3\xb6\xc3\x9f"
                    "e \xe5\xbf\x83")}) {
    OverlayObject object;
    object.label = label;
    for (const double score : {0.5, 1e300, std::numeric_limits<double>::quiet_NaN()}) {
      object.score = score;
      const Image picture = draw(image, {object});
      CHECK(picture.extent(1) == 968);
      CHECK(picture.extent(0) < 700);
    }
  }
}

TEST_CASE("overlay: bad arguments say so") {
  const Image image = textured_image(30, 40);
  CHECK(code_of(Image(), {}) == ErrorCode::shape_mismatch);
  CHECK(code_of(Image({5, 5, 4}), {}) == ErrorCode::shape_mismatch);
  CHECK(code_of(Image({1, 40000, 1}), {}) == ErrorCode::unsupported);
  const Mask mask({40, 30});
  CHECK(code_of(image, {object_of(mask)}) == ErrorCode::shape_mismatch);
  OverlayObject object;
  object.points = {{std::numeric_limits<double>::quiet_NaN(), 1, 1}};
  CHECK(code_of(image, {object}) == ErrorCode::invalid_argument);
  object.points.clear();
  object.box = {{0, 0, std::numeric_limits<double>::infinity(), 5}};
  CHECK(code_of(image, {object}) == ErrorCode::invalid_argument);
}

TEST_CASE("overlay: the same input gives the same picture") {
  const Image image = textured_image(100, 120);
  const Mask mask = rectangle(100, 120, 10, 20, 90, 70);
  OverlayObject object = object_of(mask);
  object.label = "lesion";
  object.points = {{40, 40, 1}, {5, 5, 0}};
  object.box = {{9, 19, 91, 71}};
  CHECK(same(draw(image, {object, object}), draw(image, {object, object})));
}
