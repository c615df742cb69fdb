#include "promiseg/io/svg_chart.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

using namespace promiseg;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// No number of a chart may be missing or have run away.
bool is_sound(std::string_view svg) {
  return svg.substr(0, 4) == "<svg" && !contains(svg, "nan") && !contains(svg, "inf") &&
         !contains(svg, "\xE2\x80\x93") && !contains(svg, "e+") && count_of(svg, "</svg>") == 1;
}

std::string line_of(const std::vector<ChartPoint>& points) {
  return line_chart({"Loss", "epoch", "loss"}, std::vector<ChartSeries>{{"training", points}});
}

}  // namespace

TEST_CASE("line chart: places, ticks and legend") {
  const std::string svg = line_chart(
      {"Loss by epoch", "epoch", "loss"},
      std::vector<ChartSeries>{{"training", {{0, 1}, {10, 0}}}, {"validation", {{5, 0.5}}}});
  CHECK(is_sound(svg));
  CHECK(contains(svg, "aria-label='Loss by epoch'"));
  // The plot is 460 by 180 from (48, 48): one row of legend above it.
  CHECK(contains(svg, "<polyline points='48.0,48.0 508.0,228.0 '"));
  CHECK(contains(svg, "<circle cx='278.0' cy='138.0'"));
  CHECK(contains(svg, ">epoch</text>"));
  CHECK(contains(svg, ">loss</text>"));
  CHECK(contains(svg, ">training</text>"));
  CHECK(contains(svg, ">validation</text>"));
  for (const std::string_view tick : {">0.0<", ">0.2<", ">0.8<", ">1.0<", ">0<", ">2<", ">10<"}) {
    CAPTURE(tick);
    CHECK(contains(svg, tick));
  }
  CHECK(count_of(svg, "<polyline") == 2);
  CHECK(contains(svg, "<title>validation: 5, 0.5</title>"));
}

TEST_CASE("line chart: epochs have whole ticks, other numbers need not") {
  const std::string whole = line_of({{1, 0.5}, {2, 0.25}, {3, 0.75}});
  CHECK(contains(whole, ">1<"));
  CHECK(contains(whole, ">2<"));
  CHECK_FALSE(contains(whole, ">1.5<"));
  CHECK(contains(line_of({{1, 0.5}, {1.5, 0.25}}), ">1.5<"));
}

TEST_CASE("line chart: nothing, one value, equal values") {
  for (const std::string& svg :
       {line_chart({}, {}), line_of({}), line_of({{kNan, 1}, {1, kNan}, {1, kInfinity}})}) {
    CHECK(is_sound(svg));
    CHECK(contains(svg, "no values"));
    CHECK_FALSE(contains(svg, "<polyline"));
  }
  const std::string one = line_of({{3, 0.5}});
  CHECK(is_sound(one));
  CHECK(contains(one, "<circle cx='278.0' cy='138.0'"));
  CHECK(contains(one, ">3<"));
  for (const double value : {0.0, -2.0, 0.9, 1e-30, 1e30}) {
    CAPTURE(value);
    const std::string constant = line_of({{1, value}, {2, value}, {3, value}});
    CHECK(count_of(constant, "<circle") == 3);
    CHECK(count_of(constant, "cy='138.0'") == 3);
  }
}

TEST_CASE("line chart: what is not finite is left out, what is extreme does no harm") {
  const std::string svg = line_of({{1, 0.2}, {2, kNan}, {3, -kInfinity}, {4, 0.8}});
  CHECK(is_sound(svg));
  CHECK(count_of(svg, "<circle") == 2);
  for (const double value : {1e300, std::numeric_limits<double>::denorm_min(), 1e99}) {
    CAPTURE(value);
    const std::string extreme = line_of({{1, -value}, {2, value}, {3, 1 + 1e-15}, {4, 1}});
    CHECK(extreme.size() < 20000);
    CHECK_FALSE(contains(extreme, "nan"));
    CHECK_FALSE(contains(extreme, "inf"));
  }
}

TEST_CASE("line chart: many points have no dots, many series all have a place in the legend") {
  std::vector<ChartPoint> points;
  for (int i = 0; i < 500; ++i) points.push_back({static_cast<double>(i), i % 7 / 7.0});
  CHECK(count_of(line_of(points), "<circle") == 0);

  std::vector<ChartSeries> series;
  for (int i = 0; i < 14; ++i) series.push_back({"fold " + std::to_string(i), {{0, 1.0 * i}}});
  const std::string svg = line_chart({"Folds", "", ""}, series);
  CHECK(is_sound(svg));
  CHECK(count_of(svg, "stroke-dasharray:6 4") == 2 * 6);  // line and legend of the second six
  CHECK(count_of(svg, "stroke-dasharray:2 3") == 2 * 2);
  CHECK(contains(svg, ">fold 13</text>"));
}

