// Two packs on one image: the encoder runs once for both, each gives its own mask. The backend is
// chosen when the program runs, so this uses Segmenter, which hides its type.
#include <array>
#include <chrono>
#include <exception>
#include <iostream>
#include <promiseg/eigen/backend.hpp>
#include <promiseg/io/image_file.hpp>
#include <promiseg/promiseg.hpp>
#include <string_view>

namespace {

constexpr const char* kUsage =
    "usage: two_packs BACKEND MODEL PACK1 PACK2 IMAGE MASK1.png MASK2.png\n"
    "  BACKEND  eigen, or reference (plain loops: for small models only)\n"
    "  PACK1/2  both must belong to the model\n"
    "  IMAGE    PNG, JPEG or TIFF\n";

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

promiseg::Segmenter open_segmenter(std::string_view backend, const promiseg::ModelFile& model) {
  if (backend == "reference") return {promiseg::ReferenceBackend(), model};
  return {promiseg::EigenBackend(), model};
}

void run(char** arguments) {
  promiseg::Segmenter segmenter = open_segmenter(arguments[0], promiseg::ModelFile(arguments[1]));
  const std::array<const char*, 2> pack_paths = {arguments[2], arguments[3]};
  const std::array<const char*, 2> mask_paths = {arguments[5], arguments[6]};
  // Before encoding: the segmenter keeps the features that any of its packs reads.
  for (const char* path : pack_paths) segmenter.add_pack(promiseg::PackFile(path));

  const promiseg::Image image = promiseg::to_8bit(promiseg::read_image_file(arguments[4]));
  const auto encoding = std::chrono::steady_clock::now();
  const promiseg::ImageEmbedding embedding = segmenter.encode(image);
  std::cout << "encoded once: " << milliseconds_since(encoding) << " ms\n";

  for (std::size_t pack = 0; pack < pack_paths.size(); ++pack) {
    const auto decoding = std::chrono::steady_clock::now();
    const promiseg::Prompts prompts = segmenter.pack_prompts(pack, embedding);
    promiseg::require(!prompts.empty(), promiseg::ErrorCode::invalid_argument, pack_paths[pack],
                      ": this pack predicts no prompts, somebody has to give them");
    const promiseg::Prediction found =
        segmenter.predict_with_pack(pack, embedding, prompts).front();
    promiseg::write_png(mask_paths[pack], found.masks[found.best()].view());
    std::cout << mask_paths[pack] << ": " << milliseconds_since(decoding) << " ms, score "
              << found.scores[found.best()] << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view backend = argc == 8 ? argv[1] : "";
  if (backend != "eigen" && backend != "reference") {
    std::cerr << kUsage;
    return 2;
  }
  run(argv + 1);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "two_packs: " << error.what() << '\n';
  return 1;
}
