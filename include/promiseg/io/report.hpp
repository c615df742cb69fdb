// A report on how well images were segmented: one HTML file that needs nothing else.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/io/base64.hpp"
#include "promiseg/io/markup.hpp"
#include "promiseg/io/report_style.hpp"
#include "promiseg/io/svg_chart.hpp"

namespace promiseg {

/// One measure over all images. What is not finite is shown as a dash.
struct ReportSummary {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  double mean = kNone;
  double median = kNone;
  double deviation = kNone;  ///< standard deviation
  double lowest = kNone;
  double highest = kNone;
  std::size_t images = 0;  ///< those that have a value
};

/// A row of the summary.
struct ReportMeasure {
  std::string name;
  int decimals = 3;
  std::vector<ReportSummary> summaries;  ///< one for each of `Report::scales`, in their order
};

/// One value per image, shown as a histogram over [0, 1] and in ascending order.
struct ReportDistribution {
  std::string name;
  std::vector<double> values;
};

/// Lines in one chart, for instance the loss by epoch.
struct ReportCurves {
  std::string title;
  std::string x;  ///< what the horizontal axis shows
  std::string y;
  std::vector<ChartSeries> series;
};

/// What a colour in the pictures means.
struct ReportColor {
  std::array<std::uint8_t, 3> rgb{};
  std::string meaning;
};

/// A column of the table of images.
struct ReportColumn {
  std::string name;
  int decimals = 3;
};

/// One image.
struct ReportCase {
  std::string name;
  std::vector<double> values;      ///< one for each of `Report::columns`; NaN is shown as a dash
  std::string note;                ///< what is special about it; mostly empty
  std::vector<std::byte> picture;  ///< a PNG; empty: the image is in the table only
};

/// All that a report says. What is empty is left out.
struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> figures;  ///< a few large numbers: name, value
  std::vector<std::pair<std::string, std::string>> facts;    ///< model, data, time: name, value

  std::vector<std::string> scales;  ///< what the measures were taken at: "Original resolution"
  std::vector<ReportMeasure> measures;
  std::vector<std::string> notes;  ///< sentences below the summary

  std::vector<ReportDistribution> distributions;
  std::vector<ReportCurves> curves;

  std::vector<ReportColor> colors;    ///< the key to the pictures
  std::vector<ReportColumn> columns;  ///< the first is the score, higher is better
  std::vector<ReportCase> cases;      ///< in any order
  /// Pictures shown, of the worst cases. A picture takes about 100 kB of the file.
  std::size_t max_pictures = 240;
};

/// The indices of the cases by their first value, the lowest first; those without one come last.
inline std::vector<std::size_t> worst_first(std::span<const ReportCase> cases) {
  const auto score = [&](std::size_t index) {
    const std::vector<double>& values = cases[index].values;
    const bool known = !values.empty() && !std::isnan(values.front());
    return known ? values.front() : std::numeric_limits<double>::infinity();
  };
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return score(a) < score(b); });
  return order;
}

