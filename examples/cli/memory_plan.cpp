#include "memory_plan.hpp"

#include <cstdint>
#include <utility>

#include "promiseg/sam/predictor.hpp"

namespace promiseg::cli {
namespace {

std::string mebibytes(std::size_t bytes) {
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  return std::to_string((bytes + kMebibyte - 1) / kMebibyte) + " MiB";
}

}  // namespace

MemoryPlan plan_memory(const ModelFile& file, EigenOptions options) {
  options.computes = false;
  Predictor predictor(EigenBackend(options), file);
  MemoryPlan plan;
  plan.weights = predictor.backend().memory().total();
  plan.loading = plan.weights;
  for (const auto& [name, entry] : file.file().tensors()) {
    plan.loading += entry.bytes.size();
    if (entry.dtype != DType::f32) {
      plan.loading += entry.bytes.size() / size_of(entry.dtype) * sizeof(float);
    }
  }
  const Index size = file.config().image_size;
  const Tensor<float, 3> input({size, size, 3});
  SamModel<EigenBackend>& model = predictor.model();
  const EncodedImage encoded = model.encode(input.view(), {}, [](const EncoderStage&) {});
  Prompt prompt;
  prompt.box = BoxPrompt{0, 0, 1, 1};
  model.decode(encoded.embedding.view(), Prompts{prompt});
  plan.working = predictor.backend().memory().total() - plan.weights;
  return plan;
}

Json to_json(const MemoryPlan& plan) {
  const auto bytes = [](std::size_t size) { return static_cast<std::int64_t>(size); };
  return Json::Object{{"loading", bytes(plan.loading)},
                      {"weights", bytes(plan.weights)},
                      {"working", bytes(plan.working)},
                      {"peak", bytes(plan.peak())}};
}

std::string to_text(const MemoryPlan& plan) {
  return "memory: " + mebibytes(plan.peak()) + " at most; " + mebibytes(plan.loading) +
         " while loading, then " + mebibytes(plan.weights) + " for weights and " +
         mebibytes(plan.working) + " to work with\n";
}

}  // namespace promiseg::cli
