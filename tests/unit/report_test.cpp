#include "promiseg/io/report.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

using namespace promiseg;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

/// True if the texts stand in this order.
bool in_order(std::string_view text, const std::vector<std::string_view>& parts) {
  std::size_t at = 0;
  for (const std::string_view part : parts) {
    at = text.find(part, at);
    if (at == std::string_view::npos) return false;
    at += part.size();
  }
  return true;
}

/// The part of a page between an opening tag and the section's end.
std::string_view section_of(std::string_view html, std::string_view id) {
  const std::size_t begin = html.find("<section id='" + std::string(id) + "'>");
  if (begin == std::string_view::npos) return {};
  return html.substr(begin, html.find("</section>", begin) - begin);
}

bool is_void(std::string_view name) {
  return name == "!doctype" || name == "meta" || name == "img";
}

/// The first tag that is closed but not open, or open at the end; empty if all tags match. Enough
/// for a page that escapes every < and > in its texts.
std::string unbalanced_tag(std::string_view html) {
  std::vector<std::string_view> open;
  for (std::size_t at = html.find('<'); at != std::string_view::npos; at = html.find('<', at)) {
    const std::size_t end = html.find('>', at);
    if (end == std::string_view::npos) return "<";
    std::string_view tag = html.substr(at + 1, end - at - 1);
    at = end;
    const bool closes = !tag.empty() && tag.front() == '/';
    if (closes) tag.remove_prefix(1);
    const std::string_view name = tag.substr(0, tag.find_first_of(" /\n"));
    if (is_void(name) || (!closes && tag.ends_with('/'))) continue;
    if (!closes) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return std::string(name);
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : std::string(open.back());
}

/// What every report must be, whatever it says.
void check_page(std::string_view html) {
  CHECK(html.substr(0, 15) == "<!doctype html>");
  CHECK(unbalanced_tag(html) == "");
  for (const std::string_view forbidden :
       {"http://", "https://", "<script", "<link", "@import", "url(", "src='//", "javascript:"}) {
    CAPTURE(forbidden);
    CHECK_FALSE(contains(html, forbidden));
  }
  CHECK_FALSE(contains(html, "nan"));
}

ReportCase case_of(const std::string& name, double dice, std::size_t picture_bytes = 3) {
  return {name, {dice, dice / 2}, "", std::vector<std::byte>(picture_bytes)};
}

Report small_report() {
  Report report;
  report.title = "Polyps";
  report.figures = {{"mean Dice", "0.500"}};
  report.facts = {{"Model", "LiteMedSAM"}, {"Time", "0.4 s per image"}};
  report.scales = {"Original resolution", "256 x 256"};
  report.measures = {
      {"Dice", 3, {{0.5, 0.6, 0.25, 0.125, 0.875, 3}, {0.51, 0.61, kNan, 0.13, 0.88, 2}}}};
  report.notes = {"One image has no object."};
  report.distributions = {{"Dice", {0.9, 0.1, 0.5}}};
  report.curves = {{"Loss", "epoch", "loss", {{"training", {{1, 2}, {2, 1}}}}}};
  report.colors = {{{86, 180, 233}, "truth"}, {{255, 176, 0}, "prediction"}};
  report.columns = {{"Dice", 3}, {"IoU", 2}};
  report.cases = {case_of("good", 0.9), case_of("bad", 0.1), case_of("fair", 0.5)};
  return report;
}

ErrorCode code_of(const Report& report) {
  try {
    to_html(report);
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("expected promiseg::Error");
  return ErrorCode::io;
}

}  // namespace

TEST_CASE("the checker of tags finds what does not match") {
  CHECK(unbalanced_tag("<p class='a'>x<br-like/></p>") == "");
  CHECK(unbalanced_tag("<p><b></p></b>") == "p");
  CHECK(unbalanced_tag("<p><b></b>") == "p");
  CHECK(unbalanced_tag("</p>") == "p");
  CHECK(unbalanced_tag("<p") == "<");
}

TEST_CASE("report: all parts in their order") {
  const std::string html = to_html(small_report());
  check_page(html);
  CHECK(contains(html, "<title>Polyps</title>"));
  CHECK(in_order(
      html, {"<h1>Polyps</h1>", "href='#summary'", "href='#images'", "mean Dice", "LiteMedSAM",
             "<section id='summary'>", "<section id='distribution'>", "<section id='training'>",
             "<section id='pictures'>", "<section id='images'>", "not a medical device"}));
}

TEST_CASE("report: the summary has both scales side by side") {
  const std::string html = to_html(small_report());
  const std::string_view summary = section_of(html, "summary");
  CHECK(
      in_order(summary, {">Original resolution<", ">256 x 256<", ">mean<", ">images<", ">mean<"}));
  CHECK(in_order(summary, {">Dice</th>", ">0.500<", ">0.600<", ">0.250<", ">0.125<", ">0.875<",
                           ">3</td>", ">0.510<", ">0.610<", ">\xE2\x80\x93</td>", ">0.130<",
                           ">0.880<", ">2</td>", "One image has no object."}));
}

TEST_CASE("report: charts") {
  const std::string html = to_html(small_report());
  CHECK(count_of(section_of(html, "distribution"), "<svg") == 2);
  CHECK(contains(section_of(html, "distribution"), ">median 0.500</text>"));
  CHECK(count_of(section_of(html, "training"), "<svg") == 1);
  CHECK(contains(section_of(html, "training"), ">training</text>"));
}

TEST_CASE("report: the worst cases come first, undefined ones last") {
  Report report = small_report();
  report.cases.push_back(case_of("undefined", kNan));
  report.cases.push_back(case_of("bad too", 0.1));
  CHECK(worst_first(report.cases) == std::vector<std::size_t>{1, 4, 2, 0, 3});
  CHECK(worst_first({}).empty());

  const std::string html = to_html(report);
  check_page(html);
  const std::string_view pictures = section_of(html, "pictures");
  CHECK(in_order(pictures, {"id='picture-1'", ">bad<", "Dice <b>0.100</b>", "IoU <b>0.05</b>",
                            "id='picture-2'", ">bad too<", ">fair<", ">good<", ">undefined<",
                            "Dice <b>\xE2\x80\x93</b>"}));
  CHECK(contains(pictures, "rgb(86,180,233)"));
  CHECK(contains(pictures, ">prediction</li>"));
  CHECK(contains(pictures, "Sorted by Dice, lowest first."));
  CHECK_FALSE(contains(pictures, "Shown are"));
  CHECK(contains(pictures, "src='data:image/png;base64,AAAA'"));
  CHECK(in_order(section_of(html, "images"),
                 {"<a href='#picture-1'>bad</a>", "<td>0.100</td><td>0.05</td>",
                  "<a href='#picture-5'>undefined</a>", "<td>\xE2\x80\x93</td>"}));
}

TEST_CASE("report: cases without a picture, and more pictures than are wanted") {
  Report report = small_report();
  report.cases.push_back(case_of("blind", 0.3, 0));
  report.max_pictures = 2;
  const std::string html = to_html(report);
  check_page(html);
  const std::string_view pictures = section_of(html, "pictures");
  CHECK(in_order(pictures, {"Shown are 2 of 4 images", ">bad<", ">fair<"}));
  CHECK_FALSE(contains(pictures, ">blind<"));
  CHECK_FALSE(contains(pictures, ">good<"));
  const std::string_view table = section_of(html, "images");
  CHECK(in_order(
      table, {">bad</a>", "<th scope='row'>blind</th>", ">fair</a>", "<th scope='row'>good</th>"}));

  report.max_pictures = 0;
  CHECK(section_of(to_html(report), "pictures").empty());
}

TEST_CASE("report: all but the worst two dozen pictures are folded away") {
  Report report = small_report();
  report.cases.clear();
  for (int i = 0; i < 30; ++i) report.cases.push_back(case_of(std::to_string(i), i / 30.0));
  const std::string html = to_html(report);
  check_page(html);
  CHECK(in_order(section_of(html, "pictures"), {"id='picture-24'", "<details><summary>Show 6 more",
                                                "id='picture-25'", "id='picture-30'"}));
}

TEST_CASE("report: notes of single cases") {
  Report report = small_report();
  CHECK_FALSE(contains(section_of(to_html(report), "images"), ">Note<"));
  report.cases[1].note = "nothing was found";
  const std::string html = to_html(report);
  CHECK(contains(section_of(html, "pictures"), "<span class='note'>nothing was found</span>"));
  CHECK(contains(section_of(html, "images"), "<td class='note'>nothing was found</td>"));
  CHECK(contains(section_of(html, "images"), ">Note</th>"));
}

TEST_CASE("report: hostile names stay text") {
  const std::string hostile = "\"></title><script src='x'>&amp;\x01\n<img src=x onerror='y'>";
  Report report = small_report();
  report.title = hostile;
  report.figures = {{hostile, hostile}};
  report.facts = {{hostile, hostile}};
  report.scales = {hostile, hostile};
  report.measures[0].name = hostile;
  report.notes = {hostile};
  report.distributions[0].name = hostile;
  report.curves = {{hostile, hostile, hostile, {{hostile, {{1, 2}}}}}};
  report.colors[0].meaning = hostile;
  report.columns[0].name = hostile;
  report.cases[0].name = hostile;
  report.cases[0].note = hostile;
  const std::string html = to_html(report);
  check_page(html);
  CHECK_FALSE(contains(html, "<img src"));
  CHECK_FALSE(contains(html, "'y'"));
  CHECK_FALSE(contains(html, "\x01"));
  CHECK(contains(html,
                 "alt='&quot;&gt;&lt;/title&gt;&lt;script src=&#39;x&#39;&gt;&amp;amp;  "
                 "&lt;img src=x onerror=&#39;y&#39;&gt;'"));
}

TEST_CASE("report: what is empty is left out") {
  const std::string empty = to_html(Report{});
  check_page(empty);
  CHECK(contains(empty, "<h1>Report</h1>"));
  for (const std::string_view part : {"<section", "<nav", "<dl", "<table", "<svg", "<img"}) {
    CAPTURE(part);
    CHECK_FALSE(contains(empty, part));
  }

  Report training;
  training.title = "Training";
  training.curves = {{"Loss", "epoch", "loss", {}}};
  const std::string html = to_html(training);
  check_page(html);
  CHECK(count_of(html, "<section") == 1);
  CHECK(contains(html, "no values"));

  Report names_only;
  names_only.cases.resize(2);
  const std::string table = to_html(names_only);
  check_page(table);
  CHECK(count_of(table, "<tr>") == 3);
}

TEST_CASE("report: values that do not fit the columns say so") {
  Report report = small_report();
  report.cases[2].values.pop_back();
  CHECK(code_of(report) == ErrorCode::invalid_argument);
  report = small_report();
  report.scales.pop_back();
  CHECK(code_of(report) == ErrorCode::invalid_argument);
}
