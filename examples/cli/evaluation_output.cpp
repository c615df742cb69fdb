#include "evaluation_output.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "case_thumbnail.hpp"
#include "promiseg/io/csv.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/markup.hpp"

namespace promiseg::cli {
namespace {

using metrics::MaskMetrics;

/// At which scale a case was measured.
using Scale = MaskMetrics EvaluatedCase::*;

/// A metric as people call it, the most telling first.
struct ShownMetric {
  const char* name;
  double MaskMetrics::*value;
};

constexpr std::array<ShownMetric, 9> kShownMetrics{{
    {"Dice", &MaskMetrics::dice},
    {"IoU", &MaskMetrics::iou},
    {"MAE", &MaskMetrics::mae},
    {"Precision", &MaskMetrics::precision},
    {"Recall", &MaskMetrics::recall},
    {"F-beta", &MaskMetrics::f_beta},
    {"S-measure", &MaskMetrics::s_measure},
    {"E-measure", &MaskMetrics::e_measure},
    {"Weighted F", &MaskMetrics::weighted_f},
}};

std::vector<double> values_of(const Evaluation& evaluation, Scale scale,
                              double MaskMetrics::*metric) {
  std::vector<double> values;
  for (const EvaluatedCase& item : evaluation.cases) values.push_back(item.*scale.*metric);
  return values;
}

ReportSummary summary_of(const Evaluation& evaluation, Scale scale, double MaskMetrics::*metric) {
  return summarize(values_of(evaluation, scale, metric));
}

double mean_of(const Evaluation& evaluation, double EvaluatedCase::*value) {
  std::vector<double> values;
  for (const EvaluatedCase& item : evaluation.cases) values.push_back(item.*value);
  return summarize(values).mean;
}

double seconds_per_image(const Evaluation& evaluation) {
  return mean_of(evaluation, &EvaluatedCase::encode_seconds) +
         mean_of(evaluation, &EvaluatedCase::decode_seconds);
}

std::int64_t undefined_images(const Evaluation& evaluation, const ReportSummary& summary) {
  return static_cast<std::int64_t>(evaluation.cases.size() - summary.images);
}

/// "256 x 256"
std::string frame_text(const Evaluation& evaluation) {
  const std::string side = std::to_string(evaluation.low_res_side);
  return side + " x " + side;
}

/// "2 images", "1 image"
std::string images_text(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " image" : " images");
}

// ---- table -----------------------------------------------------------------------------------

/// As many digits as it takes to read the same number again; empty for what is none.
std::string number_text(double value) {
  if (!std::isfinite(value)) return {};
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  return {digits.data(), end.ptr};
}

std::string metric_names(std::string_view ending) {
  std::string text;
  for (const auto& column : metrics::kMetricColumns) {
    text.append(",").append(column.name).append(ending);
  }
  return text;
}

std::string metric_values(const MaskMetrics& values) {
  std::string text;
  for (const auto& column : metrics::kMetricColumns) {
    text += "," + number_text(values.*column.value);
  }
  return text;
}

// ---- summary ---------------------------------------------------------------------------------

void add_statistics(Json& json, const Evaluation& evaluation, Scale scale) {
  Json medians;
  Json deviations;
  Json undefined;
  for (const auto& column : metrics::kMetricColumns) {
    const ReportSummary summary = summary_of(evaluation, scale, column.value);
    const std::string name(column.name);
    json.set(name, summary.mean);
    medians.set(name, summary.median);
    deviations.set(name, summary.deviation);
    undefined.set(name, undefined_images(evaluation, summary));
  }
  json.set("median", std::move(medians));
  json.set("standard_deviation", std::move(deviations));
  json.set("undefined", std::move(undefined));
}

Json skipped_json(const Evaluation& evaluation) {
  Json::Array skipped;
  for (const SkippedCase& item : evaluation.skipped) {
    skipped.emplace_back(Json::Object{{"name", item.name}, {"reason", item.reason}});
  }
  return skipped;
}

Json model_json(const EvaluationRecord& record) {
  return Json::Object{
      {"file", record.model}, {"arch", record.model_arch}, {"weights_sha256", record.model_sha256}};
}

Json pack_json(const EvaluationRecord& record) {
  if (record.pack.empty()) return nullptr;
  return Json::Object{
      {"file", record.pack}, {"label", record.pack_label}, {"weights_sha256", record.pack_sha256}};
}

// ---- report ----------------------------------------------------------------------------------

std::string prompt_text(const EvaluationRecord& record) {
  std::string text = "the pack's own";
  if (record.prompt == "image") text = "the whole frame as a box";
  if (record.prompt == "box") text = "the true mask's bounding box";
  if (record.prompt == "points") {
    text = "points of the true mask, drawn with seed " + std::to_string(record.seed);
  }
  return record.prompt_as_trained ? text + ", as the pack was trained" : text;
}

std::vector<std::pair<std::string, std::string>> facts(const Evaluation& evaluation,
                                                       const EvaluationRecord& record) {
  constexpr double kMegabyte = 1e6;
  std::vector<std::pair<std::string, std::string>> facts;
  facts.emplace_back("Model", record.model + " (" + record.model_arch + ")");
  facts.emplace_back("Pack", record.pack.empty() ? "none, the frozen model" : record.pack);
  facts.emplace_back("Data", record.data);
  facts.emplace_back("Split", record.split);
  facts.emplace_back("Prompt", prompt_text(record));
  facts.emplace_back("Metrics", record.metrics);
  facts.emplace_back("Arithmetic", record.arithmetic);
  facts.emplace_back(
      "Time per image",
      fixed_text(mean_of(evaluation, &EvaluatedCase::encode_seconds), 2) + " s to encode, " +
          fixed_text(mean_of(evaluation, &EvaluatedCase::decode_seconds), 2) + " s to decode");
  facts.emplace_back("Time in all", fixed_text(evaluation.seconds, 1) + " s");
  facts.emplace_back(
      "Peak memory",
      fixed_text(static_cast<double>(record.peak_memory_bytes) / kMegabyte, 0) + " MB");
  return facts;
}

/// "Dice of 1 image, Weighted F of 2 images"; empty if every image has every value.
std::string undefined_text(const Evaluation& evaluation, Scale scale) {
  std::string text;
  for (const ShownMetric& metric : kShownMetrics) {
    const std::size_t known = summary_of(evaluation, scale, metric.value).images;
    const std::size_t missing = evaluation.cases.size() - known;
    if (missing == 0) continue;
    text += (text.empty() ? "" : ", ") + (metric.name + (" of " + images_text(missing)));
  }
  return text;
}

std::vector<std::string> notes(const Evaluation& evaluation, const EvaluationRecord& record) {
  std::vector<std::string> notes;
  notes.push_back("Original resolution: the final mask, as promiseg segment writes it. " +
                  frame_text(evaluation) +
                  ", as the paper evaluates: the logits in the model's frame, cut at one half and "
                  "opened with a kernel of 5 x 5, against the true mask padded to a square.");
  if (record.metrics == "promise") {
    notes.emplace_back(
        "The metrics are those of the code of ProMISe's authors, which differ from the published "
        "ones.");
  }
  for (const auto& [name, scale] : {std::pair{"Original resolution", &EvaluatedCase::original},
                                    std::pair{"The model's frame", &EvaluatedCase::low_res}}) {
    const std::string missing = undefined_text(evaluation, scale);
    if (missing.empty()) continue;
    notes.push_back(std::string(name) + ": without a value, and in no mean: " + missing + ".");
  }
  for (const SkippedCase& item : evaluation.skipped) {
    notes.push_back("Skipped: " + item.name + " (" + item.reason + ").");
  }
  return notes;
}

/// A column of a training log, one number per epoch. Throws `bad_format`.
std::vector<double> log_column(const std::vector<CsvRecord>& records, std::string_view name,
                               const std::string& source) {
  const std::vector<std::string>& names = records.front().fields;
  const auto found = std::find(names.begin(), names.end(), name);
  require(found != names.end(), ErrorCode::bad_format, source, ": the column ", name,
          " is missing");
  const auto field = static_cast<std::size_t>(found - names.begin());
  std::vector<double> values;
  for (std::size_t i = 1; i < records.size(); ++i) {
    const std::string& text = records[i].fields[field];
    const char* last = text.data() + text.size();
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), last, value);
    require(error == std::errc{} && end == last, ErrorCode::bad_format, source, ", line ",
            records[i].line, ": the ", name, " is no number");
    values.push_back(value);
  }
  return values;
}

