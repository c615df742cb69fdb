#include "memory_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "backend_choice.hpp"
#include "byte_size.hpp"
#include "promiseg/adapt/pack.hpp"

namespace promiseg::cli {
namespace {

std::string mebibytes(std::size_t bytes) {
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  return std::to_string((bytes + kMebibyte - 1) / kMebibyte) + " MiB";
}

/// The tensors of a file that are in memory at once while it is loaded, and those of other types as
/// float32. The blocks of a ViT come and go one by one.
std::size_t bytes_to_load(const SafetensorsFile& file) {
  static constexpr std::string_view kBlocks = "image_encoder.blocks.";
  std::size_t bytes = 0;
  std::map<std::string, std::size_t> blocks;
  for (const auto& [name, entry] : file.tensors()) {
    if (name.starts_with(kBlocks)) {
      blocks[name.substr(0, name.find('.', kBlocks.size()))] += entry.bytes.size();
    } else {
      bytes += entry.bytes.size();
    }
    if (entry.dtype != DType::f32) {
      bytes += entry.bytes.size() / size_of(entry.dtype) * sizeof(float);
    }
  }
  std::size_t largest = 0;
  for (const auto& [name, size] : blocks) largest = std::max(largest, size);
  return bytes + largest;
}

}  // namespace

MemoryPlan plan_memory(const ModelFile& file, const std::vector<PackFile>& packs,
                       EigenOptions options, std::size_t prompts) {
  options.computes = false;
  Predictor predictor(EigenBackend(options), file);
  std::vector<std::unique_ptr<Pack<EigenBackend>>> loaded;
  std::vector<Index> taps;
  MemoryPlan plan;
  plan.loading = bytes_to_load(file.file());
  for (const PackFile& pack : packs) {
    plan.loading += bytes_to_load(pack.file());
    loaded.push_back(std::make_unique<Pack<EigenBackend>>(predictor, pack));
    for (const Index tap : loaded.back()->taps()) taps.push_back(tap);
  }
  plan.weights = predictor.backend().memory().total();
  plan.loading += plan.weights;

  const Index side = file.config().image_size;
  const ImageEmbedding embedding = predictor.encode(Image({side, side, 1}), taps);
  for (const auto& pack : loaded) pack->prompts(embedding);
  Prompt box;
  box.box = BoxPrompt{0, 0, 1, 1};
  predictor.model().decode(embedding.features.view(), Prompts(prompts, box));
  plan.working = predictor.backend().memory().total() - plan.weights;
  for (const auto& [tap, features] : embedding.taps) {
    plan.working += static_cast<std::size_t>(features.size()) * sizeof(float);
  }
  return plan;
}

void require_enough_memory(const CommonOptions& options, const ModelFile& file,
                           const std::vector<PackFile>& packs, std::size_t prompts) {
  if (options.max_memory.empty()) return;
  const std::uint64_t limit = parse_bytes(options.max_memory);
  if (options.backend == "reference") {
    throw UsageError("--max-memory is for the backend eigen");
  }
  EigenOptions eigen = eigen_options(options);
  const std::size_t peak = plan_memory(file, packs, eigen, prompts).peak();
  if (peak <= limit) return;
  bool would_fit = false;
  if (eigen.precision == Precision::fp32) {
    eigen.precision = Precision::bf16;
    would_fit = plan_memory(file, packs, eigen, prompts).peak() <= limit;
  }
  fail(ErrorCode::unsupported, file.name(), ": for ", prompts,
       prompts == 1 ? " object" : " objects at once", packs.empty() ? "" : " and with its packs",
       " it takes ", peak, " bytes of memory, --max-memory allows ", limit,
       would_fit ? "; with --precision bf16 it would fit" : "");
}

Json to_json(const MemoryPlan& plan) {
  const auto bytes = [](std::size_t size) { return static_cast<std::int64_t>(size); };
  return Json::Object{{"loading", bytes(plan.loading)},
                      {"weights", bytes(plan.weights)},
                      {"working", bytes(plan.working)},
                      {"peak", bytes(plan.peak())}};
}

std::string to_text(const MemoryPlan& plan) {
  return mebibytes(plan.peak()) + " besides the program and its images; " +
         mebibytes(plan.loading) + " while loading, then " + mebibytes(plan.weights) +
         " for weights and " + mebibytes(plan.working) + " to work with\n";
}

}  // namespace promiseg::cli
