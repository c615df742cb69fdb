#include "overlay_legend.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

#include "legend_text.hpp"
#include "overlay_canvas.hpp"

namespace promiseg::cli {
namespace {

constexpr Color kStripEdge{0.28, 0.29, 0.31};
constexpr Color kText{0.93, 0.93, 0.93};
constexpr Color kFaintText{0.64, 0.66, 0.68};

void set_font(cairo_t* pen, double size) {
  // Unhinted text has the same widths everywhere.
  const std::unique_ptr<cairo_font_options_t, void (*)(cairo_font_options_t*)> options(
      cairo_font_options_create(), cairo_font_options_destroy);
  cairo_font_options_set_hint_style(options.get(), CAIRO_HINT_STYLE_NONE);
  cairo_font_options_set_hint_metrics(options.get(), CAIRO_HINT_METRICS_OFF);
  cairo_font_options_set_antialias(options.get(), CAIRO_ANTIALIAS_GRAY);
  cairo_select_font_face(pen, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(pen, size);
  cairo_set_font_options(pen, options.get());
}

double text_width(cairo_t* pen, const std::string& text) {
  cairo_text_extents_t extents{};
  cairo_text_extents(pen, text.c_str(), &extents);
  return extents.x_advance;
}

/// Shortens a text with an ellipsis until it is no wider than `width`.
std::string fit_text(cairo_t* pen, std::string text, double width) {
  if (text_width(pen, text) <= width) return text;
  const std::string ellipsis = "\u2026";
  while (!text.empty() && text_width(pen, text + ellipsis) > width) {
    while ((static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.pop_back();
    text.pop_back();
  }
  return text + ellipsis;
}

void draw_swatch(cairo_t* pen, double x, double y, double unit, const Color& color) {
  const double size = Legend::kSwatch * unit;
  const double radius = 3 * unit;
  const double half_pi = std::numbers::pi / 2;
  cairo_new_path(pen);
  cairo_arc(pen, x + size - radius, y + radius, radius, -half_pi, 0);
  cairo_arc(pen, x + size - radius, y + size - radius, radius, 0, half_pi);
  cairo_arc(pen, x + radius, y + size - radius, radius, half_pi, 2 * half_pi);
  cairo_arc(pen, x + radius, y + radius, radius, 2 * half_pi, 3 * half_pi);
  cairo_close_path(pen);
  set_color(pen, color, 0.45);
  cairo_fill_preserve(pen);
  set_color(pen, color);
  cairo_set_line_width(pen, kLineWidth * unit);
  cairo_stroke(pen);
}

}  // namespace

Legend lay_out_legend(std::span<const OverlayObject> objects, Index image_width,
                      Index image_height) {
  Legend legend;
  legend.width = image_width;
  const bool labelled = std::any_of(objects.begin(), objects.end(),
                                    [](const auto& object) { return !object.label.empty(); });
  if (objects.size() < 2 && !labelled) return legend;

  // Text grows with the picture, as long as a narrow picture still has room for a few words.
  const double longest = static_cast<double>(std::max(image_width, image_height));
  legend.unit =
      std::max(1.0, std::min(longest / kDesignSide, static_cast<double>(image_width) / 600));
  const double unit = legend.unit;
  legend.width = std::max(image_width, static_cast<Index>(Legend::kMinWidth));
  const double available = static_cast<double>(legend.width) - 2 * Legend::kMargin * unit;

  const Canvas measure(1, 1);
  set_font(measure.pen(), Legend::kFontSize * unit);
  const double swatch = (Legend::kSwatch + Legend::kGap) * unit;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    LegendEntry entry;
    entry.label = clean_label(objects[i].label);
    if (entry.label.empty()) entry.label = "object " + std::to_string(i + 1);
    entry.score = score_text(objects[i].score);
    const double score =
        entry.score.empty() ? 0 : Legend::kGap * unit + text_width(measure.pen(), entry.score);
    entry.label = fit_text(measure.pen(), entry.label, available - swatch - score);
    entry.label_width = text_width(measure.pen(), entry.label);
    legend.column_width = std::max(legend.column_width, swatch + entry.label_width + score);
    legend.entries.push_back(std::move(entry));
  }
  legend.column_width += Legend::kColumnGap * unit;
  const double fitting = (available + Legend::kColumnGap * unit) / legend.column_width;
  legend.columns = std::clamp<std::size_t>(static_cast<std::size_t>(fitting), 1, objects.size());
  const std::size_t rows = (objects.size() + legend.columns - 1) / legend.columns;
  legend.height = static_cast<Index>(
      std::ceil((static_cast<double>(rows) * Legend::kLineHeight + 1.2 * Legend::kMargin) * unit));
  return legend;
}

void draw_legend(cairo_t* pen, const Legend& legend, double top) {
  const double unit = legend.unit;
  set_color(pen, kStripEdge);
  cairo_rectangle(pen, 0, top, static_cast<double>(legend.width), std::round(unit));
  cairo_fill(pen);

  set_font(pen, Legend::kFontSize * unit);
  cairo_font_extents_t font{};
  cairo_font_extents(pen, &font);
  for (std::size_t i = 0; i < legend.entries.size(); ++i) {
    const LegendEntry& entry = legend.entries[i];
    const double column = static_cast<double>(i % legend.columns);
    const double row = static_cast<double>(i / legend.columns);
    const double left = Legend::kMargin * unit + column * legend.column_width;
    const double middle = top + (0.6 * Legend::kMargin + (row + 0.5) * Legend::kLineHeight) * unit;
    draw_swatch(pen, std::round(left), std::round(middle - Legend::kSwatch * unit / 2), unit,
                object_color(i));
    const double baseline = std::round(middle + (font.ascent - font.descent) / 2);
    const double text = left + (Legend::kSwatch + Legend::kGap) * unit;
    set_color(pen, kText);
    cairo_move_to(pen, text, baseline);
    cairo_show_text(pen, entry.label.c_str());
    set_color(pen, kFaintText);
    cairo_move_to(pen, text + entry.label_width + Legend::kGap * unit, baseline);
    cairo_show_text(pen, entry.score.c_str());
  }
}

}  // namespace promiseg::cli
