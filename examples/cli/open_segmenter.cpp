#include "open_segmenter.hpp"

#include <utility>

#include "backend_choice.hpp"
#include "memory_plan.hpp"

namespace promiseg::cli {
namespace {

/// Throws `unsupported` if the model would take more than the limit. Packs are counted by what
/// their files hold.
void require_enough_memory(const CommonOptions& options, const ModelFile& file,
                           const std::vector<std::string>& packs) {
  if (options.max_memory == 0) return;
  MemoryPlan plan = plan_memory(file, eigen_options(options));
  for (const std::string& pack : packs) plan.weights += std::filesystem::file_size(pack);
  require(plan.peak() <= options.max_memory, ErrorCode::unsupported, file.name(), ": it takes ",
          plan.peak(), " bytes of memory, --max-memory allows ", options.max_memory,
          options.precision == "fp32" ? "; --precision bf16 takes less" : "");
}

}  // namespace

Segmenter open_segmenter(const CommonOptions& options, const std::filesystem::path& model,
                         const std::vector<std::string>& packs) {
  const ModelFile file(model);
  require_enough_memory(options, file, packs);
  Segmenter segmenter =
      with_backend(options, [&](auto backend) { return Segmenter(std::move(backend), file); });
  for (const std::string& pack : packs) segmenter.add_pack(PackFile(pack));
  return segmenter;
}

}  // namespace promiseg::cli
