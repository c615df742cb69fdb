// Charts as SVG text that stands inside an HTML page: lines, a histogram, values in order.
//
// They take font and text colour from the page and their colours from its CSS variables --chart-1
// to --chart-6 and --chart-grid, with defaults for a page that sets none. Numbers that are not
// finite (or beyond 1e100) are left out; a chart that nothing is left for says so.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/io/markup.hpp"

namespace promiseg {

/// What a chart says about itself.
struct ChartText {
  std::string title;  ///< read out by screen readers, not drawn
  std::string x;      ///< below the horizontal axis
  std::string y;      ///< above the vertical axis
};

struct ChartPoint {
  double x = 0;
  double y = 0;
};

/// One line of a chart.
struct ChartSeries {
  std::string name;  ///< for the legend
  std::vector<ChartPoint> points;
};

namespace detail {

// Lengths are pixels of a chart that is not scaled.
inline constexpr double kChartWidth = 520;
inline constexpr double kPlotLeft = 48;
inline constexpr double kPlotRight = 508;
inline constexpr double kPlotTop = 28;
inline constexpr double kPlotHeight = 180;
inline constexpr double kLegendRow = 20;
inline constexpr std::size_t kLegendColumns = 2;
inline constexpr double kLegendColumn = 260;
inline constexpr std::size_t kLegendCharacters = 32;  // as many as fit into a column

inline constexpr double kLargestDrawn = 1e100;
inline constexpr double kSmallestSpan = 1e-100;
inline constexpr double kTickSlack = 1e-6;  // of a step, for what rounding took away

inline bool can_be_drawn(double value) { return std::abs(value) <= kLargestDrawn; }

// ---- axes ------------------------------------------------------------------------------------

struct ChartRange {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  bool empty() const { return low > high; }
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// The same range, or one around its only value.
inline ChartRange with_room(const ChartRange& range) {
  const double magnitude = std::max(std::abs(range.low), std::abs(range.high));
  if (range.high - range.low > std::max(1e-9 * magnitude, kSmallestSpan)) return range;
  const double margin = magnitude > kSmallestSpan ? magnitude / 10 : 1;
  return {range.low - margin, range.high + margin};
}

/// 1, 2 or 5 times a power of ten, about a `parts`-th of the range.
inline double round_step(const ChartRange& range, double parts) {
  const double exact = (range.high - range.low) / parts;
  const double power = std::pow(10.0, std::floor(std::log10(exact)));
  const double digit = exact / power;  // [1, 10)
  return power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
}

/// Numbers along one axis, and where they lie on the page.
struct ChartAxis {
  ChartRange range;
  double step = 1;   // from tick to tick
  double begin = 0;  // where the lowest number lies
  double end = 1;    // where the highest number lies

  double place(double value) const {
    return begin + (value - range.low) / (range.high - range.low) * (end - begin);
  }

  /// All multiples of the step in the range.
  std::vector<double> ticks() const {
    const double first = std::ceil(range.low / step - kTickSlack);
    const double last = std::floor(range.high / step + kTickSlack);
    std::vector<double> values;
    for (int i = 0; i <= static_cast<int>(last - first); ++i) {
      values.push_back((first + i) * step + 0.0);  // adding zero makes -0 to 0
    }
    return values;
  }
};

enum class TickSteps { any, whole };

/// From the lowest number to the highest.
inline ChartAxis horizontal_axis(const ChartRange& range, TickSteps steps) {
  const ChartRange wide = with_room(range);
  const double step = round_step(wide, 6);
  return {wide, steps == TickSteps::whole ? std::max(step, 1.0) : step, kPlotLeft, kPlotRight};
}

/// From a tick below all numbers to one above them.
inline ChartAxis vertical_axis(const ChartRange& range, TickSteps steps, double top) {
  const ChartRange wide = with_room(range);
  const double exact = round_step(wide, 5);
  const double step = steps == TickSteps::whole ? std::max(exact, 1.0) : exact;
  const ChartRange rounded{std::floor(wide.low / step + kTickSlack) * step,
                           std::ceil(wide.high / step - kTickSlack) * step};
  return {rounded, step, top + kPlotHeight, top};
}

/// As many decimals as the step has.
inline std::string tick_text(double value, double step) {
  if (step < 1e-6 || std::abs(value) >= 1e7) return general_text(value);
  return fixed_text(value, std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9))));
}