TEST_CASE("line chart: the legend is left out where no series has a name") {
  const std::string svg =
      line_chart({"Dice", "epoch", "Dice"}, std::vector<ChartSeries>{{"", {{0, 0}, {1, 1}}}});
  CHECK(contains(svg, "<polyline points='48.0,208.0 508.0,28.0 '"));
}

TEST_CASE("charts escape every text") {
  const std::string hostile = "<b onload='x'>&\"";
  const ChartText text{hostile, hostile, hostile};
  const std::vector<double> values{0.1, 0.9};
  for (const std::string& svg :
       {line_chart(text, std::vector<ChartSeries>{{hostile, {{0, 1}, {1, 2}}}}),
        histogram_chart(text, values), sorted_chart(text, values), sorted_chart(text, {})}) {
    CHECK_FALSE(contains(svg, "<b"));
    CHECK_FALSE(contains(svg, "'x'"));
    CHECK(contains(svg, "&lt;b onload=&#39;x&#39;&gt;&amp;&quot;"));
  }
}

TEST_CASE("line chart: long names are cut between characters") {
  std::string name;
  for (int i = 0; i < 40; ++i) name += "\xC3\xB6";  // o with two dots
  const std::string svg = line_chart({}, std::vector<ChartSeries>{{name, {{0, 1}}}});
  CHECK(contains(svg, ">" + name.substr(0, 64) + "\xE2\x80\xA6</text>"));
}

TEST_CASE("histogram: values fall into their bins") {
  const std::vector<double> values{0.0, 0.05, 0.3, 0.5, 0.99, 1.0, kNan, -0.1, 1.1, kInfinity};
  const std::string svg = histogram_chart({"Dice", "Dice", "images"}, values, 4);
  CHECK(is_sound(svg));
  CHECK(count_of(svg, "<rect") == 4);
  CHECK(contains(svg, "<title>0 to 0.25: 2</title>"));
  CHECK(contains(svg, "<title>0.25 to 0.5: 1</title>"));
  CHECK(contains(svg, "<title>0.5 to 0.75: 1</title>"));
  CHECK(contains(svg, "<title>0.75 to 1: 2</title>"));
  // The plot is 460 by 180 from (48, 28), two images high; a pixel of air on either side of a bar.
  CHECK(contains(svg, "<rect x='49.0' y='28.0' width='113.0' height='180.0'>"));
  CHECK(contains(svg, "<rect x='164.0' y='118.0' width='113.0' height='90.0'>"));
  CHECK_FALSE(contains(svg, ">0.5<"));  // whole ticks for counts, fifths for the values
}

TEST_CASE("histogram: nothing, one value, bad bins") {
  CHECK(contains(histogram_chart({}, {}), "no values"));
  CHECK(contains(histogram_chart({}, std::vector<double>{kNan, 2}), "no values"));
  CHECK(count_of(histogram_chart({}, std::vector<double>{0.5}), "<rect") == 1);
  for (const std::size_t bins : {std::size_t{0}, std::size_t{1001}}) {
    try {
      histogram_chart({}, {}, bins);
      FAIL("expected promiseg::Error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::invalid_argument);
    }
  }
}

TEST_CASE("sorted values: ascending bars and the median") {
  const std::string svg =
      sorted_chart({"Dice", "images", "Dice"}, std::vector<double>{1.0, 0.0, kNan, 0.5, 0.25});
  CHECK(is_sound(svg));
  // Four bars of 115 pixels, a fifth of each is gap.
  CHECK(contains(svg,
                 "<path d='M59.5 208.0V208.0H151.5V208.0ZM174.5 208.0V163.0H266.5V208.0Z"
                 "M289.5 208.0V118.0H381.5V208.0ZM404.5 208.0V28.0H496.5V208.0Z'"));
  CHECK(contains(svg, ">median 0.375</text>"));
  CHECK(contains(sorted_chart({}, std::vector<double>{0.2, 0.9, 0.6}), ">median 0.600</text>"));
}

TEST_CASE("sorted values: nothing, one value, values beyond [0, 1], very many") {
  CHECK(contains(sorted_chart({}, {}), "no values"));
  CHECK(contains(sorted_chart({}, std::vector<double>{0.7}), ">median 0.700</text>"));
  const std::string wide = sorted_chart({}, std::vector<double>{-3, 12});
  CHECK(is_sound(wide));
  CHECK(contains(wide, ">12<"));
  CHECK(contains(wide, ">-4<"));
  const std::vector<double> many(100000, 0.5);
  const std::string svg = sorted_chart({}, many);
  CHECK(is_sound(svg));
  CHECK(count_of(svg, "Z") == 460);
}
