#include "open_segmenter.hpp"

#include <utility>

#include "backend_choice.hpp"
#include "memory_plan.hpp"

namespace promiseg::cli {

Segmenter open_segmenter(const CommonOptions& options, const std::filesystem::path& model,
                         const std::vector<std::string>& packs, std::size_t prompts) {
  const ModelFile file(model);
  std::vector<PackFile> pack_files;
  for (const std::string& pack : packs) pack_files.emplace_back(pack);
  require_enough_memory(options, file, pack_files, prompts);
  Segmenter segmenter =
      with_backend(options, [&](auto backend) { return Segmenter(std::move(backend), file); });
  for (const PackFile& pack : pack_files) segmenter.add_pack(pack);
  return segmenter;
}

}  // namespace promiseg::cli