// ---- elements --------------------------------------------------------------------------------

inline std::string place_text(double place) { return fixed_text(place, 1); }

inline std::string svg_line(const ChartPoint& from, const ChartPoint& to, std::string_view style) {
  return concat("<line x1='", place_text(from.x), "' y1='", place_text(from.y), "' x2='",
                place_text(to.x), "' y2='", place_text(to.y), "' style='", style, "'/>");
}

/// `anchor` is start, middle or end.
inline std::string svg_text(const ChartPoint& at, std::string_view anchor, std::string_view text) {
  return concat("<text x='", place_text(at.x), "' y='", place_text(at.y), "' text-anchor='", anchor,
                "'>", escape_markup(text), "</text>");
}

/// The text that appears under the mouse; goes into another element.
inline std::string svg_hint(std::string_view text) {
  return concat("<title>", escape_markup(text), "</title>");
}

/// The whole chart, given the upper edge of its plot.
inline std::string svg_chart(const ChartText& text, double top, std::string_view body) {
  return concat("<svg class='chart' viewBox='0 0 ", place_text(kChartWidth), " ",
                place_text(top + kPlotHeight + 40), "' role='img' aria-label='",
                escape_markup(text.title), "' style='font-size:12px;fill:currentColor'>", body,
                "</svg>\n");
}

inline std::string empty_chart(const ChartText& text) {
  const ChartPoint middle{kChartWidth / 2, kPlotTop + kPlotHeight / 2};
  return svg_chart(text, kPlotTop, svg_text(middle, "middle", "no values"));
}

/// Grid, numbers and names of both axes.
inline std::string svg_axes(const ChartText& text, const ChartAxis& x, const ChartAxis& y) {
  constexpr std::string_view kGrid = "stroke:var(--chart-grid,#ddd)";
  constexpr std::string_view kBase = "stroke:currentColor;stroke-opacity:.5";
  const double bottom = y.begin;
  const double top = y.end;
  std::string body;
  for (const double value : y.ticks()) {
    const double at = y.place(value);
    body += svg_line({kPlotLeft, at}, {kPlotRight, at}, kGrid);
    body += svg_text({kPlotLeft - 8, at + 4}, "end", tick_text(value, y.step));
  }
  for (const double value : x.ticks()) {
    const double at = x.place(value);
    body += svg_line({at, bottom}, {at, bottom + 4}, kBase);
    body += svg_text({at, bottom + 17}, "middle", tick_text(value, x.step));
  }
  body += svg_line({kPlotLeft, bottom}, {kPlotRight, bottom}, kBase);
  body += svg_text({0, top - 13}, "start", text.y);
  body += svg_text({kPlotRight, bottom + 35}, "end", text.x);
  return body;
}

// ---- lines -----------------------------------------------------------------------------------

/// Hues of Okabe and Ito ("Color Universal Design", 2008).
inline constexpr std::array<std::string_view, 6> kSeriesColors{
    "var(--chart-1,#0072b2)", "var(--chart-2,#d55e00)", "var(--chart-3,#009e73)",
    "var(--chart-4,#cc79a7)", "var(--chart-5,#e69f00)", "var(--chart-6,#56b4e9)"};

inline std::string_view series_color(std::size_t index) {
  return kSeriesColors[index % kSeriesColors.size()];
}

/// A line's style. When the colours repeat, the dashes change.
inline std::string series_style(std::size_t index) {
  constexpr std::array<std::string_view, 3> kDashes{"", ";stroke-dasharray:6 4",
                                                    ";stroke-dasharray:2 3"};
  return concat("fill:none;stroke:", series_color(index), ";stroke-width:2;stroke-linejoin:round",
                kDashes[index / kSeriesColors.size() % kDashes.size()]);
}

