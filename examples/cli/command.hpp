// What all verbs of the command share: their options, their exit codes, their way to speak.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <string>

#include "promiseg/core/error.hpp"
#include "promiseg/io/json.hpp"

namespace promiseg::cli {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;  ///< the work failed
inline constexpr int kExitUsage = 2;   ///< the command was used wrongly

/// Wrong use of the command line; the message is for stderr.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Options of every verb that computes something.
struct CommonOptions {
  std::string backend = "auto";
  std::string precision = "fp32";
  int threads = 0;
  std::string max_memory;  ///< as `parse_bytes` takes it; empty: no limit
  bool quiet = false;
  bool json = false;

  void add_to(CLI::App& app) {
    app.add_option("--backend", backend,
                   "Who computes: auto, eigen (fast) or reference (plain loops)")
        ->check(CLI::IsMember({"auto", "eigen", "reference"}))
        ->capture_default_str();
    add_arithmetic_to(app);
    app.add_option("--max-memory", max_memory,
                   "Refuse to run if weights and working memory take more, like 600MB or 2GiB; "
                   "the program and its images come on top");
    add_output_to(app);
  }

  /// How it is computed.
  void add_arithmetic_to(CLI::App& app) {
    app.add_option("--precision", precision,
                   "What matrix products work with: fp32, or bf16 (half the memory for weights; "
                   "faster where the processor has AVX-512-BF16)")
        ->check(CLI::IsMember({"fp32", "bf16"}))
        ->capture_default_str();
    app.add_option("--threads", threads, "Worker threads; 0: one for every processor")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
  }

  /// The two that also make sense where nothing is computed.
  void add_output_to(CLI::App& app) {
    app.add_flag("--quiet", quiet, "Say nothing but errors");
    app.add_flag("--json", json, "Print one JSON object on stdout, everything else on stderr");
  }

  /// Lines for people: on stdout, on stderr if stdout belongs to JSON, or nowhere if nobody wants
  /// to read them.
  void say(const std::string& text) const {
    if (quiet) return;
    std::ostream& stream = json ? std::cerr : std::cout;
    stream << text << (text.ends_with('\n') ? "" : "\n") << std::flush;
  }

  /// The result for programs, if they asked for it.
  void print(const Json& result) const {
    if (json) std::cout << result.dump(2) << '\n';
  }
};

/// The model to use when none is named: $PROMISEG_MODEL, else where scripts/fetch_weights.sh puts
/// LiteMedSAM. Throws `UsageError`, saying how to get one, if there is none.
std::filesystem::path find_model(const std::string& named);

// Each adds one verb to the command.
void add_backends_command(CLI::App& app);
void add_convert_command(CLI::App& app);
void add_evaluate_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_segment_command(CLI::App& app);
void add_synth_command(CLI::App& app);
void add_trace_command(CLI::App& app);
void add_train_command(CLI::App& app);
void add_verify_command(CLI::App& app);

}  // namespace promiseg::cli