/// How a training went, from its log. Throws what `read_csv` throws.
std::vector<ReportCurves> training_curves(const std::filesystem::path& log) {
  const std::vector<CsvRecord> records = read_csv(log);
  require(records.size() > 1, ErrorCode::bad_format, log.string(), ": there are no epochs");
  const std::vector<double> epochs = log_column(records, "epoch", log.string());
  const auto series = [&](const char* name, std::string_view column) {
    const std::vector<double> values = log_column(records, column, log.string());
    ChartSeries line{name, {}};
    for (std::size_t i = 0; i < epochs.size(); ++i) line.points.push_back({epochs[i], values[i]});
    return line;
  };
  return {{"Loss by epoch", "epoch", "loss", {series("training", "loss")}},
          {"Dice by epoch",
           "epoch",
           "Dice",
           {series("training", "train_dice"), series("validation", "val_dice")}}};
}

void add_training(Report& report, const std::string& pack) {
  if (pack.empty()) return;
  const std::filesystem::path log = pack + ".log.csv";
  std::error_code ignored;
  if (!std::filesystem::exists(log, ignored)) return;
  try {
    report.curves = training_curves(log);
  } catch (const Error& error) {
    report.notes.push_back(std::string("The log of the training is left out: ") + error.what());
  }
}

ReportCase report_case(const EvaluatedCase& item) {
  ReportCase shown;
  shown.name = item.name;
  for (const ShownMetric& metric : kShownMetrics) {
    shown.values.push_back(item.original.*metric.value);
  }
  shown.values.push_back(item.low_res.dice);
  shown.values.push_back(item.score);
  shown.values.push_back(item.encode_seconds + item.decode_seconds);
  shown.note = item.note;
  shown.picture = item.picture;
  return shown;
}