inline bool can_be_drawn(const ChartPoint& point) {
  return can_be_drawn(point.x) && can_be_drawn(point.y);
}

/// A line through the points of a series and, unless they are many, a dot on each.
inline std::string svg_series(const ChartSeries& series, std::size_t index, const ChartAxis& x,
                              const ChartAxis& y) {
  constexpr std::size_t kMostDots = 60;
  std::string places;
  std::string dots;
  for (const ChartPoint& point : series.points) {
    if (!can_be_drawn(point)) continue;
    const std::string across = place_text(x.place(point.x));
    const std::string down = place_text(y.place(point.y));
    places += concat(across, ",", down, " ");
    if (series.points.size() > kMostDots) continue;
    const std::string hint =
        concat(series.name, ": ", general_text(point.x), ", ", general_text(point.y));
    dots +=
        concat("<circle cx='", across, "' cy='", down, "' r='2.5'>", svg_hint(hint), "</circle>");
  }
  return concat("<polyline points='", places, "' style='", series_style(index),
                "'/><g style='fill:", series_color(index), "'>", dots, "</g>");
}

/// The first characters of a UTF-8 text, and an ellipsis if there are more.
inline std::string shortened(std::string_view text, std::size_t characters) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U;
    if (begins && seen++ == characters) return concat(text.substr(0, i), "\xE2\x80\xA6");
  }
  return std::string(text);
}

inline std::string svg_legend(std::span<const ChartSeries> series) {
  constexpr double kSwatch = 22;
  std::string body;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const double left = kLegendColumn * static_cast<double>(i % kLegendColumns);
    const double baseline = 14 + kLegendRow * static_cast<double>(i / kLegendColumns);
    body += svg_line({left, baseline - 4}, {left + kSwatch, baseline - 4}, series_style(i));
    body += svg_text({left + kSwatch + 8, baseline}, "start",
                     shortened(series[i].name, kLegendCharacters));
  }
  return body;
}

// ---- values in order -------------------------------------------------------------------------

/// Of values in ascending order, at least one.
inline double chart_median(std::span<const double> values) {
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// One bar for each value, or for as many of them, evenly chosen, as the plot is wide.
inline std::string svg_bars(std::span<const double> values, const ChartAxis& x,
                            const ChartAxis& y) {
  const auto most = static_cast<std::size_t>(kPlotRight - kPlotLeft);
  const std::size_t bars = std::min(values.size(), most);
  const double width = (x.end - x.begin) / static_cast<double>(bars);
  const double gap = width > 4 ? width / 5 : 0;
  const std::string base = place_text(y.place(0));
  std::string path;
  for (std::size_t i = 0; i < bars; ++i) {
    const std::size_t rank = bars == 1 ? 0 : i * (values.size() - 1) / (bars - 1);
    const double left = x.begin + width * static_cast<double>(i);
    path +=
        concat("M", place_text(left + gap / 2), " ", base, "V", place_text(y.place(values[rank])),
               "H", place_text(left + width - gap / 2), "V", base, "Z");
  }
  return concat("<path d='", path, "' style='fill:", kSeriesColors[0], "'/>");
}

inline std::string svg_median(double median, const ChartAxis& y) {
  constexpr std::string_view kDashed = "stroke:currentColor;stroke-opacity:.7;stroke-dasharray:5 4";
  const double at = y.place(median);
  return svg_line({kPlotLeft, at}, {kPlotRight, at}, kDashed) +
         svg_text({kPlotLeft + 6, at - 6}, "start", "median " + fixed_text(median, 3));
}

}  // namespace detail

