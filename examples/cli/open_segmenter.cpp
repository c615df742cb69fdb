#include "open_segmenter.hpp"

#include <utility>

#include "backend_choice.hpp"

namespace promiseg::cli {

Segmenter open_segmenter(const CommonOptions& options, const std::filesystem::path& model,
                         const std::vector<std::string>& packs) {
  const ModelFile file(model);
  Segmenter segmenter =
      with_backend(options, [&](auto backend) { return Segmenter(std::move(backend), file); });
  for (const std::string& pack : packs) segmenter.add_pack(PackFile(pack));
  return segmenter;
}

}  // namespace promiseg::cli
