// What `promiseg evaluate` writes and says.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "evaluation.hpp"
#include "promiseg/io/json.hpp"
#include "promiseg/io/report.hpp"

namespace promiseg::cli {

/// The files of an evaluation, in its folder: table, summary, report.
inline constexpr std::array<const char*, 3> kEvaluationFiles{"metrics.csv", "summary.json",
                                                             "report.html"};

/// What was evaluated, and how, as the command line has it.
struct EvaluationRecord {
  std::string model;  ///< the file
  std::string model_arch;
  std::string model_sha256;
  std::string pack;  ///< the file; empty without a pack
  std::string pack_label;
  std::string pack_sha256;
  std::string data;                ///< the table, or both folders
  std::string split;               ///< "train", "val", "test" or "all"
  std::string prompt;              ///< "none", "image", "points" or "box"
  std::string metrics;             ///< "published" or "promise"
  std::string arithmetic;          ///< "fp32" or "bf16"
  bool prompt_as_trained = false;  ///< the pack's training chose the prompt, not the user
  std::int64_t seed = 0;
  std::int64_t peak_memory_bytes = 0;
};

/// One line per image: name, split, the metrics at the image's size, the same in the model's frame
/// (_256), the model's own estimate of the IoU, and the seconds that encoding and decoding took.
/// What has no value is left empty.
std::string metrics_csv(const Evaluation& evaluation);

/// The metrics' means at the original size as members of their names, those in the model's frame
/// below "at_256", and with each of them "median", "standard_deviation" and "undefined", the number
/// of images without a value; then counts, what was skipped, the record and the times.
Json summary_json(const Evaluation& evaluation, const EvaluationRecord& record);

/// With the curves of the pack's training, if `promiseg train` has left its log beside the pack
/// (PACK.log.csv); a log that cannot be read is left out, and a note says so.
Report evaluation_report(const Evaluation& evaluation, const EvaluationRecord& record);

/// A table of means and medians at the original size, and what was skipped, for a terminal.
std::string summary_text(const Evaluation& evaluation);

/// Writes the three files into a folder, each whole or not at all, and returns the summary with
/// their paths below "files". Throws what `write_file` throws.
Json write_evaluation(const Evaluation& evaluation, const EvaluationRecord& record,
                      const std::filesystem::path& folder);

}  // namespace promiseg::cli