/// Lines through the points of each series, in their order, with axes and a legend (left out if no
/// series has a name). The vertical axis covers the values, it need not begin at zero. Ticks are
/// whole numbers where all x are.
inline std::string line_chart(const ChartText& text, std::span<const ChartSeries> series) {
  detail::ChartRange across;
  detail::ChartRange down;
  bool whole = true;
  bool named = false;
  for (const ChartSeries& line : series) {
    named = named || !line.name.empty();
    for (const ChartPoint& point : line.points) {
      if (!detail::can_be_drawn(point)) continue;
      across.include(point.x);
      down.include(point.y);
      whole = whole && point.x == std::floor(point.x);
    }
  }
  if (across.empty()) return detail::empty_chart(text);

  const std::size_t rows =
      named ? (series.size() + detail::kLegendColumns - 1) / detail::kLegendColumns : 0;
  const double top = detail::kPlotTop + detail::kLegendRow * static_cast<double>(rows);
  const detail::ChartAxis x =
      detail::horizontal_axis(across, whole ? detail::TickSteps::whole : detail::TickSteps::any);
  const detail::ChartAxis y = detail::vertical_axis(down, detail::TickSteps::any, top);
  std::string body = detail::svg_axes(text, x, y);
  for (std::size_t i = 0; i < series.size(); ++i) body += detail::svg_series(series[i], i, x, y);
  if (named) body += detail::svg_legend(series);
  return detail::svg_chart(text, top, body);
}

/// How many values lie in each of `bins` equal parts of [0, 1]; a value between two parts counts in
/// the upper one, 1 in the last. Values outside are left out. Throws `invalid_argument` unless
/// there are 1 to 1000 parts.
inline std::string histogram_chart(const ChartText& text, std::span<const double> values,
                                   std::size_t bins = 20) {
  require(bins >= 1 && bins <= 1000, ErrorCode::invalid_argument,
          "histogram: expected 1 to 1000 bins, got ", bins);
  const auto parts = static_cast<double>(bins);
  std::vector<std::size_t> counts(bins);
  for (const double value : values) {
    if (!(value >= 0 && value <= 1)) continue;
    ++counts[std::min(static_cast<std::size_t>(value * parts), bins - 1)];
  }
  const auto tallest = static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  if (tallest == 0) return detail::empty_chart(text);

  const detail::ChartAxis x = detail::horizontal_axis({0, 1}, detail::TickSteps::any);
  const detail::ChartAxis y =
      detail::vertical_axis({0, tallest}, detail::TickSteps::whole, detail::kPlotTop);
  std::string bars;
  for (std::size_t i = 0; i < bins; ++i) {
    if (counts[i] == 0) continue;
    const double low = static_cast<double>(i) / parts;
    const double high = static_cast<double>(i + 1) / parts;
    const double left = x.place(low) + 1;
    const double upper = y.place(static_cast<double>(counts[i]));
    const std::string hint = detail::concat(general_text(low), " to ", general_text(high), ": ",
                                            std::to_string(counts[i]));
    bars += detail::concat(
        "<rect x='", detail::place_text(left), "' y='", detail::place_text(upper), "' width='",
        detail::place_text(std::max(x.place(high) - left - 1, 0.2)), "' height='",
        detail::place_text(y.begin - upper), "'>", detail::svg_hint(hint), "</rect>");
  }
  const std::string body =
      detail::concat(detail::svg_axes(text, x, y), "<g style='fill:", detail::kSeriesColors[0],
                     "'>", bars, "</g>");
  return detail::svg_chart(text, detail::kPlotTop, body);
}

/// A bar for each value, ascending from left to right, with a line at the median. The vertical axis
/// covers [0, 1] and all values.
inline std::string sorted_chart(const ChartText& text, std::span<const double> values) {
  std::vector<double> sorted;
  detail::ChartRange down{0, 1};
  for (const double value : values) {
    if (!detail::can_be_drawn(value)) continue;
    sorted.push_back(value);
    down.include(value);
  }
  if (sorted.empty()) return detail::empty_chart(text);
  std::sort(sorted.begin(), sorted.end());

  const detail::ChartAxis x =
      detail::horizontal_axis({0, static_cast<double>(sorted.size())}, detail::TickSteps::whole);
  const detail::ChartAxis y = detail::vertical_axis(down, detail::TickSteps::any, detail::kPlotTop);
  const std::string body =
      detail::concat(detail::svg_axes(text, x, y), detail::svg_bars(sorted, x, y),
                     detail::svg_median(detail::chart_median(sorted), y));
  return detail::svg_chart(text, detail::kPlotTop, body);
}

}  // namespace promiseg
