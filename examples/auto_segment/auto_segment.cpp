// A model, a pack and an image in, a mask out. Nobody gives a prompt: the pack finds its object.
#include <exception>
#include <iostream>
#include <promiseg/eigen/backend.hpp>
#include <promiseg/io/image_file.hpp>
#include <promiseg/promiseg.hpp>
#include <string>

namespace {

constexpr const char* kUsage =
    "usage: auto_segment MODEL PACK IMAGE MASK.png\n"
    "  MODEL, PACK  safetensors files; the pack must belong to the model\n"
    "  IMAGE        PNG, JPEG or TIFF\n"
    "  MASK.png     written: 255 inside the object, 0 outside, of the image's size\n";

void segment(const char* model_path, const char* pack_path, const char* image_path,
             const char* output) {
  // The backend is chosen when this is compiled: the types are Predictor<EigenBackend> and
  // Pack<EigenBackend>. Loading prepares the weights, once.
  const promiseg::ModelFile model(model_path);
  promiseg::Predictor predictor(promiseg::EigenBackend(), model);
  promiseg::Pack pack(predictor, promiseg::PackFile(pack_path));

  const promiseg::Image image = promiseg::to_8bit(promiseg::read_image_file(image_path));
  // The frozen encoder runs once and keeps the intermediate features that the pack reads.
  const promiseg::ImageEmbedding embedding = predictor.encode(image, pack.taps());
  const promiseg::Prompts prompts = pack.prompts(embedding);
  promiseg::require(!prompts.empty(), promiseg::ErrorCode::invalid_argument, pack_path,
                    ": this pack predicts no prompts, somebody has to give them");

  const promiseg::Prediction found = pack.predict(embedding, prompts).front();
  const promiseg::Mask& mask = found.masks[found.best()];
  promiseg::write_png(output, mask.view());

  promiseg::Index inside = 0;
  for (const std::uint8_t pixel : mask.elements()) inside += pixel != 0 ? 1 : 0;
  const std::string& label = pack.config().label;
  std::cout << (label.empty() ? "object" : label) << ": " << inside << " of " << mask.size()
            << " pixels, score " << found.scores[found.best()] << '\n';
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) {
    std::cerr << kUsage;
    return 2;
  }
  segment(argv[1], argv[2], argv[3], argv[4]);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "auto_segment: " << error.what() << '\n';
  return 1;
}
