#include "check_tensors.hpp"

#include <algorithm>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/io/pickle_value.hpp"
#include "promiseg/sam/sam_weights.hpp"

namespace promiseg::tools {

namespace {

constexpr Index kAny = -1;  // an extent that may be any

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// A shape whose extents may be `kAny`.
std::string shape_text(const std::vector<Index>& shape) {
  std::string list;
  for (Index extent : shape) {
    list += (list.empty() ? "" : ", ") + (extent == kAny ? "any" : std::to_string(extent));
  }
  return "[" + list + "]";
}

bool fits(const std::vector<Index>& expected, const std::vector<Index>& present) {
  return std::equal(expected.begin(), expected.end(), present.begin(), present.end(),
                    [](Index want, Index got) { return want == kAny || want == got; });
}

bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64;
}

/// Stands in for a file while its weights are asked for, and remembers what was.
class AskingSource : public nn::WeightSource {
 public:
  explicit AskingSource(const TensorEntries& tensors) : tensors_(tensors) {}

  std::vector<TensorSpec> take() { return std::move(specs_); }

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    specs_.push_back({name, {shape.begin(), shape.end()}});
    return nullptr;
  }

  /// A table of another length is resized when the model is built.
  Index rows(const std::string& name, Index usual) override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second.shape.size() != 2) return usual;
    return std::max<Index>(found->second.shape[0], 1);
  }

  bool has(const std::string& name) override { return tensors_.contains(name); }

  const TensorEntries& tensors_;
  std::vector<TensorSpec> specs_;
};

std::vector<TensorSpec> pack_specs(const TensorEntries& tensors, const PackConfig& config,
                                   const ModelConfig& model) {
  AskingSource source(tensors);
  pack_weights(source, config, model);
  return source.take();
}

/// What is wrong with one tensor; empty if nothing is.
std::string problem_with(const TensorEntries& tensors, const TensorSpec& spec) {
  const auto found = tensors.find(spec.name);
  const std::string expected = shape_text(spec.shape);
  if (found == tensors.end()) {
    return text("tensor \"", spec.name, "\" is missing: expected ", expected);
  }
  const TensorEntry& entry = found->second;
  if (!fits(spec.shape, entry.shape)) {
    return text("tensor \"", spec.name, "\": expected shape ", expected, ", got ",
                shape_text(entry.shape));
  }
  if (!is_floating(entry.dtype)) {
    return text("tensor \"", spec.name, "\": expected floating-point numbers, got ",
                to_string(entry.dtype));
  }
  return {};
}

/// `whole` is what should have the tensors: "model" or "pack".
TensorCheck compare(const TensorEntries& tensors, std::vector<TensorSpec> specs,
                    std::string_view whole) {
  TensorCheck result;
  const auto note = [&](std::string problem) {
    if (!problem.empty() && result.problems.size() < kMostProblems) {
      result.problems.push_back(std::move(problem));
    }
  };
  for (TensorSpec& spec : specs) {
    note(problem_with(tensors, spec));
    result.names.push_back(std::move(spec.name));
  }
  const std::set<std::string_view> known(result.names.begin(), result.names.end());
  for (const auto& [name, entry] : tensors) {
    if (known.contains(name)) continue;
    note(text("tensor \"", printable(name, 200), "\" ", shape_text(entry.shape),
              " is unknown: the ", whole, " has none of that name"));
  }
  return result;
}

}  // namespace

TensorCheck check_model_tensors(const TensorEntries& tensors, const ModelConfig& config) {
  AskingSource source(tensors);
  sam_weights(source, config);
  return compare(tensors, source.take(), "model");
}

TensorCheck check_pack_tensors(const TensorEntries& tensors, const PackConfig& config,
                               const ModelConfig& model) {
  return compare(tensors, pack_specs(tensors, config, model), "pack");
}

TensorCheck check_pack_tensors(const TensorEntries& tensors, const PackConfig& config) {
  // Extents that differ between two models of unlike sizes are those that the model decides.
  PackConfig anywhere = config;
  anywhere.tap_blocks.assign(config.tap_blocks.size(), 1);
  ModelConfig model;
  std::vector<TensorSpec> specs = pack_specs(tensors, anywhere, model);
  model.encoder_embed_dim += 4;
  model.prompt_embed_dim += 8;
  model.num_multimask_outputs += 1;
  const std::vector<TensorSpec> others = pack_specs(tensors, anywhere, model);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::size_t axis = 0; axis < specs[i].shape.size(); ++axis) {
      if (specs[i].shape[axis] != others[i].shape[axis]) specs[i].shape[axis] = kAny;
    }
  }
  return compare(tensors, std::move(specs), "pack");
}

std::string summary(const std::vector<std::string>& problems) {
  constexpr std::size_t kShown = 5;
  std::string message;
  for (std::size_t i = 0; i < problems.size() && i < kShown; ++i) {
    message += (i > 0 ? "; " : "") + problems[i];
  }
  if (problems.size() > kShown) {
    message += "; and " + std::to_string(problems.size() - kShown) + " more";
    if (problems.size() >= kMostProblems) message += " or above";
  }
  return message;
}

}  // namespace promiseg::tools
