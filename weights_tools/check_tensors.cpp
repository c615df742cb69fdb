#include "check_tensors.hpp"

#include <algorithm>
#include <sstream>

#include "promiseg/io/pickle_value.hpp"
#include "promiseg/sam/sam_weights.hpp"

namespace promiseg::tools {

namespace {

constexpr std::size_t kMostProblems = 100;

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64;
}

struct TooManyProblems {};

/// Stands in for the file while a model asks for its weights, and notes what would fail.
class CheckingSource : public nn::WeightSource {
 public:
  explicit CheckingSource(const TensorEntries& tensors) : tensors_(tensors) {}

  TensorCheck result;

 private:
  const float* find(const std::string& name, std::span<const Index> shape) override {
    result.names.push_back(name);
    const ShapeText expected{shape.data(), shape.size()};
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      note(text("tensor \"", name, "\" is missing: expected ", expected));
      return nullptr;
    }
    const TensorEntry& entry = found->second;
    const ShapeText present{entry.shape.data(), entry.shape.size()};
    if (!std::equal(shape.begin(), shape.end(), entry.shape.begin(), entry.shape.end())) {
      note(text("tensor \"", name, "\": expected shape ", expected, ", got ", present));
    } else if (!is_floating(entry.dtype)) {
      note(text("tensor \"", name, "\": expected floating-point numbers, got ",
                to_string(entry.dtype)));
    }
    return nullptr;
  }

  /// A table of another length is resized when the model is built.
  Index rows(const std::string& name, Index usual) override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second.shape.size() != 2) return usual;
    return std::max<Index>(found->second.shape[0], 1);
  }

  void note(std::string problem) {
    result.problems.push_back(std::move(problem));
    if (result.problems.size() >= kMostProblems) throw TooManyProblems{};
  }

  const TensorEntries& tensors_;
};

}  // namespace

TensorCheck check_tensors(const TensorEntries& tensors, const ModelConfig& config) {
  CheckingSource source(tensors);
  try {
    sam_weights(source, config);
  } catch (const TooManyProblems&) {
    return std::move(source.result);
  }
  TensorCheck& result = source.result;
  const std::set<std::string_view> known(result.names.begin(), result.names.end());
  for (const auto& [name, entry] : tensors) {
    if (known.contains(name) || is_ignored_tensor(name)) continue;
    if (result.problems.size() >= kMostProblems) break;
    result.problems.push_back(text("tensor \"", printable(name, 200), "\" ",
                                   ShapeText{entry.shape.data(), entry.shape.size()},
                                   " is unknown: the model has none of that name"));
  }
  return std::move(result);
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

bool is_ignored_tensor(std::string_view name) {
  return name == "num_batches_tracked" || name.ends_with(".num_batches_tracked") ||
         name == "pixel_mean" || name == "pixel_std";
}

bool is_adapter_tensor(std::string_view name) {
  return name.starts_with("apm_") || name.starts_with("ips_ffn.") || name.starts_with("ffn.lin");
}

}  // namespace promiseg::tools