// ---- terminal --------------------------------------------------------------------------------

/// A number, or a word over the numbers, at the right of a column.
std::string right_aligned(const std::string& text) {
  constexpr std::size_t kWidth = 10;
  return std::string(kWidth - std::min(kWidth, text.size()), ' ') + text;
}

std::string left_aligned(std::string text) {
  constexpr std::size_t kWidth = 12;
  text.resize(std::max(kWidth, text.size()), ' ');
  return text;
}

}  // namespace

std::string metrics_csv(const Evaluation& evaluation) {
  std::string text = "name,split" + metric_names("") + metric_names("_256") + ",score,seconds\n";
  for (const EvaluatedCase& item : evaluation.cases) {
    text += csv_field(item.name);
    text.append(",").append(to_string(item.split));
    text += metric_values(item.original) + metric_values(item.low_res);
    text += "," + number_text(item.score);
    text += "," + number_text(item.encode_seconds + item.decode_seconds) + "\n";
  }
  return text;
}

Json summary_json(const Evaluation& evaluation, const EvaluationRecord& record) {
  Json json;
  json.set("images", static_cast<std::int64_t>(evaluation.cases.size()));
  add_statistics(json, evaluation, &EvaluatedCase::original);
  Json low_res;
  add_statistics(low_res, evaluation, &EvaluatedCase::low_res);
  json.set("at_256", std::move(low_res));
  json.set("low_res_side", static_cast<std::int64_t>(evaluation.low_res_side));
  json.set("score", mean_of(evaluation, &EvaluatedCase::score));
  json.set("skipped", skipped_json(evaluation));
  json.set("model", model_json(record));
  json.set("pack", pack_json(record));
  json.set("data", record.data);
  json.set("split", record.split);
  json.set("prompt", record.prompt + (record.prompt_as_trained ? " (as trained)" : ""));
  json.set("metrics", record.metrics);
  json.set("arithmetic", record.arithmetic);
  json.set("seed", record.seed);
  json.set("seconds",
           Json::Object{{"encode_mean", mean_of(evaluation, &EvaluatedCase::encode_seconds)},
                        {"decode_mean", mean_of(evaluation, &EvaluatedCase::decode_seconds)},
                        {"total", evaluation.seconds}});
  json.set("peak_memory_bytes", record.peak_memory_bytes);
  return json;
}