namespace detail {

inline void require_complete(const Report& report) {
  for (const ReportMeasure& measure : report.measures) {
    require(measure.summaries.size() == report.scales.size(), ErrorCode::invalid_argument,
            "report: the measure ", measure.name, " has ", measure.summaries.size(),
            " summaries, expected one for each of ", report.scales.size(), " scales");
  }
  for (const ReportCase& item : report.cases) {
    require(item.values.size() == report.columns.size(), ErrorCode::invalid_argument,
            "report: the case ", item.name, " has ", item.values.size(),
            " values, expected one for each of ", report.columns.size(), " columns");
  }
}

/// A case at its place in the report.
struct RankedCase {
  const ReportCase* item = nullptr;
  std::size_t rank = 0;  // from 1, the worst
  bool pictured = false;
};

inline std::vector<RankedCase> ranked_cases(const Report& report) {
  std::vector<RankedCase> ranked;
  std::size_t pictures = 0;
  for (const std::size_t index : worst_first(report.cases)) {
    const ReportCase& item = report.cases[index];
    const bool pictured = !item.picture.empty() && pictures < report.max_pictures;
    if (pictured) ++pictures;
    ranked.push_back({&item, ranked.size() + 1, pictured});
  }
  return ranked;
}

inline std::string picture_id(const RankedCase& ranked) {
  return "picture-" + std::to_string(ranked.rank);
}

// ---- the head of the page --------------------------------------------------------------------

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

inline std::string definition_list(const NamedTexts& items, std::string_view style_class) {
  if (items.empty()) return {};
  std::string html = concat("<dl class='", style_class, "'>\n");
  for (const auto& [name, value] : items) {
    html += concat("<div><dt>", escape_markup(name), "</dt><dd>", escape_markup(value),
                   "</dd></div>\n");
  }
  return html + "</dl>\n";
}

// ---- summary ---------------------------------------------------------------------------------

inline std::string summary_head(const Report& report) {
  std::string scales;
  std::string names;
  for (const std::string& scale : report.scales) {
    scales +=
        concat("<th class='first' colspan='6' scope='colgroup'>", escape_markup(scale), "</th>");
    names +=
        "<th class='first' scope='col'>mean</th><th scope='col'>median</th>"
        "<th scope='col'>std. dev.</th><th scope='col'>lowest</th><th scope='col'>highest</th>"
        "<th scope='col'>images</th>";
  }
  return concat("<thead><tr><th rowspan='2' scope='col'>Measure</th>", scales, "</tr>\n<tr>", names,
                "</tr></thead>\n");
}

inline std::string summary_cells(const ReportSummary& summary, int decimals) {
  std::string html = concat("<td class='first'>", fixed_text(summary.mean, decimals), "</td>");
  for (const double value : {summary.median, summary.deviation, summary.lowest, summary.highest}) {
    html += concat("<td>", fixed_text(value, decimals), "</td>");
  }
  return html + concat("<td>", std::to_string(summary.images), "</td>");
}

inline std::string summary_table(const Report& report) {
  if (report.measures.empty() || report.scales.empty()) return {};
  std::string html =
      concat("<div class='wide'><table class='summary'>\n", summary_head(report), "<tbody>\n");
  for (const ReportMeasure& measure : report.measures) {
    html += concat("<tr><th scope='row'>", escape_markup(measure.name), "</th>");
    for (const ReportSummary& summary : measure.summaries) {
      html += summary_cells(summary, measure.decimals);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

inline std::string notes_list(const std::vector<std::string>& notes) {
  if (notes.empty()) return {};
  std::string html = "<ul class='notes'>\n";
  for (const std::string& note : notes) html += concat("<li>", escape_markup(note), "</li>\n");
  return html + "</ul>\n";
}

// ---- charts ----------------------------------------------------------------------------------

inline std::string titled_chart(std::string_view title, std::string_view svg) {
  return concat("<div><h3>", escape_markup(title), "</h3>\n", svg, "</div>\n");
}

inline std::string chart_grid(const std::string& charts) {
  return charts.empty() ? std::string() : concat("<div class='charts'>\n", charts, "</div>\n");
}

inline std::string distribution_charts(const std::vector<ReportDistribution>& distributions) {
  std::string charts;
  for (const auto& [name, values] : distributions) {
    const std::string how_often = "Images by " + name;
    const std::string in_order = name + " of every image, lowest first";
    charts += titled_chart(how_often, histogram_chart({how_often, name, "images"}, values));
    charts += titled_chart(in_order, sorted_chart({in_order, "images", name}, values));
  }
  return chart_grid(charts);
}

inline std::string curve_charts(const std::vector<ReportCurves>& curves) {
  std::string charts;
  for (const ReportCurves& item : curves) {
    charts += titled_chart(item.title, line_chart({item.title, item.x, item.y}, item.series));
  }
  return chart_grid(charts);
}

// ---- pictures --------------------------------------------------------------------------------

inline std::string color_key(const std::vector<ReportColor>& colors) {
  if (colors.empty()) return {};
  std::string html = "<ul class='key'>\n";
  for (const auto& [rgb, meaning] : colors) {
    html +=
        concat("<li><i style='background:rgb(", std::to_string(rgb[0]), ",", std::to_string(rgb[1]),
               ",", std::to_string(rgb[2]), ")'></i>", escape_markup(meaning), "</li>\n");
  }
  return html + "</ul>\n";
}

/// Picture, name and the first values of one case.
inline std::string case_card(const RankedCase& ranked, std::span<const ReportColumn> columns) {
  constexpr std::size_t kValues = 2;
  const ReportCase& item = *ranked.item;
  const std::string name = escape_markup(item.name);
  std::string scores;
  for (std::size_t i = 0; i < std::min(columns.size(), kValues); ++i) {
    scores += concat(escape_markup(columns[i].name), " <b>",
                     fixed_text(item.values[i], columns[i].decimals), "</b> ");
  }
  const std::string note =
      item.note.empty() ? "" : concat("<span class='note'>", escape_markup(item.note), "</span>");
  return concat("<figure id='", picture_id(ranked), "'><img alt='", name,
                "' decoding='async' src='data:image/png;base64,", base64(item.picture),
                "'><figcaption><span class='name'><span class='rank'>", std::to_string(ranked.rank),
                "</span>", name, "</span><span class='scores'>", scores, "</span>", note,
                "</figcaption></figure>\n");
}

/// "Sorted by Dice, lowest first. ..."
inline std::string gallery_introduction(const Report& report, std::size_t pictures) {
  std::string text =
      report.columns.empty()
          ? ""
          : concat("Sorted by ", escape_markup(report.columns.front().name), ", lowest first. ");
  if (pictures < report.cases.size()) {
    text +=
        concat("Shown are ", std::to_string(pictures), " of ", std::to_string(report.cases.size()),
               " images; the table at the end has all of them.");
  }
  return concat("<p>", text, "</p>\n");
}

/// The worst cases open, the others to be unfolded.
inline std::string gallery(const Report& report, std::span<const RankedCase> ranked) {
  constexpr std::size_t kOpen = 24;
  std::string open;
  std::string folded;
  std::size_t pictures = 0;
  for (const RankedCase& item : ranked) {
    if (!item.pictured) continue;
    (pictures < kOpen ? open : folded) += case_card(item, report.columns);
    ++pictures;
  }
  if (pictures == 0) return {};
  std::string html = concat(color_key(report.colors), gallery_introduction(report, pictures),
                            "<div class='gallery'>\n", open, "</div>\n");
  if (pictures > kOpen) {
    html += concat("<details><summary>Show ", std::to_string(pictures - kOpen),
                   " more</summary>\n<div class='gallery'>\n", folded, "</div></details>\n");
  }
  return html;
}

// ---- table of images -------------------------------------------------------------------------

inline std::string case_row(const RankedCase& ranked, std::span<const ReportColumn> columns,
                            bool has_notes) {
  const ReportCase& item = *ranked.item;
  std::string name = escape_markup(item.name);
  if (ranked.pictured) name = concat("<a href='#", picture_id(ranked), "'>", name, "</a>");
  std::string html =
      concat("<tr><td>", std::to_string(ranked.rank), "</td><th scope='row'>", name, "</th>");
  for (std::size_t i = 0; i < columns.size(); ++i) {
    html += concat("<td>", fixed_text(item.values[i], columns[i].decimals), "</td>");
  }
  if (has_notes) html += concat("<td class='note'>", escape_markup(item.note), "</td>");
  return html + "</tr>\n";
}

inline std::string case_table(const Report& report, std::span<const RankedCase> ranked) {
  if (ranked.empty()) return {};
  const bool has_notes = std::any_of(report.cases.begin(), report.cases.end(),
                                     [](const ReportCase& item) { return !item.note.empty(); });
  std::string html =
      "<div class='wide'><table class='cases'>\n"
      "<thead><tr><th scope='col'>No.</th><th scope='col'>Image</th>";
  for (const ReportColumn& column : report.columns) {
    html += concat("<th scope='col'>", escape_markup(column.name), "</th>");
  }
  if (has_notes) html += "<th class='note' scope='col'>Note</th>";
  html += "</tr></thead>\n<tbody>\n";
  for (const RankedCase& item : ranked) html += case_row(item, report.columns, has_notes);
  return html + "</tbody></table></div>\n";
}

// ---- the page --------------------------------------------------------------------------------

struct ReportSection {
  std::string_view id;
  std::string_view heading;
  std::string body;
};

inline std::string navigation(std::span<const ReportSection> sections) {
  std::string links;
  for (const ReportSection& section : sections) {
    if (section.body.empty()) continue;
    links += concat("<a href='#", section.id, "'>", section.heading, "</a>\n");
  }
  return links.empty() ? std::string() : concat("<nav>\n", links, "</nav>\n");
}

/// Up to the first words. The policy keeps the page from running or loading anything at all,
/// whatever stands in it.
inline std::string page_begin(std::string_view title) {
  return concat(
      "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
      "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
      "<meta http-equiv='Content-Security-Policy' "
      "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
      "<title>",
      title, "</title>\n<style>", kReportStyle, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>",
      title, "</h1>\n");
}

}  // namespace detail

/// The report as a page of HTML in UTF-8. It has no script, loads nothing, and can be opened,
/// passed on and printed as it is. All texts are escaped. Cases are sorted, the worst first.
/// Throws `invalid_argument` naming the measure or case whose values do not match the scales or
/// columns.
inline std::string to_html(const Report& report) {
  detail::require_complete(report);
  const std::vector<detail::RankedCase> ranked = detail::ranked_cases(report);
  const std::array<detail::ReportSection, 5> sections{{
      {"summary", "Summary", detail::summary_table(report) + detail::notes_list(report.notes)},
      {"distribution", "Distribution", detail::distribution_charts(report.distributions)},
      {"training", "Training", detail::curve_charts(report.curves)},
      {"pictures", "Pictures, worst first", detail::gallery(report, ranked)},
      {"images", "All images", detail::case_table(report, ranked)},
  }};
  std::string html =
      detail::page_begin(report.title.empty() ? "Report" : escape_markup(report.title));
  html += detail::navigation(sections);
  html += detail::definition_list(report.figures, "figures");
  html += detail::definition_list(report.facts, "facts");
  html += "</header>\n";
  for (const detail::ReportSection& section : sections) {
    if (section.body.empty()) continue;
    html += detail::concat("<section id='", section.id, "'>\n<h2>", section.heading, "</h2>\n");
    html += section.body;
    html += "</section>\n";
  }
  html +=
      "<footer>Made by promiseg, which is not a medical device. A mask is a proposal: look at it."
      "</footer>\n</main>\n</body>\n</html>\n";
  return html;
}

}  // namespace promiseg
