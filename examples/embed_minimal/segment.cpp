// promiseg inside another program: one box on one image, in fifty lines. Build it with
//   g++ -std=c++20 -O2 -pthread -I PROMISEG/include -I PROMISEG/backends/eigen \
//       -I /usr/include/eigen3 segment.cpp -o segment
// and run it as
//   ./segment litemedsam.safetensors photo.ppm 100,80,230,210 mask.pgm
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <promiseg/eigen/backend.hpp>
#include <promiseg/promiseg.hpp>

/// A binary PPM (RGB) or PGM (grey) of 8 bits without comments.
promiseg::Image read_pnm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  promiseg::Index width = 0;
  promiseg::Index height = 0;
  int maximum = 0;
  file >> magic >> width >> height >> maximum;
  file.get();
  const bool readable = (magic == "P5" || magic == "P6") && maximum == 255 && width > 0 &&
                        height > 0 && width < 65536 && height < 65536;
  if (!readable) throw std::runtime_error(std::string(path) + ": not an 8-bit PGM or PPM");
  promiseg::Image image({height, width, magic == "P6" ? 3 : 1});
  file.read(reinterpret_cast<char*>(image.data()), image.size());
  if (!file) throw std::runtime_error(std::string(path) + ": truncated");
  return image;
}

int main(int argc, char** argv) try {
  promiseg::BoxPrompt box;
  if (argc != 5 || std::sscanf(argv[3], "%f,%f,%f,%f", &box.x0, &box.y0, &box.x1, &box.y1) != 4) {
    std::cerr << "usage: segment MODEL IMAGE.pgm|ppm X0,Y0,X1,Y1 MASK.pgm\n";
    return 2;
  }
  promiseg::Predictor predictor(promiseg::EigenBackend{}, promiseg::ModelFile(argv[1]));
  const promiseg::ImageEmbedding embedding = predictor.encode(read_pnm(argv[2]));
  promiseg::Prompts prompts(1);
  prompts[0].box = box;
  const promiseg::Prediction prediction = predictor.predict(embedding, prompts).front();

  const promiseg::Mask& mask = prediction.masks.front();
  std::ofstream out(argv[4], std::ios::binary);
  out << "P5\n" << mask.extent(1) << ' ' << mask.extent(0) << "\n255\n";
  out.write(reinterpret_cast<const char*>(mask.data()), mask.size());
  std::cout << "score " << prediction.scores.front() << '\n';
  return out ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "segment: " << error.what() << '\n';
  return 1;
}