Report evaluation_report(const Evaluation& evaluation, const EvaluationRecord& record) {
  const auto mean = [&](double MaskMetrics::*metric) {
    return fixed_text(summary_of(evaluation, &EvaluatedCase::original, metric).mean, 3);
  };
  Report report;
  report.title = record.pack_label.empty() ? "Evaluation" : "Evaluation: " + record.pack_label;
  report.figures = {{"Mean Dice", mean(&MaskMetrics::dice)},
                    {"Mean IoU", mean(&MaskMetrics::iou)},
                    {"Images", std::to_string(evaluation.cases.size())},
                    {"Seconds per image", fixed_text(seconds_per_image(evaluation), 2)}};
  report.facts = facts(evaluation, record);
  report.scales = {"Original resolution", frame_text(evaluation)};
  for (const auto& [name, metric] : kShownMetrics) {
    report.measures.push_back({name,
                               3,
                               {summary_of(evaluation, &EvaluatedCase::original, metric),
                                summary_of(evaluation, &EvaluatedCase::low_res, metric)}});
    report.columns.push_back({name, 3});
  }
  report.notes = notes(evaluation, record);
  add_training(report, record.pack);
  for (const auto& [name, metric] : {kShownMetrics[0], kShownMetrics[1]}) {
    report.distributions.push_back({name, values_of(evaluation, &EvaluatedCase::original, metric)});
  }
  report.colors = {
      {kTruthColor, "truth"}, {kPredictionColor, "prediction"}, {kAgreementColor, "both"}};
  report.columns.push_back({"Dice, " + frame_text(evaluation), 3});
  report.columns.push_back({"Score", 3});
  report.columns.push_back({"Seconds", 2});
  for (const EvaluatedCase& item : evaluation.cases) report.cases.push_back(report_case(item));
  return report;
}

std::string summary_text(const Evaluation& evaluation) {
  const auto number = [](double value) {
    return right_aligned(std::isfinite(value) ? fixed_text(value, 3) : "-");
  };
  std::string text = left_aligned("") + right_aligned("mean") + right_aligned("median") + "\n";
  for (const auto& [name, metric] : kShownMetrics) {
    const ReportSummary summary = summary_of(evaluation, &EvaluatedCase::original, metric);
    text += left_aligned(name) + number(summary.mean) + number(summary.median) + "\n";
  }
  text += images_text(evaluation.cases.size()) + ", " +
          fixed_text(seconds_per_image(evaluation), 2) + " s each\n";
  for (const SkippedCase& item : evaluation.skipped) {
    text += "skipped " + item.name + ": " + item.reason + "\n";
  }
  return text;
}

Json write_evaluation(const Evaluation& evaluation, const EvaluationRecord& record,
                      const std::filesystem::path& folder) {
  Json json = summary_json(evaluation, record);
  // Everything is made before anything is written.
  const std::string table = metrics_csv(evaluation);
  const std::string report = to_html(evaluation_report(evaluation, record));
  const auto path = [&](std::size_t file) { return folder / kEvaluationFiles[file]; };
  write_file(path(0), table);
  write_file(path(1), json.dump(2) + "\n");
  write_file(path(2), report);
  json.set("files", Json::Object{{"metrics", path(0).string()},
                                 {"summary", path(1).string()},
                                 {"report", path(2).string()}});
  return json;
}

}  // namespace promiseg::cli
